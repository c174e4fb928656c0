"""The definitions of a database: tables, sequences, views, routines, triggers, events."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from holdfast.model.backup import Relation
from holdfast.model.lazy_dataclass import dataclass
from holdfast.sources.mysql.server import definition_text
from holdfast.sources.mysql.server.connection import DEFINER_UNKNOWN
from holdfast.sources.mysql.server.definition_text import (
    as_stored,
    shown_by_server,
    tables_shown,
)
from holdfast.sources.mysql.server.options import Options
from holdfast.sources.mysql.server.session import Session
from holdfast.sources.mysql.server.sql import (
    BROKEN_VIEW,
    VIEW,
    Item,
    commented,
    quoted,
    script,
    select,
    stored_program,
)
from holdfast.sources.mysql.server.tables import Table

HEAD = """\
SET NAMES utf8mb4;
SET SESSION time_zone = '+00:00', foreign_key_checks = 0, unique_checks = 0;
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES';
/*!80030 SET SESSION sql_generate_invisible_primary_key = 0 */;
"""
LIBRARIES = """
    SELECT library_name FROM information_schema.libraries WHERE library_schema = %s
    ORDER BY library_name"""
ROUTINE_KINDS = ("FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """The scripts that define one database, and facts about it."""

    pre_data: bytes
    indexes: bytes
    sequences: bytes
    post_data: bytes
    character_set: str
    collation: str
    broken_views: tuple[str, ...]
    tables: Mapping[str, bytes]
    """The definition of each table as the server prints it, by name."""
    passing_events: tuple[str, ...] = ()
    """Events that the server drops once they have run."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on what a restore may not bring back."""
        lists = {
            "views that cannot be read, kept as text": self.broken_views,
            "events that are restored only before their time": self.passing_events,
        }
        return tuple(f"{what}: {', '.join(names)}" for what, names in lists.items() if names)


def read_definitions(
    session: Session,
    database: str,
    tables: Sequence[Table],
    *,
    options: Options,
    left_out: Collection[str] = (),
    helpers: Sequence[Session] = (),
    ahead: Mapping[str, bytes] | None = None,
) -> Definitions:
    """Everything but rows and grants, as it is now.

    Views that read tables in `left_out` are kept as text, as no server could create them. Sessions
    in `helpers`, which must be idle, read some of many tables, except those that were read `ahead`.
    """
    names = [table.relation.name for table in tables]
    shown = definition_text.of_tables(ahead or {}, names)
    shown |= tables_shown([session, *helpers], [name for name in names if name not in shown])
    with as_stored(session):
        character_set, collation = session.text(
            "SELECT default_character_set_name, default_collation_name "
            "FROM information_schema.schemata WHERE schema_name = %s",
            database,
        )[0]
        sequences = _sequence_names(session, database, options)
        empty, late = _tables(database, tables, shown)
        made = [*(_sequence(session, name) for name in sequences), *empty]
        broken: tuple[str, ...] = ()
        programs = _triggers(session, database, set(shown))
        if options.takes_all_objects:
            views, broken = read_views(session, database, options, left_out=left_out)
            programs = [
                *_libraries(session, database),
                *_routines(session, database, collation),
                *views,
                *programs,
                *_events(session, database),
            ]
        return Definitions(
            pre_data=script(made, head=HEAD),
            indexes=script(late, head=HEAD) if late else b"",
            sequences=script([_sequence_state(session, name) for name in sequences]),
            post_data=script(programs, head="SET NAMES utf8mb4;\n") if programs else b"",
            character_set=character_set,
            collation=collation,
            broken_views=broken,
            tables=shown,
            passing_events=_passing_events(session, database) if options.takes_all_objects else (),
        )


def _tables(
    database: str, tables: Sequence[Table], shown: Mapping[str, bytes]
) -> tuple[list[Item], list[Item]]:
    """Tables by name, and indexes to build after the rows, those of the biggest table first."""
    made: list[Item] = []
    late: list[Item] = []
    for table in sorted(tables, key=lambda each: -each.data_bytes):
        name = table.relation.name
        sql = definition_text.without_database(shown[name], database)
        sql, keys = definition_text.split(sql) if definition_text.waits(table) else (sql, ())
        made.append(Item(kind="table", name=name, table=name, sql=sql + b";\n"))
        if keys:
            late.append(definition_text.built(name, keys))
    return sorted(made, key=lambda item: item.name), late


def _sequence_names(session: Session, database: str, options: Options) -> list[str]:
    rows = session.text(
        "SELECT table_name FROM information_schema.tables "
        "WHERE table_schema = %s AND table_type = 'SEQUENCE' ORDER BY table_name",
        database,
    )
    return [name for (name,) in rows if options.wants(Relation(schema=database, name=name))]


def _sequence(session: Session, name: str) -> Item:
    sql, _ = shown_by_server(session, "SEQUENCE", name, column=1)
    return Item(kind="sequence", name=name, table=name, sql=sql + b";\n")


def _sequence_state(session: Session, name: str) -> Item:
    """Set where the sequence continues: after all cached values, so that none is used twice."""
    state = session.text(select("next_not_cached_value, cycle_count", name))
    following, cycles = state[0]
    sql = f"DO SETVAL({quoted(name)}, {following}, 0, {cycles});\n"
    return Item(kind="sequence-state", name=name, table=name, sql=sql.encode())


