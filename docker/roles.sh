#!/usr/bin/env bash
# Runs once, in a new Postgres: the database and the three roles that divide the work (db/roles.py says which does what).
set -euo pipefail

psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres \
    --set=owner="$FLEETGRAPH_OWNER_PASSWORD" \
    --set=gateway="$FLEETGRAPH_GATEWAY_PASSWORD" \
    --set=platform="$FLEETGRAPH_PLATFORM_PASSWORD" <<'SQL'
CREATE ROLE fleetgraph_owner LOGIN PASSWORD :'owner' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
CREATE ROLE fleetgraph_gateway LOGIN PASSWORD :'gateway' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
CREATE ROLE fleetgraph_platform LOGIN PASSWORD :'platform' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS;
GRANT fleetgraph_gateway, fleetgraph_platform TO fleetgraph_owner WITH INHERIT FALSE, SET TRUE;
CREATE DATABASE fleetgraph OWNER fleetgraph_owner;
REVOKE ALL ON DATABASE fleetgraph FROM PUBLIC;
GRANT CONNECT ON DATABASE fleetgraph TO fleetgraph_gateway, fleetgraph_platform;
SQL
