"""What pg_basebackup leaves out without failing."""

from __future__ import annotations

import pytest

from holdfast.model.errors import BackupFailed
from holdfast.sources.postgres.files.stream_inventory import (
    DatabasesSent,
    left_out,
    require_databases,
)
from holdfast.sources.postgres.files.tar_stream import TarStream
from tests.unit.sources.postgres.files.test_file_list import tar_with


def warning(path: str) -> str:
    return f'WARNING:  skipping special file "./{path}"'


def test_links_that_are_none_of_the_servers_are_told() -> None:
    said = " | ".join(map(warning, 2 * ("dumps", ".s.PGSQL.5432", "postgresql.conf")))
    assert left_out(said) == [
        "left out: 'dumps': a link or a special file",
        "left out: 'postgresql.conf': a link or a special file",
    ]
    assert left_out("NOTICE:  WAL archiving is not enabled") == []


@pytest.mark.parametrize("path", ["base/16384", "pg_xact", "base/5/16390"])
def test_what_the_server_needs_fails_the_backup(path: str) -> None:
    with pytest.raises(BackupFailed, match=f"leaves out '{path}'") as caught:
        left_out(f"{warning('dumps')} | {warning(path)}")
    assert "engine native" in caught.value.hint


def test_a_database_that_was_not_sent_is_told_by_its_name() -> None:
    sent = DatabasesSent()
    names = ("base/1/PG_VERSION", "./base/5/PG_VERSION", "base/6/1259", "x/base/7/PG_VERSION")
    TarStream(sent).feed(tar_with(*((name, b"17\n") for name in names)))
    assert sent.oids == {"1", "5"}
    require_databases(sent.oids, {"1": "template1", "5": "postgres"})
    with pytest.raises(BackupFailed, match="nothing of database 'shop' in 'base/6'"):
        require_databases(sent.oids, {"1": "template1", "6": "shop"})
