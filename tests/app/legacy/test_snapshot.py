"""Reading a snapshot: what is accepted, and every way a file can be wrong (CVX-1 to CVX-6)."""

import stat
import struct
import zipfile
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from app.legacy.snapshot import Limits, Snapshot, SnapshotError
from tests.app.legacy.zips import row, write_snapshot


def read_all(path: Path, limits: Limits | None = None) -> dict[str, list[dict[str, Any]]]:
    with Snapshot(path, limits) as snapshot:
        return {table: list(snapshot.documents(table)) for table in snapshot.tables}


def test_a_snapshot_is_read_table_by_table(tmp_path: Path) -> None:
    """CVX-1, CVX-2: empty tables, tables without a folder, fractions of a millisecond, and no order relied on."""
    tasks = [row("t1", 1700000000000.1234, title="One"), row("t2", 1700000000001, title=None)]
    path = write_snapshot(tmp_path / "s.zip", {"tasks": tasks, "agents": []})
    with Snapshot(path) as snapshot:
        assert list(snapshot.tables) == ["agents", "tasks"]
        assert list(snapshot.documents("tasks")) == tasks
        assert list(snapshot.documents("agents")) == []
        assert list(snapshot.documents("absent")) == []
        assert set(snapshot.listed_tables) == {"tasks", "agents"}


def test_what_is_not_a_table_is_counted_and_not_read(tmp_path: Path) -> None:
    """CVX-1, CVX-6: components, stored files and other system tables are named, never mixed with the tables."""
    extra: dict[str, str | bytes] = {
        "_components/billing/plans/documents.jsonl": "not read\n",
        "_components/billing/_components/tax/rates/documents.jsonl": "not read\n",
        "_storage/documents.jsonl": "{}\n",
        "_storage/kg2abc.png": b"\x89PNG",
        "_scheduled_jobs/documents.jsonl": "not read\n",
        "tasks/generated_schema.jsonl.bak": "",
    }
    path = write_snapshot(tmp_path / "s.zip", {"tasks": []}, extra)
    with Snapshot(path) as snapshot:
        assert list(snapshot.tables) == ["tasks"]
        assert snapshot.component_tables == ("billing/plans", "billing/tax/rates")
        assert snapshot.system_tables == ("_scheduled_jobs",)
        assert snapshot.stored_files == 1


def test_a_table_needs_neither_schema_nor_list_nor_last_newline(tmp_path: Path) -> None:
    """CVX-4: files without a generated schema are accepted; so is a last line without its newline."""
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tasks/documents.jsonl", '{"_id":"t1","_creationTime":1}\n{"_id":"t2","_creationTime":2.5}')
    assert [task["_id"] for task in read_all(path)["tasks"]] == ["t1", "t2"]


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"There is no file .*nowhere\.zip"):
        Snapshot(tmp_path / "nowhere.zip")
    with pytest.raises(SnapshotError, match="is no file"):
        Snapshot(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip", b"\x1f\x8b" + bytes(100)])
def test_not_a_zip(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.zip"
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match="is no ZIP file"):
        Snapshot(path)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
def test_a_truncated_zip(tmp_path: Path, kept: float) -> None:
    whole = write_snapshot(tmp_path / "whole.zip", {"tasks": [row(f"t{n}") for n in range(500)]}).read_bytes()
    path = tmp_path / "s.zip"
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(SnapshotError, match="missing or damaged"):
        Snapshot(path)


def test_a_zip_that_is_no_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday/photo.jpg", b"")
    with pytest.raises(SnapshotError, match="no Convex snapshot"):
        Snapshot(path)


@pytest.mark.parametrize(
    "name",
    [
        "../tasks/documents.jsonl",
        "tasks/../../etc/passwd",
        "/etc/passwd",
        "C:/windows/x",
        "tasks\\documents.jsonl",
        "..\\x",
    ],
)
def test_a_name_that_climbs_out(tmp_path: Path, name: str) -> None:
    """CVX-6: path traversal and absolute paths are refused, though nothing is ever unpacked."""
    path = write_snapshot(tmp_path / "s.zip", {"tasks": []}, {name: "x"})
    with pytest.raises(SnapshotError, match="points out of the snapshot"):
        Snapshot(path)


def test_a_symbolic_link(tmp_path: Path) -> None:
    """CVX-6."""
    path = write_snapshot(tmp_path / "s.zip", {"tasks": []})
    link = zipfile.ZipInfo("agents/documents.jsonl")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(SnapshotError, match="symbolic link"):
        Snapshot(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_table_that_occurs_twice(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path / "s.zip", {"tasks": []}, {"tasks/documents.jsonl": "{}"})
    with pytest.raises(SnapshotError, match=r"'tasks/documents\.jsonl' occurs twice"):
        Snapshot(path)


def test_an_encrypted_or_oddly_compressed_entry(tmp_path: Path) -> None:
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("tasks/documents.jsonl", "")
    with pytest.raises(SnapshotError, match="only stored and deflated"):
        Snapshot(path)
    write_snapshot(path, {"tasks": []})
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match="encrypted"):
        Snapshot(path)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ('{"_id":"t2"', "not JSON"),
        ("", "not JSON"),
        ('{"_id":"\ud83d","_creationTime":1}'.encode("utf-8", "surrogatepass"), "not JSON"),
        (b'{"_id":"\xff","_creationTime":1}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "is a JSON object"),
        ("null", "is a JSON object"),
        ('{"_creationTime":1}', "no text _id"),
        ('{"_id":7,"_creationTime":1}', "no text _id"),
        ('{"_id":"' + "x" * 201 + '","_creationTime":1}', "longer than 200"),
        ('{"_id":"t2"}', "no _creationTime"),
        ('{"_id":"t2","_creationTime":"1"}', "no _creationTime"),
        ('{"_id":"t2","_creationTime":true}', "no _creationTime"),
        ('{"_id":"t2","_creationTime":-1}', "no _creationTime"),
        ('{"_id":"t2","_creationTime":1e300}', "no _creationTime"),
    ],
)
def test_a_line_that_is_no_document_is_named_by_table_and_number(
    tmp_path: Path, line: str | bytes, complaint: str
) -> None:
    path = tmp_path / "s.zip"
    raw = line.encode() if isinstance(line, str) else line
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "tasks/documents.jsonl", b'{"_id":"t1","_creationTime":1}\n' + raw + b'\n{"_id":"t3","_creationTime":1}\n'
        )
    with pytest.raises(SnapshotError, match=f"^tasks, line 2: .*{complaint}"):
        read_all(path)


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    """The bytes of one entry are broken while the directory of the file is whole."""
    path = write_snapshot(tmp_path / "s.zip", {"tasks": [row(f"t{n * 7919 % 1000}", n * 1e9) for n in range(1000)]})
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("tasks/documents.jsonl").header_offset + 60
    content = bytearray(path.read_bytes())
    content[start + 200 : start + 400] = bytes(200)
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match="tasks"):
        read_all(path)


