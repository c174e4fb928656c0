"""SQL as text: quotes names and values, and splits a dump into statements as psql does.

Each statement carries the object that it is about. Only schema text is handled here, which is held
in memory as a whole; rows never are.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from holdfast.model.backup import Relation
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.lazy_pattern import regex

NAME = r'(?:"(?:[^"]|"")*"|[\w$]+)'
_QUALIFIED = regex(rf"(?P<schema>{NAME})\.(?P<name>{NAME})")
# Tokens that may contain a semicolon, and words between which a semicolon ends no statement.
_TOKEN = regex(
    r"""
    --[^\n]*+
    | (?P<command>(?m:^)\\[^\n]*+)
    | (?P<comment>/\*)
    | (?<![\w$])[eE]'(?:[^'\\]|\\.|'')*+'
    | (?P<escaped>(?<![\w$])[eE]')
    | '[^']*+(?:''[^']*+)*+'
    | "[^"]*+(?:""[^"]*+)*+"
    | (?<![\w$])(?P<tag>\$(?:[^\W\d]\w*)?\$).*?(?P=tag)
    | (?P<open>'|"|(?<![\w$])\$(?:[^\W\d]\w*)?\$)
    | (?P<mark>[;()])
    | (?<![\w$])(?P<word>(?i:begin|case|end))(?![\w$])
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = regex(r"/\*|\*/")
_ROUTINE = regex(r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\b", re.IGNORECASE)
# pg_dump writes its own lines between statements: comments, blank lines, psql's commands.
_BETWEEN = regex(r"(?:\s++|--[^\n]*+|\\[^\n]*+)*+")
_HEADING = regex(
    r"^-- (?:Data for )?Name: (?P<name>.*?); Type: (?P<kind>.*?); Schema: (?P<schema>.*?); Owner:",
    re.MULTILINE,
)
# The server's word where pg_dump has another one.
_WORDS = {"fk constraint": "foreign key"}
_FOREIGN_KEY = regex(
    rf"ALTER TABLE (?:ONLY )?(?P<schema>{NAME})\.(?P<table>{NAME})\s+"
    rf"ADD CONSTRAINT (?P<constraint>{NAME}) FOREIGN KEY "
    rf"\((?:{NAME}|[\s,])*\) REFERENCES (?P<other_schema>{NAME})\.(?P<other_table>{NAME})"
)
_CONSTRAINT_COMMENT = regex(
    rf"COMMENT ON CONSTRAINT (?P<constraint>{NAME}) "
    rf"ON (?P<schema>{NAME})\.(?P<table>{NAME}) IS "
)
_OWNER = regex(rf"ALTER [A-Z ]+\s.*\sOWNER TO {NAME};$", re.DOTALL)
_PRIVILEGE = regex(
    r"(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES|SET SESSION AUTHORIZATION"
    r"|RESET SESSION AUTHORIZATION)\b"
)
_VARIABLE = regex(r'(?<!:):("(?:[^"]|"")*")')

SLUG_LENGTH = 48
_NOT_PLAIN = regex(r"[^a-z0-9]+")


def identifier(name: str) -> str:
    """The quoted name: quotes are always needed, as reserved words change between versions."""
    return '"' + name.replace('"', '""') + '"'


def qualified(relation: Relation) -> str:
    return f"{identifier(relation.schema)}.{identifier(relation.name)}"


def literal(text: str) -> str:
    """A string constant for sessions with `standard_conforming_strings = on`, as ours are."""
    return "'" + text.replace("'", "''") + "'"


def slug(named: Relation | str) -> str:
    """The name in characters that every store accepts; unique only together with a number."""
    plain = unicodedata.normalize("NFKD", str(named)).encode("ascii", "ignore").decode()
    return _NOT_PLAIN.sub("-", plain.lower()).strip("-")[:SLUG_LENGTH].strip("-") or "table"


def unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def relation_of(name: str) -> Relation:
    """The relation that a qualified name of a dump names."""
    found = _QUALIFIED.fullmatch(name)
    if found is None:
        raise ValueError(f"'{name}' is no qualified name")
    return Relation(schema=unquoted(found["schema"]), name=unquoted(found["name"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """The object that pg_dump announces in a comment before its statements."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement without the comments before it; those of one object share their `entry`."""

    text: str
    heading: Heading | None
    entry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Constraint:
    schema: str
    table: str
    name: str


def statements(text: str) -> Iterator[Statement]:
    return headed(split(text))


def headed(pieces: Iterable[str]) -> Iterator[Statement]:
    """Each of `pieces` without the comments before it, and the object that these announce."""
    heading: Heading | None = None
    entry = 0
    for piece in pieces:
        start = start_of(piece)
        for found in _HEADING.finditer(piece, 0, start):
            heading, entry = _heading(found), entry + 1
        if start < len(piece):
            yield Statement(text=piece[start:].rstrip(), heading=heading, entry=entry)


def start_of(piece: str, position: int = 0) -> int:
    """Where the statement begins, after the comments and commands of psql before it."""
    before = _BETWEEN.match(piece, position)
    return before.end() if before else position


def _heading(found: re.Match[str]) -> Heading:
    schema = "" if found["schema"] == "-" else f"{found['schema']}."
    kind = found["kind"].lower()
    return Heading(kind=_WORDS.get(kind, kind), name=f"{schema}{found['name']}")


def split(text: str) -> Iterator[str]:
    """Statements, each with the comments before it; joined they are `text` again.

    As in psql, a semicolon ends a statement outside of strings, comments and parentheses, and not
    between the BEGIN ATOMIC and the END of a routine's body.
    """
    start = position = depth = body = 0
    while token := _TOKEN.search(text, position):
        position = token.end()
        if token["open"] or token["escaped"]:
            # An unterminated string: the text after it cannot be split.
            break
        if token["comment"]:
            position = _comment_end(text, position)
        elif token["mark"] == "(":
            depth += 1
        elif token["mark"] == ")":
            depth = max(0, depth - 1)
        elif token["word"] and not depth and _is_routine(text, start):
            body = _deeper(body, token["word"].lower())
        elif token["mark"] == ";" and not depth and not body:
            yield text[start:position]
            start = position
    if start < len(text):
        yield text[start:]


def _comment_end(text: str, position: int) -> int:
    """The end of the comment that began before `position`; comments nest."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(text, position)):
        depth += 1 if edge[0] == "/*" else -1
        position = edge.end()
    return position if not depth else len(text)


def _is_routine(text: str, start: int) -> bool:
    return bool(_ROUTINE.match(text, start_of(text, start)))


def _deeper(body: int, word: str) -> int:
    if word == "end":
        return max(0, body - 1)
    # CASE also ends with END, and counts only inside a body.
    return body + 1 if word == "begin" or body else body


def permitted(
    found: Iterable[Statement], *, owners: bool, privileges: bool, tablespaces: bool = True
) -> Iterator[Statement]:
    """The statements, without those about owners, privileges or tablespaces if unwanted."""
    for statement in found:
        if (
            (owners or not _OWNER.match(statement.text))
            and (privileges or not _PRIVILEGE.match(statement.text))
            and (tablespaces or not statement.text.startswith("SET default_tablespace = "))
        ):
            yield statement


def without_foreign_keys(
    found: Iterable[Statement], *, unless: Callable[[Relation, Relation], bool]
) -> Iterator[Statement]:
    """The statements, without foreign keys that `unless` does not keep, nor comments on them.

    `unless` is called with the table and the table that it refers to.
    """
    dropped: set[_Constraint] = set()
    for statement in found:
        if key := _FOREIGN_KEY.match(statement.text):
            table = _relation(key["schema"], key["table"])
            other = _relation(key["other_schema"], key["other_table"])
            if not unless(table, other):
                dropped.add(_constraint(key))
                continue
        comment = _CONSTRAINT_COMMENT.match(statement.text)
        if comment is None or _constraint(comment) not in dropped:
            yield statement


def with_variables(text: str, variables: dict[str, str]) -> str:
    """Replace `:"NAME"` by a quoted name as psql does, but not inside strings."""
    pieces: list[str] = []
    done = 0
    for token in _TOKEN.finditer(text):
        found = _VARIABLE.match(text, token.start() - 1) if token.start() else None
        if found and unquoted(found[1]) in variables:
            quoted = variables[unquoted(found[1])].replace('"', '""')
            pieces += [text[done : found.start()], f'"{quoted}"']
            done = found.end()
    return "".join([*pieces, text[done:]])


def _relation(schema: str, name: str) -> Relation:
    return Relation(schema=unquoted(schema), name=unquoted(name))


def _constraint(match: re.Match[str]) -> _Constraint:
    return _Constraint(
        schema=unquoted(match["schema"]),
        table=unquoted(match["table"]),
        name=unquoted(match["constraint"]),
    )
