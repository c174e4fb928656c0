"""Every odd database is restored equal, by the server's own dump and each table's content."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.engine.commands import Commands
from tests.engine.mysql.odd_databases import OddDatabase, odd_databases
from tests.engine.mysql.rows_by_hand import content
from tests.engine.mysql.variables import Globals
from tests.support.depth import by_turns, full
from tests.support.mysql_server import MysqlServer, differences, of_database, ticked

ENGINES: dict[str, dict[str, Any]] = {
    "native": {"engine": "native", "loose_tables": "lock"},
    "one dump": {"engine": "tools"},
    "dumps by table": {"engine": "tools", "backup_as_tables": True},
}
# Bugs of the dump programs themselves: docs/restore-mysql.md.
NOT_BY_DUMPS = {"routines of other modes": "backslashes in comments are doubled"}
NOT_BY_ONE_DUMP = {
    "a view with checks on a view": "mariadb-dump defines it while the other is a placeholder",
}
# A row is one statement of a dump, however long it is.
BY_DUMPS = {"values longer than a statement": {"max_allowed_packet": "67108864"}}
# One dump of all tables is refused if a table has no snapshot.
LOOSE = re.compile(r"ENGINE=(?!InnoDB)")
INEXACT = "engine native keeps them exactly"


def pairs() -> list[tuple[OddDatabase, str]]:
    """The native engine with every database, the dump programs with those that they support."""
    found = [(odd, "native") for odd in odd_databases()]
    if not full():
        return found
    dumped = [odd for odd in odd_databases() if odd.name not in NOT_BY_DUMPS]
    found += [(odd, "dumps by table") for odd in dumped]
    loose = [odd for odd in dumped if LOOSE.search("\n".join(odd.statements))]
    whole = [odd for odd in dumped if odd not in loose and odd.name not in NOT_BY_ONE_DUMP]
    return found + [(odd, "one dump") for odd in whole]


@pytest.mark.parametrize(
    ("odd", "engine"),
    [pytest.param(*pair, id=f"{pair[0].name}, {pair[1]}") for pair in by_turns(pairs())],
)
def test_an_odd_database_comes_back_equal(
    server: MysqlServer,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    odd: OddDatabase,
    engine: str,
) -> None:
    if odd.kind not in ("", server.brand.name):
        pytest.skip(f"only {odd.kind} knows such things")
    original, copy = server.database(), server.name()
    gone = server.account(of_database(original, "ALL"))
    account = f"{ticked(gone)}@localhost"
    server.run(original, *(each.replace("{account}", account) for each in odd.statements))
    server.forget(gone)
    description, rows = server.described(original), content(server, original)
    source = {"kind": "mysql", "dsn": server.url(original), **ENGINES[engine]}
    job = {"source": source, **({"checksums": True} if engine == "native" else {})}
    commands = Commands(tmp_path, job, capfd)
    settings = odd.settings if engine == "native" else odd.settings | BY_DUMPS.get(odd.name, {})
    with server.connect() as connection, Globals(connection).set(settings) as taken:
        assert len(taken) == len(settings)
        is_exact = not any(INEXACT in note for note in commands.run("plan", "odd")["notes"])
        commands.run("backup", "odd")
        commands.run("verify", "odd/latest")
        commands.run("restore", "odd/latest", "--to", server.url(copy))
        commands.run("restore", "odd/latest", "--to", server.url(original), "--overwrite")
    assert is_exact or engine != "native"
    for database in (copy, original):
        assert not is_exact or differences(server.described(database), description) == []
        assert not is_exact or content(server, database) == rows


@pytest.mark.parametrize("as_tables", [True, False], ids=["dumps by table", "one dump"])
def test_a_row_that_the_server_cannot_take_is_told_with_what_makes_it_fit(
    server: MysqlServer, tmp_path: Path, capfd: pytest.CaptureFixture[str], *, as_tables: bool
) -> None:
    original, copy = server.database(), server.name()
    server.run(
        original,
        "CREATE TABLE t (a int PRIMARY KEY, b longblob)",
        "INSERT INTO t VALUES (1, REPEAT(x'00FF27', 2000000))",
    )
    source = {"kind": "mysql", "dsn": server.url(original), **ENGINES["one dump"]}
    commands = Commands(tmp_path, {"source": source | {"backup_as_tables": as_tables}}, capfd)
    commands.run("backup", "odd")
    with server.connect() as connection, Globals(connection).set({"max_allowed_packet": "4194304"}):
        told = commands.run("restore", "odd/latest", "--to", server.url(copy), codes=(32,))
    assert "SET GLOBAL max_allowed_packet" in told["hint"]
    commands.run("restore", "odd/latest", "--to", server.url(copy))
    assert content(server, copy) == content(server, original)
