"""The scripts that are sent to a client, and which of their objects a client's error is about.

A dump names its source database in three places: in an ALTER DATABASE around objects of another
collation, before sequences in defaults, and in views that also read another database. A restore
under another name would change the source database, or go on reading it. A dump's own sql_mode
would also turn dates that are in no calendar into 0000-00-00.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from holdfast.model.backup import Part, Relation
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.restore import Proven
from holdfast.sources.mysql.restore.statements import statements
from holdfast.sources.mysql.server.definition_text import without_database
from holdfast.sources.mysql.server.sql import Item
from holdfast.sources.packing import StreamCutter

# Clients name the line on which the failed statement begins.
_AT_LINE = re.compile(r"\bat line (\d+)")
Thing = TypeVar("Thing")
PROGRAMS = ("mariadb-dump", "mysqldump")
_MODE = b"/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;"
_ALLOWING = _MODE.replace(b"_ON_ZERO'", b"_ON_ZERO,ALLOW_INVALID_DATES'")
_DELIMITER = b"DELIMITER "
_ROWS = b"INSERT INTO `"
_ALTER = b"ALTER DATABASE `"
_OF_DATABASE = re.compile(
    rb"ALTER DATABASE `(?:[^`]|``)*` (?P<what>CHARACTER SET \w+ COLLATE \w+ )(?P<end>;;?)"
)
_HEAD = re.compile(rb"-- Host: .*?\sDatabase: (?P<name>.+)")
_TABLE, _TABLE_ENDS, _VIEW = b"CREATE TABLE ", b")", b"/*!50001 VIEW "
_MARKS = tuple(b"\n" + mark for mark in (b"-- Host: ", _MODE, _DELIMITER, _ALTER, _TABLE, _VIEW))
# No line that we change is longer: a name has at most 64 characters, in backquotes.
_LONGEST_LINE = 1024
# A pack is loaded in one transaction: otherwise the server syncs its disk once per table.
# Without unique checks MariaDB would sort the first rows of each table, at twice the CPU time.
BEGIN = b"SET SESSION autocommit = 0, unique_checks = 1"
# The first rows of a table of its own are committed alone, as MariaDB sorts all that follow in the
# same transaction, in files. Later ones share transactions, as each one waits for the disk.
BEGIN_LATER = b"SET SESSION autocommit = 0"
TRANSACTION_BYTES = 8 << 20
END = b"COMMIT"
Batch = Sequence[Item]
# Where the word stands in a comment or a default, the table is only created later than needed.
_REFERRING = b" REFERENCES "


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """Turns in which tables are created, each a list of batches that clients may run at once.

    Turns follow one another. Those `beside_rows` may also wait for other work: the biggest tables
    are created before, so that their rows can be loaded in the meantime.
    """

    before_rows: Sequence[Sequence[Batch]]
    beside_rows: Sequence[Sequence[Batch]]

    @classmethod
    def of(cls, found: Sequence[Item], *, first: Collection[str], workers: int) -> Turns:
        """Sequences come before all tables, as tables may use them in defaults.

        One client creates all tables with foreign keys, as the server locks the referenced tables
        too, so no rows may be loaded at that time. Never empty: a script without objects becomes
        one empty batch.
        """
        sequences = [item for item in found if item.kind != "table"]
        tables = [item for item in found if item.kind == "table" and _REFERRING not in item.sql]
        referring = [item for item in found if item.kind == "table" and _REFERRING in item.sql]
        early = [] if referring else [item for item in tables if item.name in first]
        if early:
            others = [item for item in tables if item.name not in first]
            at_once = _shared(others, max(1, workers - 1))
            return cls(before_rows=_filled([sequences], [early]), beside_rows=_filled(at_once))
        turns = _filled([sequences], _shared(tables, workers), [referring])
        return cls(before_rows=turns or [[[]]], beside_rows=())


def _shared(items: Sequence[Item], workers: int) -> list[Batch]:
    # Servers sync their disk for every table that they create, so two clients are twice as fast.
    return [items[first::workers] for first in range(workers)]


def _filled(*turns: Sequence[Batch]) -> list[list[Batch]]:
    """The turns and batches that are not empty."""
    filled = [[batch for batch in turn if batch] for turn in turns]
    return [turn for turn in filled if turn]


class SchemaBatch:
    """A script of some objects out of a proven script; used once."""

    def __init__(self, whole: Proven, head: bytes, batch: Batch) -> None:
        self.proven = whole.derived(lambda _: self._pieces())
        self._head = head
        self._batch = batch
        self._lines = ErrorLocator[Item]()

    def _pieces(self) -> Iterator[bytes]:
        yield self._lines.passes(self._head)
        for item in self._batch:
            self._lines.begins(item)
            yield self._lines.passes(item.sql)

    def failed_item(self, cause: str) -> tuple[Item | None, Batch]:
        """The object that a client's error is about, None if unknown, and the objects after it."""
        number = self._lines.number_at(cause)
        if number is None:
            return None, ()
        return self._batch[number], self._batch[number + 1 :]


