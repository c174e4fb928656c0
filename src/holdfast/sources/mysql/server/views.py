"""Views in the order in which they can be made; those that no server could make, as text."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from holdfast.model.backup import Relation
from holdfast.sources.mysql.server import definition_text
from holdfast.sources.mysql.server.broken_views import BROKEN_VIEW, VIEW, commented
from holdfast.sources.mysql.server.failures import DEFINER_UNKNOWN
from holdfast.sources.mysql.server.names import quoted
from holdfast.sources.mysql.server.options import Options
from holdfast.sources.mysql.server.script import Item
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.show_create import shown_by_server


def read_views(
    session: Session, database: str, choices: Options, left_out: Collection[str]
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
    texts = {
        name: definition_text.without_database(sql, database) for name, (sql, _) in shown.items()
    }
    broken = {name for name in names if _broken(session, name)}
    order = definition_text.in_order(texts)
    for name in order:
        # In this order, a view on such a view comes after it.
        if not definition_text.tables_read(texts[name]).isdisjoint(absent | broken):
            broken.add(name)
    return _made(order, texts, shown, broken), tuple(sorted(broken))


def _made(
    order: Sequence[str],
    texts: Mapping[str, bytes],
    shown: Mapping[str, tuple[bytes, list[bytes]]],
    broken: Collection[str],
) -> list[Item]:
    """Every view after those that it reads; those that others read get their definer last.

    No server makes a view that reads one whose definer is gone or lacks rights, though it may have
    such views. So what others read belongs to whoever restores it until they are there too.
    """
    whole = [name for name in order if name not in broken]
    read = set().union(*(definition_text.tables_read(texts[name]) for name in whole)) & set(whole)
    made = []
    for name in order:
        text = definition_text.without_definer(texts[name]) if name in read else texts[name]
        made.append(_view(name, text, shown[name][1], broken=name in broken))
    for name in reversed(whole):
        if name in read:
            text = definition_text.replacing(texts[name])
            made.append(_view(name, text, shown[name][1], broken=False))
    return made


def _broken(session: Session, name: str) -> bool:
    """Whether the view reads what is no longer there; one whose definer is gone can be made."""
    _, warnings = session.fetch(f"SHOW CREATE VIEW {quoted(name)}")
    if not warnings:
        return False
    rows, _ = session.fetch("SHOW WARNINGS")
    return not {int(row[1] or b"0") for row in rows} <= {DEFINER_UNKNOWN}


def _view(name: str, text: bytes, values: list[bytes], *, broken: bool) -> Item:
    client, connection = values[2].decode(), values[3].decode()
    settings = (
        f"SET SESSION sql_mode = '', time_zone = '+00:00';\n"
        f"SET character_set_client = {client}, collation_connection = {connection};\n"
    ).encode()
    sql = settings + text + b";\n"
    if broken:
        # A client would end at the error; a restore of ours tries it and says what it found.
        sql = commented(sql)
        return Item(kind=BROKEN_VIEW, name=name, table=name, sql=sql)
    return Item(kind=VIEW, name=name, table=name, sql=sql)
