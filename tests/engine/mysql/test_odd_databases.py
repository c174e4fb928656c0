"""Every odd database comes back equal: by the server's own dump, and by each table's content."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.engine.commands import Commands
from tests.engine.mysql.laboratory import Laboratory, differences, of_database, ticked
from tests.engine.mysql.odd_databases import OddDatabase, odd_databases
from tests.engine.mysql.rows_by_hand import content
from tests.engine.mysql.variables import Globals
from tests.support.depth import by_turns, full

ENGINES: dict[str, dict[str, Any]] = {
    "native": {"engine": "native", "loose_tables": "lock"},
    "one dump": {"engine": "tools"},
    "dumps by table": {"engine": "tools", "backup_as_tables": True},
}
# What the dump programs themselves get wrong: docs/restore-mysql.md.
NOT_BY_DUMPS = {"routines of other modes": "backslashes in comments are doubled"}
# One dump of all is refused where a table keeps no snapshot.
LOOSE = re.compile(r"ENGINE=(?!InnoDB)")
INEXACT = "engine native keeps them exactly"


def pairs() -> list[tuple[OddDatabase, str]]:
    """The native engine with every database, the dump programs with what they take."""
    found = [(odd, "native") for odd in odd_databases()]
    if not full():
        return found
    dumped = [odd for odd in odd_databases() if odd.name not in NOT_BY_DUMPS]
    found += [(odd, "dumps by table") for odd in dumped]
    loose = [odd for odd in dumped if LOOSE.search("\n".join(odd.statements))]
    return found + [(odd, "one dump") for odd in dumped if odd not in loose]


@pytest.mark.parametrize(
    ("odd", "engine"),
    [pytest.param(*pair, id=f"{pair[0].name}, {pair[1]}") for pair in by_turns(pairs())],
)
def test_an_odd_database_comes_back_equal(
    lab: Laboratory,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    odd: OddDatabase,
    engine: str,
) -> None:
    if odd.kind not in ("", lab.brand.name):
        pytest.skip(f"only {odd.kind} knows such things")
    original, copy = lab.database(), lab.name()
    gone = lab.account(of_database(original, "ALL"))
    account = f"{ticked(gone)}@localhost"
    lab.run(original, *(each.replace("{account}", account) for each in odd.statements))
    lab.forget(gone)
    description, rows = lab.described(original), content(lab, original)
    source = {"kind": "mysql", "dsn": lab.url(original), **ENGINES[engine]}
    job = {"source": source, **({"checksums": True} if engine == "native" else {})}
    commands = Commands(tmp_path, job, capfd)
    with lab.connect() as connection, Globals(connection).set(odd.settings) as taken:
        assert len(taken) == len(odd.settings)
        is_exact = not any(INEXACT in note for note in commands.run("plan", "odd")["notes"])
        commands.run("backup", "odd")
        commands.run("verify", "odd/latest")
        commands.run("restore", "odd/latest", "--to", lab.url(copy))
        commands.run("restore", "odd/latest", "--to", lab.url(original), "--overwrite")
    assert is_exact or engine != "native"
    for database in (copy, original):
        assert not is_exact or differences(lab.described(database), description) == []
        assert not is_exact or content(lab, database) == rows