class RowScript:
    """The statements of a part of rows: of the `wanted` tables, or of all of them."""

    def __init__(self, part: Part, wanted: Collection[Relation] = ()) -> None:
        self._relation = part.relation
        self._members = [each for each in part.members if not wanted or each.relation in wanted]
        self._head_bytes = part.members[0].offset if part.members else 0

    def cut(self, chunks: Iterator[bytes]) -> Iterator[tuple[Relation | None, bytes]]:
        """Each statement and the table that an error in it is about."""
        if not self._members:
            yield from ((self._relation, sql) for sql in _in_transactions(statements(chunks)))
            return
        cutter = StreamCutter(chunks)
        for sql in statements(map(bytes, cutter.take(self._head_bytes))):
            yield None, sql
        yield None, BEGIN
        for member in self._members:
            cutter.skip_to(member.offset)
            for sql in statements(map(bytes, cutter.take(member.plain_bytes))):
                yield member.relation, sql
        # Some servers notice an equal key only here.
        yield self._members[-1].relation, END


def _in_transactions(script: Iterable[bytes]) -> Iterator[bytes]:
    """The statements of one table's rows, most of them in transactions of several."""
    waiting_bytes, is_begun = 0, False
    for sql in script:
        yield sql
        if is_begun:
            waiting_bytes += len(sql)
            if waiting_bytes >= TRANSACTION_BYTES:
                yield END
                waiting_bytes = 0
        elif sql.startswith(_ROWS):
            yield BEGIN_LATER
            is_begun = True
    if is_begun:
        yield END


class DumpScript:
    """Changes the few lines of a dump that would not suit the database it is loaded into."""

    def __init__(self) -> None:
        self._delimiter = b";"
        self._is_new_line = True
        self._database = ""
        self._is_in_table = False

    def changed(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The dump with those lines changed; rows pass unchanged, at the speed of a search."""
        held = b""
        for chunk in chunks:
            text = held + chunk
            ends = text.rfind(b"\n") + 1
            if len(text) - ends > _LONGEST_LINE:
                ends = len(text)
            held = text[ends:]
            yield self._block(text[:ends])
        yield self._block(held)

    def _block(self, text: bytes) -> bytes:
        if not text:
            return text
        is_new_line, self._is_new_line = self._is_new_line, text.endswith(b"\n")
        if not self._is_in_table and not any(mark in b"\n" + text for mark in _MARKS):
            return text
        first, *lines = text.split(b"\n")
        return b"\n".join([self._line(first) if is_new_line else first, *map(self._line, lines)])

    def _line(self, line: bytes) -> bytes:
        if line == _MODE:
            return _ALLOWING
        if line.startswith(_DELIMITER):
            self._delimiter = line.removeprefix(_DELIMITER)
        found = _OF_DATABASE.fullmatch(line)
        # A line inside the body of a routine does not end with the dump program's delimiter.
        if found and found["end"] == self._delimiter:
            return b"ALTER DATABASE " + found["what"] + found["end"]
        return self._definition(line) if self._delimiter == b";" else line

    def _definition(self, line: bytes) -> bytes:
        head = _HEAD.fullmatch(line)
        if head and not self._database:
            self._database = head["name"].decode(errors="replace")
        if line.startswith(_TABLE):
            self._is_in_table = True
        is_defining = self._is_in_table or line.startswith(_VIEW)
        if line.startswith(_TABLE_ENDS):
            self._is_in_table = False
        return without_database(line, self._database) if is_defining and self._database else line


class ErrorLocator(Generic[Thing]):
    """Maps the line number in a client's error to the thing that was sent on that line."""

    def __init__(self) -> None:
        self._line = 1
        self._begins: list[int] = []
        self._things: list[Thing] = []

    def begins(self, thing: Thing) -> None:
        """What passes from here on belongs to `thing`."""
        self._begins.append(self._line)
        self._things.append(thing)

    def passes(self, sql: bytes) -> bytes:
        """Return `sql` unchanged, and count its lines."""
        self._line += sql.count(b"\n")
        return sql

    def number_at(self, cause: str) -> int | None:
        """The index of that thing; None where `cause` names none of a thing's lines."""
        found = _AT_LINE.search(cause)
        number = bisect_right(self._begins, int(found[1])) if found else 0
        return number - 1 if number else None
