"""The facts at the end of a base backup's stream."""

from __future__ import annotations

import pytest

from holdfast.model.errors import (
    BackupFailed,
    DatabaseUnreachable,
    GrantMissing,
    HoldfastError,
    SlotMissing,
)
from holdfast.model.proof import BaseBackupProof
from holdfast.runtime.process import ChildFailed
from holdfast.sources.postgres.files.stream_facts import wal_of, wire_failed


def test_the_wal_that_a_backup_spans_is_told_by_its_manifest() -> None:
    tail = (
        b'"WAL-Ranges": [\n'
        b'{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/3000000" },\n'
        b'{ "Timeline": 2, "Start-LSN": "0/3000000", "End-LSN": "1A/300" }\n],\n'
        b'"Manifest-Checksum": "00"}\n' + bytes(2048)
    )
    assert wal_of(tail) == BaseBackupProof(timeline=1, start_lsn="0/2000028", stop_lsn="1A/300")
    assert wal_of(bytes(2048)) == BaseBackupProof()


@pytest.mark.parametrize(
    ("said", "error", "remedy"),
    [
        ("FATAL: no pg_hba.conf entry for replication connection", GrantMissing, "pg_hba.conf"),
        (
            "FATAL: number of requested standby connections exceeds max_wal_senders",
            DatabaseUnreachable,
            "max_wal_senders",
        ),
        ('ERROR: replication slot "s" does not exist', SlotMissing, "pg_replication_slots"),
        ('ERROR: replication slot "s" is active for PID 7', SlotMissing, "pg_replication_slots"),
        (
            "ERROR: requested WAL segment 0001 has already been removed | disconnected",
            SlotMissing,
            "--slot NAME",
        ),
        (
            "replication stream was terminated before stop point | disconnected",
            DatabaseUnreachable,
            "later",
        ),
        ("something nobody foresaw", BackupFailed, "log"),
    ],
)
def test_last_words_have_a_remedy(said: str, error: type[HoldfastError], remedy: str) -> None:
    found = wire_failed(ChildFailed("pg_receivewal", 1, said), "cannot receive WAL")
    assert type(found) is error
    assert remedy in found.hint
    assert said in found.message
