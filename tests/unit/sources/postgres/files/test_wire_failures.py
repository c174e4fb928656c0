"""Last words of programs of the replication protocol, and what an operator makes of them."""

from __future__ import annotations

import pytest

from holdfast.model.errors import (
    BackupFailed,
    DatabaseUnreachable,
    GrantMissing,
    HoldfastError,
    SlotMissing,
)
from holdfast.runtime.process import ChildFailed
from holdfast.sources.postgres.files.wire_failures import wire_failed


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
