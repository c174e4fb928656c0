"""No setting of a database for its sessions changes what we read or load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from holdfast.ports.source import Source
from holdfast.sources.postgres.dump.source import PostgresToolsSource
from holdfast.sources.postgres.rows.source import PostgresSource
from holdfast.sources.postgres.server.sql_text import literal
from holdfast.sources.postgres.target import PostgresTarget
from tests.engine.postgres.equality import checksums, dump
from tests.engine.postgres.pooler import pooler
from tests.support.depth import by_turns
from tests.support.loop import bring_back, keep
from tests.support.postgres_server import PostgresServer

VALUES = """
CREATE TABLE kinds (t timestamptz, d date, i interval, f float8, b bytea, m money, x xml, a text[],
                    s text, n text CHECK (n <> ''));
INSERT INTO kinds VALUES ('2026-11-29 12:34:56.789+00', '2026-02-03', '1 mon -2 days 03:04:05',
  0.1::float8 + 0.2::float8, '\\x00ff5c27', 1234.56, '<a/>', ARRAY['NULL', NULL, 'x'],
  'back\\slash ''quote', 'x');
CREATE VIEW v AS SELECT s IS NULL AS nothing, s = NULL AS unknown FROM kinds;
CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT s FROM kinds $$;
CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a); INSERT INTO a VALUES (1);
"""
# All settings that a database can give to a session, each at its worst.
WORST = {
    "statement_timeout": "'1ms'",
    "lock_timeout": "'1ms'",
    "idle_in_transaction_session_timeout": "'1ms'",
    "idle_session_timeout": "'1ms'",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "'serializable'",
    "default_transaction_deferrable": "on",
    "search_path": "'pg_temp, nowhere'",
    "row_security": "off",
    "datestyle": "'German, DMY'",
    "intervalstyle": "'sql_standard'",
    "timezone": "'Pacific/Chatham'",
    "extra_float_digits": "'-15'",
    "bytea_output": "'escape'",
    "xmloption": "'document'",
    "xmlbinary": "'hex'",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "check_function_bodies": "on",
    "exit_on_error": "on",
    "session_replication_role": "'replica'",
    "client_encoding": "'LATIN1'",
    "client_min_messages": "'error'",
}
# Texts at their worst; any other text setting stays unchanged.
TEXTS = {
    "datestyle": "Postgres, YMD",
    "timezone": "America/St_Johns",
    "timezone_abbreviations": "India",
    "client_encoding": "LATIN1",
    "search_path": "pg_temp, nowhere",
    "default_tablespace": "",
    "temp_tablespaces": "",
    "default_text_search_config": "pg_catalog.german",
    "createrole_self_grant": "set, inherit",
    "lc_messages": "C",
    "lc_monetary": "C.UTF-8",
    "lc_numeric": "C.UTF-8",
    "lc_time": "C.UTF-8",
    "session_preload_libraries": "auto_explain",
    "restrict_nonsystem_relation_kind": "view, foreign-table",
    "wal_consistency_checking": "heap",
}
# Settings of which one extreme is not tried, with the reason.
LEFT_ALONE = {
    "post_auth_delay": "sessions of anybody would begin hours later",
    "max_stack_depth": "its ends are those of the kernel",
    "log_min_messages": "the server's log would have every step of every session",
    "log_min_error_statement": "the same",
    "client_min_messages": "the same, on the way to us",
    "default_statistics_target": "samples of 3,000,000 rows take their time",
    "debug_print_plan": "the server's log would have every plan",
    "debug_print_parse": "the same",
    "debug_print_rewritten": "the same",
    "log_statement_stats": "it contradicts three others",
    "scram_iterations": "it makes passwords slow, and we make none",
}
ENDS = """
SELECT name, vartype, boot_val, min_val, max_val, enumvals FROM pg_settings
WHERE context IN ('user', 'superuser', 'backend', 'superuser-backend') ORDER BY name
"""
SETTINGS = """
SELECT setting FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase,
       unnest(setconfig) AS setting
