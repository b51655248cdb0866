"""The gateway's settings, from environment variables with the prefix ``FLEETGRAPH_``.

A setting is one field: its name in capitals after the prefix is the variable, its description the documentation
(docs/settings.md is printed from here). Fields stand in groups; add yours to the group that it belongs to, or begin a
new one with a comment that starts with ``# Group:``.
"""

from __future__ import annotations

import os
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "FLEETGRAPH_"


class SettingsError(ValueError):
    """A setting cannot be used. Each line of the message names a variable and what is wrong with it."""


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


def _postgres(url: str) -> str:
    """One spelling for every way to write a Postgres address."""
    for prefix in ("postgresql+asyncpg://", "postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql://" + url.removeprefix(prefix)
    raise ValueError("must start with postgresql://, as in postgresql://user:password@host:5432/fleetgraph")


PostgresUrl = Annotated[str, AfterValidator(_postgres)]


def _algorithm(name: str) -> str:
    """Only signatures made with a private key: a shared secret or none would let anyone who knows it sign."""
    allowed = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
    if name not in allowed:
        raise ValueError(f"{name!r} is not one of {', '.join(allowed)}")
    return name


class Settings(BaseSettings):
    """Every setting of the gateway; frozen, made once at the start by ``load_settings``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    # Group: Where it runs
    environment: Environment = Field(
        default=Environment.DEVELOPMENT,
        description="`development` makes keys and a demo fleet on first run; `production` makes nothing up.",
    )
    data_dir: Path = Field(
        default=Path(".fleetgraph"),
        description="Directory of the embedded Postgres and of the keys made in development.",
    )
    host: str = Field(
        default="127.0.0.1", description="Address to listen on. `0.0.0.0` takes calls from other machines."
    )
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    workers: int = Field(default=1, ge=1, le=256, description="Worker processes that serve requests.")
    shutdown_seconds: float = Field(
        default=10, ge=0, le=600, description="How long running requests may go on after the gateway was told to stop."
    )
    trusted_proxies: str = Field(
        default="127.0.0.1",
        description="Comma-separated addresses of proxies whose X-Forwarded-* headers are believed.",
    )

    # Group: Database
    database_url: PostgresUrl | None = Field(
        default=None,
        description="Postgres 16 or later for requests, best with the role `fleetgraph_gateway`. Without it the "
        "embedded Postgres is used. A role that row-level security does not bind takes on `fleetgraph_gateway`.",
    )
    owner_database_url: PostgresUrl | None = Field(
        default=None,
        description="The same database with the role that owns the tables, for migrations and seeding. "
        "Default: FLEETGRAPH_DATABASE_URL.",
    )
    platform_database_url: PostgresUrl | None = Field(
        default=None,
        description="The same database with a role that passes row-level security, for bootstrap, retention and jobs. "
        "Default: FLEETGRAPH_DATABASE_URL.",
    )
    read_database_url: PostgresUrl | None = Field(
        default=None, description="A read replica for queries. Default: FLEETGRAPH_DATABASE_URL."
    )
    pool_size: int = Field(
        default=16,
        ge=1,
        le=1000,
        description="Connections for compiled queries, as many for commands of a single statement, and as many for "
        "everything else, in each worker process.",
    )
    pool_timeout_seconds: float = Field(
        default=5, gt=0, le=300, description="How long a request waits for a connection before it is refused."
    )
    platform_pool_size: int = Field(
        default=2, ge=1, le=100, description="Connections of the platform role, in each process."
    )
    statement_timeout_ms: int = Field(
        default=15_000, ge=1, le=600_000, description="Milliseconds after which Postgres ends a statement of a request."
    )

    compiled_queries: bool = Field(
        default=True,
        description="Whether queries are compiled to SQL. Without it every one is answered field by field, to the same "
        "result and many times slower; for comparison, and should a compiled answer ever be in doubt.",
    )

    # Group: Tokens and keys
    oidc_issuer: str | None = Field(
        default=None,
        description="Address of the OpenID provider whose tokens are taken. Without it: local tokens only.",
    )
    oidc_audience: str | None = Field(
        default=None,
        description="The audience that a provider's token must carry. Required with FLEETGRAPH_OIDC_ISSUER.",
    )
    oidc_algorithms: Annotated[tuple[Annotated[str, AfterValidator(_algorithm)], ...], NoDecode] = Field(
        default=("RS256", "ES256"), description="Signature algorithms that are taken, separated by commas."
    )
    clock_skew_seconds: int = Field(
        default=30, ge=0, le=300, description="How far the clocks of the gateway and of a token's issuer may differ."
    )
    token_ttl_seconds: int = Field(
        default=43_200, ge=60, le=31_536_000, description="Lifetime of the tokens that `fleetgraph token` makes."
    )
    secret_key: SecretStr | None = Field(
        default=None,
        description="Encrypts secrets at rest, and signs the gateway's own tokens: 32 random bytes in base64 "
        "(`openssl rand -base64 32`). Made on first run in development, required in production.",
    )

    # Group: Limits
    max_body_bytes: int = Field(default=1_048_576, ge=1024, description="Largest request body, in bytes.")
    compress_over_bytes: int = Field(
        default=4_096,
        ge=0,
        description="Answers longer than this are sent as brotli or gzip to clients that take it; 0 leaves that to a "
        "proxy.",
    )
    max_tokens: int = Field(default=2_000, ge=1, description="Most tokens in a GraphQL document.")
    max_depth: int = Field(
        default=25,
        ge=1,
        description="Deepest nesting of a GraphQL operation; a connection is three levels (itself, edges, node).",
    )
    max_aliases: int = Field(default=100, ge=0, description="Most aliases in a GraphQL operation.")
    max_directives: int = Field(default=50, ge=0, description="Most directives in a GraphQL document.")
    max_cost: int = Field(
        default=50_000, ge=1, description="Most rows that an operation may ask for, by its page sizes."
    )
    max_batch: int = Field(default=0, ge=0, description="Most operations in one HTTP request; 0 refuses batches.")
    queries_per_second: float = Field(
        default=200, ge=0, description="Queries a second that one operator or agent may send; 0 for no limit."
    )
    mutations_per_second: float = Field(
        default=50, ge=0, description="Mutations a second that one operator or agent may send; 0 for no limit."
    )
    request_timeout_seconds: float = Field(default=30, gt=0, le=600, description="Longest time one request may take.")

    # Group: Telemetry
    most_waiting_events: int = Field(
        default=100_000,
        ge=1_000,
        description="Op events that may wait in a process to be stored; then senders are told to come back (429).",
    )

    # Group: Trusted documents
    trusted_documents: Path | None = Field(
        default=None,
        description="File of the operations that applications send by their ids: a JSON object of documents by id, or "
        "Apollo's manifest. All are checked at the start.",
    )
    trusted_documents_only: bool = Field(
        default=False, description="Whether every other document is refused, GraphiQL's introspection among them."
    )

    # Group: WebSockets
    ws_init_timeout_seconds: float = Field(
        default=10, gt=0, le=300, description="How long a socket may stay silent before it says connection_init."
    )
    ws_max_message_bytes: int = Field(default=1_048_576, ge=1024, description="Largest message of a socket, in bytes.")
    ws_max_connections: int = Field(default=10_000, ge=1, description="Most open sockets, in each worker process.")
    ws_max_operations: int = Field(default=100, ge=1, description="Most operations that run on one socket at once.")
    ws_ping_seconds: float = Field(
        default=20, gt=0, le=600, description="Time between the gateway's pings to a socket."
    )
    connections_per_caller: int = Field(
        default=500,
        ge=1,
        description="Open sockets and streams over HTTP that one operator or agent may have, in each worker process.",
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Web origins besides the gateway's own that may call it, separated by commas "
        "(`https://console.example.com`).",
    )

    # Group: Streams
    streams_per_caller: int = Field(
        default=1_000,
        ge=1,
        description="Subscriptions that one operator or agent may have running, in each worker process.",
    )
    stream_queue_messages: int = Field(
        default=1_000,
        ge=1,
        description="Events that wait for a subscriber who reads slowly; one more ends the stream, with its cursor.",
    )
    stream_queue_bytes: int = Field(default=1_048_576, ge=1024, description="The same, in bytes together.")
    stream_heartbeat_seconds: float = Field(
        default=12,
        gt=0,
        le=600,
        description="Longest silence on a stream over HTTP (server-sent events, multipart); sockets have pings.",
    )

    # Group: Jobs
    jobs: bool = Field(
        default=True,
        description="Whether this gateway may run the scheduled jobs (approval expiry and escalation, notifications, "
        "stale agents); of all that may, one leads.",
    )

    # Group: Sight
    log_level: LogLevel = Field(default=LogLevel.INFO, description="`debug`, `info`, `warning` or `error`.")
    log_format: LogFormat = Field(
        default=LogFormat.AUTO,
        description="`text` for people, `json` for machines, `auto`: text when a terminal reads it.",
    )
    otel_endpoint: str | None = Field(
        default=None,
        description="OTLP/HTTP address that traces are sent to, such as http://localhost:4318. Default: none.",
    )

    # Group: Many gateways
    doorbell: DoorbellKind = Field(
        default=DoorbellKind.POSTGRES,
        description="What tells the other gateways of a commit: `postgres` by NOTIFY, on one connection of its own, or "
        "`nats`, which takes that load off the database.",
    )
    nats_url: str | None = Field(
        default=None,
        description="NATS server of the doorbell (`nats://host:4222`). Required with FLEETGRAPH_DOORBELL=nats.",
    )

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: Any) -> Any:
        """Lists are written with commas, the way people write them, not as JSON."""
        if isinstance(values, dict):
            for name in ("oidc_algorithms", "allowed_origins"):
                if isinstance(values.get(name), str):
                    parts = values[name].split(",")
                    values = {**values, name: tuple(part.strip() for part in parts if part.strip())}
        return values

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        if self.oidc_issuer and not self.oidc_audience:
            raise ValueError(
                f"{PREFIX}OIDC_AUDIENCE is missing: without it a token that the provider made for another "
                "application would be taken"
            )
        if self.doorbell is DoorbellKind.NATS and self.nats_url is None:
            raise ValueError(f"{PREFIX}NATS_URL is missing: {PREFIX}DOORBELL=nats needs the address of its server")
        if self.trusted_documents_only and self.trusted_documents is None:
            raise ValueError(f"{PREFIX}TRUSTED_DOCUMENTS_ONLY needs {PREFIX}TRUSTED_DOCUMENTS, or nothing could be run")
        if self.database_url is None:
            for name in ("owner_database_url", "platform_database_url", "read_database_url"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{PREFIX}{name.upper()} needs {PREFIX}DATABASE_URL beside it")
        return self

    @property
    def production(self) -> bool:
        """Whether this is a production set-up."""
        return self.environment is Environment.PRODUCTION


def load_settings() -> Settings:
    """Reads the environment. Raises SettingsError, naming each variable that cannot be used and why."""
    try:
        return Settings()
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            message = problem["msg"].removeprefix("Value error, ")
            if problem["loc"]:
                lines.append(f"{PREFIX}{str(problem['loc'][0]).upper()}: {message}")
            else:
                lines.append(message)
        raise SettingsError("\n".join(lines)) from None


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Variables with our prefix that are no setting: misspelt, most likely."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(name for name in environment if name.startswith(PREFIX) and name not in known)


def settings_markdown() -> str:
    """The reference page docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Environment variables; all have defaults. `fleetgraph doctor` tells which of them cannot be used, and why.",
    ]
    groups = _groups()
    for name, field in Settings.model_fields.items():
        if name in groups:
            lines += ["", f"## {groups[name]}", "", "| Variable | Kind | Default | Meaning |", "|---|---|---|---|"]
        default = field.default
        if isinstance(default, tuple):
            default = ",".join(default)
        if isinstance(default, bool):
            default = str(default).lower()
        shown = "" if default in (None, "") else f"`{default}`"
        lines.append(f"| `{PREFIX}{name.upper()}` | {_kind(field.annotation)} | {shown} | {field.description} |")
    return "\n".join(lines) + "\n"


def _groups() -> dict[str, str]:
    """The first field of each group -> the group's heading, from the comments above."""
    groups: dict[str, str] = {}
    heading = None
    for line in Path(__file__).read_text().splitlines():
        text = line.strip()
        if text.startswith("# Group: "):
            heading = text.removeprefix("# Group: ")
        elif heading and (name := text.split(":", 1)[0]) in Settings.model_fields:
            groups[name] = heading
            heading = None
    return groups


def _kind(annotation: Any) -> str:
    if typing.get_origin(annotation) is Annotated:
        return _kind(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return _kind(next(part for part in typing.get_args(annotation) if part is not type(None)))
    if typing.get_origin(annotation) is tuple:
        return "list"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return "one of " + ", ".join(f"`{member.value}`" for member in annotation)
    kinds: dict[Any, str] = {
        bool: "`true` or `false`",
        int: "integer",
        float: "number",
        Path: "path",
        str: "text",
        SecretStr: "secret",
    }
    return kinds[annotation]
