"""The corpus of odd databases, read from its files.

`-- database NAME` begins one, `-- database NAME, from 17` one that older servers do not know, and
`-- database NAME, keeps going` one that no restore brings back whole; a line `-- options ...` says
how it is created, a line `--;` ends a statement. `{role}` and `{other}` are roles, `{database}` is
the database's own name. The corpus grows: each database that broke a restore once is added.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ODD = Path(__file__).with_name("odd")
_BEGINS = re.compile(
    r"^-- database (?P<name>[^,\n]+)(?:, from (?P<major>\d+))?(?P<fails>, keeps going)?\n"
    r"(?:-- options (?P<options>[^\n]+)\n)?",
    re.MULTILINE,
)
_ENDS = re.compile(r"^--;\n", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class OddDatabase:
    """One database; `major` is the first version of the server that supports it."""

    name: str
    major: int
    keeps_going: bool
    options: str
    statements: tuple[str, ...]

    def written(self, **names: str) -> list[str]:
        """The statements, with their names filled in."""
        found = list(self.statements)
        for word, name in names.items():
            found = [each.replace(f"{{{word}}}", name) for each in found]
        return found


def odd_databases() -> list[OddDatabase]:
    return [each for path in sorted(ODD.glob("*.sql")) for each in _read(path.read_text())]


def _read(text: str) -> Iterator[OddDatabase]:
    heads = list(_BEGINS.finditer(text))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    for head, end in zip(heads, ends, strict=True):
        statements = _ENDS.split(text[head.end() : end])
        assert not statements[-1].strip(), f"'{head['name']}' ends without --;"
        yield OddDatabase(
            name=head["name"],
            major=int(head["major"] or 0),
            keeps_going=bool(head["fails"]),
            options=head["options"] or "",
            statements=tuple(statements[:-1]),
        )
