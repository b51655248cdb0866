"""The gateway's settings, from environment variables with the prefix ``FLEETGRAPH_``.

A setting is one field: its name in capitals after the prefix is the variable, its description the documentation
(docs/settings.md is printed from here by `app.settings_page`). Fields stand in groups; add yours to the group that it
belongs to, or begin a new one with a comment that starts with ``# Group:``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, structs

from app.from_environment import Secret, SettingsError, from_environment

__all__ = ["PREFIX", "Secret", "Settings", "SettingsError", "load_settings", "unknown_variables"]

PREFIX = "FLEETGRAPH_"
_DATABASES: Final = ("database_url", "owner_database_url", "platform_database_url", "read_database_url")
_SCHEME: Final = re.compile(r"^(postgres|postgresql\+asyncpg)://")
"""Other usual ways to begin a Postgres address."""


class Environment(StrEnum):
    """Where the gateway runs. In production nothing is made up on first run: no keys, no demo fleet."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class LogFormat(StrEnum):
    """Lines for people, or one JSON object a line for machines; ``auto`` decides by whether a terminal reads them."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class DoorbellKind(StrEnum):
    """What carries the news of a commit from one gateway to the others."""

    POSTGRES = "postgres"
    NATS = "nats"


class LogLevel(StrEnum):
    """The least severe level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
"""Only signatures made with a private key: a shared secret or none would let anyone who knows it sign."""


