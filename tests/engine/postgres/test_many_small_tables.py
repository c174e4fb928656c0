"""Many small tables travel by few messages, and a failure among them still names its object."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from holdfast.model.backup import PartKind
from holdfast.model.errors import RestoreFailed
from holdfast.sources.failed_objects import FailedObjects
from holdfast.sources.postgres.restore.copy_series import STATEMENTS_PER_MESSAGE, CopySeries
from holdfast.sources.postgres.restore.definitions import Definer
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.server.sql_text import Heading, statements
from holdfast.sources.postgres.target import PostgresTarget
from tests.support.loop import keep, restored
from tests.support.postgres_server import PostgresServer

TABLES = 2 * STATEMENTS_PER_MESSAGE + 20
MAKE = f"""
DO $$ BEGIN FOR n IN 1..{TABLES} LOOP
    EXECUTE format('CREATE TABLE t_%s (id int PRIMARY KEY, "Name" text UNIQUE)
        WITH (autovacuum_enabled = false)', n);
    EXECUTE format('INSERT INTO t_%s SELECT k, ''row '' || k FROM generate_series(1, %s) k', n, n);
END LOOP; END $$
"""
COUNTED = 'SELECT {number}, count(*), sum(id), min("Name") FROM t_{number}'
EACH = " UNION ALL ".join(COUNTED.format(number=number) for number in range(1, TABLES + 1))
CONTENT = f"{EACH} ORDER BY 1"
INDEXES = "SELECT count(*) FROM pg_index WHERE indrelid::regclass::text ~ '^t_' AND indisvalid"
UNKNOWN = "SELECT count(*) FROM pg_class WHERE relname ~ '^t_[0-9]*$' AND reltuples < 0"


def test_many_tables_come_back_in_far_fewer_transactions(
    server: PostgresServer, tmp_path: Path
) -> None:
    database, again = server.database(MAKE), server.name()
    parts = keep(PostgresSource(dsn=server.conninfo(database)), tmp_path)
    restored(PostgresTarget(url=server.conninfo(again)), parts, tmp_path)
    assert server.ask(again, CONTENT) == server.ask(database, CONTENT)
    assert server.ask(again, INDEXES) == [(2 * TABLES,)]
    assert server.ask(again, UNKNOWN) == [(0,)]
    ((commits,),) = server.ask(
        again, "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    )
    # ANALYZE commits once for each table; its definition, owner, rows and keys were four more.
    assert isinstance(commits, int)
    assert commits < 3 * TABLES


@pytest.fixture
def session(server: PostgresServer) -> Iterator[psycopg.Connection]:
    database = server.database("CREATE TABLE a (x int); CREATE TABLE b (x int)")
    with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
        yield connection


def rows_of(session: psycopg.Connection, table: str) -> list[int]:
    return [row[0] for row in session.execute(f"SELECT x FROM {table} ORDER BY x".encode())]


SERIES = ("COPY a FROM STDIN", "COPY b FROM STDIN")


def test_a_series_loads_tables_in_turn_over_more_than_one_message(
    session: psycopg.Connection,
) -> None:
    count = STATEMENTS_PER_MESSAGE + 1
    series = CopySeries(session, SERIES[:1] * count)
    taken = [series.copy([b"%d\n" % number, memoryview(b"0\n")]) for number in range(count)]
    series.close()
    assert taken == [2] * count
    assert len(rows_of(session, "a")) == 2 * count


def test_a_refused_row_ends_the_series_with_what_the_server_says(
    session: psycopg.Connection,
) -> None:
    series = CopySeries(session, SERIES)
    with pytest.raises(psycopg.DataError, match="invalid input syntax"):
        series.copy([b"no number\n"])
    series.close()
    assert rows_of(session, "a") == []


def test_rows_that_cannot_be_read_are_not_taken_and_the_session_stays_usable(
    session: psycopg.Connection,
) -> None:
    def broken() -> Iterator[bytes]:
        yield b"1\n"
        raise EOFError("the part is cut short")

    series = CopySeries(session, SERIES)
    assert series.copy([b"7\n"]) == 1
    with pytest.raises(EOFError, match="cut short"):
        series.copy(broken())
    series.close()
    series.close()
    assert rows_of(session, "b") == []


def test_a_series_that_is_left_between_two_tables_takes_no_rows_of_either(
    session: psycopg.Connection,
) -> None:
    series = CopySeries(session, SERIES)
    series.copy([b"7\n"])
    series.close()
    assert (rows_of(session, "a"), rows_of(session, "b")) == ([], [])


def test_a_series_whose_session_ends_says_so_and_closes(
    session: psycopg.Connection, server: PostgresServer
) -> None:
    series = CopySeries(session, SERIES)
    series.copy([b"7\n"])
    server.ask("postgres", f"SELECT pg_terminate_backend({session.info.backend_pid}, 5000)")
    with pytest.raises(psycopg.OperationalError):
        series.copy([b"8\n"])
    series.close()


def entry(kind: str, name: str, text: str) -> str:
    return f"--\n-- Name: {name}; Type: {kind}; Schema: public; Owner: x\n--\n\n{text}\n\n"


DEFINITIONS = "".join(
    (
        entry("TABLE", "c", "CREATE TABLE public.c (x int);"),
        entry("TABLE", "d", "CREATE TABLE public.d (x unknown_type);"),
        entry("TABLE", "e", "CREATE TABLE public.e (x int);"),
    )
)
LONG_RUN = "".join(
    entry("TABLE", f"n{number}", f"CREATE TABLE public.n{number} (x {kind});")
    for number in range(100)
    for kind in ("unknown_type" if number == 7 else "int",)
)
FOUND = "SELECT relname::text FROM pg_class WHERE relname IN ('c', 'd', 'e') ORDER BY 1"


@pytest.mark.parametrize(("keeps_going", "made"), [(False, ["c"]), (True, ["c", "e"])])
def test_a_definition_that_fails_among_others_is_named_and_only_it_is_missing(
    session: psycopg.Connection, keeps_going: bool, made: list[str]
) -> None:
    failed = FailedObjects(keep_going=keeps_going)
    definer = Definer(session, failed, unnamed=Heading(kind="definitions", name="x"))
    if keeps_going:
        definer.run(statements(DEFINITIONS))
    else:
        with pytest.raises(RestoreFailed, match=r"cannot restore table 'public\.d': type"):
            definer.run(statements(DEFINITIONS))
    assert [each.name for each in failed.take()] == (["public.d"] if keeps_going else [])
    assert [row[0] for row in session.execute(FOUND)] == made


def test_what_no_transaction_may_hold_is_made_alone(
    session: psycopg.Connection, server: PostgresServer
) -> None:
    name = server.name()
    text = f'CREATE TABLE public.c (x int);\nCREATE DATABASE "{name}";\nSELECT 1;\n'
    definer = Definer(
        session, FailedObjects(keep_going=False), unnamed=Heading(kind="database", name="x")
    )
    definer.run(statements(text))
    assert name in server.databases()


def test_a_session_that_ends_within_a_message_names_its_definitions(
    session: psycopg.Connection,
) -> None:
    text = DEFINITIONS.replace(
        "CREATE TABLE public.d (x unknown_type);",
        "SELECT pg_terminate_backend(pg_backend_pid());",
    )
    definer = Definer(
        session, FailedObjects(keep_going=True), unnamed=Heading(kind="database", name="x")
    )
    with pytest.raises(RestoreFailed, match=r"table 'public\.c' or one of the 2 definitions after"):
        definer.run(statements(text))


def test_an_attempt_gives_back_messages_that_failed_and_does_all_others(
    session: psycopg.Connection,
) -> None:
    unnamed = Heading(kind="definitions", name="x")
    definer = Definer(session, FailedObjects(keep_going=False), unnamed=unnamed)
    every = list(statements(LONG_RUN))
    assert definer.attempt(every) == every[:50]
    ((made,),) = session.execute("SELECT count(*) FROM pg_class WHERE relname ~ '^n[0-9]+$'")
    assert made == 50


def test_a_definition_that_fails_in_a_long_run_is_the_one_that_is_named(
    server: PostgresServer, tmp_path: Path
) -> None:
    parts = keep(PostgresSource(dsn=server.conninfo(server.database(MAKE))), tmp_path)
    (definitions,) = (part for part in parts if part.kind is PartKind.PRE_DATA)
    path = tmp_path / definitions.key
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE public.t_77 ", b"CREATE FABLE t_77 "))
    again = server.name()
    with pytest.raises(RestoreFailed, match=r"cannot restore table 'public\.t_77': syntax error"):
        restored(PostgresTarget(url=server.conninfo(again)), parts, tmp_path)
    assert again not in server.databases()
