"""What the end of a base backup's stream says."""

from __future__ import annotations

from holdfast.sources.postgres.files.stream_facts import wal_of


def test_the_wal_that_a_backup_spans_is_told_by_its_manifest() -> None:
    tail = (
        b'"WAL-Ranges": [\n'
        b'{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/3000000" },\n'
        b'{ "Timeline": 2, "Start-LSN": "0/3000000", "End-LSN": "1A/300" }\n],\n'
        b'"Manifest-Checksum": "00"}\n' + bytes(2048)
    )
    assert wal_of(tail) == {"timeline": "1", "start_lsn": "0/2000028", "stop_lsn": "1A/300"}
    assert wal_of(bytes(2048)) == {}
