"""Reads a snapshot of Mission Control or ARM: a Convex export in a ZIP file (CVX-1 to CVX-7).

Nothing is unpacked to disk and no table is held in memory: `Snapshot.documents` yields one document after the other.
The file comes from outside, so it is not trusted: names that climb out, symbolic links, encryption, and contents that
expand beyond the limits are refused, the limits both by what the headers claim and by what is really read.
"""

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, Final, Self, TypeAlias

import orjson

Document: TypeAlias = dict[str, Any]
"""A row of the former system as it was exported: `_id`, `_creationTime` and its own fields (CVX-2)."""

GIB: Final = 1 << 30
_COPY_SIZE: Final = 1 << 20
_RATIO_FLOOR: Final = 1 << 16
"""Below this many bytes nothing is called a bomb, whatever its ratio: small files of equal lines shrink well."""


class CannotImportError(Exception):
    """Nothing was imported. The message says what is wrong, where, and what to do."""


class SnapshotError(CannotImportError):
    """It is the file that cannot be imported."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a snapshot may expand (CVX-6)."""

    expanded_bytes: int = 50 * GIB
    ratio: int = 200
    """Expanded bytes for each compressed byte, of the whole file and of each entry."""
    line_bytes: int = 16 << 20
    """Longest line. A Convex document has at most 1 MiB, which JSON's escapes can make six times as long."""


@dataclass(frozen=True, slots=True)
class TableEntry:
    """Where a table's documents are in the ZIP file."""

    table: str
    info: zipfile.ZipInfo


class Snapshot:
    """An open snapshot; use it as a context manager.

    Raises SnapshotError on opening where the file is no snapshot or is not safe to read, and while reading where its
    contents are broken or expand too far.
    """

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self.path = path
        self.limits = limits or Limits()
        self._expanded = 0
        self._size, self._zip = _open(path)
        try:
            infos = _checked(self._zip, self.limits, self._size)
            self.tables: dict[str, TableEntry] = _tables(infos)
            """The tables of the main application that have a folder, by name, in the order of their names."""
            self.component_tables: tuple[str, ...] = _component_tables(infos)
            """Tables of mounted components, as `component/table`; they are counted, not read (CVX-1)."""
            self.system_tables: tuple[str, ...] = _system_tables(infos)
            """Tables whose names begin with an underscore, other than the list of tables and the file storage."""
            self.stored_files: int = _stored_files(infos)
            """How many stored files the snapshot carries; their bytes are not imported."""
            self.listed_tables: tuple[str, ...] = self._listed(infos)
            """The tables that the snapshot says it has, also the empty ones without a folder (CVX-1)."""
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def documents(self, table: str) -> Iterator[Document]:
        """The documents of a table in the order of the file; none for a table without a folder.

        Each has a text `_id` and a number `_creationTime`; anything else raises SnapshotError with table and line.
        """
        entry = self.tables.get(table)
        if entry is None:
            return
        for number, line in enumerate(self._lines(entry), start=1):
            yield _document(line, table, number)

    def _lines(self, entry: TableEntry) -> Iterator[bytes]:
        longest = self.limits.line_bytes
        with self._reading(entry.info) as stream:
            for number in range(1, 1 << 62):
                try:
                    line = stream.readline(longest + 1)
                except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
                    raise SnapshotError(
                        f"{self.path}: the table {entry.table} is damaged after line {number - 1} ({error}). "
                        "Export the snapshot again, or copy the file again if it was transferred."
                    ) from error
                if not line:
                    return
                if len(line) > longest:
                    raise SnapshotError(
                        f"{self.path}: line {number} of the table {entry.table} is longer than {longest:,} bytes, "
                        "which no document of Convex can be. Export the snapshot again."
                    )
                yield line

    def _reading(self, info: zipfile.ZipInfo) -> IO[bytes]:
        try:
            raw = self._zip.open(info)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
            raise SnapshotError(
                f"{self.path}: the entry {info.filename!r} cannot be read ({error}). Export the snapshot again."
            ) from error
        return io.BufferedReader(_Metered(raw, info, self), _COPY_SIZE)

    def _count(self, info: zipfile.ZipInfo, entry_bytes: int, more: int) -> None:
        """Count bytes that were really expanded, and stop where they pass a limit, whatever the headers said."""
        self._expanded += more
        _check_expansion(self.path, self.limits, self._expanded, self._size, "the snapshot")
        _check_expansion(self.path, self.limits, entry_bytes, info.compress_size, f"the entry {info.filename!r}")

    def _listed(self, infos: list[zipfile.ZipInfo]) -> tuple[str, ...]:
        found = [info for info in infos if info.filename == "_tables/documents.jsonl"]
        if not found and not self.tables:
            raise SnapshotError(
                f"{self.path} is a ZIP file but no Convex snapshot: it has neither _tables/documents.jsonl nor a "
                "folder with documents.jsonl at its top. Give the file that `npx convex export --path …` wrote."
            )
        names = []
        for info in found:
            for number, line in enumerate(self._lines(TableEntry("_tables", info)), start=1):
                row = _json(line, "_tables", number)
                if not isinstance(row, dict) or not isinstance(row.get("name"), str):
                    raise SnapshotError(f"_tables, line {number}: a table needs a name. Export the snapshot again.")
                names.append(row["name"])
        return tuple(names)


