"""Changes definitions that the server prints to fit a database of any name and to load fast.

Secondary indexes can be taken out of a table, to be built over all of its rows at once.
"""

from __future__ import annotations

import queue
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from holdfast.model.errors import BackupFailed
from holdfast.model.lazy_pattern import regex
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.worker_pool import WorkerPool
from holdfast.sources.mysql.server.connection import TABLE_GONE, StatementFailed
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.sql import Item, quoted, unquoted
from holdfast.sources.mysql.server.tables import TRANSACTIONAL, Table
from holdfast.sources.packing import SMALL_TABLE_BYTES

_IDENTIFIER = rb"`(?:[^`]|``)*`"
_STRING = rb"'(?:[^'\\]|\\.|'')*'"
_PLAIN_NAME = rb"[^\s`.();,]+"
_NAME = rb"(?:" + _IDENTIFIER + rb"|" + _PLAIN_NAME + rb")"
_ACCOUNT = _IDENTIFIER + rb"(?:@" + _IDENTIFIER + rb")?"
_TRIGGER = regex(
    rb"CREATE\s+(?P<definer>DEFINER=" + _ACCOUNT + rb"\s+)?TRIGGER\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    rb"(?:" + _NAME + rb"\s*\.\s*)?(?P<name>" + _NAME + rb")\s+"
    rb"(?P<when>(?:BEFORE|AFTER)\s+(?:INSERT|UPDATE|DELETE))\s+ON\s+"
    rb"(?:" + _NAME + rb"\s*\.\s*)?(?P<table>" + _NAME + rb")\s+"
    rb"FOR\s+EACH\s+ROW\s+(?P<body>.*)",
    re.IGNORECASE | re.DOTALL,
)
_LIBRARY = _IDENTIFIER + rb"\." + _IDENTIFIER + rb"(?: AS " + _IDENTIFIER + rb")?"
_LIBRARIES = regex(
    rb"\n    LANGUAGE \w+\n    USING \((?P<libraries>" + _LIBRARY + rb"(?:, " + _LIBRARY + rb")*)\)"
)
# The first match is the comment of the head: the text that the author typed comes after it.
_COMMENT = regex(rb"(?:\n    | )COMMENT '(?P<text>(?:[^'\\]|\\.|'')*)'(?=\n| DO )", re.DOTALL)
_ESCAPED = regex(rb"\\(.)", re.DOTALL)
_MEANT = {b"n": b"\n", b"r": b"\r", b"0": b"\0"}
_SEQUENCE = regex(
    rb"\b(?:nextval|lastval|setval)\((" + _IDENTIFIER + rb")[,)]|" + _STRING, re.IGNORECASE
)
_AFTER = rb"\b(?:from|join|straight_join)[\s(]+"
_REFERENCE = regex(
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
_OPTIONS = regex(rb"\n\)[^\n]*? ENGINE=InnoDB(?P<rest>[^\n]*)")
_DEFINER = regex(rb"(CREATE ALGORITHM=\w+ )DEFINER=" + _ACCOUNT + rb" ")
_KEY = regex(rb"  KEY `(?:[^`]|``)+` ")
_COUNTED = regex(rb"  (`(?:[^`]|``)+`) .*\bAUTO_INCREMENT\b")
_TEXT = regex(rb"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
_QUOTED = regex(_TEXT.pattern + rb"|`(?:[^`]|``)*`", re.DOTALL)
# Fewer tables gain nothing from another session.
SHOWN_IN_TURN = 100
# In a table with one of these, the indexes would come back in another order.
_HINDERING = (b"  SPATIAL KEY ", b"  VECTOR KEY ")


@contextmanager
def as_stored(session: Session) -> Iterator[None]:
    """Read definitions in the bytes that their authors sent: conversion would damage some."""
    session.run("SET character_set_results = binary")
    with afterwards(session.run, "SET character_set_results = utf8mb4"):
        yield


def shown_by_server(
    session: Session, kind: str, name: str, *, column: int
) -> tuple[bytes, list[bytes]]:
    """The statement that SHOW CREATE returns, and all columns of its row; raises `BackupFailed`."""
    try:
        rows, _ = session.fetch(f"SHOW CREATE {kind} {quoted(name)}")
    except StatementFailed as error:
        raise BackupFailed(
            f"cannot read the definition of {kind.lower()} '{name}': {error.message}",
            hint="it may have just been dropped; run the backup again",
        ) from error
    values = [value or b"" for value in rows[0]]
    if not values[column]:
        raise BackupFailed(
            f"cannot read the definition of {kind.lower()} '{name}': the server hides its text",
            hint="holdfast check names the missing grant",
        )
    return values[column], values


def of_tables(shown: Mapping[str, bytes], names: Sequence[str]) -> dict[str, bytes]:
    """Those of the definitions `shown` by table that belong to one of `names`, in their order."""
    return {name: shown[name] for name in names if name in shown}


def tables_shown(
    sessions: Sequence[Session],
    names: Sequence[str],
    *,
    beside: Callable[[Session], None] | None = None,
) -> dict[str, bytes]:
    """The definition of each table as the server prints it, read by all `sessions` at once.

    The first session does `beside` in that time; then tables that are gone are left out. An error
    ends the sessions.
    """
    first, *others = sessions
    turns = [names[at : at + SHOWN_IN_TURN] for at in range(0, len(names), SHOWN_IN_TURN)]
    idle: queue.SimpleQueue[Session] = queue.SimpleQueue()
    for each in others if beside else sessions:
        idle.put(each)

    def show(turn: Sequence[str] | None) -> dict[str, bytes]:
        if turn is None:
            with afterwards(idle.put, first):
                if beside:
                    beside(first)
            return {}
        session = idle.get()
        with afterwards(idle.put, session), as_stored(session):
            found = ((name, _shown(session, name, is_needed=not beside)) for name in turn)
            return {name: sql for name, sql in found if sql is not None}

    def cut() -> None:
        for session in sessions:
            session.cut()

    pool = WorkerPool(len(sessions), abort=cut, tries=1)
    work = [None, *turns] if beside else turns
    return {name: sql for shown in pool.map(work, show) for name, sql in shown.items()}


def _shown(session: Session, name: str, *, is_needed: bool) -> bytes | None:
    try:
        return shown_by_server(session, "TABLE", name, column=1)[0]
    except BackupFailed as error:
        cause = error.__cause__
        if is_needed or not isinstance(cause, StatementFailed) or cause.code != TABLE_GONE:
            raise
        return None


def without_database(sql: bytes, database: str) -> bytes:
    """A printed definition without the name of its own database; strings stay unchanged.

    The server prints that name before sequences. In a view that also reads another database, it
    prints it before tables, and as the first of the three names of a column.
    """
    own = re.escape(quoted(database).encode())
    pattern = regex(
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
    """A routine or event whose comment is escaped as its own SQL mode expects.

    Servers print backslashes before special characters, whatever that mode is.
    """
    if "NO_BACKSLASH_ESCAPES" not in sql_mode:
        return program
    match = _COMMENT.search(program)
    if match is None:
        return program
    text = _ESCAPED.sub(lambda found: _MEANT.get(found[1], found[1]), match["text"])
    return program[: match.start("text")] + text + program[match.end("text") :]


def sequences_read(sql: bytes) -> set[str]:
    """The sequences of the same database that a table's printed definition names."""
    found = (match[1] for match in _SEQUENCE.finditer(sql) if match[1])
    return {unquoted(name.decode(errors="replace")) for name in found}


def with_row_format(table: bytes) -> bytes:
    """A printed InnoDB table with the row format for the longest keys, unless it names one."""
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
    """A printed view without its definer: the user who creates it becomes the definer."""
    return _DEFINER.sub(rb"\1", view, count=1)


def replacing(view: bytes) -> bytes:
    """The statement that replaces an existing view by a printed one."""
    return view.replace(b"CREATE ", b"CREATE OR REPLACE ", 1)


def in_order(views: Mapping[str, bytes]) -> list[str]:
    """The names of `views`, each after those that it reads."""
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


def split(definition: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """The definition without its plain secondary indexes, and those; unchanged if one is needed.

    Servers print one column or index per line, so only lines need to be recognised.
    """
    lines = definition.split(b"\n")
    keys = tuple(line.strip().rstrip(b",") for line in lines if _KEY.match(line))
    if not keys or _must_stay_whole(definition, lines):
        return definition, ()
    left = [line for line in lines if not _KEY.match(line)]
    ends = next(number for number, line in enumerate(left) if line.startswith(b")"))
    left[ends - 1] = left[ends - 1].rstrip(b",")
    return b"\n".join(left), keys


def waits(table: Table) -> bool:
    """Whether the table's indexes are built after its rows.

    Small tables gain nothing, and engines other than InnoDB build indexes in their own way.
    """
    return table.engine == TRANSACTIONAL and table.data_bytes >= SMALL_TABLE_BYTES


def built(name: str, keys: tuple[bytes, ...]) -> Item:
    """One statement for all deferred indexes of a table, so that its rows are read once."""
    added = b",\n".join(b"  ADD " + key for key in keys)
    sql = f"ALTER TABLE {quoted(name)}\n".encode() + added + b";\n"
    return Item(kind="indexes", name=name, table=name, sql=sql)


def _must_stay_whole(definition: bytes, lines: list[bytes]) -> bool:
    if any(b"\n" in text for text in _QUOTED.findall(definition)):
        return True
    plain = [_QUOTED.sub(b"``", line) for line in lines]
    if any(line.startswith(_HINDERING) or b" FOREIGN KEY (" in line for line in plain):
        # A foreign key needs an index of its own table, and would create one.
        return True
    typed = (_TEXT.sub(b"''", line) for line in lines)
    counted = next((match[1] for line in typed if (match := _COUNTED.match(line))), None)
    unique = (b"  PRIMARY KEY (", b"  UNIQUE KEY ")
    return counted is not None and not any(
        line.startswith(unique) and b"(" + counted in line for line in lines
    )
