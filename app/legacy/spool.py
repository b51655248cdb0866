"""More items than memory should hold, given back in order of time."""

import heapq
import pickle
import tempfile
from collections.abc import Iterator
from datetime import datetime
from operator import itemgetter
from typing import IO, Any, Final, Generic, TypeAlias, TypeVar

T = TypeVar("T")
_Entry: TypeAlias = tuple[datetime, int, Any]

RUN: Final = 50_000
"""Items that are kept in memory before they go, sorted, to a temporary file."""


class Spool(Generic[T]):
    """Takes items in any order and yields them by time, equal times in the order they came. The temporary
    files behind it have no name, and go when it is closed."""

    def __init__(self, run: int = RUN) -> None:
        self._run = run
        self._memory: list[_Entry] = []
        self._files: list[IO[bytes]] = []
        self._count = 0

    def close(self) -> None:
        """Let go of the temporary files."""
        for file in self._files:
            file.close()

    def __len__(self) -> int:
        return self._count

    def add(self, at: datetime, item: T) -> None:
        """Take an item of that time."""
        self._memory.append((at, self._count, item))
        self._count += 1
        if len(self._memory) >= self._run:
            self._files.append(_written(self._sorted()))
            self._memory = []

    def __iter__(self) -> Iterator[T]:
        runs = [_read(file) for file in self._files]
        for _, _, item in heapq.merge(*runs, self._sorted(), key=itemgetter(0, 1)):
            yield item

    def _sorted(self) -> list[_Entry]:
        return sorted(self._memory, key=itemgetter(0, 1))


def _written(entries: list[_Entry]) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the spool
    for entry in entries:
        pickle.dump(entry, file, pickle.HIGHEST_PROTOCOL)
    return file


def _read(file: IO[bytes]) -> Iterator[_Entry]:
    file.seek(0)
    while True:
        try:
            yield pickle.load(file)  # noqa: S301 - a nameless file of this very process
        except EOFError:
            return
