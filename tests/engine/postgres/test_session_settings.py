"""Whatever a database has set for its sessions, ours read and load the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.ports import Source
from holdfast.sources.postgres_native.source import PostgresSource
from holdfast.sources.postgres_native.target import PostgresTarget
from holdfast.sources.postgres_tools.source import PostgresToolsSource
from tests.engine.loop import bring_back, keep
from tests.engine.postgres.conftest import Laboratory
from tests.engine.postgres.equality import checksums, dump

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
# Each at its worst, all that a session may be given by its database.
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
Engine = Callable[[str], Source]


@pytest.fixture(params=["native", "custom", "plain"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "native":
        return lambda dsn: PostgresSource(dsn=dsn)
    mark = 0 if request.param == "plain" else 1 << 60
    return lambda dsn: PostgresToolsSource(dsn=dsn, plain_from_bytes=mark)


def test_the_worst_settings_of_both_databases_change_nothing(
    lab: Laboratory, tmp_path: Path, engine: Engine
) -> None:
    database, restored = lab.database(VALUES), lab.database()
    before = dump(lab.conninfo(database)), checksums(lab.conninfo(database))
    worsen(lab, database)
    worsen(lab, restored)
    parts = keep(engine(lab.conninfo(database)), tmp_path)
    bring_back(PostgresTarget(url=lab.conninfo(restored)), parts, tmp_path)
    for name in WORST:
        lab.run("postgres", f'ALTER DATABASE "{restored}" RESET {name}')
    assert (dump(lab.conninfo(restored)), checksums(lab.conninfo(restored))) == before
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgisinternal AND tgenabled <> 'O'"
    assert lab.ask(restored, triggers) == [(0,)]


def worsen(lab: Laboratory, database: str) -> None:
    for name, value in WORST.items():
        lab.run("postgres", f'ALTER DATABASE "{database}" SET {name} TO {value}')
