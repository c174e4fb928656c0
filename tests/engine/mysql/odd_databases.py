"""The corpus of odd databases, out of its file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.engine.mysql.laboratory import HERE

_BEGINS = re.compile(
    r"^-- database (?P<name>[^,\n]+(?:, (?!mariadb$|mysql$)[^,\n]+)*)"
    r"(?:, (?P<kind>mariadb|mysql))?$",
    re.MULTILINE,
)
ENDS = "\n--;\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class OddDatabase:
    """One database; `kind` is the only server that knows such things, or empty."""

    name: str
    kind: str
    statements: tuple[str, ...]


def odd_databases() -> dict[str, OddDatabase]:
    text = (HERE / "odd_databases.sql").read_text()
    heads = list(_BEGINS.finditer(text))
    ends = [*(head.start() for head in heads[1:]), len(text)]
    return {
        head["name"]: _read(head, text[head.end() + 1 : end])
        for head, end in zip(heads, ends, strict=True)
    }


def _read(head: re.Match[str], text: str) -> OddDatabase:
    statements = tuple(text.split(ENDS)[:-1])
    return OddDatabase(name=head["name"], kind=head["kind"] or "", statements=statements)
