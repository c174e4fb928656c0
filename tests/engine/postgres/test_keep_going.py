"""One bad object does not cost the others: it is reported, and a script creates it later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from holdfast.model.backup import Part, PartKind
from holdfast.model.errors import RestoreFailed
from holdfast.model.restore import FailedObject, Restored
from holdfast.ports.source import Source
from holdfast.sources.failed_objects import KEEP_GOING_HINT, ROWS
from holdfast.sources.postgres.dump.source import PostgresToolsSource
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.target import PostgresTarget
from tests.engine.postgres.equality import checksums, dump
from tests.support.loop import keep, restored
from tests.support.postgres_server import PostgresServer

ORPHAN = """
CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (x int);
INSERT INTO a VALUES (1); INSERT INTO b VALUES (1), (2);
SET session_replication_role = replica;
ALTER TABLE b ADD CONSTRAINT b_x FOREIGN KEY (x) REFERENCES a NOT VALID;
UPDATE pg_constraint SET convalidated = true WHERE conname = 'b_x';
"""
# With an empty search path, neither function finds the table or function in its body.
UNQUALIFIED = """
CREATE FUNCTION inner_one(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower(t) $$;
CREATE FUNCTION slug(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN RETURN inner_one(t); END $$;
CREATE TABLE p (n text, s text GENERATED ALWAYS AS (slug(n)) STORED);
INSERT INTO p (n) VALUES ('ÉTÉ'), ('X');
"""
KEYS = """
SELECT count(*) FROM pg_constraint
WHERE contype IN ('p', 'f') AND connamespace = 'public'::regnamespace
"""
Engine = Callable[[str], Source]


@pytest.fixture(params=["native", "custom", "plain"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Both engines whose backups are of definitions and rows, and both formats of pg_dump."""
    if request.param == "native":
        return lambda dsn: PostgresSource(dsn=dsn)
    mark = 0 if request.param == "plain" else 1 << 60
    return lambda dsn: PostgresToolsSource(dsn=dsn, plain_from_bytes=mark)


class RoundTrip:
    """Restores of databases that stock tools cannot restore."""

    def __init__(self, server: PostgresServer, folder: Path, engine: Engine) -> None:
        self.server = server
        self.folder = folder
        self.engine = engine
        self.restored = server.name()

    def keep(self, *statements: str) -> tuple[Part, ...]:
        self.database = self.server.database(*statements)
        return keep(self.engine(self.server.conninfo(self.database)), self.folder)

    def restore(self, parts: tuple[Part, ...], *, keep_going: bool = True) -> Restored:
        target = PostgresTarget(url=self.server.conninfo(self.restored))
        return restored(target, parts, self.folder, keep_going=keep_going)

    def ask(self, query: str) -> list[tuple[object, ...]]:
        return self.server.ask(self.restored, query)

    def run_later(self, found: Restored) -> None:
        """Run the script as an operator would."""
        with psycopg.connect(self.server.conninfo(self.restored), autocommit=True) as connection:
            for text in (found.preamble, *(each.statement for each in found.failed)):
                connection.execute(text.encode())


@pytest.fixture
def round_trip(server: PostgresServer, tmp_path: Path, engine: Engine) -> RoundTrip:
    return RoundTrip(server, tmp_path, engine)


def only(found: Restored) -> FailedObject:
    (failed,) = found.failed
    return failed


def test_a_restore_that_fails_names_the_way_to_keep_going(round_trip: RoundTrip) -> None:
    parts = round_trip.keep(ORPHAN)
    with pytest.raises(RestoreFailed, match="violates foreign key") as caught:
        round_trip.restore(parts, keep_going=False)
    assert KEEP_GOING_HINT in caught.value.hint
    assert round_trip.restored not in round_trip.server.databases()


def test_a_foreign_key_with_an_orphan_stands_for_rows_to_come(round_trip: RoundTrip) -> None:
    found = round_trip.restore(round_trip.keep(ORPHAN))
    assert (only(found).kind, only(found).name) == ("foreign key", "public.b b_x")
    assert "NOT VALID" in only(found).cause
    assert round_trip.ask("SELECT x FROM b ORDER BY x") == [(1,), (2,)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        round_trip.server.run(round_trip.restored, "INSERT INTO b VALUES (3)")
    round_trip.server.run(round_trip.restored, "DELETE FROM b WHERE x = 2")
    round_trip.run_later(found)
    assert round_trip.ask("SELECT convalidated FROM pg_constraint WHERE conname = 'b_x'") == [
        (True,)
    ]


def test_an_index_over_rows_that_are_not_unique_costs_nothing_but_itself(
    round_trip: RoundTrip,
) -> None:
    parts = round_trip.keep(
        "CREATE TABLE a (id int); INSERT INTO a VALUES (1);"
        "CREATE TABLE c (id int PRIMARY KEY); CREATE TABLE d (a int REFERENCES c);",
        # As a corrupt index allows it.
        "CREATE UNIQUE INDEX a_id ON a (id);"
        "UPDATE pg_index SET indisready = false WHERE indexrelid = 'a_id'::regclass",
        "INSERT INTO a VALUES (1)",
        "UPDATE pg_index SET indisready = true WHERE indexrelid = 'a_id'::regclass",
    )
    found = round_trip.restore(parts)
    assert (only(found).kind, only(found).name) == ("index", "public.a_id")
    assert round_trip.ask("SELECT id FROM a") == [(1,), (1,)]
    assert round_trip.ask(KEYS) == [(2,)]
    round_trip.server.run(round_trip.restored, "DELETE FROM a; INSERT INTO a VALUES (1)")
    round_trip.run_later(found)
    assert round_trip.ask(
        "SELECT indisunique FROM pg_index WHERE indexrelid = 'a_id'::regclass"
    ) == [(True,)]


def test_a_role_that_is_missing_costs_no_table(round_trip: RoundTrip) -> None:
    role, other = round_trip.server.role(), round_trip.server.role()
    parts = round_trip.keep(
        "CREATE TABLE a AS SELECT 1 AS x",
        f'ALTER TABLE a OWNER TO "{role}"; GRANT SELECT ON a TO "{other}"',
        "CREATE TABLE b AS SELECT 2 AS x",
    )
    round_trip.server.run(
        round_trip.database, f'DROP TABLE a; DROP ROLE "{role}"; DROP ROLE "{other}"'
    )
    found = round_trip.restore(parts)
    assert {each.name for each in found.failed} >= {"public.a"}
    assert all("does not exist" in each.cause for each in found.failed)
    assert round_trip.ask("SELECT a.x, b.x FROM a, b") == [(1, 2)]
    round_trip.server.run("postgres", f'CREATE ROLE "{role}"; CREATE ROLE "{other}"')
    round_trip.run_later(found)
    assert round_trip.ask("SELECT tableowner FROM pg_tables WHERE tablename = 'a'") == [(role,)]
    granted = f"SELECT has_table_privilege('{other}', 'a', 'SELECT')"
    assert round_trip.ask(granted) == [(True,)]


def test_a_grant_by_a_role_without_usage_of_the_schema_keeps_its_grantor(
    round_trip: RoundTrip,
) -> None:
    grantor, reader = round_trip.server.role(), round_trip.server.role()
    parts = round_trip.keep(
        "CREATE SCHEMA s; CREATE TABLE s.a AS SELECT 1 AS x",
        f'GRANT USAGE ON SCHEMA s TO "{grantor}";'
        f'GRANT SELECT ON s.a TO "{grantor}" WITH GRANT OPTION;'
        f'SET SESSION AUTHORIZATION "{grantor}"; GRANT SELECT ON s.a TO "{reader}";'
        f'RESET SESSION AUTHORIZATION; REVOKE USAGE ON SCHEMA s FROM "{grantor}"',
    )
    found = round_trip.restore(parts)
    assert "permission denied for schema s" in only(found).cause
    assert "SET SESSION AUTHORIZATION" in only(found).statement
    assert round_trip.ask("SELECT x FROM s.a") == [(1,)]
    assert round_trip.ask(f"SELECT has_table_privilege('{reader}', 's.a', 'SELECT')") == [(False,)]
    round_trip.server.run(round_trip.restored, f'GRANT USAGE ON SCHEMA s TO "{grantor}"')
    round_trip.run_later(found)
    assert round_trip.ask(f"SELECT has_table_privilege('{reader}', 's.a', 'SELECT')") == [(True,)]


def test_an_object_that_cannot_be_made_costs_only_those_that_need_it(
    server: PostgresServer, tmp_path: Path
) -> None:
    round_trip = RoundTrip(server, tmp_path, lambda dsn: PostgresSource(dsn=dsn))
    parts = round_trip.keep(
        "CREATE TABLE a AS SELECT 'x'::text AS x; CREATE VIEW good AS SELECT x FROM a",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';"
        "CREATE VIEW bad AS SELECT f() AS f; CREATE VIEW worse AS SELECT f FROM bad",
    )
    (definitions,) = (part for part in parts if part.kind is PartKind.PRE_DATA)
    path = tmp_path / definitions.key
    path.write_bytes(path.read_bytes().replace(b"CREATE FUNCTION", b"CREATE FUMBLING"))
    found = round_trip.restore(parts)
    assert [(each.kind, each.name) for each in found.failed] == [
        ("function", "public.f()"),
        ("view", "public.bad"),
        ("view", "public.worse"),
    ]
    assert "OWNER TO" in found.failed[0].statement
    assert round_trip.ask("SELECT x FROM good") == [("x",)]


def test_names_without_their_schema_are_looked_up_as_the_database_does_at_the_second_try(
    server: PostgresServer, tmp_path: Path
) -> None:
    round_trip = RoundTrip(server, tmp_path, lambda dsn: PostgresSource(dsn=dsn))
    parts = round_trip.keep("CREATE SCHEMA other; SET search_path = other;" + UNQUALIFIED)
    server.run(
        "postgres", f'ALTER DATABASE "{round_trip.database}" SET search_path = other, public'
    )
    parts = keep(PostgresSource(dsn=server.conninfo(round_trip.database)), tmp_path)
    with pytest.raises(RestoreFailed, match=r"table 'other\.p': function inner_one"):
        round_trip.restore(parts, keep_going=False)
    found = round_trip.restore(parts)
    assert found.failed == ()
    assert dump(server.conninfo(round_trip.restored)) == dump(server.conninfo(round_trip.database))
    assert checksums(server.conninfo(round_trip.restored)) == checksums(
        server.conninfo(round_trip.database)
    )


def test_rows_that_come_at_the_second_try_come_before_the_keys_of_their_table(
    server: PostgresServer, tmp_path: Path
) -> None:
    round_trip = RoundTrip(server, tmp_path, lambda dsn: PostgresSource(dsn=dsn))
    parts = round_trip.keep(
        UNQUALIFIED,
        # As a corrupt index allows it.
        "CREATE UNIQUE INDEX p_n ON p (n); CREATE INDEX p_s ON p (s);"
        "UPDATE pg_index SET indisready = false WHERE indexrelid = 'p_n'::regclass",
        "INSERT INTO p (n) VALUES ('X')",
        "UPDATE pg_index SET indisready = true WHERE indexrelid = 'p_n'::regclass",
    )
    found = round_trip.restore(parts)
    assert (only(found).kind, only(found).name) == ("index", "public.p_n")
    assert round_trip.ask("SELECT count(*) FROM p") == [(3,)]
    assert round_trip.ask("SELECT count(*) FROM pg_indexes WHERE tablename = 'p'") == [(1,)]


def test_rows_that_cannot_come_are_named_and_counted_and_all_others_come(
    round_trip: RoundTrip,
) -> None:
    parts = round_trip.keep(
        "CREATE FUNCTION positive(i int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT i > 0';"
        "CREATE TABLE good AS SELECT 1 AS x; CREATE TABLE bad (x int CHECK (positive(x)));"
        "CREATE TABLE last AS SELECT 3 AS x; INSERT INTO bad VALUES (1), (2)",
        "CREATE OR REPLACE FUNCTION positive(i int) RETURNS bool"
        " LANGUAGE sql IMMUTABLE AS 'SELECT i > 1'",
    )
    with pytest.raises(RestoreFailed, match=r"bad'?: new row for relation"):
        round_trip.restore(parts, keep_going=False)
    found = round_trip.restore(parts)
    assert (only(found).kind, only(found).name) == (ROWS, "public.bad")
    assert "violates check constraint" in only(found).cause
    assert round_trip.ask("SELECT g.x, l.x FROM good g, last l") == [(1, 3)]
    assert round_trip.ask("SELECT count(*) FROM bad") == [(0,)]
    counted = {each.relation.name: (each.rows_expected, each.rows_found) for each in found.tables}
    assert not counted or counted == {"good": (1, 1), "bad": (2, 0), "last": (1, 1)}


def test_rows_behind_a_table_that_could_not_be_made_are_never_taken_for_statements(
    server: PostgresServer, tmp_path: Path
) -> None:
    round_trip = RoundTrip(
        server, tmp_path, lambda dsn: PostgresToolsSource(dsn=dsn, plain_from_bytes=0)
    )
    role = server.role()
    parts = round_trip.keep(
        "CREATE TABLE bad (a text); INSERT INTO bad VALUES ('DROP TABLE good;'), ('x'), ('\\.')",
        "CREATE TABLE good AS SELECT E'it\\n\\\\.\\n' AS a UNION ALL SELECT NULL",
        "SELECT lo_from_bytea(77001, decode(repeat('00ff5c27', 9000), 'hex'))",
        f'GRANT SELECT ON LARGE OBJECT 77001 TO "{role}"',
    )
    (dump,) = (part for part in parts if part.kind is PartKind.ARCHIVE)
    path = tmp_path / dump.key
    path.write_bytes(
        path.read_bytes().replace(b"CREATE TABLE public.bad", b"CREATE FABLE public.bad")
    )
    found = round_trip.restore(parts)
    assert {(each.kind, each.name) for each in found.failed} == {
        ("table", "public.bad"),
        (ROWS, "public.bad"),
    }
    assert round_trip.ask("SELECT a FROM good ORDER BY a") == [("it\n\\.\n",), (None,)]
    assert round_trip.ask("SELECT length(lo_get(77001))") == [(36000,)]


def test_a_damaged_part_costs_its_own_tables_only(server: PostgresServer, tmp_path: Path) -> None:
    database = server.database(
        "CREATE TABLE good AS SELECT 1 AS x",
        "CREATE TABLE bad AS SELECT g FROM generate_series(1, 9) g",
    )
    parts = keep(PostgresSource(dsn=server.conninfo(database), small_bytes=0), tmp_path)
    (damaged,) = (part for part in parts if part.relation and part.relation.name == "bad")
    (tmp_path / damaged.key).write_text("1\nnot a number\n")
    name = server.name()
    target = PostgresTarget(url=server.conninfo(name))
    found = restored(target, parts, tmp_path, keep_going=True)
    assert (only(found).kind, only(found).name) == (ROWS, "public.bad")
    assert server.ask(name, "SELECT x FROM good") == [(1,)]


def test_a_user_mapping_that_fails_is_no_secret_told(
    server: PostgresServer, tmp_path: Path
) -> None:
    role = server.role()
    database = server.database(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw",
        f"CREATE USER MAPPING FOR \"{role}\" SERVER far OPTIONS (user 'x', password 's3cret')",
    )
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    server.run(database, f'DROP USER MAPPING FOR "{role}" SERVER far; DROP ROLE "{role}"')
    target = PostgresTarget(url=server.conninfo(server.name()))
    failed = only(restored(target, parts, tmp_path, keep_going=True))
    assert failed.is_secret
    assert "s3cret" in failed.statement
    assert "s3cret" not in failed.cause + failed.name + failed.kind