class _Metered(io.RawIOBase):
    """A stream that reports each byte it expands."""

    def __init__(self, raw: IO[bytes], info: zipfile.ZipInfo, snapshot: Snapshot) -> None:
        self._raw, self._info, self._snapshot, self._read = raw, info, snapshot, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._raw.read(len(buffer))
        self._read += len(data)
        self._snapshot._count(self._info, self._read, len(data))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _open(path: Path) -> tuple[int, zipfile.ZipFile]:
    if not path.exists():
        raise SnapshotError(f"There is no file {path}.")
    if not path.is_file():
        raise SnapshotError(f"{path} is no file. Give the ZIP file that `npx convex export --path …` wrote.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(4)
        return size, zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError) as error:
        if start == b"PK\x03\x04":
            raise SnapshotError(
                f"{path} is a ZIP file whose end is missing or damaged ({error}). Copy it or export it again."
            ) from error
        raise SnapshotError(
            f"{path} is no ZIP file. Give the file that `npx convex export --path …` wrote, as it was written."
        ) from error
    except OSError as error:
        raise SnapshotError(f"{path} cannot be read: {error.strerror or error}.") from error


def _checked(archive: zipfile.ZipFile, limits: Limits, size: int) -> list[zipfile.ZipInfo]:
    """The entries, once every one of them is safe to read as its header describes it."""
    path = Path(str(archive.filename))
    infos = archive.infolist()
    seen: set[str] = set()
    for info in infos:
        _check_name(info)
        if info.flag_bits & 0x1:
            raise SnapshotError(f"The entry {info.filename!r} is encrypted. Give the snapshot without a password.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise SnapshotError(
                f"The entry {info.filename!r} is compressed in a way that snapshots do not use "
                f"(method {info.compress_type}); only stored and deflated entries are read."
            )
        if info.filename in seen:
            raise SnapshotError(f"The entry {info.filename!r} occurs twice, so it is unclear which one is meant.")
        seen.add(info.filename)
        _check_expansion(path, limits, info.file_size, info.compress_size, f"the entry {info.filename!r}")
    _check_expansion(path, limits, sum(info.file_size for info in infos), size, "the snapshot")
    return infos


def _check_name(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts or "\\" in name or "\x00" in name or name.startswith("/") or (parts and parts[0].endswith(":")):
        raise SnapshotError(f"The entry {name!r} points out of the snapshot. This file was not written by an export.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise SnapshotError(f"The entry {name!r} is a symbolic link. This file was not written by an export.")


def _check_expansion(path: Path, limits: Limits, expanded: int, compressed: int, what: str) -> None:
    if expanded > limits.expanded_bytes:
        raise SnapshotError(
            f"{path}: {what} expands to more than {limits.expanded_bytes / GIB:g} GiB and is not read any further. "
            "Import the tables in parts."
        )
    if expanded > _RATIO_FLOOR and expanded > limits.ratio * max(compressed, 1):
        raise SnapshotError(
            f"{path}: {what} expands to more than {limits.ratio} times its size, as a decompression bomb does, "
            "and is not read any further."
        )


def _tables(infos: list[zipfile.ZipInfo]) -> dict[str, TableEntry]:
    found = {}
    for info in infos:
        folder, _, file = info.filename.partition("/")
        if file == "documents.jsonl" and not folder.startswith("_"):
            found[folder] = TableEntry(folder, info)
    return dict(sorted(found.items()))


def _component_tables(infos: list[zipfile.ZipInfo]) -> tuple[str, ...]:
    """`_components/<name>/<table>/documents.jsonl`, at any depth of nesting, as `<name>/<table>`."""
    names = []
    for info in infos:
        parts = info.filename.split("/")
        if parts[0] == "_components" and parts[-1] == "documents.jsonl" and not parts[-2].startswith("_"):
            names.append("/".join(part for part in parts[1:-1] if part != "_components"))
    return tuple(sorted(names))


def _system_tables(infos: list[zipfile.ZipInfo]) -> tuple[str, ...]:
    folders = {info.filename.partition("/")[0] for info in infos if "/" in info.filename}
    return tuple(sorted(one for one in folders if one.startswith("_") and one not in _KNOWN_FOLDERS))


_KNOWN_FOLDERS: Final = frozenset({"_tables", "_storage", "_components"})


def _stored_files(infos: list[zipfile.ZipInfo]) -> int:
    own = {"_storage/documents.jsonl", "_storage/generated_schema.jsonl"}
    return sum(one.filename.startswith("_storage/") and not one.is_dir() and one.filename not in own for one in infos)


def _json(line: bytes, table: str, number: int) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise SnapshotError(
            f"{table}, line {number}: this is not JSON ({error.msg}, column {error.colno}). Export the snapshot again."
        ) from error


def _document(line: bytes, table: str, number: int) -> Document:
    row = _json(line, table, number)
    if not isinstance(row, dict):
        raise SnapshotError(f"{table}, line {number}: a document is a JSON object, this is none.")
    if not isinstance(row.get("_id"), str) or not row["_id"]:
        raise SnapshotError(f"{table}, line {number}: the document has no text _id.")
    if len(row["_id"]) > _LONGEST_ID:
        raise SnapshotError(f"{table}, line {number}: the _id is longer than {_LONGEST_ID} characters.")
    created = row.get("_creationTime")
    if isinstance(created, bool) or not isinstance(created, int | float) or not 0 <= created < _LATEST:
        raise SnapshotError(
            f"{table}, line {number}: the document {row['_id']} has no _creationTime in milliseconds since 1970."
        )
    return row


_LONGEST_ID: Final = 200
"""Convex writes 32 characters or so."""
_LATEST: Final = 253_402_300_800_000
"""The first millisecond of the year 10000."""
