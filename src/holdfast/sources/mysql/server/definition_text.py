"""Definitions as the server prints them, made to fit a database of any name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from holdfast.sources.mysql.server.names import quoted, unquoted

_IDENTIFIER = rb"`(?:[^`]|``)*`"
_STRING = rb"'(?:[^'\\]|\\.|'')*'"
_PLAIN_NAME = rb"[^\s`.();,]+"
_NAME = rb"(?:" + _IDENTIFIER + rb"|" + _PLAIN_NAME + rb")"
_ACCOUNT = _IDENTIFIER + rb"(?:@" + _IDENTIFIER + rb")?"
_TRIGGER = re.compile(
    rb"CREATE\s+(?P<definer>DEFINER=" + _ACCOUNT + rb"\s+)?TRIGGER\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    rb"(?:" + _NAME + rb"\s*\.\s*)?(?P<name>" + _NAME + rb")\s+"
    rb"(?P<when>(?:BEFORE|AFTER)\s+(?:INSERT|UPDATE|DELETE))\s+ON\s+"
    rb"(?:" + _NAME + rb"\s*\.\s*)?(?P<table>" + _NAME + rb")\s+"
    rb"FOR\s+EACH\s+ROW\s+(?P<body>.*)",
    re.IGNORECASE | re.DOTALL,
)
_LIBRARY = _IDENTIFIER + rb"\." + _IDENTIFIER + rb"(?: AS " + _IDENTIFIER + rb")?"
_LIBRARIES = re.compile(
    rb"\n    LANGUAGE \w+\n    USING \((?P<libraries>" + _LIBRARY + rb"(?:, " + _LIBRARY + rb")*)\)"
)
# The first of it is the head's: what the author typed comes after it.
_COMMENT = re.compile(rb"(?:\n    | )COMMENT '(?P<text>(?:[^'\\]|\\.|'')*)'(?=\n| DO )", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_MEANT = {b"n": b"\n", b"r": b"\r", b"0": b"\0"}
_SEQUENCE = re.compile(
    rb"\b(?:nextval|lastval|setval)\((" + _IDENTIFIER + rb")[,)]|" + _STRING, re.IGNORECASE
)
_AFTER = rb"\b(?:from|join|straight_join)[\s(]+"
_REFERENCE = re.compile(
    rb"|".join(
        (
            _STRING,
            # Of two names the first is that of another database.
            _AFTER + _IDENTIFIER + rb"\." + _IDENTIFIER,
            _AFTER + rb"(" + _IDENTIFIER + rb")",
            _IDENTIFIER,
        )
    ),
    re.IGNORECASE | re.DOTALL,
)
_OPTIONS = re.compile(rb"\n\)[^\n]*? ENGINE=InnoDB(?P<rest>[^\n]*)")
_DEFINER = re.compile(rb"(CREATE ALGORITHM=\w+ )DEFINER=" + _ACCOUNT + rb" ")


def without_database(sql: bytes, database: str) -> bytes:
    """A printed definition without its own database's name, strings left alone.

    The server names it before sequences, and throughout a view that also reads another
    database: before tables, and as the first of three in a column's name.
    """
    own = re.escape(quoted(database).encode())
    pattern = re.compile(
        rb"(?P<before>\b(?:nextval|lastval|setval)\(|" + _AFTER + rb")" + own + rb"\."
        rb"|" + own + rb"\.(?P<column>" + _IDENTIFIER + rb"\." + _IDENTIFIER + rb")"
        rb"|" + _STRING + rb"|" + _IDENTIFIER,
        re.IGNORECASE | re.DOTALL,
    )

    def shortened(match: re.Match[bytes]) -> bytes:
        before, column = match["before"], match["column"]
        return before or column or match[0]

    return pattern.sub(shortened, sql)


def own_libraries(routine: bytes, database: str) -> bytes:
    """A routine in another language, with its libraries of the same database unqualified."""
    match = _LIBRARIES.search(routine)
    if match is None:
        return routine
    own = rb"(?P<own>" + re.escape(quoted(database).encode()) + rb"\.)|" + _IDENTIFIER
    listed = re.sub(own, lambda name: b"" if name["own"] else name[0], match["libraries"])
    return routine[: match.start("libraries")] + listed + routine[match.end("libraries") :]


def plain_comment(program: bytes, *, sql_mode: str) -> bytes:
    """A routine or event whose comment is escaped as its own mode reads it.

    Servers print backslashes before special characters, whatever the mode is that it is made with.
    """
    if "NO_BACKSLASH_ESCAPES" not in sql_mode:
        return program
    match = _COMMENT.search(program)
    if match is None:
        return program
    text = _ESCAPED.sub(lambda found: _MEANT.get(found[1], found[1]), match["text"])
    return program[: match.start("text")] + text + program[match.end("text") :]


def sequences_read(sql: bytes) -> set[str]:
    """Sequences of the same database that the printed definition of a table names."""
    found = (match[1] for match in _SEQUENCE.finditer(sql) if match[1])
    return {unquoted(name.decode(errors="replace")) for name in found}


def with_row_format(table: bytes) -> bytes:
    """A printed table of InnoDB in the format that takes the longest keys, unless it names one."""
    found = _OPTIONS.search(table)
    if found is None or b"ROW_FORMAT=" in found["rest"]:
        return table
    place = found.start("rest")
    return table[:place] + b" ROW_FORMAT=DYNAMIC" + table[place:]


def trigger_here(sql: bytes) -> bytes:
    """A trigger as its author typed it, without database names in its head."""
    match = _TRIGGER.fullmatch(sql)
    if match is None:
        return sql
    definer = match["definer"] or b""
    return b"".join(
        (
            b"CREATE " + definer + b"TRIGGER " + match["name"] + b" ",
            match["when"] + b" ON " + match["table"] + b" FOR EACH ROW ",
            match["body"],
        )
    )


def tables_read(view: bytes) -> set[str]:
    """Tables and views that a printed view names after FROM or JOIN."""
    return {
        unquoted(match[1].decode(errors="replace"))
        for match in _REFERENCE.finditer(view)
        if match[1]
    }


def without_definer(view: bytes) -> bytes:
    """A printed view, to belong to whoever makes it."""
    return _DEFINER.sub(rb"\1", view, count=1)


def replacing(view: bytes) -> bytes:
    """The statement that puts a printed view in the place of one that is there."""
    return view.replace(b"CREATE ", b"CREATE OR REPLACE ", 1)


def in_order(views: Mapping[str, bytes]) -> list[str]:
    """Names of `views` so that each comes after those that it reads."""
    ordered: dict[str, None] = {}
    waiting: set[str] = set()

    def place(name: str) -> None:
        if name in ordered or name in waiting:
            return
        waiting.add(name)
        for other in _sorted_views(tables_read(views[name]), views):
            place(other)
        ordered[name] = None

    for name in sorted(views):
        place(name)
    return list(ordered)


def _sorted_views(names: Iterable[str], views: Mapping[str, bytes]) -> list[str]:
    return sorted(name for name in names if name in views)