class Settings(Struct, frozen=True, kw_only=True, rename=lambda name: PREFIX + name.upper()):
    """Every setting of the gateway; frozen, made once at the start by ``load_settings``."""

    # Group: Where it runs
    environment: Annotated[
        Environment,
        Meta(description="`development` makes keys and a demo fleet on first run; `production` makes nothing up."),
    ] = Environment.DEVELOPMENT
    data_dir: Annotated[
        Path, Meta(description="Directory of the embedded Postgres and of the keys made in development.")
    ] = Path(".fleetgraph")
    host: Annotated[str, Meta(description="Address to listen on. `0.0.0.0` takes calls from other machines.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes any free one.")] = 8000
    workers: Annotated[int, Meta(ge=1, le=256, description="Worker processes that serve requests.")] = 1
    huge_pages: Annotated[
        bool,
        Meta(
            description="Whether a worker that has started moves its memory to pages of 2 MB, where Linux can (6.1 or "
            "later): queries are a few percent faster, and it takes hardly more memory."
        ),
    ] = True
    busy_poll_microseconds: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000,
            description="How long a worker that has one request to answer and nothing else to do looks for the "
            "database's answer before it sleeps until it is there; 0 for never. Clients that wait for each answer get "
            "small ones sooner, for hardly more CPU; where it does not pay, and on a single processor, it is left "
            "alone.",
        ),
    ] = 250
    shutdown_seconds: Annotated[
        float, Meta(ge=0, le=600, description="How long running requests may go on after the gateway was told to stop.")
    ] = 10
    trusted_proxies: Annotated[
        str, Meta(description="Comma-separated addresses of proxies whose X-Forwarded-* headers are believed.")
    ] = "127.0.0.1"

    # Group: Database
    database_url: Annotated[
        str | None,
        Meta(
            description="Postgres 16 or later for requests, best with the role `fleetgraph_gateway`. Without it the "
            "embedded Postgres is used. A role that row-level security does not bind takes on "
            "`fleetgraph_gateway`."
        ),
    ] = None
    owner_database_url: Annotated[
        str | None,
        Meta(
            description="The same database with the role that owns the tables, for migrations and seeding. Default: "
            "FLEETGRAPH_DATABASE_URL."
        ),
    ] = None
    platform_database_url: Annotated[
        str | None,
        Meta(
            description="The same database with a role that passes row-level security, for bootstrap, retention and "
            "jobs. Default: FLEETGRAPH_DATABASE_URL."
        ),
    ] = None
    read_database_url: Annotated[
        str | None, Meta(description="A read replica for queries. Default: FLEETGRAPH_DATABASE_URL.")
    ] = None
    pool_size: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="Connections for compiled queries, as many for commands of a single statement, and as many for"
            " everything else, in each worker process.",
        ),
    ] = 16
    pool_timeout_seconds: Annotated[
        float, Meta(gt=0, le=300, description="How long a request waits for a connection before it is refused.")
    ] = 5
    platform_pool_size: Annotated[
        int, Meta(ge=1, le=100, description="Connections of the platform role, in each process.")
    ] = 2
    statement_timeout_ms: Annotated[
        int, Meta(ge=1, le=600_000, description="Milliseconds after which Postgres ends a statement of a request.")
    ] = 15_000

    compiled_queries: Annotated[
        bool,
        Meta(
            description="Whether queries are compiled to SQL. Without it every one is answered field by field, to the "
            "same result and many times slower; for comparison, and should a compiled answer ever be in "
            "doubt."
        ),
    ] = True

    # Group: Tokens and keys
    oidc_issuer: Annotated[
        str | None,
        Meta(description="Address of the OpenID provider whose tokens are taken. Without it: local tokens only."),
    ] = None
    oidc_audience: Annotated[
        str | None,
        Meta(description="The audience that a provider's token must carry. Required with FLEETGRAPH_OIDC_ISSUER."),
    ] = None
    oidc_algorithms: Annotated[
        tuple[Algorithm, ...], Meta(description="Signature algorithms that are taken, separated by commas.")
    ] = ("RS256", "ES256")
    clock_skew_seconds: Annotated[
        int, Meta(ge=0, le=300, description="How far the clocks of the gateway and of a token's issuer may differ.")
    ] = 30
    token_ttl_seconds: Annotated[
        int, Meta(ge=60, le=31_536_000, description="Lifetime of the tokens that `fleetgraph token` makes.")
    ] = 43_200
    secret_key: Annotated[
        Secret | None,
        Meta(
            description="Encrypts secrets at rest, and signs the gateway's own tokens: 32 random bytes in base64 "
            "(`openssl rand -base64 32`). Made on first run in development, required in production."
        ),
    ] = None

    # Group: Limits
    max_body_bytes: Annotated[int, Meta(ge=1024, description="Largest request body, in bytes.")] = 1_048_576
    compress_over_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Answers longer than this are sent as brotli or gzip to clients that take it; 0 leaves that to"
            " a proxy.",
        ),
    ] = 4_096
    max_tokens: Annotated[int, Meta(ge=1, description="Most tokens in a GraphQL document.")] = 2_000
    max_depth: Annotated[
        int,
        Meta(
            ge=1,
            description="Deepest nesting of a GraphQL operation; a connection is three levels (itself, edges, node).",
        ),
    ] = 25
    max_aliases: Annotated[int, Meta(ge=0, description="Most aliases in a GraphQL operation.")] = 100
    max_directives: Annotated[int, Meta(ge=0, description="Most directives in a GraphQL document.")] = 50
    max_cost: Annotated[int, Meta(ge=1, description="Most rows that an operation may ask for, by its page sizes.")] = (
        50_000
    )
    max_batch: Annotated[int, Meta(ge=0, description="Most operations in one HTTP request; 0 refuses batches.")] = 0
    queries_per_second: Annotated[
        float,
        Meta(ge=0, le=1_000_000, description="Queries a second that one operator or agent may send; 0 for no limit."),
    ] = 200
    mutations_per_second: Annotated[
        float,
        Meta(ge=0, le=1_000_000, description="Mutations a second that one operator or agent may send; 0 for no limit."),
    ] = 50
    request_timeout_seconds: Annotated[float, Meta(gt=0, le=600, description="Longest time one request may take.")] = 30

    # Group: Telemetry
    most_waiting_events: Annotated[
        int,
        Meta(
            ge=1_000,
            description="Op events that may wait in a process to be stored; then senders are told to come back (429).",
        ),
    ] = 100_000

    # Group: Trusted documents
    trusted_documents: Annotated[
        Path | None,
        Meta(
            description="File of the operations that applications send by their ids: a JSON object of documents by id,"
            " or Apollo's manifest. All are checked at the start."
        ),
    ] = None
    trusted_documents_only: Annotated[
        bool, Meta(description="Whether every other document is refused, GraphiQL's introspection among them.")
    ] = False

    # Group: WebSockets
    ws_init_timeout_seconds: Annotated[
        float, Meta(gt=0, le=300, description="How long a socket may stay silent before it says connection_init.")
    ] = 10
    ws_max_message_bytes: Annotated[int, Meta(ge=1024, description="Largest message of a socket, in bytes.")] = (
        1_048_576
    )
    ws_max_connections: Annotated[int, Meta(ge=1, description="Most open sockets, in each worker process.")] = 10_000
    ws_max_operations: Annotated[int, Meta(ge=1, description="Most operations that run on one socket at once.")] = 100
    ws_ping_seconds: Annotated[
        float, Meta(gt=0, le=600, description="Time between the gateway's pings to a socket.")
    ] = 20
    connections_per_caller: Annotated[
        int,
        Meta(
            ge=1,
            description="Open sockets and streams over HTTP that one operator or agent may have, in each worker "
            "process.",
        ),
    ] = 500
    allowed_origins: Annotated[
        tuple[str, ...],
        Meta(
            description="Web origins besides the gateway's own that may call it, separated by commas "
            "(`https://console.example.com`)."
        ),
    ] = ()

    # Group: Streams
    streams_per_caller: Annotated[
        int,
        Meta(ge=1, description="Subscriptions that one operator or agent may have running, in each worker process."),
    ] = 1_000
    stream_queue_messages: Annotated[
        int,
        Meta(
            ge=1,
            description="Events that wait for a subscriber who reads slowly; one more ends the stream, with its "
            "cursor.",
        ),
    ] = 1_000
    stream_queue_bytes: Annotated[int, Meta(ge=1024, description="The same, in bytes together.")] = 1_048_576
    stream_heartbeat_seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=600,
            description="Longest silence on a stream over HTTP (server-sent events, multipart); sockets have pings.",
        ),
    ] = 12

    # Group: Jobs
    jobs: Annotated[
        bool,
        Meta(
            description="Whether this gateway may run the scheduled jobs (approval expiry and escalation, "
            "notifications, stale agents); of all that may, one leads."
        ),
    ] = True

    # Group: Sight
    log_level: Annotated[LogLevel, Meta(description="`debug`, `info`, `warning` or `error`.")] = LogLevel.INFO
    log_format: Annotated[
        LogFormat, Meta(description="`text` for people, `json` for machines, `auto`: text when a terminal reads it.")
    ] = LogFormat.AUTO
    otel_endpoint: Annotated[
        str | None,
        Meta(description="OTLP/HTTP address that traces are sent to, such as http://localhost:4318. Default: none."),
    ] = None

    # Group: Many gateways
    doorbell: Annotated[
        DoorbellKind,
        Meta(
            description="What tells the other gateways of a commit: `postgres` by NOTIFY, on one connection of its "
            "own, or `nats`, which takes that load off the database."
        ),
    ] = DoorbellKind.POSTGRES
    nats_url: Annotated[
        str | None,
        Meta(description="NATS server of the doorbell (`nats://host:4222`). Required with FLEETGRAPH_DOORBELL=nats."),
    ] = None

    def __post_init__(self) -> None:
        """Raises SettingsError, naming all that the types do not tell."""
        for name in _DATABASES:
            if (url := getattr(self, name)) is not None:
                structs.force_setattr(self, name, _SCHEME.sub("postgresql://", url))
        if wrong := list(self._contradictions()):
            raise SettingsError("\n".join(wrong))

    def _contradictions(self) -> Iterator[str]:
        for name in _DATABASES:
            if not (getattr(self, name) or "postgresql://").startswith("postgresql://"):
                yield (
                    f"{PREFIX}{name.upper()}: must start with postgresql://, as in "
                    "postgresql://user:password@host:5432/fleetgraph"
                )
        if self.oidc_issuer and not self.oidc_audience:
            yield (
                f"{PREFIX}OIDC_AUDIENCE is missing: without it a token that the provider made for another "
                "application would be taken"
            )
        if self.doorbell is DoorbellKind.NATS and self.nats_url is None:
            yield f"{PREFIX}NATS_URL is missing: {PREFIX}DOORBELL=nats needs the address of its server"
        if self.trusted_documents_only and self.trusted_documents is None:
            yield f"{PREFIX}TRUSTED_DOCUMENTS_ONLY needs {PREFIX}TRUSTED_DOCUMENTS, or nothing could be run"
        if self.database_url is None:
            for name in _DATABASES[1:]:
                if getattr(self, name) is not None:
                    yield f"{PREFIX}{name.upper()} needs {PREFIX}DATABASE_URL beside it"

    @property
    def production(self) -> bool:
        """Whether this is a production set-up."""
        return self.environment is Environment.PRODUCTION


def load_settings() -> Settings:
    """Reads the environment. Raises SettingsError, naming each variable that cannot be used and why."""
    return from_environment(Settings, os.environ)


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Variables with our prefix that are no setting: misspelt, most likely."""
    known = Settings.__struct_encode_fields__
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
