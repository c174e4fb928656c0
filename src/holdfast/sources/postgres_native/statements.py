"""Cutting a plain dump into statements, to leave some of them out.

Only for schema text, which is held in memory whole; rows never come this way. A cut at the
wrong place does no harm: what is not recognised is passed on exactly as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from holdfast.model import Relation

_NAME = r'(?:"(?:[^"]|"")*"|[\w$]+)'
_TOKEN = re.compile(
    r"""
    --[^\n]*
    | [eE]'(?:[^'\\]|\\.|'')*'
    | '(?:[^']|'')*'
    | "(?:[^"]|"")*"
    | (?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag)
    | (?P<end>;)
    | [^'"$;\-eE]+
    | .
    """,
    re.VERBOSE | re.DOTALL,
)
# pg_dump writes its own lines between statements: comments, blank lines, psql's commands.
_BETWEEN = r"(?:\s|--[^\n]*\n|\\[^\n]*\n)*"
_FOREIGN_KEY = re.compile(
    rf"{_BETWEEN}ALTER TABLE (?:ONLY )?(?P<schema>{_NAME})\.(?P<table>{_NAME})\s+"
    rf"ADD CONSTRAINT (?P<constraint>{_NAME}) FOREIGN KEY "
    rf"\((?:{_NAME}|[\s,])*\) REFERENCES (?P<other_schema>{_NAME})\.(?P<other_table>{_NAME})"
)
_CONSTRAINT_COMMENT = re.compile(
    rf"{_BETWEEN}COMMENT ON CONSTRAINT (?P<constraint>{_NAME}) "
    rf"ON (?P<schema>{_NAME})\.(?P<table>{_NAME}) IS "
)
_INDEX = re.compile(
    rf"{_BETWEEN}(?P<statement>(?:CREATE (?:UNIQUE )?INDEX (?P<index>{_NAME}) ON "
    rf"|ALTER TABLE (?:ONLY )?{_NAME}\.{_NAME}\s+ADD CONSTRAINT (?P<constraint>{_NAME}) "
    r"(?:PRIMARY KEY|UNIQUE|EXCLUDE)).*)",
    re.DOTALL,
)
_TABLESPACE_NOW = re.compile(rf"{_BETWEEN}SET default_tablespace = (?P<name>{_NAME}|'')")
_OWNER = re.compile(rf"{_BETWEEN}ALTER [A-Z ]+\s.*\sOWNER TO {_NAME};$", re.DOTALL)
_PRIVILEGE = re.compile(
    rf"{_BETWEEN}(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES|SET SESSION AUTHORIZATION"
    r"|RESET SESSION AUTHORIZATION)\b"
)
_ROLE = re.compile(rf"{_BETWEEN}(?:CREATE|ALTER|COMMENT ON) ROLE (?P<role>{_NAME})")
_MEMBERSHIP = re.compile(rf"{_BETWEEN}GRANT {_NAME} TO (?P<role>{_NAME})")
_TABLESPACE = re.compile(
    rf"{_BETWEEN}(?:CREATE|ALTER|COMMENT ON) TABLESPACE (?P<tablespace>{_NAME})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Constraint:
    schema: str
    table: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index, or a constraint that is one, which needs nothing but its table's rows."""

    name: str
    tablespace: str
    statement: str


def indexes_apart(text: str) -> tuple[list[Index], str]:
    """The indexes of a post-data section in their order, and `text` without them."""
    indexes: list[Index] = []
    rest: list[str] = []
    tablespace = ""
    for statement in split(text):
        if now := _TABLESPACE_NOW.match(statement):
            tablespace = "" if now["name"] == "''" else unquoted(now["name"])
        if made := _INDEX.match(statement):
            name = unquoted(made["index"] or made["constraint"])
            indexes.append(Index(name=name, tablespace=tablespace, statement=made["statement"]))
        else:
            rest.append(statement)
    return indexes, "".join(rest)


def without_rights(text: str, *, owners: bool, privileges: bool) -> str:
    """`text` less who owns what, or less who may do what, where that is not wanted."""
    return "".join(
        statement
        for statement in split(text)
        if (owners or not _OWNER.match(statement))
        and (privileges or not _PRIVILEGE.match(statement))
    )


def split(text: str) -> Iterator[str]:
    """Statements with what stands before each; joined again they are `text`."""
    start = 0
    for token in _TOKEN.finditer(text):
        if token["end"]:
            yield text[start : token.end()]
            start = token.end()
    if start < len(text):
        yield text[start:]


def unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def without_foreign_keys(text: str, *, unless: Callable[[Relation, Relation], bool]) -> str:
    """`text` less the foreign keys, and comments on them, that `unless` does not keep.

    `unless` is asked with the table and the table that it refers to.
    """
    dropped: set[_Constraint] = set()
    kept: list[str] = []
    for statement in split(text):
        if key := _FOREIGN_KEY.match(statement):
            table = _relation(key["schema"], key["table"])
            other = _relation(key["other_schema"], key["other_table"])
            if not unless(table, other):
                dropped.add(_constraint(key))
                continue
        comment = _CONSTRAINT_COMMENT.match(statement)
        if comment is None or _constraint(comment) not in dropped:
            kept.append(statement)
    return "".join(kept)


def without_existing(text: str, *, roles: Collection[str], tablespaces: Collection[str]) -> str:
    """`text` of pg_dumpall less everything that would make or change what exists already."""
    kept: list[str] = []
    for statement in split(text):
        role = _ROLE.match(statement) or _MEMBERSHIP.match(statement)
        space = _TABLESPACE.match(statement)
        if role is not None and unquoted(role["role"]) in roles:
            continue
        if space is not None and unquoted(space["tablespace"]) in tablespaces:
            continue
        kept.append(statement)
    return "".join(kept)


def _relation(schema: str, name: str) -> Relation:
    return Relation(schema=unquoted(schema), name=unquoted(name))


def _constraint(match: re.Match[str]) -> _Constraint:
    return _Constraint(
        schema=unquoted(match["schema"]),
        table=unquoted(match["table"]),
        name=unquoted(match["constraint"]),
    )
