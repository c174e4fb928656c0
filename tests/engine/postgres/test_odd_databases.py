"""Every odd database is restored equal, by the server's own dump and each table's content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.engine.commands import DONE, Commands
from tests.engine.postgres.equality import checksums, dump, properties
from tests.engine.postgres.odd_databases import OddDatabase, odd_databases
from tests.support.depth import by_turns, full
from tests.support.postgres_server import PostgresServer

RESTORE_FAILED, SOMETHING_FAILED = 32, 36
ENGINES = ("native", "tools") if full() else ("native",)
PAIRS = [(odd, engine) for engine in ENGINES for odd in odd_databases()]
SUBSCRIPTIONS = """
SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
WHERE d.datname = current_database()
"""


@pytest.fixture
def made(server: PostgresServer) -> Iterator[list[str]]:
    """Databases whose subscriptions would keep them from being dropped."""
    names: list[str] = []
    yield names
    for name in set(names) & server.databases():
        forget_subscriptions(server, name)


def forget_subscriptions(server: PostgresServer, database: str) -> None:
    for (subscription,) in server.ask(database, SUBSCRIPTIONS):
        server.run(database, f'DROP SUBSCRIPTION "{subscription}"')


def load(server: PostgresServer, odd: OddDatabase, database: str) -> None:
    written = odd.written(role=server.role(), other=server.role(), database=database)
    with psycopg.connect(server.conninfo(database), autocommit=True) as connection:
        connection.execute("SET client_encoding = 'UTF8'; SET check_function_bodies = off")
        for statement in written:
            connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("odd", "engine"),
    [pytest.param(*pair, id=f"{pair[0].name}, {pair[1]}") for pair in by_turns(PAIRS)],
)
def test_an_odd_database_comes_back_equal(
    server: PostgresServer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    made: list[str],
    odd: OddDatabase,
    engine: str,
) -> None:
    with psycopg.connect(server.superuser) as connection:
        if connection.info.server_version < odd.major * 10000:
            pytest.skip(f"only version {odd.major} knows such things")
    original, copy = server.database(options=odd.options), server.name()
    made += [original, copy]
    load(server, odd, original)
    description, rows = dump(server.conninfo(original)), checksums(server.conninfo(original))
    source = {"kind": "postgres", "dsn": server.conninfo(original), "engine": engine}
    job = {"source": source, **({"checksums": True} if engine == "native" else {})}
    commands = Commands(tmp_path, job, capfd)
    commands.run("backup", "odd")
    commands.run("verify", "odd/latest")
    restored = restore(commands, odd, server.url(copy))
    lost = {each["name"] for each in restored["failed"] if each["kind"] == "rows"}
    found = checksums(server.conninfo(copy))
    assert {each: found[each] for each in rows if ".".join(each) not in lost} == {
        each: checksum for each, checksum in rows.items() if ".".join(each) not in lost
    }
    if restored["failed"]:
        return
    assert restored["notes"] == [] or "statistics" in odd.name
    assert dump(server.conninfo(copy)) == description
    assert properties(server.conninfo(copy)) == properties(server.conninfo(original))
    if engine == "native":
        tables = restored["tables"]
        assert all(each["checksum_found"] or each["rows_found"] == 0 for each in tables)
    if full():
        forget_subscriptions(server, original)
        restore(commands, odd, server.url(original), "--overwrite")
        assert dump(server.conninfo(original)) == description


def restore(commands: Commands, odd: OddDatabase, url: str, *options: str) -> dict[str, Any]:
    """Without --keep-going, unless no tool can restore all of it."""
    argv = ["restore", "odd/latest", "--to", url, *options]
    if not odd.keeps_going:
        return commands.run(*argv)
    commands.run(*argv, codes=(RESTORE_FAILED,))
    return commands.run(*argv, "--keep-going", codes=(DONE, SOMETHING_FAILED))
