"""Restoring only some tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.model.backup import Relation
from holdfast.model.errors import RestoreFailed, TargetNotEmpty
from holdfast.ports.source import Source
from holdfast.sources.postgres.dump.source import PostgresToolsSource
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.target import PostgresTarget
from tests.support.loop import bring_back, keep
from tests.support.postgres_server import PostgresServer

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


def foreign_keys(server: PostgresServer, database: str) -> set[object]:
    found = server.ask(database, "SELECT conname::text FROM pg_constraint WHERE contype = 'f'")
    return {row[0] for row in found}


def test_chosen_tables_come_with_the_whole_schema_into_a_new_database(
    server: PostgresServer, tmp_path: Path
) -> None:
    database, restored = server.database(SHOP), server.name()
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    found = bring_back(
        PostgresTarget(url=server.conninfo(restored)),
        parts,
        tmp_path,
        tables=[table("orders"), table("lines")],
    )
    assert {each.relation.name: each.rows_found for each in found} == {"orders": 3, "lines": 2}
    assert server.ask(restored, "SELECT count(*) FROM customers") == [(0,)]
    assert foreign_keys(server, restored) == {"lines_order_id_fkey"}
    assert server.ask(restored, "SELECT nextval('orders_id_seq')") == [(4,)]


def test_a_chosen_partitioned_table_brings_all_its_partitions(
    server: PostgresServer, corpus: Callable[[], str], tmp_path: Path
) -> None:
    database, restored = corpus(), server.name()
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    target = PostgresTarget(url=server.conninfo(restored))
    bring_back(target, parts, tmp_path, tables=[table("measured")])
    query = "SELECT sum(value), count(*) FROM measured"
    assert server.ask(restored, query) == server.ask(database, query)
    assert server.ask(restored, "SELECT count(*) FROM dropped") == [(0,)]


def test_chosen_tables_fill_the_empty_ones_of_a_database_in_use(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.database(SHOP)
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    target = PostgresTarget(url=server.conninfo(database))
    with pytest.raises(TargetNotEmpty, match=r"cannot restore table 'public\.lines' into"):
        bring_back(target, parts, tmp_path, tables=[table("lines")])
    server.run(database, "DELETE FROM lines")
    bring_back(target, parts, tmp_path, tables=[table("lines")])
    server.run(database, "UPDATE lines SET n = 9")
    bring_back(target, parts, tmp_path, tables=[table("lines")], overwrite=True)
    assert server.ask(database, "SELECT sum(n), count(*) FROM lines") == [(2, 2)]
    assert server.ask(database, "SELECT count(*) FROM orders") == [(3,)]


@pytest.mark.parametrize("source", [PostgresSource, PostgresToolsSource])
@pytest.mark.parametrize("wanted", [{"data_only": True}, {"tables": [table("lines")]}])
def test_roles_come_back_on_request_with_rows_alone_too(
    server: PostgresServer, tmp_path: Path, source: Callable[..., Source], wanted: dict[str, Any]
) -> None:
    role, database = server.role(), server.database("CREATE TABLE lines AS SELECT 1 AS n")
    parts = keep(source(dsn=server.conninfo(database)), tmp_path)
    server.run("postgres", f'DROP ROLE "{role}"')
    server.run(database, "DELETE FROM lines")
    target = PostgresTarget(url=server.conninfo(database))
    bring_back(target, parts, tmp_path, with_globals=True, **wanted)
    assert server.ask(database, f"SELECT n FROM lines, pg_roles WHERE rolname = '{role}'") == [(1,)]


def test_a_table_that_the_backup_does_not_hold_is_named(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.database(SHOP)
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    target = PostgresTarget(url=server.conninfo(server.name()))
    with pytest.raises(RestoreFailed, match=r"table 'public\.nothing'"):
        bring_back(target, parts, tmp_path, tables=[table("nothing")])
