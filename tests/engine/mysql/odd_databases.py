"""The corpus of odd databases, read from its files.

`-- database NAME` begins one, `-- database NAME, KIND` one of that server only; a line `--;` ends a
statement. `{account}` is an account that is dropped before the backup; a statement with `{0..9}`
stands for ten. SET GLOBAL holds only while the database is backed up and restored. The corpus
grows: each database that broke a restore once is added here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.mysql_server import SCRIPTS

_BEGINS = re.compile(
    r"^-- database (?P<name>[^\n]+?)(?:, (?P<kind>mariadb|mysql))?$",
    re.MULTILINE,
)
_ENDS = "\n--;\n"
_COUNT = re.compile(r"\{(\d+)\.\.(\d+)\}")
_GLOBAL = re.compile(r"SET GLOBAL (?P<name>\w+) = (?P<value>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class OddDatabase:
    """One database; `kind` is the only server that supports it, or empty."""

    name: str
    kind: str
    statements: tuple[str, ...]
    settings: dict[str, str]


def odd_databases() -> list[OddDatabase]:
    return [
        each for path in sorted((SCRIPTS / "odd").glob("*.sql")) for each in _read(path.read_text())
    ]


def _read(text: str) -> Iterator[OddDatabase]:
    heads = list(_BEGINS.finditer(text))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    for head, end in zip(heads, ends, strict=True):
        statements = text[head.end() + 1 : end].split(_ENDS)
        assert not statements[-1].strip(), f"'{head['name']}' ends without --;"
        settings = [_GLOBAL.fullmatch(each) for each in statements]
        yield OddDatabase(
            name=head["name"],
            kind=head["kind"] or "",
            statements=tuple(
                one
                for each in statements[:-1]
                if not _GLOBAL.fullmatch(each)
                for one in _counted(each)
            ),
            settings={each["name"]: each["value"] for each in settings if each},
        )


def _counted(statement: str) -> Iterator[str]:
    count = _COUNT.search(statement)
    if count is None:
        yield statement
        return
    for number in range(int(count[1]), int(count[2]) + 1):
        yield _COUNT.sub(str(number), statement)