def _libraries(session: Session, database: str) -> list[Item]:
    """The libraries that MySQL routines in other languages may import; MariaDB has none."""
    known = session.text("SHOW TABLES FROM information_schema LIKE 'LIBRARIES'")
    names = session.text(LIBRARIES, database) if known else []
    return [_library(session, name) for (name,) in names]


def _library(session: Session, name: str) -> Item:
    body, values = shown_by_server(session, "LIBRARY", name, column=2)
    sql = stored_program(body, sql_mode=values[1].decode(), charset="utf8mb4")
    return Item(kind="library", name=name, sql=sql)


def _routines(session: Session, database: str, collation: str) -> list[Item]:
    rows = session.text(
        "SELECT routine_name, routine_type FROM information_schema.routines "
        "WHERE routine_schema = %s ORDER BY routine_name",
        database,
    )
    found = sorted(rows, key=lambda row: (ROUTINE_KINDS.index(row[1]), row[0]))
    return [
        _routine(session, database, name, kind=kind, collation=collation) for name, kind in found
    ]


def _routine(session: Session, database: str, name: str, *, kind: str, collation: str) -> Item:
    body, values = shown_by_server(session, kind, name, column=2)
    sql = stored_program(
        definition_text.plain_comment(
            definition_text.own_libraries(body, database), sql_mode=values[1].decode()
        ),
        sql_mode=values[1].decode(),
        charset=values[3].decode(),
        collation=values[4].decode(),
    )
    made_under = values[5].decode()
    if made_under != collation:
        # A parameter without a character set takes the one that the database has at that moment.
        sql = b"".join(
            (
                f"ALTER DATABASE COLLATE = {made_under};\n".encode(),
                sql,
                f"ALTER DATABASE COLLATE = {collation};\n".encode(),
            )
        )
    return Item(kind=kind.lower(), name=name, sql=sql)


def read_views(
    session: Session, database: str, options: Options, *, left_out: Collection[str]
) -> tuple[list[Item], tuple[str, ...]]:
    """The views that a job covers, and the names of those that cannot be created.

    A view that reads a table in `left_out`, or reads such a view, cannot be created. To be called
    within `as_stored`.
    """
    question = "SELECT table_name FROM information_schema.views WHERE table_schema = %s"
    known = [name for (name,) in session.text(question, database)]
    names = [name for name in known if options.wants(Relation(schema=database, name=name))]
    absent = {*left_out, *known} - set(names)
    shown = {name: shown_by_server(session, "VIEW", name, column=1) for name in names}
    texts = {
        name: definition_text.without_database(sql, database) for name, (sql, _) in shown.items()
    }
    broken = {name for name in names if _broken(session, name)}
    order = definition_text.in_order(texts)
    for name in order:
        # In this order, a view that reads a broken view comes after it.
        if not definition_text.tables_read(texts[name]).isdisjoint(absent | broken):
            broken.add(name)
    return _made(order, texts, shown, broken=broken), tuple(sorted(broken))


def _made(
    order: Sequence[str],
    texts: Mapping[str, bytes],
    shown: Mapping[str, tuple[bytes, list[bytes]]],
    *,
    broken: Collection[str],
) -> list[Item]:
    """Every view after those that it reads; views that others read get their definer last.

    No server creates a view that reads one whose definer is missing or lacks rights, though it may
    have such views. So a view that others read has the restoring user as definer until they exist.
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
    """Whether the view reads what no longer exists; a missing definer does not break a view."""
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
        # A client would stop at the error; our restore tries the view and reports the outcome.
        sql = commented(sql)
        return Item(kind=BROKEN_VIEW, name=name, table=name, sql=sql)
    return Item(kind=VIEW, name=name, table=name, sql=sql)


def _triggers(session: Session, database: str, tables: Collection[str]) -> list[Item]:
    """The triggers of `tables`, in the order in which they fire."""
    rows = session.text(
        "SELECT trigger_name, event_object_table FROM information_schema.triggers "
        "WHERE trigger_schema = %s "
        "ORDER BY event_object_table, action_timing, event_manipulation, action_order",
        database,
    )
    made = []
    for name, table in rows:
        if table not in tables:
            continue
        body, values = shown_by_server(session, "TRIGGER", name, column=2)
        sql = stored_program(
            definition_text.trigger_here(body),
            sql_mode=values[1].decode(),
            charset=values[3].decode(),
            collation=values[4].decode(),
        )
        made.append(Item(kind="trigger", name=name, table=table, sql=sql))
    return made


def _passing_events(session: Session, database: str) -> tuple[str, ...]:
    rows = session.text(
        "SELECT event_name FROM information_schema.events WHERE event_schema = %s "
        "AND on_completion = 'NOT PRESERVE' AND (event_type = 'ONE TIME' OR ends IS NOT NULL) "
        "ORDER BY event_name",
        database,
    )
    return tuple(name for (name,) in rows)


def _events(session: Session, database: str) -> list[Item]:
    rows = session.text(
        "SELECT event_name FROM information_schema.events WHERE event_schema = %s "
        "ORDER BY event_name",
        database,
    )
    made = []
    for (name,) in rows:
        body, values = shown_by_server(session, "EVENT", name, column=3)
        sql = stored_program(
            definition_text.plain_comment(body, sql_mode=values[1].decode()),
            sql_mode=values[1].decode(),
            time_zone=values[2].decode(),
            charset=values[4].decode(),
            collation=values[5].decode(),
        )
        made.append(Item(kind="event", name=name, sql=sql))
    return made
