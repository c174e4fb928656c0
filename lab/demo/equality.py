"""Compare a restored database with its source by what the server itself computes on both sides.

The runner takes no part: row checksums come from the server, definitions from the server's own dump
program.
"""

import re
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

from lab.demo.data import Database
from lab.demo.shell import POSTGRES, Shell

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How much was compared, and what differs."""

    tables: int
    rows: int
    differences: tuple[str, ...]

    @property
    def equal(self) -> bool:
        return not self.differences


def compare(shell: Shell, database: Database) -> Comparison:
    """Compare every table row for row, sequences, and all definitions with their grants."""
    facts = _postgres_facts if shell.kind == POSTGRES else _mariadb_facts
    source, restored = facts(shell, database.name), facts(shell, database.restored)
    tables = {name: value for name, value in source.items() if name.startswith("table ")}
    return Comparison(
        tables=len(tables),
        rows=sum(int(value.split()[0]) for value in tables.values()),
        differences=tuple(differences(source, restored)),
    )


def differences(source: dict[str, str], restored: dict[str, str]) -> list[str]:
    """One line per fact that differs between the two sides."""
    found = []
    if not any(name.startswith("table ") for name in source):
        found.append("tables: none were seen in the source, so nothing was compared")
    for name in sorted(source.keys() | restored.keys()):
        here, there = source.get(name), restored.get(name)
        if here is None or there is None:
            found.append(f"{name}: only {'restored' if here is None else 'in the source'}")
        elif here != there:
            found.append(f"{name}: {_first_difference(here, there)}")
    return found


def _first_difference(here: str, there: str) -> str:
    for left, right in zip(here.splitlines(), there.splitlines(), strict=False):
        if left != right:
            return f"source has '{left}', restored has '{right}'"
    return f"{len(here.splitlines())} lines in the source, {len(there.splitlines())} restored"


def _postgres_facts(shell: Shell, database: str) -> dict[str, str]:
    facts = _lines_as_facts(shell.sql((HERE / "facts.postgres.sql").read_text(), database=database))
    dump = ["runuser", "-u", "postgres", "--", "pg_dump", "--schema-only", database]
    facts["definitions"] = _without_noise(shell.run(dump), database)
    return facts


def _mariadb_facts(shell: Shell, database: str) -> dict[str, str]:
    # Base64: a name may hold line breaks, which the client would escape.
    statements = shell.sql(_about("checksums.mariadb.sql", database)).splitlines()
    rows = shell.sql("\n".join(_decoded(statement) for statement in statements))
    facts = _lines_as_facts(f"{rows}\n")
    dump = ["mariadb-dump", "--no-data", "--routines", "--events", "--skip-dump-date", database]
    facts["definitions"] = _without_noise(shell.run(dump), database)
    facts["grants"] = shell.sql(_about("facts.mariadb.sql", database))
    return facts


def _about(script: str, database: str) -> str:
    return (HERE / script).read_text().replace("DATABASE", database)


def _lines_as_facts(text: str) -> dict[str, str]:
    """`name TAB value` lines; a name may hold a line break, a value never does."""
    return {
        match["name"]: match["value"]
        for match in re.finditer(r"(?P<name>[^\t]+)\t(?P<value>[^\n]*)\n", text)
    }


def _without_noise(dump: str, database: str) -> str:
    """Definitions without what may differ between two dumps of equal databases."""
    lines = dump.replace(f"`{database}`", "`DATABASE`").splitlines()
    kept = (
        line
        for line in lines
        if line.strip() and not line.startswith(("--", "\\restrict", "\\unrestrict"))
    )
    return "\n".join(kept)


def _decoded(text: str) -> str:
    return b64decode(text.replace("\\n", "")).decode()
