"""The database roles, as SQL that may be run again at any time.

Three roles divide the work (decisions 10, 24; architecture section 7):

``fleetgraph_owner``      owns the database and its tables; migrations and seeding. Not a superuser.
``fleetgraph_gateway``    what requests run as: owns nothing, bypasses nothing, so row-level security binds it.
``fleetgraph_platform``   passes row-level security: bootstrap, retention and jobs, through a small pool of its own.
"""

from __future__ import annotations

DATABASE = "fleetgraph"
OWNER = "fleetgraph_owner"
GATEWAY = "fleetgraph_gateway"
PLATFORM = "fleetgraph_platform"

_NO_POWERS = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"


def _role(name: str, attributes: str) -> str:
    """Makes the role or mends its attributes.

    A role whose attributes are right is left alone, so that an administrator can prepare the roles and the migration
    then runs without CREATEROLE.
    """
    bypass = "true" if attributes.startswith("BYPASSRLS") else "false"
    return f"""
DO $$
DECLARE found pg_roles;
BEGIN
    SELECT * INTO found FROM pg_roles WHERE rolname = '{name}';
    IF found.rolname IS NULL THEN
        CREATE ROLE {name} {attributes} {_NO_POWERS};
    ELSIF found.rolsuper OR found.rolcreaterole OR found.rolcreatedb OR found.rolreplication
          OR found.rolbypassrls IS DISTINCT FROM {bypass} THEN
        ALTER ROLE {name} {attributes} {_NO_POWERS};
    END IF;
END $$"""


def role_statements(*, login: bool = False, owner: bool = False) -> list[str]:
    """The statements that make the gateway's and the platform's role, and with ``owner`` the owner's.

    ``login`` lets the roles connect: right for the embedded Postgres, where the kernel vouches for the caller. On an
    external server they are made NOLOGIN, and an administrator gives them LOGIN and a password; until then a connection
    of the current role takes them on with ``SET ROLE``, which is why the current role becomes a member of both.
    Needs a superuser, or CREATEROLE together with BYPASSRLS.
    """
    can_login = " LOGIN" if login else ""
    statements = [
        _role(GATEWAY, f"NOBYPASSRLS{can_login}"),
        _role(PLATFORM, f"BYPASSRLS{can_login}"),
    ]
    if owner:
        statements.append(_role(OWNER, f"NOBYPASSRLS{can_login}"))
    # Without INHERIT: the members keep their own rights until they say SET ROLE. The owner needs it to hand functions
    # that look up a tenant or a subject (SECURITY DEFINER) over to the platform role.
    members = [OWNER] if owner else ["CURRENT_USER"]
    for member in members:
        for granted in (GATEWAY, PLATFORM):
            statements.append(_membership(granted, member))
    return statements


def _membership(granted: str, member: str) -> str:
    """Lets ``member`` take the role on. Superusers can already; a role is never a member of itself."""
    who = "current_user" if member == "CURRENT_USER" else f"'{member}'"
    return f"""
DO $$
BEGIN
    IF {who} <> '{granted}' AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = {who})
       AND NOT pg_has_role({who}, '{granted}', 'SET') THEN
        EXECUTE format('GRANT {granted} TO %I WITH INHERIT FALSE, SET TRUE', {who});
    END IF;
END $$"""


def database_statement(name: str = DATABASE) -> str:
    """CREATE DATABASE for the owner; cannot run inside a transaction. `name` is a plain identifier.

    Text sorts by code point (the built-in C.UTF-8), so the same data pages in the same order on every machine, and
    prefix searches use ordinary indexes.
    """
    return (
        f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0 ENCODING 'UTF8'"
        " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"
    )


def connect_statements() -> list[str]:
    """Closes the database to every role but the three; run by a superuser or the owner, inside any database."""
    return [
        f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC",
        f"GRANT CONNECT, TEMPORARY ON DATABASE {DATABASE} TO {OWNER}",
        f"GRANT CONNECT ON DATABASE {DATABASE} TO {GATEWAY}, {PLATFORM}",
    ]


def administrator_statements(member: str) -> list[str]:
    """What an administrator runs by hand where the role ``member`` (a quoted identifier) may not make roles itself."""
    return [
        f"CREATE ROLE {GATEWAY} NOLOGIN NOBYPASSRLS {_NO_POWERS};",
        f"CREATE ROLE {PLATFORM} NOLOGIN BYPASSRLS {_NO_POWERS};",
        f"GRANT {GATEWAY}, {PLATFORM} TO {member} WITH INHERIT FALSE, SET TRUE;",
    ]