def test_a_checksum_that_does_not_match_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("tasks/documents.jsonl", '{"_id":"t1","_creationTime":1,"title":"aaaa"}\n')
    path.write_bytes(path.read_bytes().replace(b"aaaa", b"bbbb"))
    with pytest.raises(SnapshotError, match=r"damaged after line .*CRC"):
        read_all(path)


BOMB = b'{"_id":"t1","_creationTime":1,"title":"' + b"0" * 4_000_000 + b'"}\n'


def test_a_bomb_is_refused_by_what_its_headers_say(tmp_path: Path) -> None:
    """CVX-6: a ratio above 200."""
    path = write_snapshot(tmp_path / "s.zip", {"tasks": []}, {"agents/documents.jsonl": BOMB})
    with pytest.raises(SnapshotError, match="more than 200 times its size"):
        Snapshot(path)


def test_a_bomb_is_refused_by_what_it_expands_to_where_its_headers_lie(tmp_path: Path) -> None:
    """CVX-6: both limits hold for the bytes that are really read."""

    def lying(claimed: int) -> Path:
        path = write_snapshot(tmp_path / f"{claimed}.zip", {"tasks": []}, {"agents/documents.jsonl": BOMB})
        content = bytearray(path.read_bytes())
        directory = content.rindex(b"PK\x01\x02")
        struct.pack_into("<L", content, directory + 24, claimed)
        path.write_bytes(content)
        return path

    for claimed in (60_000, 1):
        with pytest.raises(SnapshotError, match=r"agents.*(damaged|not JSON)"):
            read_all(lying(claimed))


def test_the_limits_count_bytes_that_are_read_and_not_only_headers(tmp_path: Path) -> None:
    """CVX-6: reading the same entry again and again, as overlapping entries do, reaches the limit too."""
    rows = [row(f"t{n}", title=str(n * 48_271 % 2_147_483_647)) for n in range(2_000)]
    path = write_snapshot(tmp_path / "s.zip", {"tasks": rows})
    with Snapshot(path, Limits(ratio=15)) as snapshot:
        assert len(list(snapshot.documents("tasks"))) == 2_000
        with pytest.raises(SnapshotError, match="more than 15 times"):
            list(chain.from_iterable(snapshot.documents("tasks") for _ in range(10)))


def test_a_snapshot_that_expands_too_far(tmp_path: Path) -> None:
    """CVX-6: more than the limit in bytes, whatever the ratio."""
    path = write_snapshot(tmp_path / "s.zip", {"tasks": [row(f"t{n}") for n in range(5_000)]})
    with pytest.raises(SnapshotError, match="GiB"):
        read_all(path, Limits(expanded_bytes=100_000))


def test_a_line_without_end(tmp_path: Path) -> None:
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tasks/documents.jsonl", b'{"_id":"' + b"x" * 2_000_000)
    with pytest.raises(SnapshotError, match="line 1 of the table tasks is longer than 1,000,000 bytes"):
        read_all(path, Limits(line_bytes=1_000_000))
