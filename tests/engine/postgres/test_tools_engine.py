"""The stock artefacts of pg_dump: their contents, and the tools that restore them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.model.backup import Consistency, Relation
from holdfast.model.errors import RestoreFailed, TargetNotEmpty, Unsupported
from holdfast.ports.target import RestoreOptions, RestoreRequest
from holdfast.sources.postgres.dump.source import PostgresToolsSource
from holdfast.sources.postgres.target import PostgresTarget
from tests.engine.postgres.artefacts import ALWAYS_PLAIN, archive_of, restored_with
from tests.engine.postgres.equality import checksums, dump, program
from tests.support.loop import bring_back, keep
from tests.support.postgres_server import PostgresServer


def test_the_corpus_comes_back_equal(
    server: PostgresServer, corpus: Callable[[], str], tmp_path: Path, plain_from_bytes: int
) -> None:
    database, restored = corpus(), server.name()
    source = PostgresToolsSource(dsn=server.conninfo(database), plain_from_bytes=plain_from_bytes)
    parts = keep(source, tmp_path)
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    assert dump(server.conninfo(restored)) == dump(server.conninfo(database))
    assert checksums(server.conninfo(restored)) == checksums(server.conninfo(database))


def test_one_worker_restores_from_one_stream(
    server: PostgresServer, corpus: Callable[[], str], tmp_path: Path
) -> None:
    database, restored = corpus(), server.name()
    parts = keep(PostgresToolsSource(dsn=server.conninfo(database)), tmp_path)
    restored_with(server, RestoreRequest(parts=parts, workers=1), tmp_path, restored)
    assert dump(server.conninfo(restored)) == dump(server.conninfo(database))


def test_stock_tools_alone_bring_the_corpus_back(
    server: PostgresServer, corpus: Callable[[], str], tmp_path: Path, plain_from_bytes: int
) -> None:
    database, restored = corpus(), server.database()
    source = PostgresToolsSource(dsn=server.conninfo(database), plain_from_bytes=plain_from_bytes)
    part = archive_of(keep(source, tmp_path))
    into = server.conninfo(restored)
    stock = (
        [program("pg_restore", into), "--exit-on-error", f"--dbname={into}"]
        if part.details.texts()["format"] == "custom"
        else [program("psql", into), "-X", "-q", "-v", "ON_ERROR_STOP=1", f"--dbname={into}", "-f"]
    )
    subprocess.run([*stock, str(tmp_path / part.key)], check=True, stdout=subprocess.DEVNULL)
    assert dump(into) == dump(server.conninfo(database))


def test_the_proof_names_the_snapshot_the_tool_and_the_moment(server: PostgresServer) -> None:
    with PostgresToolsSource(dsn=server.conninfo(server.database())).open(workers=2) as snapshot:
        assert snapshot.consistency is Consistency.SNAPSHOT
        proof, tools = snapshot.proof.texts(), snapshot.tools
        assert proof["server"] == snapshot.server.version
        assert proof["pg_dump"] == tools["pg_dump"]
        assert proof["taken_at"] == snapshot.taken_at.isoformat()
        assert proof["snapshot"] in proof["sessions"]
        assert proof["visible"].startswith(f"{proof['xmin']}:{proof['xmax']}:")


def test_what_is_written_after_the_snapshot_is_not_in_the_dump(
    server: PostgresServer, tmp_path: Path
) -> None:
    database, restored = server.database("CREATE TABLE t AS SELECT 1 AS a"), server.name()
    parts = keep(
        PostgresToolsSource(dsn=server.conninfo(database)),
        tmp_path,
        meanwhile=lambda _: server.run(database, "INSERT INTO t VALUES (2)"),
    )
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    assert server.ask(restored, "SELECT a FROM t") == [(1,)]


def test_a_plan_says_which_format_and_why(server: PostgresServer, plain_from_bytes: int) -> None:
    database = server.database("CREATE TABLE t AS SELECT 1 AS a")
    source = PostgresToolsSource(dsn=server.conninfo(database), plain_from_bytes=plain_from_bytes)
    form = "custom" if plain_from_bytes else "plain"
    plan = source.plan()
    assert [each.method for each in plan.tables] == [f"pg_dump {form}"]
    assert plan.notes[0].startswith(f"one pg_dump writes the whole database in format {form}: ")
    (format_found,) = (each for each in source.check() if each.subject == "format")
    assert format_found.detail.startswith(f"{form}: ")


def test_what_belongs_to_the_database_itself_comes_back(
    server: PostgresServer, tmp_path: Path, plain_from_bytes: int
) -> None:
    role, database, restored = server.role(), server.database(), server.name()
    for statement in (
        f"ALTER DATABASE \"{database}\" SET work_mem TO '7MB'",
        f"COMMENT ON DATABASE \"{database}\" IS 'it''s ours'",
        f'ALTER DATABASE "{database}" OWNER TO "{role}"',
    ):
        server.run("postgres", statement)
    source = PostgresToolsSource(dsn=server.conninfo(database), plain_from_bytes=plain_from_bytes)
    parts = keep(source, tmp_path)
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    told = (
        "SELECT pg_get_userbyid(datdba)::text, shobj_description(oid, 'pg_database'),"
        " current_setting('work_mem') FROM pg_database WHERE datname = current_database()"
    )
    assert server.ask(restored, told) == server.ask(database, told) == [(role, "it's ours", "7MB")]


def test_single_tables_come_with_the_whole_schema_and_no_foreign_keys(
    server: PostgresServer, tmp_path: Path
) -> None:
    database, restored = (
        server.database(
            'CREATE SCHEMA "a b"; CREATE TABLE "a b"."c d" (id int PRIMARY KEY);'
            'CREATE SCHEMA a; CREATE TABLE a."b c d" (id int PRIMARY KEY);'
            'INSERT INTO "a b"."c d" VALUES (1); INSERT INTO a."b c d" VALUES (1);'
            'CREATE TABLE child (id int CONSTRAINT far REFERENCES "a b"."c d");'
            "COMMENT ON CONSTRAINT far ON child IS 'far'; INSERT INTO child VALUES (1)",
        ),
        server.name(),
    )
    parts = keep(PostgresToolsSource(dsn=server.conninfo(database)), tmp_path)
    wanted = [Relation(schema="a", name="b c d"), Relation(schema="", name="child")]
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path, tables=wanted)
    counts = 'SELECT (SELECT count(*) FROM "a b"."c d"), (SELECT count(*) FROM a."b c d")'
    assert server.ask(restored, counts) == [(0, 1)]
    assert server.ask(restored, "SELECT id FROM child") == [(1,)]
    constraints = "SELECT contype::text FROM pg_constraint WHERE conrelid >= 16384"
    assert server.ask(restored, f"{constraints} AND contype IN ('p', 'f')") == [("p",), ("p",)]


def test_a_partitioned_table_stands_for_its_partitions(
    server: PostgresServer, tmp_path: Path
) -> None:
    database, restored = (
        server.database(
            "CREATE TABLE m (a int) PARTITION BY LIST (a);"
            "CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1);"
            "CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2);"
            "INSERT INTO m VALUES (1), (2); CREATE TABLE other AS SELECT 1 AS a"
        ),
        server.name(),
    )
    parts = keep(PostgresToolsSource(dsn=server.conninfo(database)), tmp_path)
    wanted = [Relation(schema="public", name="m")]
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path, tables=wanted)
    counts = "SELECT (SELECT count(*) FROM m), (SELECT count(*) FROM other)"
    assert server.ask(restored, counts) == [(2, 0)]


def test_rows_come_into_a_database_in_use_all_or_none(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.database(
        "CREATE TABLE a AS SELECT g AS x FROM generate_series(1, 9) g",
        "CREATE TABLE b AS SELECT g AS x FROM generate_series(1, 9) g",
    )
    parts = keep(PostgresToolsSource(dsn=server.conninfo(database)), tmp_path)
    tables = [Relation(schema="public", name="a"), Relation(schema="public", name="b")]
    target = PostgresTarget(url=server.conninfo(database))
    with pytest.raises(TargetNotEmpty, match=r"'public\.a'.* it holds rows"):
        bring_back(target, parts, tmp_path, tables=tables)
    server.run(database, "DELETE FROM a; DELETE FROM b; ALTER TABLE b ADD CHECK (x < 9)")
    with pytest.raises(RestoreFailed, match="violates check constraint"):
        bring_back(target, parts, tmp_path, tables=tables)
    counts = "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)"
    assert server.ask(database, counts) == [(0, 0)]
    bring_back(target, parts, tmp_path, tables=tables[:1])
    assert server.ask(database, counts) == [(9, 0)]
    with pytest.raises(Unsupported, match="cannot restore over existing data"):
        bring_back(target, parts, tmp_path, tables=tables, overwrite=True)


def test_rows_alone_come_back_with_their_sequences(server: PostgresServer, tmp_path: Path) -> None:
    schema = "CREATE TABLE a (id serial, t text)"
    database = server.database(schema, "INSERT INTO a (t) VALUES ('x'), ('y')")
    parts = keep(PostgresToolsSource(dsn=server.conninfo(database)), tmp_path)
    other = server.database(schema)
    request = RestoreRequest(
        parts=parts, workers=2, options=RestoreOptions(data_only=True, triggers=False)
    )
    restored_with(server, request, tmp_path, other)
    assert dump(server.conninfo(other)) == dump(server.conninfo(database))


def test_owners_and_privileges_can_be_left_out(server: PostgresServer, tmp_path: Path) -> None:
    role = server.role()
    database, restored = (
        server.database(
            f'CREATE TABLE a (x int); ALTER TABLE a OWNER TO "{role}"; GRANT SELECT ON a TO PUBLIC'
        ),
        server.name(),
    )
    server.run("postgres", f'ALTER DATABASE "{database}" OWNER TO "{role}"')
    parts = keep(PostgresToolsSource(dsn=server.conninfo(database)), tmp_path)
    server.run(database, "ALTER TABLE a OWNER TO CURRENT_USER")
    server.run("postgres", f'ALTER DATABASE "{database}" OWNER TO CURRENT_USER')
    server.run("postgres", f'DROP ROLE "{role}"')
    request = RestoreRequest(parts=parts, options=RestoreOptions(owners=False, privileges=False))
    restored_with(server, request, tmp_path, restored)
    assert server.ask(restored, "SELECT relacl FROM pg_class WHERE relname = 'a'") == [(None,)]


def test_a_dump_in_plain_sql_refuses_what_it_cannot_do(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.database("CREATE TABLE a AS SELECT 1 AS x")
    source = PostgresToolsSource(dsn=server.conninfo(database), plain_from_bytes=ALWAYS_PLAIN)
    parts, before = keep(source, tmp_path), server.databases()
    for request, what in (
        (RestoreRequest(parts=parts, tables=(Relation(schema="public", name="a"),)), "single tab"),
        (RestoreRequest(parts=parts, options=RestoreOptions(data_only=True)), "rows alone"),
        (
            RestoreRequest(parts=parts, options=RestoreOptions(owners=False)),
            "everything but owners",
        ),
        (
            RestoreRequest(parts=parts, options=RestoreOptions(privileges=False)),
            "everything but privileges",
        ),
    ):
        with pytest.raises(Unsupported, match=f"cannot restore {what}"):
            restored_with(server, request, tmp_path, server.name())
    assert server.databases() == before
