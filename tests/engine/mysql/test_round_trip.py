"""Restored data equals the original, by the server's checksums and an independent dump."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.backup import PartKind, Relation
from holdfast.sources.mysql.restore.target import MysqlTarget
from holdfast.sources.mysql.rows.source import MysqlSource
from tests.engine.mysql.conftest import Kept
from tests.support.loop import bring_back, keep
from tests.support.mysql_server import MysqlServer, differences, numbers

CHINOOK = [
    folder / "chinook_mysql.sql"
    for folder in (Path("/data"), Path(__file__).resolve().parents[4] / "shared" / "data")
]
SYSBENCH_ROWS = 20_000


def sysbench_table(number: int) -> tuple[str, str]:
    """Made and filled as by `oltp_common.lua` of sysbench."""
    table = (
        f"CREATE TABLE sbtest{number} (id int NOT NULL AUTO_INCREMENT, k int NOT NULL DEFAULT 0,"
        " c char(120) NOT NULL DEFAULT '', pad char(60) NOT NULL DEFAULT '',"
        f" PRIMARY KEY (id), KEY k_{number} (k))"
    )
    rows = (
        f"INSERT INTO sbtest{number} (k, c, pad)"
        " SELECT seq * 7919 % 20000, CONCAT_WS('-', seq, SHA2(seq, 256)), SHA2(-seq, 224)"
        f" FROM {numbers(SYSBENCH_ROWS)}"
    )
    return table, rows


def test_the_corpus_of_known_breakers_comes_back_equal(server: MysqlServer, kept: Kept) -> None:
    copy = server.name()
    restored = bring_back(MysqlTarget(server.url(copy)), kept.parts, kept.folder)
    assert server.checksums(copy) == server.checksums(kept.database)
    assert differences(server.described(copy), kept.description) == []
    counted = {table.relation.name: table.rows_found for table in restored}
    assert counted["many_rows"] == 25000
    assert counted["no_key"] == 4005
    assert counted.keys() == server.checksums(kept.database).keys()


def test_stock_tools_restore_the_same_parts(server: MysqlServer, kept: Kept) -> None:
    copy = server.database()
    for kind in PartKind:
        for part in kept.parts:
            if part.kind is kind is not PartKind.GLOBALS:
                server.load(copy, (kept.folder / part.key).read_bytes())
    assert differences(server.described(copy), kept.description) == []


def test_no_part_names_the_database_that_it_came_from(kept: Kept) -> None:
    name = kept.database.encode()
    assert [p.name for p in kept.parts if name in (kept.folder / p.key).read_bytes()] == []


def test_single_tables_come_back_beside_what_is_there(server: MysqlServer, kept: Kept) -> None:
    copy = server.name()
    target = MysqlTarget(server.url(copy))
    bring_back(target, kept.parts, kept.folder)
    server.run(copy, "DROP TABLE journal", "DELETE FROM composite_key")
    wanted = [Relation(schema=kept.database, name=name) for name in ("journal", "composite_key")]
    restored = bring_back(target, kept.parts, kept.folder, tables=wanted, overwrite=True)
    assert [table.relation.name for table in restored] == ["composite_key", "journal"]
    assert differences(server.described(copy), kept.description) == []


def test_rows_keep_their_values_when_no_text_could_hold_them(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = server.database(), server.name()
    server.run(
        original,
        "CREATE TABLE long_values (id int PRIMARY KEY, a longtext, b longblob, c json)",
        "INSERT INTO long_values VALUES (1, REPEAT('é', 5000000), REPEAT(UNHEX('00FF'), 7000000),"
        " CONCAT('\"', REPEAT('x', 4000000), '\"')), (2, '', '', NULL)",
    )
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert server.checksums(copy) == server.checksums(original)


def test_a_view_that_no_longer_works_is_kept_as_text(server: MysqlServer, tmp_path: Path) -> None:
    original, copy = server.database(), server.name()
    server.run(
        original,
        "CREATE TABLE gone (id int)",
        "CREATE VIEW orphan AS SELECT id FROM gone",
        "DROP TABLE gone",
        "CREATE TABLE here (id int)",
    )
    proofs: list[dict[str, str]] = []
    parts = keep(
        MysqlSource(server.url(original)),
        tmp_path,
        meanwhile=lambda snapshot: proofs.append(snapshot.proof.texts()),
    )
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert proofs[0]["views_broken_at_source"] == "orphan"
    assert b"-- CREATE" in (tmp_path / "post-data.sql").read_bytes()
    assert server.ask(copy, "SHOW TABLES") == [("here",)]


def test_tables_as_sysbench_makes_them_come_back_equal(server: MysqlServer, tmp_path: Path) -> None:
    # Servers update row counts late, and only large tables get deferred indexes.
    counted = "ANALYZE TABLE sbtest1, sbtest2"
    original, copy = server.database(*sysbench_table(1), *sysbench_table(2), counted), server.name()
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    ranges = [part for part in parts if part.details.texts().get("method") == "key-ranges"]
    assert [part.rows for part in ranges] == [SYSBENCH_ROWS, SYSBENCH_ROWS]
    assert b"ADD KEY `k_1` (`k`)" in (tmp_path / "indexes.sql").read_bytes()
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert server.checksums(copy) == server.checksums(original)
    assert differences(server.described(copy), server.described(original)) == []


def test_chinook_comes_back_equal(server: MysqlServer, tmp_path: Path) -> None:
    script = next((path for path in CHINOOK if path.is_file()), None)
    if script is None:
        pytest.skip("the Chinook sample database does not lie beside the project")
    original, copy = server.database(), server.name()
    text = script.read_text()
    server.load(original, text[text.index("CREATE TABLE") :].encode())
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert len(server.checksums(original)) == 11
    assert differences(server.described(copy), server.described(original)) == []
