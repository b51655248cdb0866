"""Who takes part: how each server is started, asked, and how its answers are compared with the others'.

A new contender is a subclass of `Contender` in `CONTENDERS`. One whose schema differs says how it is asked the same
thing (`requests`) and how its answer reads in the gateway's terms (`answer`).
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import orjson

from app.cli.tokens import issue
from app.settings import Secret
from bench import postgraphile
from bench.fleet import TENANT, Fleet
from bench.queries import Query, comparable

ROOT: Final = Path(__file__).resolve().parents[1]
_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 30.0
_ADDRESS: Final = re.compile(r"http://127\.0\.0\.1:(\d+)")

POOL: Final = 16
"""Database connections of every contender."""


class ContenderFailed(Exception):
    """A server did not start, or answered wrongly; the message says which and why."""


@dataclass(frozen=True)
class Request:
    """One HTTP request, a POST."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def raw(self, port: int) -> bytes:
        """The bytes that are sent."""
        headers = {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(self.body)), **self.headers}
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True)
class Server:
    """A contender that runs."""

    contender: Contender
    port: int
    pid: int

    def ask(self, request: Request) -> bytes:
        """The body of the answer. Raises ContenderFailed for another status than 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("POST", request.path, request.body, dict(request.headers))
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise ContenderFailed(f"{self.contender.name} answered {response.status}: {body[:500]!r}")
        return body


class Contender(ABC):
    """A way to serve the fleet."""

    name: str
    """Short, for tables and options."""
    what: str
    """What it is, and what it does and does not do for each request, for the report."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The program and its arguments. It listens on a free port of 127.0.0.1 and prints the address."""

    @abstractmethod
    def environment(self, fleet: Fleet) -> Mapping[str, str]:
        """Variables of the program beside those of this process; none of those that begin with FLEETGRAPH_."""

    def headers(self, fleet: Fleet) -> Mapping[str, str]:
        """Headers of each request."""
        return {"Content-Type": "application/json", "Accept": "application/json"}

    def requests(self, query: Query, fleet: Fleet) -> Sequence[Request]:
        """The requests that ask this query, one for each set of variables."""
        headers = self.headers(fleet)
        return [
            Request(
                "/graphql",
                orjson.dumps({"query": query.text, "variables": variables, "operationName": query.operation}),
                headers,
            )
            for variables in query.variables(fleet.samples)
        ]

    def answer(self, query: Query, body: bytes) -> Any:
        """The answer's data, comparable with other contenders'. Raises ContenderFailed where it tells of errors."""
        response = orjson.loads(body)
        if "errors" in response or response.get("data") is None:
            raise ContenderFailed(f"{self.name}, {query.name}: {body[:1000]!r}")
        return comparable(response["data"])

    @contextmanager
    def running(self, fleet: Fleet) -> Iterator[Server]:
        """The started server, for as long as the block lasts. Its output goes to a file beside the data."""
        logs = fleet.directory / "logs"
        logs.mkdir(exist_ok=True)
        path = logs / f"{self.name}.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLEETGRAPH_")}
        with path.open("wb") as log:
            process = subprocess.Popen(
                list(self.command()),
                cwd=ROOT,
                env={**inherited, "PYTHONUNBUFFERED": "1", **self.environment(fleet)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield Server(self, _port(self.name, process, path), process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _port(name: str, process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        text = log.read_text(errors="replace")
        if found := _ADDRESS.search(text):
            return int(found[1])
        if process.poll() is not None:
            raise ContenderFailed(f"{name} ended with {process.returncode} before it served:\n{text[-3000:]}")
        time.sleep(0.05)
    raise ContenderFailed(f"{name} did not serve within {_START_SECONDS:.0f} s; its output is in {log}")


class Gateway(Contender):
    """The gateway itself."""

    name = "gateway"
    what = (
        "Fleetgraph as `fleetgraph serve` runs it in production: one worker, bearer tokens, permissions, "
        "row-level security and the code's own tenant condition, limits of depth, cost and rate (out of reach), "
        "metrics, request log; the scheduled jobs are off"
    )

    def __init__(self) -> None:
        self._secret = base64.b64encode(secrets.token_bytes(32)).decode()
        self._token: str | None = None

    def command(self) -> Sequence[str]:
        return [sys.executable, "-c", "from app.cli import main; main()", "serve"]

    def environment(self, fleet: Fleet) -> Mapping[str, str]:
        settings = fleet.settings()
        return {
            "FLEETGRAPH_ENVIRONMENT": "production",
            "FLEETGRAPH_DATA_DIR": str(settings.data_dir),
            "FLEETGRAPH_DATABASE_URL": fleet.gateway_url,
            "FLEETGRAPH_OWNER_DATABASE_URL": fleet.owner_url,
            "FLEETGRAPH_PLATFORM_DATABASE_URL": fleet.platform_url,
            "FLEETGRAPH_SECRET_KEY": self._secret,
            "FLEETGRAPH_PORT": "0",
            "FLEETGRAPH_WORKERS": "1",
            "FLEETGRAPH_POOL_SIZE": str(POOL),
            # The limiter counts every request, and one caller sends them all.
            "FLEETGRAPH_QUERIES_PER_SECOND": "1000000",
            # Expiry and quarantine would change, from minute to minute, the rows that are asked for.
            "FLEETGRAPH_JOBS": "false",
        }

    def headers(self, fleet: Fleet) -> Mapping[str, str]:
        if self._token is None:
            settings = fleet.settings(secret_key=Secret(self._secret))
            self._token = issue(settings, tenant=TENANT, role="admin").text
        return {**super().headers(fleet), "Authorization": f"Bearer {self._token}"}


class _Module(Contender):
    """A program of this package."""

    module: str

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", self.module]

    def environment(self, fleet: Fleet) -> Mapping[str, str]:
        return {
            "BENCH_DATABASE_URL": fleet.platform_url,
            "BENCH_TENANT_ID": str(fleet.tenant_id),
            "BENCH_POOL_SIZE": str(POOL),
        }


class PlainStrawberry(_Module):
    """What Strawberry's documentation teaches."""

    name = "plain"
    what = (
        "plain Strawberry: types with resolvers, SQLAlchemy's ORM over the same models, a dataloader for each "
        "relation, `strawberry.asgi.GraphQL`; no tokens, permissions, row-level security or limits, one fixed tenant"
    )
    module = "bench.plain_strawberry"


class Bare(_Module):
    """The floor: no GraphQL at all."""

    name = "bare"
    what = (
        "bare ASGI handler: one hand-written SQL statement a query, prepared, that gives the whole answer as JSON; "
        "no GraphQL, tokens, permissions, row-level security or limits, one fixed tenant"
    )
    module = "bench.bare"


class Postgraphile(Contender):
    """The fastest of the generators of GraphQL from a schema of Postgres."""

    name = "postgraphile"
    what = (
        "PostGraphile 5 on Node: the Amber preset with the connection-filter plugin, prepared statements, one process; "
        "no tokens, permissions, row-level security or limits, the tenant is a condition of each query"
    )

    def command(self) -> Sequence[str]:
        postgraphile.install()
        return [postgraphile.node(), str(postgraphile.DIRECTORY / "server.mjs")]

    def environment(self, fleet: Fleet) -> Mapping[str, str]:
        return {
            "BENCH_DATABASE_URL": fleet.platform_url,
            "BENCH_POOL_SIZE": str(POOL),
            "NODE_ENV": "production",
            "GRAPHILE_ENV": "production",
        }

    def requests(self, query: Query, fleet: Fleet) -> Sequence[Request]:
        headers = self.headers(fleet)
        return [
            Request("/graphql", postgraphile.request_body(query, given), headers)
            for given in postgraphile.variables(query, fleet.samples, fleet.tenant_id)
        ]

    def answer(self, query: Query, body: bytes) -> Any:
        response = orjson.loads(body)
        if "errors" in response or response.get("data") is None:
            raise ContenderFailed(f"{self.name}, {query.name}: {body[:1000]!r}")
        return comparable(postgraphile.in_our_terms(response["data"]))


class Same(_Module):
    """The handler around the statements that the gateway itself makes."""

    name = "same"
    what = (
        "bare ASGI handler around the gateway's own statements for the query, taken from its plans: prepared, a "
        "snapshot where they are several, the rows written by the plan; no GraphQL, tokens, permissions, limits or "
        "metrics, one fixed tenant that row-level security is set to"
    )
    module = "bench.same"

    def environment(self, fleet: Fleet) -> Mapping[str, str]:
        return {**super().environment(fleet), "BENCH_DATABASE_URL": fleet.gateway_url}


CONTENDERS: Final[Mapping[str, type[Contender]]] = {
    kind.name: cast(type[Contender], kind) for kind in (Gateway, PlainStrawberry, Bare, Same, Postgraphile)
}
"""By name; the first is the one that the others are compared with."""
