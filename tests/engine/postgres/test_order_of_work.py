"""Whatever the order in which definitions become possible, a restore ends and loses none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.model.errors import RestoreFailed
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.target import PostgresTarget
from tests.engine.postgres.equality import dump
from tests.support.clusters import Cluster, cluster, run
from tests.support.loop import keep, restored
from tests.support.postgres_server import PostgresServer


def test_an_index_that_waits_for_refused_rows_does_not_wait_for_keys_that_are_made(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.database(
        "CREATE TABLE p (n int CHECK (n > 0)); CREATE INDEX ON p ((n + 1));",
        "CREATE TABLE q (id int PRIMARY KEY); INSERT INTO q VALUES (1);",
        "ALTER TABLE p DROP CONSTRAINT p_n_check; INSERT INTO p VALUES (-1);"
        "ALTER TABLE p ADD CONSTRAINT p_n_check CHECK (n > 0) NOT VALID;"
        "UPDATE pg_constraint SET convalidated = true WHERE conname = 'p_n_check'",
    )
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    name = server.name()
    target = PostgresTarget(url=server.conninfo(name))
    found = restored(target, parts, tmp_path, keep_going=True)
    assert [each.name for each in found.failed] == ["public.p"]
    indexes = "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
    assert server.ask(name, indexes) == [("p_expr_idx",), ("q_pkey",)]


@contextmanager
def with_spaces(*names: str) -> Iterator[Cluster]:
    """A cluster with those tablespaces and the database `shop`."""
    with cluster() as made:
        for name in names:
            space = made.folder / name
            space.mkdir()
            run("psql", "-qc", f"CREATE TABLESPACE {name} LOCATION '{space}'", made.dsn)
        made.ask("CREATE DATABASE shop TEMPLATE template0")
        yield made


def test_keys_of_small_tables_in_tablespaces_by_turns_do_not_wait_for_each_other(
    tmp_path: Path,
) -> None:
    with with_spaces("fast") as server:
        shop = f"{server.dsn} dbname=shop"
        server.ask(
            "CREATE TABLE t (a int NOT NULL, b int); CREATE TABLE u (a int NOT NULL, b int);"
            "ALTER TABLE t ADD CONSTRAINT t_a PRIMARY KEY (a);"
            "ALTER TABLE t ADD CONSTRAINT t_b UNIQUE (b) USING INDEX TABLESPACE fast;"
            "ALTER TABLE u ADD CONSTRAINT u_a PRIMARY KEY (a) USING INDEX TABLESPACE fast;"
            "ALTER TABLE u ADD CONSTRAINT u_b UNIQUE (b)",
            dbname="shop",
        )
        parts = keep(PostgresSource(dsn=shop), tmp_path)
        before = dump(shop)
        server.ask("DROP DATABASE shop")
        restored(PostgresTarget(url=shop), parts, tmp_path)
        assert dump(shop) == before


def test_a_table_in_a_tablespace_that_is_missing_is_refused_with_a_hint(tmp_path: Path) -> None:
    with with_spaces("fast") as source, cluster() as other:
        source.ask("CREATE TABLE t (a int) TABLESPACE fast", dbname="shop")
        parts = keep(PostgresSource(dsn=f"{source.dsn} dbname=shop"), tmp_path)
        target = PostgresTarget(url=f"{other.dsn} dbname=shop")
        with pytest.raises(RestoreFailed, match='"default_tablespace": "fast"') as caught:
            restored(target, parts, tmp_path)
        assert "--no-tablespaces" in caught.value.hint
