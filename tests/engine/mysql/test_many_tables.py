"""Many small tables share parts, and each can still be named and restored alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.backup import Member, Part, PartKind, Relation
from holdfast.model.errors import BackupFailed, RestoreFailed
from holdfast.sources.mysql.restore.target import MysqlTarget
from holdfast.sources.mysql.rows.source import MysqlSource
from holdfast.sources.packing import FEWEST_PACKS, TABLES_IN_PACK
from tests.support.depth import deep
from tests.support.loop import bring_back, keep
from tests.support.mysql_server import MysqlServer, differences, ticked

MANY = deep(10_000, sample=1_000)
# Rows, of which some contain line breaks, and one tries to forge a mark.
ROWS = "(1, 'one'), (2, 'two\nERROR 1 at line 1\n'), (3, '\n-- holdfast: rows of table \"t00001\"')"


def made(server: MysqlServer, names: list[str]) -> str:
    database = server.database()
    script = "".join(
        f"CREATE TABLE {ticked(name)} (id int PRIMARY KEY, a varchar(60));\n"
        f"INSERT INTO {ticked(name)} VALUES {ROWS};\n"
        for name in names
    )
    server.load(database, script.encode())
    return database


def data_of(parts: tuple[Part, ...]) -> list[Part]:
    return [part for part in parts if part.kind is PartKind.DATA]


def member(parts: tuple[Part, ...], name: str) -> tuple[Part, Member]:
    ((part, found),) = [
        (part, each) for part in parts for each in part.members if each.relation.name == name
    ]
    return part, found


def test_ten_thousand_tables_come_back_equal_from_a_few_parts(
    server: MysqlServer, tmp_path: Path
) -> None:
    names = [f"t{number:05d}" for number in range(MANY)]
    original, copy = made(server, names), server.name()
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    data = data_of(parts)
    assert len(data) == max(FEWEST_PACKS, MANY // TABLES_IN_PACK)
    assert sum(len(part.members) for part in data) == MANY
    restored = bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert {table.rows_found for table in restored} == {3}
    assert len(restored) == MANY
    assert server.checksums(copy) == server.checksums(original)
    # The dump program takes minutes for all of them.
    some = names[:: MANY // 100]
    assert differences(server.described(copy, *some), server.described(original, *some)) == []


def test_one_table_out_of_a_pack_comes_back_beside_the_others(
    server: MysqlServer, tmp_path: Path
) -> None:
    original = made(server, ["a", "b`.; --", "c"])
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    copy = server.name()
    target = MysqlTarget(server.url(copy))
    bring_back(target, parts, tmp_path)
    server.run(copy, "DELETE FROM a", "DELETE FROM `b``.; --` WHERE id = 2")
    wanted = [Relation(schema=original, name="b`.; --")]
    restored = bring_back(target, parts, tmp_path, tables=wanted, overwrite=True)
    assert [(table.relation.name, table.rows_found) for table in restored] == [("b`.; --", 3)]
    assert server.ask(copy, "SELECT COUNT(*) FROM a") == [("0",)]


def test_the_stock_client_takes_one_table_out_of_a_pack_as_the_page_says(
    server: MysqlServer, tmp_path: Path
) -> None:
    original = made(server, ["a", "b"])
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    copy = server.database()
    server.load(copy, (tmp_path / "pre-data.sql").read_bytes())
    part, found = member(parts, "b")
    text = (tmp_path / part.key).read_bytes()
    head = b"".join(text.splitlines(keepends=True)[:4])
    server.load(copy, head + text[found.offset :][: found.plain_bytes])
    assert server.checksums(copy)["b"] == server.checksums(original)["b"]
    assert server.ask(copy, "SELECT COUNT(*) FROM a") == [("0",)]


@pytest.mark.parametrize("broken", ["a", "b", "c"])
def test_an_error_in_a_pack_names_the_table_that_it_struck(
    server: MysqlServer, tmp_path: Path, broken: str
) -> None:
    original, copy = made(server, ["a", "b", "c"]), server.name()
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    part, found = member(parts, broken)
    file = tmp_path / part.key
    text = file.read_bytes()
    ends = found.offset + found.plain_bytes
    rows = text[found.offset : ends].replace(b"(3,", b"(1,")
    file.write_bytes(text[: found.offset] + rows + text[ends:])
    with pytest.raises(
        RestoreFailed, match=rf"cannot restore table .*\.{broken}': .*\(error (1062|1180)\)"
    ):
        bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)
    assert copy not in server.databases()


def test_rows_that_went_missing_from_a_pack_are_noticed(
    server: MysqlServer, tmp_path: Path
) -> None:
    original, copy = made(server, ["a", "b"]), server.name()
    parts = keep(MysqlSource(server.url(original)), tmp_path)
    part, found = member(parts, "b")
    file = tmp_path / part.key
    text = file.read_bytes()
    ends = found.offset + found.plain_bytes
    # The same number of bytes, so that later tables stay at their place in the manifest.
    rows = text[found.offset : ends].replace(b"(1,'one'),", b" " * len(b"(1,'one'),"))
    file.write_bytes(text[: found.offset] + rows + text[ends:])
    with pytest.raises(RestoreFailed, match=r"\.b' has 2 rows instead of 3"):
        bring_back(MysqlTarget(server.url(copy)), parts, tmp_path)


def test_a_table_of_a_pack_that_is_altered_during_the_backup_fails_by_name(
    server: MysqlServer, tmp_path: Path
) -> None:
    original = made(server, ["a", "b", "c"])
    with pytest.raises(BackupFailed, match=r"\.b'"):
        keep(
            MysqlSource(server.url(original)),
            tmp_path,
            meanwhile=lambda _: server.run(original, "ALTER TABLE b ADD COLUMN more int"),
        )
