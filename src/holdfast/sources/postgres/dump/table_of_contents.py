"""The table of contents of an artefact, as pg_restore lists it, with entries left out.

An entry is `4021; 0 16385 TABLE DATA public orders owner`: its number, the numbers of the
object (catalog and own), its kind, and names that nobody quotes, so only numbers are trusted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

_ENTRY = re.compile(r"\d+; \d+ (?P<oid>\d+) (?P<said>.*)")
_ROWS = "TABLE DATA "
_FOREIGN_KEY = "FK CONSTRAINT "
_COMMENT_ON_CONSTRAINT = re.compile(r"COMMENT .*\bCONSTRAINT .* ON ")


def with_rows_of(listed: str, oids: Collection[int]) -> str:
    """Everything, but rows of these tables only.

    A foreign key to a table without its rows could not be made, nor a comment on it: which
    keys are complete, and which constraint a comment is on, the contents do not tell.
    """

    def wanted(oid: int, said: str) -> bool:
        if said.startswith(_ROWS):
            return oid in oids
        return not said.startswith(_FOREIGN_KEY) and not _COMMENT_ON_CONSTRAINT.match(said)

    return _entries(listed, wanted)


def only_rows_of(listed: str, oids: Collection[int]) -> str:
    """The rows of these tables and nothing else."""
    return _entries(listed, lambda oid, said: said.startswith(_ROWS) and oid in oids)


def _entries(listed: str, wanted: Callable[[int, str], bool]) -> str:
    kept: list[str] = []
    for line in listed.split("\n"):
        entry = _ENTRY.match(line)
        if entry and wanted(int(entry["oid"]), entry["said"]):
            kept.append(f"{line}\n")
    return "".join(kept)