WHERE datname = {} ORDER BY 1
"""
Engine = Callable[[str], Source]


@pytest.fixture(params=["native", "custom", "plain"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "native":
        return lambda dsn: PostgresSource(dsn=dsn)
    mark = 0 if request.param == "plain" else 1 << 60
    return lambda dsn: PostgresToolsSource(dsn=dsn, plain_from_bytes=mark)


def test_the_worst_settings_of_both_databases_change_nothing(
    server: PostgresServer, tmp_path: Path, engine: Engine
) -> None:
    database, restored = server.database(VALUES), server.database()
    before = dump(server.conninfo(database)), checksums(server.conninfo(database))
    worsen(server, database)
    worsen(server, restored)
    parts = keep(engine(server.conninfo(database)), tmp_path)
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    for name in WORST:
        server.run("postgres", f'ALTER DATABASE "{restored}" RESET {name}')
    assert (dump(server.conninfo(restored)), checksums(server.conninfo(restored))) == before
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgisinternal AND tgenabled <> 'O'"
    assert server.ask(restored, triggers) == [(0,)]


def worsen(server: PostgresServer, database: str) -> None:
    for name, value in WORST.items():
        server.run("postgres", f'ALTER DATABASE "{database}" SET {name} TO {value}')


def test_a_database_whose_sessions_act_as_somebody_else_is_read_and_filled_as_ourselves(
    server: PostgresServer, tmp_path: Path, engine: Engine
) -> None:
    role = server.role()
    database, restored = server.database(VALUES), server.database()
    before = dump(server.conninfo(database)), checksums(server.conninfo(database))
    for name in (database, restored):
        server.run("postgres", f'ALTER DATABASE "{name}" SET role TO "{role}"')
    parts = keep(engine(server.conninfo(database)), tmp_path)
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    assert server.ask(restored, "SELECT current_user::text") == [(role,)]
    server.run("postgres", f'ALTER DATABASE "{restored}" RESET role')
    assert (dump(server.conninfo(restored)), checksums(server.conninfo(restored))) == before


def test_a_pooler_that_refuses_options_at_the_start_is_told_all_by_statements(
    server: PostgresServer, tmp_path: Path, engine: Engine
) -> None:
    database, restored = server.database(VALUES), server.database()
    before = dump(server.conninfo(database)), checksums(server.conninfo(database))
    server.run("postgres", f'ALTER DATABASE "{database}" SET extra_float_digits TO -15')
    ((folder, port),) = server.ask(
        "postgres",
        "SELECT split_part(current_setting('unix_socket_directories'), ',', 1),"
        " current_setting('port')",
    )
    # The server sees this process at its socket, whichever user connected to the pooler.
    with pooler(f"{folder}/.s.PGSQL.{port}") as between:
        known = make_conninfo(server.superuser, dbname=database)
        through = {"host": "127.0.0.1", "port": str(between.port)}
        parts = keep(engine(make_conninfo(known, **through)), tmp_path)
        target = PostgresTarget(url=make_conninfo(known, dbname=restored, **through))
        bring_back(target, parts, tmp_path)
        assert between.refused
    for name in (database, restored):
        server.run("postgres", f'ALTER DATABASE "{name}" RESET ALL')
    assert (dump(server.conninfo(restored)), checksums(server.conninfo(restored))) == before


ENGINES: dict[str, Engine] = {
    "native": lambda dsn: PostgresSource(dsn=dsn),
    "custom": lambda dsn: PostgresToolsSource(dsn=dsn, plain_from_bytes=1 << 60),
    "plain": lambda dsn: PostgresToolsSource(dsn=dsn, plain_from_bytes=0),
}
WAYS = [(name, end) for name in ENGINES for end in ("low", "high")]


@pytest.mark.parametrize(("name", "end"), by_turns(WAYS))
def test_every_setting_of_both_databases_at_either_end_changes_nothing(
    server: PostgresServer, tmp_path: Path, name: str, end: str
) -> None:
    database, restored = server.database(VALUES), server.database()
    before = dump(server.conninfo(database)), checksums(server.conninfo(database))
    taken = set_to_its_end(server, database, end)
    assert len(taken) > 120
    assert set_to_its_end(server, restored, end) == taken
    parts = keep(ENGINES[name](server.conninfo(database)), tmp_path)
    bring_back(PostgresTarget(url=server.conninfo(restored)), parts, tmp_path)
    kept = [server.ask("postgres", SETTINGS.format(literal(each))) for each in (database, restored)]
    assert kept[0] == kept[1]
    server.run("postgres", f'ALTER DATABASE "{restored}" RESET ALL')
    assert (dump(server.conninfo(restored)), checksums(server.conninfo(restored))) == before


def set_to_its_end(server: PostgresServer, database: str, end: str) -> list[str]:
    """The settings that a database may have; each is now at that extreme."""
    taken = []
    with psycopg.connect(server.superuser, autocommit=True) as connection:
        for name, kind, usual, lowest, highest, choices in connection.execute(ENDS).fetchall():
            value = TEXTS.get(name.lower())
            if kind == "bool":
                value = "off" if usual == "on" else "on"
            elif kind == "enum":
                value = choices[0 if end == "low" else -1]
            elif kind in ("integer", "real"):
                value = lowest if end == "low" else highest
            if value is None or name in LEFT_ALONE:
                continue
            setting = f'ALTER DATABASE "{database}" SET {name} TO {literal(value)}'
            try:
                connection.execute(setting.encode())
            except psycopg.Error:
                continue
            taken.append(name)
    return taken
