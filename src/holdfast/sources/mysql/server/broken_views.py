"""Views that no server could make, kept as comments of a script."""

from __future__ import annotations

from holdfast.sources.mysql.server.script import Item

VIEW, BROKEN_VIEW = "view", "broken-view"
COMMENT = b"-- "


def commented(sql: bytes) -> bytes:
    """A script of whole lines that no client carries out."""
    return COMMENT + sql.removesuffix(b"\n").replace(b"\n", b"\n" + COMMENT) + b"\n"


def attempted(item: Item) -> Item:
    """A view that is kept as a comment, as a statement."""
    if item.kind != BROKEN_VIEW:
        return item
    lines = [line.removeprefix(COMMENT) for line in item.sql.rstrip(b"\n").split(b"\n")]
    sql = b"\n".join(lines).rstrip(b";") + b";\n"
    return Item(kind=item.kind, name=item.name, table=item.table, sql=sql)
