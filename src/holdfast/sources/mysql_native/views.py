"""Views in the order in which they can be made; those that no server could make, as text."""

from __future__ import annotations

from collections.abc import Collection

from holdfast.model import Relation
from holdfast.sources.mysql_native import rewriting
from holdfast.sources.mysql_native.choices import Choices
from holdfast.sources.mysql_native.names import quoted
from holdfast.sources.mysql_native.scripting import Item
from holdfast.sources.mysql_native.session import Session
from holdfast.sources.mysql_native.show_create import shown_by_server


def read_views(
    session: Session, database: str, choices: Choices, left_out: Collection[str]
) -> tuple[list[Item], tuple[str, ...]]:
    """The views that a job covers, and the names of those that cannot be made.

    A view that reads what is `left_out`, or such a view, is one of them. The session must give
    definitions as they are stored.
    """
    question = "SELECT table_name FROM information_schema.views WHERE table_schema = %s"
    known = [name for (name,) in session.text(question, database)]
    names = [name for name in known if choices.wants(Relation(schema=database, name=name))]
    absent = {*left_out, *known} - set(names)
    shown = {name: shown_by_server(session, "VIEW", name, column=1) for name in names}
    broken = {name for name in names if _broken(session, name)}
    order = rewriting.in_order({name: sql for name, (sql, _) in shown.items()})
    for name in order:
        # In this order, a view on such a view comes after it.
        here = rewriting.without_database(shown[name][0], database)
        if not rewriting.tables_read(here).isdisjoint(absent | broken):
            broken.add(name)
    made = [_view(name, *shown[name], database=database, broken=name in broken) for name in order]
    return made, tuple(sorted(broken))


def _broken(session: Session, name: str) -> bool:
    """Whether the view reads what is no longer there: SHOW CREATE then warns."""
    _, warnings = session.fetch(f"SHOW CREATE VIEW {quoted(name)}")
    return warnings > 0


def _view(name: str, sql: bytes, values: list[bytes], *, database: str, broken: bool) -> Item:
    client, connection = values[2].decode(), values[3].decode()
    text = rewriting.without_database(sql, database)
    settings = (
        f"SET SESSION sql_mode = '', time_zone = '+00:00';\n"
        f"SET character_set_client = {client}, collation_connection = {connection};\n"
    ).encode()
    if broken:
        # No server would create it; the text is kept for whoever mends it.
        lines = b"\n".join(b"-- " + line for line in text.splitlines())
        return Item(kind="broken-view", name=name, sql=lines + b"\n")
    return Item(kind="view", name=name, table=name, sql=settings + text + b";\n")
