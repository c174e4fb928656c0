"""Every odd database comes back equal: by the server's own dump and by each table's content."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.sources.mysql_native.choices import Choices
from holdfast.sources.mysql_native.source import MysqlSource
from holdfast.sources.mysql_native.target import MysqlTarget
from tests.engine.depth import full
from tests.engine.loop import keep, restored
from tests.engine.mysql.laboratory import Laboratory, differences, ticked
from tests.engine.mysql.odd_databases import odd_databases

TURNS = 3
EVERY = odd_databases()


def is_its_turn(name: str) -> bool:
    """A third of them a day; all where tests go to their full depth."""
    today = datetime.now(UTC).toordinal()
    return full() or zlib.crc32(name.encode()) % TURNS == today % TURNS


@pytest.mark.parametrize("name", [name for name in EVERY if is_its_turn(name)])
def test_an_odd_database_comes_back_equal(lab: Laboratory, tmp_path: Path, name: str) -> None:
    odd = EVERY[name]
    if odd.kind not in ("", lab.brand.name):
        pytest.skip(f"only {odd.kind} knows such things")
    original, copy = lab.database(), lab.name()
    gone = lab.account()
    account = f"{ticked(gone)}@localhost"
    lab.run(original, *(each.replace("{account}", account) for each in odd.statements))
    lab.forget(gone)
    source = MysqlSource(lab.url(original), choices=Choices(checksums="all"))
    found = restored(MysqlTarget(lab.url(copy)), keep(source, tmp_path), tmp_path)
    assert (found.failed, found.notes) == ((), ())
    assert [table.problem for table in found.tables if table.problem] == []
    assert all(table.checksum_expected for table in found.tables)
    assert differences(lab.described(copy), lab.described(original)) == []
