"""Whatever stock pg_dump restores is restored: in its own order, with optional statistics."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from holdfast.model.restore import Restored
from holdfast.sources.postgres.dump.source import PostgresToolsSource
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.target import PostgresTarget
from tests.engine.postgres.equality import checksums, dump
from tests.engine.postgres.extensions import cluster_with
from tests.support.clusters import Cluster
from tests.support.loop import keep, restored
from tests.support.postgres_server import PostgresServer

ROWS = (
    "CREATE TABLE t (id int PRIMARY KEY, a text);"
    "INSERT INTO t SELECT g, g FROM generate_series(1, 9) g"
)
# The body of this function needs the primary key, which no catalog records.
BODY = "SELECT count(a)::int FROM (SELECT id, a FROM public.t GROUP BY id HAVING id = $1) AS found"

# Tables of an extension that hold what its users put there, and refer to one another.
REGISTER = """
CREATE TABLE register.part (id int PRIMARY KEY, whole int NOT NULL);
CREATE TABLE register.whole (id int PRIMARY KEY, best int REFERENCES register.part);
ALTER TABLE register.part ADD FOREIGN KEY (whole) REFERENCES register.whole;
CREATE TABLE register.above (id int PRIMARY KEY, above int REFERENCES register.above);
CREATE TABLE register.note (part int REFERENCES register.part, builtin bool);
INSERT INTO register.note VALUES (NULL, true);
SELECT pg_extension_config_dump('register.part', '');
SELECT pg_extension_config_dump('register.whole', '');
SELECT pg_extension_config_dump('register.above', '');
SELECT pg_extension_config_dump('register.note', 'WHERE NOT builtin');
"""
REGISTERED = """
CREATE SCHEMA register; CREATE EXTENSION register SCHEMA register;
INSERT INTO register.whole VALUES (1, NULL), (2, NULL);
INSERT INTO register.part VALUES (10, 1), (20, 2);
UPDATE register.whole SET best = id * 10;
INSERT INTO register.above VALUES (2, NULL), (1, 2);
INSERT INTO register.note VALUES (10, false);
CREATE TABLE own (part int REFERENCES register.part); INSERT INTO own VALUES (20);
"""


def round_trip(server: PostgresServer, folder: Path, *statements: str) -> Restored:
    """The same database, according to pg_dump and by its rows."""
    database, again = server.database(*statements), server.name()
    parts = keep(PostgresSource(dsn=server.conninfo(database)), folder)
    found = restored(PostgresTarget(url=server.conninfo(again)), parts, folder)
    assert dump(server.conninfo(again)) == dump(server.conninfo(database))
    assert checksums(server.conninfo(again)) == checksums(server.conninfo(database))
    return found


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param(
            (
                "CREATE MATERIALIZED VIEW mv AS SELECT id, a, count(*) AS n FROM t GROUP BY id;"
                "CREATE UNIQUE INDEX mv_i ON mv (id)"
            ),
            id="materialized view grouped by a key",
        ),
        pytest.param(
            (
                f"CREATE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE AS '{BODY}';"
                "CREATE TABLE u AS SELECT id, a FROM t;"
                "CREATE INDEX zz ON u (f(id)); CREATE INDEX aa ON u (a) WHERE f(id) > 0"
            ),
            id="index on a function whose body groups by a key",
        ),
        pytest.param(
            (
                "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql IMMUTABLE"
                f" BEGIN ATOMIC {BODY}; END;"
                "CREATE TABLE u AS SELECT id FROM t; CREATE INDEX zz ON u (f(id))"
            ),
            id="index on a function that needs a key",
        ),
        pytest.param(
            (
                "CREATE VIEW v AS SELECT id, a, count(*) AS n FROM t GROUP BY id;"
                "CREATE MATERIALIZED VIEW mv AS SELECT * FROM v;"
                "CREATE MATERIALIZED VIEW mmv AS SELECT * FROM mv; CREATE INDEX ON mmv (n);"
                "COMMENT ON INDEX mmv_n_idx IS 'x'; CREATE UNIQUE INDEX ON mmv (id)"
            ),
            id="materialized view of a view that is made after the key",
        ),
        pytest.param(
            (
                "ALTER TABLE t ADD UNIQUE (a), ADD COLUMN during int4range;"
                "CREATE INDEX b ON t (a); CREATE INDEX c ON t (id, (lower(a)));"
                "ALTER TABLE t CLUSTER ON b; ALTER TABLE t ADD EXCLUDE USING gist (during WITH &&);"
                "ALTER INDEX c ALTER COLUMN 2 SET STATISTICS 5;"
                "ALTER TABLE t REPLICA IDENTITY USING INDEX t_pkey"
            ),
            id="many indexes of one table",
        ),
    ],
)
def test_objects_come_in_the_order_of_pg_dump(
    server: PostgresServer, tmp_path: Path, statements: str
) -> None:
    assert round_trip(server, tmp_path, ROWS, statements).failed == ()


def test_keys_of_large_tables_that_took_over_their_indexes_are_like_others(
    server: PostgresServer, tmp_path: Path
) -> None:
    round_trip(
        server,
        tmp_path,
        'CREATE TABLE "Big" (id int PRIMARY KEY, "a;b" text NOT NULL UNIQUE, n int);'
        'INSERT INTO "Big" SELECT g, repeat(md5(g::text), 4), g FROM generate_series(1, 12000) g;'
        'CREATE INDEX ON "Big" (n); CREATE INDEX ON "Big" (lower("a;b"));'
        'ALTER TABLE "Big" CLUSTER ON "Big_pkey";'
        'ALTER TABLE "Big" REPLICA IDENTITY USING INDEX "Big_a;b_key";'
        'COMMENT ON CONSTRAINT "Big_pkey" ON "Big" IS \'x\';'
        'CREATE TABLE other (b text REFERENCES "Big" ("a;b")); INSERT INTO other'
        ' SELECT "a;b" FROM "Big" LIMIT 9',
        "CREATE TABLE years (id int, y int, t text, PRIMARY KEY (id, y)) PARTITION BY LIST (y);"
        "CREATE INDEX ON years (t);"
        "CREATE TABLE y1 PARTITION OF years FOR VALUES IN (1);"
        "CREATE TABLE y2 PARTITION OF years FOR VALUES IN (2);"
        "INSERT INTO years SELECT g, 1, repeat(md5(g::text), 4) FROM generate_series(1, 12000) g;"
        "INSERT INTO years VALUES (1, 2, 'x')",
    )


def test_statistics_that_fail_are_a_note_and_cost_nothing(
    server: PostgresServer, tmp_path: Path
) -> None:
    found = round_trip(
        server,
        tmp_path,
        "CREATE TABLE t (a int, b int); INSERT INTO t SELECT g, g FROM generate_series(0, 9) g",
        "CREATE STATISTICS s ON (10 / a), b FROM t",
    )
    assert found.notes == ("no statistics of table public.t: division by zero",)


def test_statistics_that_fail_cost_a_dump_of_the_tools_nothing_either(
    server: PostgresServer, tmp_path: Path
) -> None:
    database, again = server.database("CREATE TABLE t AS SELECT 0 AS a, 1 AS b"), server.name()
    server.run(database, "CREATE STATISTICS s ON (10 / a), b FROM t")
    parts = keep(PostgresToolsSource(dsn=server.conninfo(database)), tmp_path)
    found = restored(PostgresTarget(url=server.conninfo(again)), parts, tmp_path)
    assert found.notes == ("no statistics of table public.t: division by zero",)
    assert dump(server.conninfo(again)) == dump(server.conninfo(database))


def test_tables_of_an_extension_are_filled_in_the_order_of_their_foreign_keys(
    tmp_path: Path,
) -> None:
    with cluster_with({"register": REGISTER}) as server:
        server.ask("CREATE DATABASE shop")
        for statement in REGISTERED.split(";\n"):
            _run(server, statement)
        source, again = (make_conninfo(server.dsn, dbname=name) for name in ("shop", "again"))
        parts = keep(PostgresSource(dsn=source), tmp_path)
        restored(PostgresTarget(url=again), parts, tmp_path)
        assert dump(again) == dump(source)
        assert checksums(again) == checksums(source)


def _run(server: Cluster, statement: str) -> None:
    with psycopg.connect(make_conninfo(server.dsn, dbname="shop"), autocommit=True) as connection:
        connection.execute(statement.encode())
