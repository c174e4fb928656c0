"""Secondary indexes out of a table's definition, to be built over all of its rows at once."""

from __future__ import annotations

import re

from holdfast.sources.mysql.server.engine_support import TRANSACTIONAL
from holdfast.sources.mysql.server.names import quoted
from holdfast.sources.mysql.server.script import Item
from holdfast.sources.mysql.server.tables import Table
from holdfast.sources.packing import SMALL_TABLE_BYTES

_KEY = re.compile(rb"  KEY `(?:[^`]|``)+` ")
_COUNTED = re.compile(rb"  (`(?:[^`]|``)+`) .*\bAUTO_INCREMENT\b")
_TEXT = re.compile(rb"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
_QUOTED = re.compile(_TEXT.pattern + rb"|`(?:[^`]|``)*`", re.DOTALL)
# Beside one of these the indexes would come back in another order.
_HINDERING = (b"  SPATIAL KEY ", b"  VECTOR KEY ")


def split(definition: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """The definition without its plain secondary indexes, and those; all of it where one is needed.

    Servers print one column or index a line, so nothing has to be understood but lines.
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
    """Small tables gain nothing, and others than InnoDB build their indexes in their own way."""
    return table.engine == TRANSACTIONAL and table.data_bytes >= SMALL_TABLE_BYTES


def built(name: str, keys: tuple[bytes, ...]) -> Item:
    """All of a table's late indexes in one statement, for which its rows are read once."""
    added = b",\n".join(b"  ADD " + key for key in keys)
    sql = f"ALTER TABLE {quoted(name)}\n".encode() + added + b";\n"
    return Item(kind="indexes", name=name, table=name, sql=sql)


def _must_stay_whole(definition: bytes, lines: list[bytes]) -> bool:
    if any(b"\n" in text for text in _QUOTED.findall(definition)):
        return True
    plain = [_QUOTED.sub(b"``", line) for line in lines]
    if any(line.startswith(_HINDERING) or b" FOREIGN KEY (" in line for line in plain):
        # A foreign key leans on an index of its own table, and would make one.
        return True
    typed = (_TEXT.sub(b"''", line) for line in lines)
    counted = next((match[1] for line in typed if (match := _COUNTED.match(line))), None)
    unique = (b"  PRIMARY KEY (", b"  UNIQUE KEY ")
    return counted is not None and not any(
        line.startswith(unique) and b"(" + counted in line for line in lines
    )
