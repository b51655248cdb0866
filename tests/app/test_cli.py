"""The command ``fleetgraph``: what each command prints, and what it says when it cannot (issue 2, point 1)."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog
from rich.console import Console

from app import cli
from app.cli import showing
from app.cli.doctor import Verdict, findings
from app.schema import print_schema
from db.embedded import EmbeddedPostgres
from tests.app.legacy.zips import row, write_snapshot


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory with an empty, migrated database that stays up while this module's tests run."""
    directory = tmp_path_factory.mktemp("data")
    settings = {"fsync": "off", "shared_buffers": "32MB", "max_connections": "30"}
    with EmbeddedPostgres(directory, settings=settings):
        yield directory


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    """A command sets logging up for its process, which here is that of all tests."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def fleetgraph(
    data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], _logging_as_before: None
) -> Command:
    """Runs the command as its entry point does, in this process."""
    for name in list(os.environ):
        if name.startswith("FLEETGRAPH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FLEETGRAPH_DATA_DIR", str(data))
    monkeypatch.setattr(showing, "console", Console(stderr=True, highlight=False, width=500))

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["fleetgraph", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return run


def _verdicts() -> dict[str, Verdict]:
    worst: dict[str, Verdict] = {}
    order = list(Verdict)
    for finding in findings():
        before = worst.get(finding.subject, Verdict.GOOD)
        worst[finding.subject] = max(before, finding.verdict, key=order.index)
    return worst


def test_the_commands_are_those_of_the_issue(fleetgraph: Command) -> None:
    said = fleetgraph("--help")
    assert said.code == 0
    names = ("serve", "migrate", "seed", "token", "import-legacy", "schema", "lineage", "doctor")
    for name in names:
        assert f" {name} " in said.out
        assert fleetgraph(name, "--help").code == 0


def test_schema_prints_the_schema_and_nothing_else(fleetgraph: Command) -> None:
    said = fleetgraph("schema")
    assert said == (0, print_schema(), "")


def test_migrate_may_be_run_again(fleetgraph: Command) -> None:
    assert fleetgraph("migrate").code == 0
    said = fleetgraph("migrate")
    assert said.code == 0
    assert "is at the newest version" in said.err


def test_a_platform_token_is_the_last_line(fleetgraph: Command) -> None:
    """Role names in any case; only the token goes to the output, so that a shell can take it."""
    fleetgraph("migrate")
    said = fleetgraph("token", "--role", "PlatForm")
    assert said.code == 0
    (line,) = said.out.splitlines()
    assert line.count(".") == 2
    assert "Good until" in said.err


def test_a_token_for_nobody_says_why(fleetgraph: Command) -> None:
    fleetgraph("migrate")
    said = fleetgraph("token", "--tenant", "nowhere", "--role", "admin")
    assert said.code == 1
    assert said.out == ""
    assert "--tenant: there is no tenant 'nowhere'" in said.err
    assert "Traceback" not in said.err


def test_a_setting_that_cannot_be_used_is_named(fleetgraph: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETGRAPH_PORT", "eighty")
    said = fleetgraph("serve")
    assert said.code == 1
    assert said.err.startswith("FLEETGRAPH_PORT: ")
    assert "Traceback" not in said.err


def test_a_port_that_is_taken_is_told_before_anything_starts(
    fleetgraph: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLEETGRAPH_DATA_DIR", str(tmp_path / "untouched"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("FLEETGRAPH_PORT", str(port))
        said = fleetgraph("serve")
    assert said.code == 1
    assert f"port {port}" in said.err
    assert f"FLEETGRAPH_PORT={port + 1}" in said.err
    assert not (tmp_path / "untouched").exists()


def test_a_database_that_does_not_answer_is_told_without_its_password(
    fleetgraph: Command, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("FLEETGRAPH_DATABASE_URL", f"postgresql://me:hush@127.0.0.1:{unused_tcp_port}/fleet")
    said = fleetgraph("migrate")
    assert said.code == 1
    assert "Cannot connect to postgresql://me@127.0.0.1" in said.err
    assert "hush" not in said.err


def test_production_does_not_migrate_by_itself(
    fleetgraph: Command, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    """Several gateways start at once there, and their role owns nothing."""
    with EmbeddedPostgres(data) as server:
        monkeypatch.setenv("FLEETGRAPH_DATABASE_URL", server.url(database="postgres", user="postgres"))
        monkeypatch.setenv("FLEETGRAPH_ENVIRONMENT", "production")
        monkeypatch.setenv("FLEETGRAPH_SECRET_KEY", "k" * 44)
        monkeypatch.setenv("FLEETGRAPH_PORT", "0")
        said = fleetgraph("serve")
    assert said.code == 1
    assert "Run `fleetgraph migrate`" in said.err


def test_an_import_ends_with_its_report_and_a_second_one_changes_nothing(fleetgraph: Command, tmp_path: Path) -> None:
    """MIG-0c, MIG-11: per table what was read and written, and the checks; as JSON for machines."""
    fleetgraph("migrate")
    snapshot = tmp_path / "snapshot.zip"
    write_snapshot(snapshot, {"projects": [row("p1", name="Core", slug="core")]})
    said = fleetgraph("import-legacy", str(snapshot), "--tenant", "brought-over", "--as-of", "2026-01-01")
    assert said.code == 0, said.err
    assert "projects" in said.out
    assert "✓" in said.out
    again = fleetgraph("import-legacy", str(snapshot), "--tenant", "brought-over", "--json")
    assert again.code == 0
    report = json.loads(again.out)
    assert report["committed"] is True
    assert report["written"] == 0
    assert report["tables"]["projects"]["read"] == 1


def test_a_file_that_is_no_snapshot_is_refused(fleetgraph: Command, tmp_path: Path) -> None:
    fleetgraph("migrate")
    (tmp_path / "letter.txt").write_text("dear")
    said = fleetgraph("import-legacy", str(tmp_path / "letter.txt"), "--tenant", "brought-over")
    assert said.code == 1
    assert "is no ZIP file" in said.err
    assert "Traceback" not in said.err


class TestDoctor:
    """`doctor` says what is wrong and how to mend it; exit code 1 when something is."""

    @pytest.fixture(autouse=True)
    def _ready(self, fleetgraph: Command, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
        assert fleetgraph("migrate").code == 0
        monkeypatch.setenv("FLEETGRAPH_PORT", str(unused_tcp_port))

    def test_nothing_is_wrong(self, fleetgraph: Command) -> None:
        said = fleetgraph("doctor")
        assert said.code == 0
        assert said.out.endswith("Nothing is wrong.\n")
        found = _verdicts()
        assert {"Python", "Settings", "Data directory", "Postgres", "Roles", "Migrations", "Signing key"} <= set(found)
        assert Verdict.WRONG not in found.values()

    def test_a_setting(self, fleetgraph: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FLEETGRAPH_MAX_DEPTH", "deep")
        said = fleetgraph("doctor")
        assert said.code == 1
        assert "FLEETGRAPH_MAX_DEPTH" in said.out
        assert "docs/settings.md" in said.out

    def test_a_misspelt_setting_is_a_warning(self, fleetgraph: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FLEETGRAPH_PROT", "1")
        said = fleetgraph("doctor")
        assert said.code == 0
        assert "FLEETGRAPH_PROT is no setting" in said.out

    def test_a_data_directory_that_cannot_be_written(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("FLEETGRAPH_DATA_DIR", str(tmp_path / "file"))
        found = {each.subject: each for each in findings()}
        assert found["Data directory"].verdict is Verdict.WRONG
        assert "FLEETGRAPH_DATA_DIR" in found["Data directory"].remedy

    def test_a_database_without_tables(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("FLEETGRAPH_DATA_DIR", str(tmp_path / "data"))
        found = {each.subject: each for each in findings()}
        assert found["Migrations"].verdict is Verdict.WRONG
        assert found["Migrations"].remedy == "Run `fleetgraph migrate`."

    def test_a_database_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FLEETGRAPH_DATABASE_URL", "postgresql://me:hush@127.0.0.1:1/fleet")
        found = {each.subject: each for each in findings()}
        assert found["Postgres"].verdict is Verdict.WRONG
        assert "hush" not in found["Postgres"].what

    def test_requests_as_a_superuser(self, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
        with EmbeddedPostgres(data) as server:
            monkeypatch.setenv("FLEETGRAPH_DATABASE_URL", server.url(user="postgres"))
            found = {each.subject: each for each in findings()}
        assert found["Roles"].verdict is Verdict.WARNING
        assert "FLEETGRAPH_OWNER_DATABASE_URL" in found["Roles"].what

    def test_a_key_that_others_can_read(self, data: Path) -> None:
        assert _verdicts()["Signing key"] is Verdict.GOOD
        key = data / "keys/signing.jwk"
        key.chmod(0o644)
        try:
            assert _verdicts()["Signing key"] is Verdict.WRONG
        finally:
            key.chmod(0o600)

    def test_a_port_that_something_else_uses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            monkeypatch.setenv("FLEETGRAPH_PORT", str(taken.getsockname()[1]))
            found = {each.subject: each for each in findings()}
        assert found["Port"].verdict is Verdict.WRONG
        assert "FLEETGRAPH_PORT" in found["Port"].remedy

    def test_a_page_that_was_not_built(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from app.http.graphiql import Page

        monkeypatch.setattr(Page, "read", lambda self: None)
        found = {each.subject: each for each in findings()}
        assert found["GraphiQL"].verdict is Verdict.WARNING
        assert "graphiql_build" in found["GraphiQL"].what

    def test_development_open_to_other_machines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FLEETGRAPH_HOST", "0.0.0.0")
        assert _verdicts()["Development"] is Verdict.WARNING

    def test_production_without_keys(self, fleetgraph: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FLEETGRAPH_ENVIRONMENT", "production")
        said = fleetgraph("doctor")
        assert said.code == 1
        assert "nobody can sign in" in said.out
        assert "FLEETGRAPH_SECRET_KEY is missing" in said.out
        assert "FLEETGRAPH_DATABASE_URL" in said.out

    def test_production_with_an_issuer_over_an_open_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FLEETGRAPH_ENVIRONMENT", "production")
        monkeypatch.setenv("FLEETGRAPH_SECRET_KEY", "k" * 44)
        monkeypatch.setenv("FLEETGRAPH_OIDC_ISSUER", "http://id.example")
        monkeypatch.setenv("FLEETGRAPH_OIDC_AUDIENCE", "fleetgraph")
        assert _verdicts()["Production"] is Verdict.WRONG
        monkeypatch.setenv("FLEETGRAPH_OIDC_ISSUER", "https://id.example")
        assert _verdicts()["Production"] is Verdict.WARNING
