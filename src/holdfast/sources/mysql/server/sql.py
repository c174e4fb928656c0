"""SQL as text: quoted names and values, and scripts of named objects.

Plain comment lines mark the objects of a script, so that single objects can be extracted. A view
that no server could create is kept as a comment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.stored_json import parsed

SLUG_LENGTH = 40
MARK = b"-- holdfast "
VIEW, BROKEN_VIEW = "view", "broken-view"
COMMENT = b"-- "


def quoted(name: str) -> str:
    """An identifier that the server takes literally, whatever is in it."""
    return "`" + name.replace("`", "``") + "`"


def unquoted(identifier: str) -> str:
    """The name of an identifier that `quoted` or the server printed."""
    if identifier.startswith("`"):
        return identifier[1:-1].replace("``", "`")
    return identifier


def select(what: str, table: str, rest: str = "") -> str:
    """A SELECT from one table of the current database."""
    return " ".join(("SELECT", what, "FROM", quoted(table), rest))


def slug(name: str) -> str:
    """A table's name, reduced to characters that every store allows in file names."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain[:SLUG_LENGTH].strip("-") or "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One object's SQL; `table` is the table that it belongs to, if any."""

    kind: str
    name: str
    sql: bytes
    table: str = ""

    @property
    def described(self) -> str:
        """The object's kind and name, for messages."""
        if self.kind == "indexes":
            return f"the indexes of table '{self.table}'"
        return f"{self.kind} '{self.name}'"


class ScriptDamaged(Exception):
    """The marks of a script cannot be read, or do not match its content."""


def script(items: Iterable[Item], *, head: str = "") -> bytes:
    """`items` as one script; each mark says how many bytes follow, so no name can forge one."""
    pieces = [head.encode()]
    for item in items:
        mark = {"kind": item.kind, "name": item.name, "table": item.table, "bytes": len(item.sql)}
        pieces.append(MARK + json.dumps(mark).encode() + b"\n" + item.sql)
    return b"".join(pieces)


def items(text: bytes) -> tuple[bytes, list[Item]]:
    """Head and objects of a script that `script` made; raises `ScriptDamaged`."""
    found: list[Item] = []
    place = text.find(MARK)
    if place < 0:
        return text, found
    head = text[:place]
    while place < len(text):
        line_end = text.find(b"\n", place)
        if line_end < 0 or not text.startswith(MARK, place):
            raise ScriptDamaged("a mark is missing")
        try:
            mark = parsed(text[place + len(MARK) : line_end])
            if not isinstance(mark["bytes"], int) or mark["bytes"] < 0:
                raise ValueError(f"its length is {mark['bytes']}")
            end = line_end + 1 + mark["bytes"]
            sql = text[line_end + 1 : end]
            found.append(Item(kind=mark["kind"], name=mark["name"], table=mark["table"], sql=sql))
        except (ValueError, KeyError, TypeError) as error:
            raise ScriptDamaged(f"a mark cannot be read: {error}") from error
        place = end
    return head, found


def commented(sql: bytes) -> bytes:
    """A script of complete lines as a comment, which no client executes."""
    return COMMENT + sql.removesuffix(b"\n").replace(b"\n", b"\n" + COMMENT) + b"\n"


def attempted(item: Item) -> Item:
    """The statement of a view that is kept as a comment; any other item unchanged."""
    if item.kind != BROKEN_VIEW:
        return item
    lines = [line.removeprefix(COMMENT) for line in item.sql.rstrip(b"\n").split(b"\n")]
    sql = b"\n".join(lines).rstrip(b";") + b";\n"
    return Item(kind=item.kind, name=item.name, table=item.table, sql=sql)


def stored_program(
    body: bytes,
    *,
    sql_mode: str,
    charset: str,
    collation: str = "utf8mb4_general_ci",
    time_zone: str = "+00:00",
) -> bytes:
    """A routine, trigger or event with the settings that it was created under.

    The delimiter does not occur in the body. It stands on a line of its own, because a body may
    end in a comment.
    """
    delimiter = b";;"
    while delimiter in body:
        delimiter += b";"
    settings = (
        f"SET SESSION sql_mode = '{sql_mode}', time_zone = '{time_zone}';\n"
        f"SET character_set_client = {charset}, collation_connection = {collation};\n"
    ).encode()
    return b"".join(
        (settings, b"DELIMITER ", delimiter, b"\n", body, b"\n", delimiter, b"\nDELIMITER ;\n")
    )
