"""Which account the embedded Postgres runs as, when the one who starts it is root.

Postgres refuses to run as root. Its processes then run as an ordinary account that the machine already has, and the
data directory belongs to that account. Nothing on the machine is changed for it: no account is made, no directory above
the data is opened. Where the way to the data or to the programs is closed to that account (a clone in /root), Postgres
keeps the single privilege to pass through it, see ``db.keeper.become``.
"""

from __future__ import annotations

import os
import pwd
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from db.keeper import CAP_DAC_OVERRIDE

_NEEDED = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": CAP_DAC_OVERRIDE, "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SETPCAP": 8}
"""What root needs to run Postgres as somebody else, by the kernel's numbers; ordinary containers leave root these."""

# The account of a distribution's own Postgres is made for this; "nobody" exists everywhere.
_CANDIDATES = ("postgres", "nobody")


class EmbeddedPostgresError(RuntimeError):
    """The embedded Postgres cannot do what was asked; the message says why and how to mend it."""


class Account(NamedTuple):
    """An ordinary account: numeric ids, and the Linux capability that Postgres keeps, if any."""

    uid: int
    gid: int
    capability: int | None

    def arguments(self) -> list[str]:
        """The account as arguments of ``db/keeper.py``."""
        return [str(self.uid), str(self.gid), "-" if self.capability is None else str(self.capability)]


def account_for(data: Path, programs: Iterable[Path]) -> Account | None:
    """The account to run Postgres as, or None when the current one will do (anyone but root).

    A data directory that belongs to an ordinary account decides; a new one gets the first account that exists.
    ``programs`` are the files and directories of Postgres itself, which that account must be able to read.
    Raises EmbeddedPostgresError where the machine has no such account, or root may not become it.
    """
    if os.geteuid() != 0:
        return None
    if withheld := _withheld():
        raise EmbeddedPostgresError(
            f"You are root, and Postgres cannot run as root; but this container withholds {', '.join(withheld)} from "
            "root, so Postgres cannot run as somebody else either. Run fleetgraph as an ordinary user."
        )
    uid, gid = _owner(data) or _first_candidate()
    blocked = [path for path in (data, *programs) if not _may_reach(path, uid, gid)]
    capability = CAP_DAC_OVERRIDE if blocked and sys.platform == "linux" else None
    return Account(uid, gid, capability)


def _withheld() -> list[str]:
    """The privileges of _NEEDED that this process, root, does not have. Only Linux divides root's power."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return []
    held = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), -1)
    return [name for name, bit in _NEEDED.items() if not held >> bit & 1]


def give(path: Path, account: Account) -> None:
    """Makes the account the owner of a directory and of all that is in it."""
    os.chown(path, account.uid, account.gid)
    for parent, directories, files in os.walk(path):
        for name in (*directories, *files):
            os.chown(os.path.join(parent, name), account.uid, account.gid, follow_symlinks=False)


def _owner(data: Path) -> tuple[int, int] | None:
    try:
        found = data.stat()
    except FileNotFoundError:
        return None
    return (found.st_uid, found.st_gid) if found.st_uid != 0 else None


def _first_candidate() -> tuple[int, int]:
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise EmbeddedPostgresError(
        f"Postgres refuses to run as root, and this machine has none of the accounts {', '.join(_CANDIDATES)}. "
        "Run fleetgraph as an ordinary user, or set FLEETGRAPH_DATABASE_URL to an existing Postgres."
    )


def _may_reach(path: Path, uid: int, gid: int) -> bool:
    """Whether the account may enter every directory above the path, and read the path itself where it exists."""
    resolved = path.resolve()
    for step in (*reversed(resolved.parents), resolved):
        try:
            found = step.stat()
        except FileNotFoundError:
            return True
        if found.st_uid == uid:
            bits = found.st_mode >> 6
        elif found.st_gid == gid:
            bits = found.st_mode >> 3
        else:
            bits = found.st_mode
        wanted = stat.S_IXOTH if stat.S_ISDIR(found.st_mode) and step != resolved else stat.S_IROTH
        if not bits & wanted:
            return False
    return True
