"""Several worker processes on one socket: started, started again when one dies, and stopped together.

Uvicorn has a supervisor too, but its workers close every WebSocket the moment they are told to stop.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

import structlog

_START_FAILED = 3
"""Uvicorn's exit code for an application that could not start; another try would end the same way."""
_PAUSE_SECONDS = 1.0

Work = Callable[[socket.socket, Callable[[], None]], None]
"""What a worker does with the socket until it is told to stop, calling the second argument when it takes requests.
A function of a module, since it goes to the worker by name."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("fleetgraph.workers")


def run_workers(
    count: int, work: Work, listener: socket.socket, announce: Callable[[], None], grace_seconds: float
) -> bool:
    """Keeps `count` workers running until KeyboardInterrupt; False where they could not start.

    `announce` is called once, when the first takes requests. At the end each has `grace_seconds` to finish, then it is
    killed.
    """
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    announced = False

    def start() -> BaseProcess:
        worker = spawn.Process(target=_worker, args=(work, listener, ready), name="fleetgraph-worker")
        worker.start()
        return worker

    workers: list[BaseProcess] = []
    try:
        for _ in range(count):
            workers.append(start())
        while True:
            if not announced and ready.is_set():
                announce()
                announced = True
            wait([worker.sentinel for worker in workers], timeout=None if announced else 0.05)
            for place, worker in enumerate(workers):
                if worker.is_alive():
                    continue
                if worker.exitcode == _START_FAILED:
                    return False
                log.error("worker_died", process=worker.pid, exit_code=worker.exitcode)
                time.sleep(_PAUSE_SECONDS)
                workers[place] = start()
    except KeyboardInterrupt:
        return True
    finally:
        _stop(workers, grace_seconds)


def _stop(workers: list[BaseProcess], grace_seconds: float) -> None:
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + grace_seconds
    for worker in workers:
        # A second Ctrl-C means: now.
        with contextlib.suppress(KeyboardInterrupt):
            worker.join(max(0.0, deadline - time.monotonic()))
        if worker.is_alive():
            log.warning("worker_killed", process=worker.pid)
            worker.kill()
            worker.join()


def _worker(work: Work, listener: socket.socket, ready: Event) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            wait([parent.sentinel])
            os.kill(os.getpid(), signal.SIGTERM)

        # Killed by force, the parent cannot say good-bye; without it nobody would hold the port's workers together.
        threading.Thread(target=follow, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        work(listener, ready.set)
