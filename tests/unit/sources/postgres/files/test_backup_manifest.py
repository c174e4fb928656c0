"""The manifest that pg_verifybackup reads."""

from __future__ import annotations

import hashlib
import json
import sys

import pytest

from holdfast.sources.postgres.files.backup_manifest import LINES, WalRange, lines

FILES = [
    ("base/5/1259", 8192, 1_700_000_000, 0xE3069283),
    ('odd "name', 1, 1_700_000_000, 1),
    ("bytes\udcff", 2, 1_700_000_000, 2),
]
WAL = WalRange(timeline=1, start_lsn="0/3000028", end_lsn="0/3000100")


@pytest.mark.parametrize(("server_version", "layout"), [(150004, 1), (170000, 2)])
def test_it_is_json_with_the_sum_of_what_comes_before_its_last_line(
    server_version: int, layout: int
) -> None:
    text = b"".join(
        lines(FILES, WAL, server_version=server_version, system_identifier="7300000000000000001")
    )
    document = json.loads(text)
    assert document["PostgreSQL-Backup-Manifest-Version"] == layout
    assert ("System-Identifier" in document) == (layout == 2)
    body, _, last = text.rstrip(b"\n").rpartition(b"\n")
    assert document["Manifest-Checksum"] == hashlib.sha256(body + b"\n").hexdigest()
    assert last.startswith(b'"Manifest-Checksum"')
    assert document["WAL-Ranges"] == [
        {"Timeline": 1, "Start-LSN": "0/3000028", "End-LSN": "0/3000100"}
    ]
    first, quoted, encoded = document["Files"]
    assert first["Last-Modified"] == "2023-11-14 22:13:20 GMT"
    assert encoded["Encoded-Path"] == b"bytes\xff".hex()
    assert quoted["Path"] == 'odd "name'
    assert (first["Checksum-Algorithm"], len(quoted["Checksum"])) == ("CRC32C", 8)
    assert int.from_bytes(bytes.fromhex(first["Checksum"]), sys.byteorder) == 0xE3069283


def test_a_cluster_of_no_files_has_one_too() -> None:
    text = b"".join(lines([], WAL, server_version=170000, system_identifier="1"))
    assert json.loads(text)["Files"] == []


@pytest.mark.parametrize("count", [1, LINES - 1, LINES, LINES + 1, 3 * LINES])
def test_however_many_files_there_are_each_has_its_line(count: int) -> None:
    files = [
        (f"base/5/{number}", number, 1_700_000_000 + number, number) for number in range(count)
    ]
    text = b"".join(lines(files, WAL, server_version=170000, system_identifier="1"))
    document = json.loads(text)
    assert [(each["Path"], each["Size"]) for each in document["Files"]] == [
        (path, size_bytes) for path, size_bytes, _, _ in files
    ]
    found = [line for line in text.splitlines() if b"base/5/" in line]
    assert len(found) == count
    assert {line[-2:] for line in found[:-1]} <= {b"},"}
    assert found[-1].endswith(b" }")
