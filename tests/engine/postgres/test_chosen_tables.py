"""Bringing back only some tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.model.backup import Relation
from holdfast.model.errors import RestoreFailed, TargetNotEmpty
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.target import PostgresTarget
from tests.engine.postgres.conftest import Laboratory
from tests.support.loop import bring_back, keep

SHOP = """
CREATE TABLE customers (id int PRIMARY KEY, name text);
CREATE TABLE orders (id serial PRIMARY KEY, customer int REFERENCES customers);
CREATE TABLE lines (order_id int REFERENCES orders, n int);
INSERT INTO customers VALUES (1, 'a'), (2, 'b');
INSERT INTO orders (customer) VALUES (1), (2), (2);
INSERT INTO lines VALUES (1, 1), (3, 1);
"""


def table(name: str) -> Relation:
    return Relation(schema="public", name=name)


def foreign_keys(lab: Laboratory, database: str) -> set[object]:
    found = lab.ask(database, "SELECT conname::text FROM pg_constraint WHERE contype = 'f'")
    return {row[0] for row in found}


def test_chosen_tables_come_with_the_whole_schema_into_a_new_database(
    lab: Laboratory, tmp_path: Path
) -> None:
    database, restored = lab.database(SHOP), lab.name()
    parts = keep(PostgresSource(dsn=lab.conninfo(database)), tmp_path)
    found = bring_back(
        PostgresTarget(url=lab.conninfo(restored)),
        parts,
        tmp_path,
        tables=[table("orders"), table("lines")],
    )
    assert {each.relation.name: each.rows_found for each in found} == {"orders": 3, "lines": 2}
    assert lab.ask(restored, "SELECT count(*) FROM customers") == [(0,)]
    assert foreign_keys(lab, restored) == {"lines_order_id_fkey"}
    assert lab.ask(restored, "SELECT nextval('orders_id_seq')") == [(4,)]


def test_a_chosen_partitioned_table_brings_all_its_partitions(
    lab: Laboratory, corpus: Callable[[], str], tmp_path: Path
) -> None:
    database, restored = corpus(), lab.name()
    parts = keep(PostgresSource(dsn=lab.conninfo(database)), tmp_path)
    target = PostgresTarget(url=lab.conninfo(restored))
    bring_back(target, parts, tmp_path, tables=[table("measured")])
    query = "SELECT sum(value), count(*) FROM measured"
    assert lab.ask(restored, query) == lab.ask(database, query)
    assert lab.ask(restored, "SELECT count(*) FROM dropped") == [(0,)]


def test_chosen_tables_fill_the_empty_ones_of_a_database_in_use(
    lab: Laboratory, tmp_path: Path
) -> None:
    database = lab.database(SHOP)
    parts = keep(PostgresSource(dsn=lab.conninfo(database)), tmp_path)
    target = PostgresTarget(url=lab.conninfo(database))
    with pytest.raises(TargetNotEmpty, match=r"cannot restore table 'public\.lines' into"):
        bring_back(target, parts, tmp_path, tables=[table("lines")])
    lab.run(database, "DELETE FROM lines")
    bring_back(target, parts, tmp_path, tables=[table("lines")])
    lab.run(database, "UPDATE lines SET n = 9")
    bring_back(target, parts, tmp_path, tables=[table("lines")], overwrite=True)
    assert lab.ask(database, "SELECT sum(n), count(*) FROM lines") == [(2, 2)]
    assert lab.ask(database, "SELECT count(*) FROM orders") == [(3,)]


def test_a_table_that_the_backup_does_not_hold_is_named(lab: Laboratory, tmp_path: Path) -> None:
    database = lab.database(SHOP)
    parts = keep(PostgresSource(dsn=lab.conninfo(database)), tmp_path)
    target = PostgresTarget(url=lab.conninfo(lab.name()))
    with pytest.raises(RestoreFailed, match=r"table 'public\.nothing'"):
        bring_back(target, parts, tmp_path, tables=[table("nothing")])
