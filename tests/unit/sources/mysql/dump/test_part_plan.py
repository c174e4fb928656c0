"""How each table is dumped, and the warnings about it."""

from __future__ import annotations

import pytest

from holdfast.model.backup import Relation
from holdfast.model.errors import Unsupported
from holdfast.sources.mysql.dump import part_plan
from holdfast.sources.mysql.dump.programs import Program
from holdfast.sources.mysql.server.columns import Column
from holdfast.sources.mysql.server.session import ServerVersion
from holdfast.sources.mysql.server.tables import Table


def table(
    name: str,
    *,
    engine: str = "InnoDB",
    kind: str = "BASE TABLE",
    data: str = "int",
    charset: str = "",
) -> Table:
    column = Column(name="a", data_type=data, charset=charset)
    return Table(
        relation=Relation(schema="shop", name=name),
        kind=kind,
        engine=engine,
        columns=(column,) if data else (),
        key=None,
        rows=1,
        row_bytes=1,
        data_bytes=1,
    )


def program(version: str = "11.8.6") -> Program:
    return Program(name="mariadb-dump", path="/usr/bin/d", kind="mariadb", version=version)


def version(kind: str) -> ServerVersion:
    return ServerVersion(kind=kind, number="9.7", release=(9, 7), max_allowed_packet=1)


def test_a_dump_needs_no_right_to_stop_the_server() -> None:
    for kind in ("mariadb", "mysql"):
        wanted = part_plan.rights(version(kind), "shop", [table("t")], as_tables=True)
        assert not {need.right for need in wanted} & {"RELOAD", "BACKUP_ADMIN", "LOCK TABLES"}
        assert "TRIGGER" in {need.right for need in wanted}


def test_the_right_to_lock_is_only_wanted_for_tables_that_are_locked() -> None:
    tables = [table("t"), table("u", engine="MyISAM")]
    apart = part_plan.rights(version("mariadb"), "shop", tables, as_tables=True)
    (lock,) = (need for need in apart if need.right == "LOCK TABLES")
    assert lock.grant_to("`u`@`h`") == "GRANT LOCK TABLES ON `shop`.* TO `u`@`h`"


def test_tables_that_a_transaction_cannot_hold_are_refused_in_one_dump_only() -> None:
    tables = [table("t"), table("u", engine="MyISAM")]
    with pytest.raises(Unsupported, match=r"'shop\.u' \(MyISAM\)"):
        part_plan.refuse_unfaithful(tables, program(), as_tables=False)
    part_plan.refuse_unfaithful(tables, program(), as_tables=True)


def test_history_that_would_be_lost_is_refused() -> None:
    tables = [table("past", kind="SYSTEM VERSIONED")]
    part_plan.refuse_unfaithful(tables, program("10.11.19"), as_tables=True)
    with pytest.raises(Unsupported, match="would lose their history"):
        part_plan.refuse_unfaithful(tables, program("10.6.9"), as_tables=True)


@pytest.mark.parametrize(
    ("kind", "as_tables", "executes"),
    [("mariadb", False, True), ("mariadb", True, False), ("mysql", False, False)],
)
def test_only_a_whole_dump_of_mariadb_wants_to_execute(
    kind: str, as_tables: bool, executes: bool
) -> None:
    wanted = part_plan.rights(version(kind), "shop", [table("t")], as_tables=as_tables)
    assert ("EXECUTE" in {need.right for need in wanted}) is executes


def test_rows_without_a_column_are_refused_where_they_are_written_wrongly() -> None:
    only_computed = table("t", data="")
    mysqldump = Program(name="mysqldump", path="/usr/bin/d", kind="mysql", version="9.7.4")
    part_plan.refuse_unfaithful([only_computed], program(), as_tables=True)
    with pytest.raises(Unsupported, match="rows without a column"):
        part_plan.refuse_unfaithful([only_computed], mysqldump, as_tables=True)


def test_values_that_may_come_back_as_others_are_announced() -> None:
    tables = [
        table("f", data="float"),
        table("d", data="double"),
        table("j", data="varchar", charset="sjis"),
        table("l", data="varchar", charset="latin1"),
        table("w", data="varchar", charset="utf16"),
        table("c", data="varchar", charset="ascii"),
        table("o", data="json"),
    ]
    found = part_plan.inexact(tables, kind="mysql")
    assert found == {
        "rounded_columns": ["f.a"],
        "converted_columns": ["j.a"],
        "json_columns": ["o.a"],
    }
    found = part_plan.inexact(tables[:-1], kind="mariadb")
    assert found == {"rounded_columns": ["f.a"], "converted_columns": ["j.a", "c.a"]}
    rounded, converted, typed = part_plan.notes(tables, kind="mysql")
    assert "six digits: f.a;" in rounded
    assert "duplicate codes" in converted
    assert "dates and bytes in JSON" in typed


def test_waiting_writers_are_announced() -> None:
    (waiting,) = part_plan.notes([table("u", engine="Aria")], kind="mariadb")
    assert "'shop.u' (Aria)" in waiting
    assert part_plan.notes([table("t")], kind="mariadb") == []


def test_of_many_tables_only_the_first_are_named() -> None:
    (told,) = part_plan.notes(
        [table(f"t{number}", engine="Aria") for number in range(20)], kind="mariadb"
    )
    assert told.endswith("and 12 more")
