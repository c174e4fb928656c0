"""The restored database is the same, however it is divided into parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from holdfast.model.backup import PartKind, Relation
from holdfast.model.errors import RestoreFailed, TargetNotEmpty
from holdfast.sources.packing import FEWEST_PACKS, SMALL_TABLE_BYTES
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.rows.transport import Wanted
from holdfast.sources.postgres.target import PostgresTarget
from tests.engine.postgres.equality import checksums, dump
from tests.support.loop import FolderBlobs, bring_back, keep
from tests.support.postgres_server import PostgresServer

BLOCK = 8192
# Dead rows, HOT chains and a last page that is not full, all of which ranges must handle.
UPDATED = (
    "CREATE TABLE moved (id int PRIMARY KEY, note text)",
    "INSERT INTO moved SELECT n, repeat('x', n % 300) FROM generate_series(1, 20000) n",
    "UPDATE moved SET note = note || 'y' WHERE id % 3 = 0",
    "DELETE FROM moved WHERE id % 7 = 0",
)
FILES = (
    "CREATE TABLE files (id int PRIMARY KEY, body bytea, name text, other bytea NOT NULL)",
    "ALTER TABLE files ALTER body SET STORAGE EXTERNAL",
    """INSERT INTO files SELECT n, (
        SELECT string_agg(sha512((n % 5 || '/' || k)::bytea), ''::bytea)
        FROM generate_series(1, 40000) k), 'file ' || n, '' FROM generate_series(1, 12) n""",
    "INSERT INTO files VALUES (100, NULL, 'nothing', 'x'), (101, '', E'tab\\there', '\\x00ff')",
)


NOISE = (
    "CREATE TABLE {name} (id int PRIMARY KEY, body bytea)",
    "ALTER TABLE {name} ALTER body SET STORAGE EXTERNAL",
    # Half of the first rows are deleted, so that a sample has fewer rows to use.
    """INSERT INTO {name} SELECT n, (SELECT string_agg({value}, ''::bytea)
        FROM generate_series(1, 8192) k) FROM generate_series(1, 40) n""",
    "DELETE FROM {name} WHERE id % 2 = 0",
)


def laboratory_objects(server: PostgresServer, database: str) -> None:
    """Large objects: empty, short, sparse, exactly a page, longer than any buffer."""
    server.run(
        database,
        "SELECT lo_from_bytea(1001, ''), lo_from_bytea(1002, 'short'),"
        " lo_from_bytea(1003, decode(repeat('ab', 2048), 'hex')),"
        " lo_from_bytea(1004, decode(repeat('cd', 3000000), 'hex')), lo_create(1005)",
    )
    server.run(database, "SELECT lo_put(1005, 500000, 'far out'), lo_from_bytea(1006, 'short')")
    server.run(database, "COMMENT ON LARGE OBJECT 1002 IS 'it''s \n short'")
    server.run(database, "GRANT SELECT ON LARGE OBJECT 1003 TO PUBLIC")


# The sizes below which tables are packed, and above which they are split.
SHAPES = {
    "packed": (SMALL_TABLE_BYTES, None),
    "apart": (0, None),
    "split": (0, BLOCK),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_corpus_comes_back_equal_in_every_shape(
    server: PostgresServer, corpus: Callable[[], str], tmp_path: Path, way: Wanted, shape: str
) -> None:
    database, restored = corpus(), server.name()
    for statement in UPDATED:
        server.run(database, statement)
    laboratory_objects(server, database)
    small, chunk = SHAPES[shape]
    source = PostgresSource(
        dsn=server.conninfo(database), transport=way, small_bytes=small, chunk_bytes=chunk
    )
    parts = keep(source, tmp_path)
    if shape == "split":
        assert len([part for part in parts if part.relation == public("moved")]) > 100
    tables = bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    there, here = dump(server.conninfo(restored)), dump(server.conninfo(database))
    # Ranges of a table are restored in parallel: all rows, in any order.
    assert sorted(there) == sorted(here) if shape == "split" else there == here
    assert checksums(server.conninfo(restored)) == checksums(server.conninfo(database))
    (moved,) = (each for each in tables if each.relation == public("moved"))
    assert [(moved.rows_expected,)] == server.ask(database, "SELECT count(*) FROM moved")


def public(name: str) -> Relation:
    return Relation(schema="public", name=name)


def test_only_what_becomes_smaller_is_compressed(server: PostgresServer) -> None:
    noise = [each.format(name="noise", value="sha512((n || '/' || k)::bytea)") for each in NOISE]
    words = [each.format(name="words", value="repeat('word', 16)::bytea") for each in NOISE]
    source = PostgresSource(dsn=server.conninfo(server.database(*noise, *words)))
    with source.open(workers=1) as snapshot:
        worth = {part.relation: part.compress for part in snapshot.parts if part.relation}
    assert worth == {public("noise"): False, public("words"): True}
    told = {table.relation: table.method for table in source.plan().tables}
    assert told[public("noise")].endswith("not compressed")
    assert not told[public("words")].endswith("not compressed")


def test_ranges_hold_every_row_exactly_once(server: PostgresServer, tmp_path: Path) -> None:
    database = server.database(*UPDATED)
    whole = keep(PostgresSource(dsn=server.conninfo(database), small_bytes=0), tmp_path / "a")
    source = PostgresSource(dsn=server.conninfo(database), small_bytes=0, chunk_bytes=5 * BLOCK)
    pieces = keep(source, tmp_path / "b")

    def rows(folder: str) -> list[bytes]:
        files = sorted((tmp_path / folder / "data").iterdir())
        return [row for file in files for row in file.read_bytes().splitlines()]

    assert len(pieces) > len(whole)
    assert rows("a") == rows("b")


def test_one_table_comes_out_of_a_pack_alone(server: PostgresServer, tmp_path: Path) -> None:
    database = server.database(
        "CREATE TABLE a AS SELECT 1 AS x; CREATE TABLE b AS SELECT 2 AS x;"
        "CREATE TABLE c AS SELECT 3 AS x"
    )
    target = server.database("CREATE TABLE b (x int)")
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    (pack,) = (part for part in parts if part.kind is PartKind.DATA)
    assert [member.relation.name for member in pack.members] == ["a", "b", "c"]
    (table,) = bring_back(
        PostgresTarget(url=server.conninfo(target)), parts, tmp_path, tables=[public("b")]
    )
    assert (table.relation, table.rows_found) == (public("b"), 1)
    assert server.ask(target, "SELECT x FROM b") == [(2,)]
    with pytest.raises(TargetNotEmpty, match="it holds rows"):
        bring_back(
            PostgresTarget(url=server.conninfo(target)), parts, tmp_path, tables=[public("b")]
        )


def test_a_pack_that_was_cut_short_fails_with_the_table(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.database("CREATE TABLE a AS SELECT 1 AS x; CREATE TABLE b AS SELECT 2 AS x")
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    (pack,) = (part for part in parts if part.kind is PartKind.DATA)
    path = tmp_path / pack.key
    path.write_bytes(path.read_bytes()[: pack.members[1].offset])
    with pytest.raises(RestoreFailed, match=r"table 'public\.b': its part is cut short"):
        bring_back(PostgresTarget(url=server.conninfo(server.name())), parts, tmp_path)


def test_long_values_are_kept_once_and_come_back_in_their_places(
    server: PostgresServer, tmp_path: Path, way: Wanted
) -> None:
    database, restored = server.database(*FILES), server.name()
    laboratory_objects(server, database)
    blobs = FolderBlobs(tmp_path / "blobs")
    source = PostgresSource(dsn=server.conninfo(database), transport=way, external_bytes=1 << 20)
    parts = keep(source, tmp_path / "first", blobs=blobs)
    # Five different bodies in twelve rows, and one large object above a MiB.
    assert blobs.read == 6
    rows = [part for part in parts if part.kind is PartKind.DATA]
    assert sum(part.plain_bytes for part in rows) < 100_000
    keep(source, tmp_path / "second", blobs=blobs)
    assert blobs.read == 6
    target = PostgresTarget(url=server.conninfo(restored))
    bring_back(target, parts, tmp_path / "first", blobs=blobs)
    assert dump(server.conninfo(restored)) == dump(server.conninfo(database))
    assert checksums(server.conninfo(restored)) == checksums(server.conninfo(database))


def test_short_large_objects_are_read_as_pages_and_others_in_pieces(
    server: PostgresServer, tmp_path: Path, way: Wanted
) -> None:
    database, restored = server.database(), server.name()
    server.run(
        database,
        "SELECT lo_from_bytea(n::oid, decode(repeat('0b', n % 5000), 'hex'))"
        " FROM generate_series(20000, 20200) n",
    )
    parts = keep(PostgresSource(dsn=server.conninfo(database), transport=way), tmp_path / "short")
    (pages,) = server.ask(database, "SELECT count(*) FROM pg_largeobject")
    assert [part.rows for part in parts if part.name == "large-objects/00001.copy"] == [*pages]
    server.run(database, "SELECT lo_from_bytea(9, decode(repeat('cd', 25000000), 'hex'))")
    parts = keep(PostgresSource(dsn=server.conninfo(database), transport=way), tmp_path / "long")
    pieces = 200 + -(-25_000_000 // (1 << 20))
    assert [part.rows for part in parts if part.name == "large-objects/00001.copy"] == [pieces]
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path / "long")
    assert dump(server.conninfo(restored)) == dump(server.conninfo(database))


def test_a_login_that_may_not_read_pages_takes_large_objects_by_their_functions(
    server: PostgresServer, tmp_path: Path, way: Wanted
) -> None:
    database, restored = server.database(), server.name()
    laboratory_objects(server, database)
    role = server.role(options="IN ROLE pg_write_server_files")
    for (oid,) in server.ask(database, "SELECT oid FROM pg_largeobject_metadata"):
        server.run(database, f'ALTER LARGE OBJECT {oid} OWNER TO "{role}"')
    escaped = role.replace(" ", "\\ ")
    dsn = make_conninfo(server.conninfo(database), options=f"-c role={escaped}")
    parts = keep(PostgresSource(dsn=dsn, transport=way), tmp_path)
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    assert dump(server.conninfo(restored)) == dump(server.conninfo(database))


def test_rows_alone_fill_a_database_that_stands(server: PostgresServer, tmp_path: Path) -> None:
    schema = (
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a, n serial);"
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER swallows BEFORE INSERT ON b FOR EACH ROW EXECUTE FUNCTION no()"
    )
    database, target = server.database(schema), server.database(schema)
    server.run(
        database,
        "SET session_replication_role = replica; INSERT INTO a VALUES (1), (2);"
        "INSERT INTO b (a) VALUES (1), (2), (2)",
    )
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    into = PostgresTarget(url=server.conninfo(target))
    with pytest.raises(RestoreFailed, match=r"foreign key|rows were stored"):
        bring_back(into, parts, tmp_path, data_only=True)
    server.run(target, "TRUNCATE a, b")
    bring_back(into, parts, tmp_path, data_only=True, triggers=False)
    assert dump(server.conninfo(target)) == dump(server.conninfo(database))


def test_owners_and_rights_stay_behind_when_they_are_not_wanted(
    server: PostgresServer, tmp_path: Path
) -> None:
    role = server.role()
    database = server.database(
        "CREATE TABLE a AS SELECT 1 AS x",
        f'ALTER TABLE a OWNER TO "{role}"; GRANT SELECT ON a TO PUBLIC',
    )
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    server.run(database, f'DROP TABLE a; DROP ROLE "{role}"')
    restored = server.name()
    target = PostgresTarget(url=server.conninfo(restored))
    bring_back(target, parts, tmp_path, owners=False, privileges=False)
    assert server.ask(restored, "SELECT relacl IS NULL FROM pg_class WHERE relname = 'a'") == [
        (True,)
    ]


def test_two_thousand_tables_are_a_few_parts_and_all_come_back(
    server: PostgresServer, tmp_path: Path
) -> None:
    database, restored = server.database(), server.name()
    server.run(
        database,
        "DO $$ BEGIN FOR n IN 1..2000 LOOP EXECUTE format("
        "'CREATE TABLE t_%s (id int PRIMARY KEY, name text)', n);"
        "EXECUTE format('INSERT INTO t_%s SELECT k, md5(k::text)"
        " FROM generate_series(1, %s) k', n, n % 7); END LOOP; END $$",
    )
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    packs = len([part for part in parts if part.kind is PartKind.DATA])
    assert FEWEST_PACKS <= packs < 2 * FEWEST_PACKS
    tables = bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    assert len(tables) == 2000
    assert sum(table.rows_found for table in tables) == sum(n % 7 for n in range(1, 2001))
    assert checksums(server.conninfo(restored)) == checksums(server.conninfo(database))


def test_a_very_long_value_travels_in_pieces(
    server: PostgresServer, tmp_path: Path, way: Wanted
) -> None:
    """A quarter of a GiB: twice that in text, and the server refuses lines above one."""
    database, restored = server.database("CREATE TABLE huge (body bytea)"), server.name()
    server.run(database, "ALTER TABLE huge ALTER body SET STORAGE EXTERNAL")
    server.run(
        database,
        "INSERT INTO huge SELECT decode(repeat(md5('x'), 1 << 24), 'hex')",
    )
    blobs = FolderBlobs(tmp_path / "blobs")
    source = PostgresSource(dsn=server.conninfo(database), transport=way, external_bytes=1 << 20)
    parts = keep(source, tmp_path / "parts", blobs=blobs)
    bring_back(
        PostgresTarget(url=server.conninfo(restored)), parts, tmp_path / "parts", blobs=blobs
    )
    found = "SELECT octet_length(body), sha256(body) FROM huge"
    assert server.ask(restored, found) == server.ask(database, found)
    assert server.ask(restored, "SELECT octet_length(body) FROM huge") == [(1 << 28,)]
