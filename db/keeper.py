"""Runs the embedded Postgres, and sees it off when its last user has gone.

This file is started as a program of its own (``python -I -S keeper.py``), so it imports the standard library alone.

``run`` changes to an ordinary account and becomes the command. Postgres refuses to run as root, so a root user's
``initdb`` goes through here. ``keep`` starts Postgres the same way as its child and then waits for an exclusive lock on
the file of users. Every process that uses the server holds a shared lock on that file, and the kernel drops it however
the process ends; so when the keeper gets its lock, nobody is left, and it stops Postgres. That is why a gateway killed
by force leaves no database behind.

The child inherits the descriptor of the server lock: that lock is held for as long as any process of Postgres lives,
which tells whether a server runs on a directory without trusting a process id from a file.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence

CAP_DAC_OVERRIDE = 1
_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522


def become(uid: int, gid: int, *, capability: int | None = None) -> None:
    """Changes this process from root to an ordinary account, for good.

    With ``capability`` (Linux) that one privilege is kept, and handed on to the programs that this process becomes:
    ``CAP_DAC_OVERRIDE`` lets Postgres reach its files through directories that only root may enter, such as /root.
    Raises OSError where the kernel does not allow it.
    """
    os.setgroups([])
    os.setgid(gid)
    if capability is None:
        os.setuid(uid)
        return
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int, what: str) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{what}: {os.strerror(number)}")

    # Without this bit access(2), by which Postgres looks for its own programs, would not count the privilege. It also
    # leaves all privileges in place over setuid, until capset gives up the others.
    check(libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "prctl(PR_SET_SECUREBITS)")
    os.setuid(uid)
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    mask = 1 << capability
    # Two triples of effective, permitted and inheritable: capabilities 0 to 31, then 32 to 63.
    data = struct.pack("6I", mask, mask, mask, 0, 0, 0)
    check(libc.capset(header, data), "capset")
    check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0), "prctl(PR_CAP_AMBIENT)")


def _stop_with_parent() -> None:
    """Asks Linux to stop Postgres when the keeper itself is killed; elsewhere the next start finds the server."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)


def keep(users_file: str, server_lock: int, account: tuple[int, int, int | None] | None, command: Sequence[str]) -> int:
    """Starts ``command`` and waits until it ends, stopping it (fast shutdown) when nobody uses it any more.

    ``server_lock`` is an open descriptor that the command inherits; this process gives up its own copy.
    Returns the command's exit code.
    """

    def prepare() -> None:
        if account is not None:
            become(account[0], account[1], capability=account[2])
        _stop_with_parent()

    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[server_lock], preexec_fn=prepare)
    os.close(server_lock)

    def wait_for_the_last() -> None:
        users = os.open(users_file, os.O_RDWR)
        fcntl.flock(users, fcntl.LOCK_EX)
        # The lock stays until this process ends: who comes meanwhile waits, and then starts a server of its own.
        child.send_signal(signal.SIGINT)

    # Whoever ends the keeper by name means the server; it closes in good order, and its end is ours.
    signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGINT))
    threading.Thread(target=wait_for_the_last, daemon=True).start()
    return child.wait()


def main(arguments: Sequence[str]) -> int:
    """Takes ``run UID GID CAPABILITY -- command…`` or ``keep USERS_FILE LOCK_FD UID GID CAPABILITY -- command…``.

    Where there is nothing to change, the three of the account are "-". Returns the exit code.
    """
    split = arguments.index("--")
    mode, *fields = arguments[:split]
    command = arguments[split + 1 :]
    uid, gid, capability = fields[-3:]
    account = None if uid == "-" else (int(uid), int(gid), None if capability == "-" else int(capability))
    if mode == "keep":
        return keep(fields[0], int(fields[1]), account, command)
    if account is not None:
        become(account[0], account[1], capability=account[2])
    os.execv(command[0], list(command))  # noqa: S606


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
