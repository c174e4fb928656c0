"""What a dump program wrote, on its way into a database of any name.

It names the database that it read: in an ALTER DATABASE around what was made under another
collation, before the sequences that columns take their defaults from, in views that read another
one besides. A restore under another name would change that database, or go on reading it. And it
has dates that no calendar has loaded as 0000-00-00.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from holdfast.sources.mysql.server.definition_text import without_database

PROGRAMS = ("mariadb-dump", "mysqldump")
_MODE = b"/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;"
_ALLOWING = _MODE.replace(b"_ON_ZERO'", b"_ON_ZERO,ALLOW_INVALID_DATES'")
_DELIMITER = b"DELIMITER "
_ALTER = b"ALTER DATABASE `"
_OF_DATABASE = re.compile(
    rb"ALTER DATABASE `(?:[^`]|``)*` (?P<what>CHARACTER SET \w+ COLLATE \w+ )(?P<end>;;?)"
)
_HEAD = re.compile(rb"-- Host: .*?\sDatabase: (?P<name>.+)")
_TABLE, _TABLE_ENDS, _VIEW = b"CREATE TABLE ", b")", b"/*!50001 VIEW "
_MARKS = tuple(b"\n" + mark for mark in (b"-- Host: ", _MODE, _DELIMITER, _ALTER, _TABLE, _VIEW))
# No line that is looked for is longer: a name has 64 characters, in backquotes.
_LONGEST_LINE = 1024


class DumpScript:
    """Changes the few lines of a dump that are not about the database it is loaded into."""

    def __init__(self) -> None:
        self._delimiter = b";"
        self._is_new_line = True
        self._database = ""
        self._is_in_table = False

    def changed(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Rows pass as they are, as fast as they can be searched."""
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
        # In the body of a routine it would not end as the program's own statements do.
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
