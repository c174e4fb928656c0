"""Restored data equals the original, according to pg_dump and the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.model.backup import Consistency, Part, PartKind, Relation
from holdfast.model.errors import Interrupted, RestoreFailed, TargetNotEmpty, VerifyFailed
from holdfast.model.restore import OpenPart
from holdfast.ports.target import RestoreOptions, RestoreRequest
from holdfast.sources.postgres.restore import rows
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.rows.transport import Wanted
from holdfast.sources.postgres.target import PostgresTarget
from tests.engine.postgres.equality import checksums, dump
from tests.fakes.stored import FakeStored
from tests.support.loop import Unwatched, bring_back, keep, opener
from tests.support.postgres_server import PostgresServer
from tests.support.waiting import until


def table(name: str) -> Relation:
    return Relation(schema="public", name=name)


def test_the_corpus_comes_back_equal(
    server: PostgresServer, corpus: Callable[[], str], tmp_path: Path, way: Wanted
) -> None:
    database, restored = corpus(), server.name()
    parts = keep(PostgresSource(dsn=server.conninfo(database), transport=way), tmp_path)
    tables = bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    assert dump(server.conninfo(restored)) == dump(server.conninfo(database))
    assert checksums(server.conninfo(restored)) == checksums(server.conninfo(database))
    assert all(each.rows_found == each.rows_expected for each in tables)
    counted = {each.relation: each.rows_found for each in tables}
    assert counted[table("no_columns")] == 2
    assert counted[table("no_rows")] == 0
    assert table("elsewhere") not in counted


def test_every_table_with_rows_of_its_own_is_a_part(
    server: PostgresServer, corpus: Callable[[], str]
) -> None:
    database = corpus()
    source = PostgresSource(dsn=server.conninfo(database))
    with source.open(workers=1) as snapshot:
        taken = set()
        for part in snapshot.parts:
            if part.kind is PartKind.DATA:
                with snapshot.read(part) as stream:
                    assert b"".join(bytes(chunk) for chunk in stream)
                taken |= {(each.relation.schema, each.relation.name) for each in stream.members}
        assert snapshot.consistency is Consistency.SNAPSHOT
        assert "foreign table 'public.elsewhere'" in snapshot.proof.texts()["not_taken"]
    in_catalog = server.ask(
        database,
        "SELECT schemaname::text, tablename::text FROM pg_tables t JOIN pg_class c"
        " ON c.oid = format('%I.%I', schemaname, tablename)::regclass AND c.relkind = 'r'"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    )
    assert taken == set(in_catalog)


def test_a_plan_names_every_table_and_says_why(
    server: PostgresServer, corpus: Callable[[], str]
) -> None:
    dsn = server.conninfo(corpus())
    apart = PostgresSource(dsn=dsn, small_bytes=0).plan()
    (types,) = (each for each in apart.tables if each.relation.name == "types")
    assert types.method == "copy text over fifo"
    assert types.reason == "text restores into any later version"
    plan = PostgresSource(dsn=dsn).plan()
    methods = {each.relation.name: (each.method, each.reason) for each in plan.tables}
    assert methods["types"] == ("copy text over wire, packed", "small tables share a part")
    assert methods["elsewhere"] == ("schema only", "its rows are on another server")
    assert any("elsewhere" in note for note in plan.notes)


def test_ranges_of_a_table_come_back_in_order_on_pages_that_need_no_vacuum(
    server: PostgresServer, tmp_path: Path
) -> None:
    database, restored = (
        server.database(
            "CREATE TABLE big (id int PRIMARY KEY, a text);"
            "INSERT INTO big SELECT g, repeat('x', 500) FROM generate_series(1, 4000) g;"
            "CREATE TABLE other AS SELECT id, a || 'y' AS a FROM big"
        ),
        server.name(),
    )
    source = PostgresSource(dsn=server.conninfo(database), chunk_bytes=400_000)
    parts = keep(source, tmp_path)
    assert len([part for part in parts if part.relation == table("big")]) > 2
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    assert checksums(server.conninfo(restored)) == checksums(server.conninfo(database))
    server.run(restored, "CREATE EXTENSION pg_visibility")
    for name in ("big", "other"):
        # The server adds empty pages ahead of the rows, which are not marked.
        unmarked = (
            f"SELECT count(*) FROM {name} WHERE NOT (SELECT all_visible FROM"
            f" pg_visibility_map('{name}', ({name}.ctid::text::point)[0]::bigint))"
        )
        assert server.ask(restored, unmarked) == [(0,)]


def test_rows_hashed_by_an_enum_find_their_partition_again(
    server: PostgresServer, tmp_path: Path
) -> None:
    moods = "CREATE TYPE mood AS ENUM ('a', 'b', 'c', 'd', 'e', 'f');"
    hashed = (
        "CREATE TABLE hashed (m mood, n int) PARTITION BY HASH (m);"
        "CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        "CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
        "INSERT INTO hashed SELECT m, row_number() OVER () FROM unnest(enum_range(NULL::mood)) m;"
    )
    database, restored = server.database(moods, hashed), server.name()
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    query = "SELECT m::text, n FROM hashed ORDER BY n"
    assert server.ask(restored, query) == server.ask(database, query)


def test_what_belongs_to_the_database_itself_comes_back(
    server: PostgresServer, tmp_path: Path
) -> None:
    role = server.role()
    database, restored = server.database(), server.name()
    for statement in (
        'ALTER DATABASE {} SET search_path TO "$user", \'odd "schema\', public',
        "ALTER DATABASE {} SET my.own_setting TO 'it''s \\ x'",
        'ALTER ROLE "{role}" IN DATABASE {} SET work_mem TO 65536',
        "COMMENT ON DATABASE {} IS 'it''s ours'",
        "REVOKE CONNECT ON DATABASE {} FROM PUBLIC",
        'GRANT CREATE ON DATABASE {} TO "{role}" WITH GRANT OPTION',
        'ALTER DATABASE {} OWNER TO "{role}"',
    ):
        server.run("postgres", statement.format(f'"{database}"', role=role))
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    own = (
        "SELECT pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'), encoding,"
        " datcollate, ARRAY(SELECT a::text FROM unnest(datacl) a ORDER BY 1),"
        " ARRAY(SELECT (setrole, setconfig)::text FROM pg_db_role_setting"
        "       WHERE setdatabase = d.oid ORDER BY 1)"
        " FROM pg_database d WHERE datname = current_database()"
    )
    assert server.ask(restored, own) == server.ask(database, own)


def test_a_database_that_is_not_empty_is_left_alone(server: PostgresServer, tmp_path: Path) -> None:
    database = server.database("CREATE TABLE a AS SELECT 1 AS x")
    other = server.database("CREATE VIEW precious AS SELECT 1")
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    with pytest.raises(TargetNotEmpty) as caught:
        bring_back(PostgresTarget(url=server.conninfo(other)), parts, tmp_path)
    assert caught.value.message == (
        f"cannot restore into database '{other}': it holds relation public.precious"
    )
    assert "--overwrite" in caught.value.hint
    assert server.ask(other, "SELECT * FROM precious") == [(1,)]


def test_overwriting_replaces_a_database_with_somebody_in_it(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.database("CREATE TABLE a AS SELECT 1 AS x")
    other = server.database("CREATE VIEW precious AS SELECT 1")
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    bring_back(PostgresTarget(url=server.conninfo(other)), parts, tmp_path, overwrite=True)
    assert dump(server.conninfo(other)) == dump(server.conninfo(database))


def test_a_failed_restore_leaves_no_database_and_keeps_the_one_it_would_replace(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.database(
        "CREATE TABLE good AS SELECT g FROM generate_series(1, 1000) g;"
        "CREATE TABLE bad AS SELECT g FROM generate_series(1, 10) g"
    )
    other = server.database("CREATE TABLE precious AS SELECT 1 AS x")
    parts = keep(PostgresSource(dsn=server.conninfo(database), small_bytes=0), tmp_path)
    (damaged,) = (part for part in parts if part.relation == table("bad"))
    (tmp_path / damaged.key).write_text("1\nnot a number\n")
    before = server.databases()
    with pytest.raises(RestoreFailed) as caught:
        bring_back(PostgresTarget(url=server.conninfo(other)), parts, tmp_path, overwrite=True)
    assert caught.value.message == (
        "cannot restore table 'public.bad': invalid input syntax for type integer: \"not a number\""
    )
    assert server.databases() == before
    assert server.ask(other, "SELECT x FROM precious") == [(1,)]


def test_missing_rows_fail_the_restore(server: PostgresServer, tmp_path: Path) -> None:
    database = server.database("CREATE TABLE a AS SELECT g FROM generate_series(1, 3) g")
    parts = keep(PostgresSource(dsn=server.conninfo(database), small_bytes=0), tmp_path)
    (part,) = (part for part in parts if part.kind is PartKind.DATA)
    (tmp_path / part.key).write_text("1\n2\n")
    with pytest.raises(RestoreFailed, match=r"table 'public\.a': 3 rows were stored, 2 arrived"):
        bring_back(PostgresTarget(url=server.conninfo(server.name())), parts, tmp_path)


def test_an_existing_empty_database_is_filled_in_place(
    server: PostgresServer, tmp_path: Path
) -> None:
    database, restored = server.database("CREATE TABLE a AS SELECT 1 AS x"), server.database()
    oid = "SELECT oid FROM pg_database WHERE datname = current_database()"
    before = server.ask(restored, oid)
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    assert server.ask(restored, oid) == before
    assert dump(server.conninfo(restored)) == dump(server.conninfo(database))


def test_a_schema_error_names_the_object_and_the_remedy(
    server: PostgresServer, tmp_path: Path
) -> None:
    role = server.role()
    database = server.database(
        "CREATE TABLE a AS SELECT 1 AS x", f'ALTER TABLE a OWNER TO "{role}"'
    )
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    server.run(database, "ALTER TABLE a OWNER TO CURRENT_USER")
    server.run("postgres", f'DROP ROLE "{role}"')
    with pytest.raises(RestoreFailed) as caught:
        bring_back(PostgresTarget(url=server.conninfo(server.name())), parts, tmp_path)
    assert caught.value.message == (
        f"cannot restore table 'public.a': role \"{role}\" does not exist"
    )
    assert "--globals" in caught.value.hint


def test_a_role_that_only_the_database_needs_is_missed_before_any_row_is_loaded(
    server: PostgresServer, tmp_path: Path
) -> None:
    role, database = server.role(), server.database("CREATE TABLE a AS SELECT 1 AS x")
    server.run("postgres", f'ALTER DATABASE "{database}" OWNER TO "{role}"')
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    server.run("postgres", f'ALTER DATABASE "{database}" OWNER TO CURRENT_USER; DROP ROLE "{role}"')
    (rows,) = (part for part in parts if part.kind is PartKind.DATA)
    (tmp_path / rows.key).unlink()
    with pytest.raises(RestoreFailed, match=f'role "{role}" does not exist') as caught:
        bring_back(PostgresTarget(url=server.conninfo(server.name())), parts, tmp_path)
    assert "--globals" in caught.value.hint


def test_roles_come_back_on_request_and_existing_ones_stay_as_they_are(
    server: PostgresServer, tmp_path: Path
) -> None:
    lost, changed = server.role(options="CREATEDB"), server.role()
    database = server.database(
        "CREATE TABLE a AS SELECT 1 AS x", f'ALTER TABLE a OWNER TO "{lost}"'
    )
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    server.run(database, "ALTER TABLE a OWNER TO CURRENT_USER")
    server.run("postgres", f'DROP ROLE "{lost}"')
    server.run("postgres", f'ALTER ROLE "{changed}" CONNECTION LIMIT 7')
    restored = server.name()
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path, with_globals=True)
    roles = server.ask(
        "postgres",
        f"SELECT rolcreatedb, rolconnlimit FROM pg_roles WHERE rolname IN ('{lost}', '{changed}')"
        " ORDER BY rolcreatedb",
    )
    assert roles == [(False, 7), (True, -1)]
    assert server.ask(restored, "SELECT tableowner FROM pg_tables WHERE tablename = 'a'") == [
        (lost,)
    ]


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP", "SQL_ASCII"])
def test_rows_keep_their_bytes_in_every_encoding(
    server: PostgresServer, tmp_path: Path, encoding: str, way: Wanted
) -> None:
    database = server.database(
        "CREATE TABLE t AS SELECT 'caf' || convert_from('\\xe9e9', getdatabaseencoding()) AS a"
        if encoding != "EUC_JP"
        else "CREATE TABLE t AS SELECT convert_from('\\xc6fccbdc', 'EUC_JP') AS a",
        options=f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    restored = server.name()
    parts = keep(PostgresSource(dsn=server.conninfo(database), transport=way), tmp_path)
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    query = "SELECT getdatabaseencoding()::text, convert_to(a, getdatabaseencoding()) FROM t"
    assert server.ask(restored, query) == server.ask(database, query)
    assert dump(server.conninfo(restored)) == dump(server.conninfo(database))


def test_only_the_users_rows_of_an_extensions_table_are_taken(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.database(
        "CREATE EXTENSION hstore",
        "CREATE TABLE config (a int, builtin bool); CREATE TABLE inner_workings (a int)",
        "ALTER EXTENSION hstore ADD TABLE config",
        "ALTER EXTENSION hstore ADD TABLE inner_workings",
        "INSERT INTO config VALUES (1, true), (2, false)",
        # What pg_extension_config_dump() does in an extension's own script.
        "UPDATE pg_extension SET extconfig = ARRAY['config'::regclass::oid],"
        " extcondition = ARRAY['WHERE NOT builtin'] WHERE extname = 'hstore'",
    )
    parts = keep(PostgresSource(dsn=server.conninfo(database), small_bytes=0), tmp_path)
    (part,) = (part for part in parts if part.kind is PartKind.DATA)
    assert (part.relation, part.rows) == (table("config"), 1)
    assert (tmp_path / part.key).read_text() == "2\tf\n"


@pytest.mark.parametrize("kind", [PartKind.PRE_DATA, PartKind.DATA, PartKind.POST_DATA])
def test_an_interrupted_restore_leaves_nothing_behind(
    server: PostgresServer, tmp_path: Path, kind: PartKind
) -> None:
    database = server.database("CREATE TABLE a AS SELECT g FROM generate_series(1, 1000) g")
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    target, before = PostgresTarget(url=server.conninfo(server.name())), server.databases()
    with pytest.raises(Interrupted):
        target.restore(
            RestoreRequest(parts=parts, workers=2),
            interrupted_at(opener(tmp_path).open_part, kind),
            Unwatched(),
        )
    assert server.databases() == before
    until(lambda: server.sessions("holdfast-restore-%") == 0)


def interrupted_at(open_part: OpenPart, kind: PartKind) -> FakeStored:
    """The operator presses Ctrl-C in the middle of a part."""

    @contextmanager
    def interrupting(part: Part) -> Iterator[Iterator[bytes]]:
        def some(chunks: Iterator[bytes]) -> Iterator[bytes]:
            yield next(chunks)[:100]
            raise Interrupted("ended by SIGINT")

        with open_part(part) as chunks:
            yield some(chunks) if part.kind is kind else chunks

    return FakeStored(interrupting)


@pytest.mark.parametrize("over", ["fifo", "wire"])
@pytest.mark.parametrize("overwrite", [False, True], ids=["into no rows", "in place of rows"])
def test_rows_of_a_part_that_turns_out_wrong_are_rolled_back(
    server: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    over: str,
    overwrite: bool,
) -> None:
    """All but their end was sent to the server when the verification fails."""
    if over == "wire":
        monkeypatch.setattr(rows, "_may_read", lambda _: False)
    database = server.database("CREATE TABLE a AS SELECT g FROM generate_series(1, 100000) g")
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    server.run(database, "TRUNCATE a" if not overwrite else "DELETE FROM a WHERE g > 7")
    (before,) = server.ask(database, "SELECT count(*), sum(g) FROM a")

    @contextmanager
    def failing(part: Part) -> Iterator[Iterator[bytes]]:
        def chunks(whole: Iterator[bytes]) -> Iterator[bytes]:
            yield from whole
            raise VerifyFailed(f"cannot trust part '{part.name}'")

        with opener(tmp_path).open_part(part) as whole:
            yield chunks(whole) if part.kind is PartKind.DATA else whole

    request = RestoreRequest(
        parts=parts, options=RestoreOptions(data_only=True, overwrite=overwrite)
    )
    with pytest.raises(VerifyFailed):
        PostgresTarget(url=server.conninfo(database)).restore(
            request, FakeStored(failing), Unwatched()
        )
    assert server.ask(database, "SELECT count(*), sum(g) FROM a") == [before]
