"""The parts of a dumped database, and what its dump program does not keep faithfully."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

from holdfast.model.backup import PartKind, PartPlan
from holdfast.model.errors import BackupFailed, Unsupported
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.part_details import NOTHING, MysqlDump, MysqlTable
from holdfast.sources.mysql.dump.programs import Program
from holdfast.sources.mysql.rows.insert_text import Limits
from holdfast.sources.mysql.rows.part_plan import contents as native_contents, grants_of
from holdfast.sources.mysql.server.accounts import Access
from holdfast.sources.mysql.server.columns import ASCII, TEXTS
from holdfast.sources.mysql.server.connection import ConnectionLost, StatementFailed, table_failed
from holdfast.sources.mysql.server.definitions import Definitions
from holdfast.sources.mysql.server.options import TABLES_NAMED, VERSIONED, digest, named
from holdfast.sources.mysql.server.privileges import Need, needs
from holdfast.sources.mysql.server.session import MARIADB, MYSQL, ServerVersion, Session
from holdfast.sources.mysql.server.sql import quoted, slug
from holdfast.sources.mysql.server.tables import TRANSACTIONAL, Table

KEEPS_HISTORY = (10, 11)
# Rights with which the native engine holds one moment for several sessions; a dump has only one.
ONE_MOMENT = {"RELOAD", "BACKUP_ADMIN"}
# In these some characters have two codes; converted from utf8mb4, only one of them comes back.
AMBIGUOUS_CHARSETS = frozenset(
    ("big5", "cp932", "eucjpms", "euckr", "gb18030", "gb2312", "gbk", "sjis", "ujis")
)
LIBRARIES = """
    SELECT library_name FROM information_schema.libraries WHERE library_schema = %s
    ORDER BY library_name"""
SAYING = {
    "rounded_columns": "FLOAT is written with six digits",
    "converted_columns": "duplicate codes come back as one of them, and invalid bytes as ?",
    "json_columns": "decimals, dates and bytes in JSON come back as doubles and strings",
}
XBSTREAM = "xbstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dumped:
    """The parts, and what each is made of: a dump of one table, a text, or a dump of all."""

    plans: tuple[PartPlan, ...]
    tables: Mapping[str, Table]
    texts: Mapping[str, bytes]


def by_table(
    tables: Sequence[Table],
    *,
    definitions: Definitions,
    access: Access,
    limits: Limits,
    program: str,
    digests: Mapping[str, str],
) -> Dumped:
    """Definitions as the native engine keeps them, and a dump of rows for each table.

    Each data part records the digest of its table's definition: a resumed run dumps a table again
    that was altered since.
    """
    found = native_contents(
        tables, definitions=definitions, access=access, limits=limits, packed=False
    )

    def said(plan: PartPlan) -> PartPlan:
        if plan.kind is not PartKind.DATA or plan.relation is None:
            return plan
        digest = digests[plan.relation.name]
        return replace(plan, details=MysqlTable(method=program, definition_sha256=digest))

    plans = tuple(said(plan) for plan in found.plans)
    one_each = {name: table for name, (table,) in found.tables.items()}
    return Dumped(plans=plans, tables=one_each, texts=found.texts)


def whole(
    database: str,
    tables: Sequence[Table],
    access: Access,
    *,
    program: str,
    character_set: str,
    collation: str,
) -> Dumped:
    """One dump of everything, and the grants, which no dump of a database holds."""
    texts = {
        name: text
        for name, text in (("grants.sql", access.grants), ("globals.sql", access.globals))
        if text
    }
    dump = PartPlan(
        name=f"dump/{slug(database)}.sql",
        kind=PartKind.ARCHIVE,
        estimated_bytes=sum(table.data_bytes for table in tables),
        details=MysqlDump(method=program, character_set=character_set, collation=collation),
    )
    others = (_text(name, text, access) for name, text in texts.items())
    return Dumped(plans=(dump, *others), tables={}, texts=texts)


def _text(name: str, text: bytes, access: Access) -> PartPlan:
    kind = PartKind(name.removesuffix(".sql"))
    details = grants_of(access) if kind is PartKind.GRANTS else NOTHING
    return PartPlan(name=name, kind=kind, estimated_bytes=len(text), details=details)


def rights(
    version: ServerVersion, database: str, tables: Sequence[Table], *, as_tables: bool
) -> tuple[Need, ...]:
    """The rights that a login needs to dump these tables."""
    least = [need for need in needs(version, database) if need.right not in ONE_MOMENT]
    if version.mariadb and not as_tables:
        why = "to describe views that call functions"
        least.append(Need(right="EXECUTE", database=database, why=why))
    if as_tables and not all(transactional(table) for table in tables):
        why = f"to lock tables that are not {TRANSACTIONAL}"
        least.append(Need(right="LOCK TABLES", database=database, why=why))
    return tuple(least)


def refuse_unfaithful(tables: Sequence[Table], program: Program, *, as_tables: bool) -> None:
    """Raise `Unsupported` for tables that the dump would change or hold inconsistently."""
    torn = [] if as_tables else [table for table in tables if not transactional(table)]
    if torn:
        raise Unsupported(
            f"cannot dump tables {named(torn, with_engine=True)} in one transaction with "
            f"the others: they are not {TRANSACTIONAL}",
            hint="backup_as_tables: true locks each of them while it is read; "
            f"or ALTER TABLE ... ENGINE={TRANSACTIONAL}",
        )
    empty = [table for table in tables if not table.columns]
    if empty and program.kind == MYSQL:
        raise Unsupported(
            f"cannot dump tables {named(empty)}: mysqldump cannot write rows without a column",
            hint="give them a column that is not generated, or set engine: native",
        )
    past = [table for table in tables if versioned(table)]
    if past and program.release < KEEPS_HISTORY:
        raise Unsupported(
            f"cannot dump tables {named(past)}: '{program.path}' would lose their history",
            hint="system-versioned tables need MariaDB 10.11 or later",
        )


def refuse_libraries(asking: Session, database: str, *, as_tables: bool) -> None:
    """Raise `Unsupported` for a whole dump of a database with libraries, which it would lack."""
    if as_tables or not asking.text("SHOW TABLES FROM information_schema LIKE 'LIBRARIES'"):
        return
    names = [name for (name,) in asking.text(LIBRARIES, database)]
    if names:
        raise Unsupported(
            f"cannot dump database '{database}' whole: mysqldump leaves out its libraries "
            f"{', '.join(names[:TABLES_NAMED])}",
            hint="set backup_as_tables: true, or engine: native",
        )


def transactional(table: Table) -> bool:
    """Whether a dump of the table needs no lock: InnoDB, or no rows of its own to read."""
    return table.engine == TRANSACTIONAL or not table.owns_rows


def versioned(table: Table) -> bool:
    return table.kind == VERSIONED


def inexact(tables: Sequence[Table], *, kind: str) -> dict[str, list[str]]:
    """Columns whose values may come back changed: rounded, converted, or JSON.

    `kind` is that of the server: MariaDB accepts bytes in ascii that are no characters of it, and
    keeps JSON as text.
    """
    converted = AMBIGUOUS_CHARSETS | ({ASCII} if kind == MARIADB else set())
    found: dict[str, list[str]] = {
        "rounded_columns": [],
        "converted_columns": [],
        "json_columns": [],
    }
    for table in tables:
        for column in table.columns:
            name = f"{table.relation.name}.{column.name}"
            if column.data_type == "float":
                found["rounded_columns"].append(name)
            elif column.data_type in TEXTS and column.charset in converted:
                found["converted_columns"].append(name)
            elif column.is_json:
                found["json_columns"].append(name)
    return {kind: names for kind, names in found.items() if names}


def notes(tables: Sequence[Table], *, kind: str) -> list[str]:
    """Notes for a plan: columns that come back changed, and tables that are locked."""
    said = []
    for what, columns in inexact(tables, kind=kind).items():
        more = f" and {len(columns) - TABLES_NAMED} more" if len(columns) > TABLES_NAMED else ""
        shown = ", ".join(columns[:TABLES_NAMED])
        said.append(f"{SAYING[what]}: {shown}{more}; engine native keeps them exactly")
    locked = [table for table in tables if not transactional(table)]
    if locked:
        said.append(f"writers wait while these are read: {named(locked, with_engine=True)}")
    return said


class DumpDdlCheck:
    """Compares definitions before and after a table's rows were read; from any thread.

    Rows are dumped by another session at a moment of its own: only a definition that is the same
    before and after is known to fit them.
    """

    def __init__(self, session: Session, tables: Sequence[Table]) -> None:
        self._session = session
        self._lock = threading.Lock()
        session.configure(character_set_results="binary")
        self.digests = {table.relation.name: self._digest(table) for table in tables}

    def require_unaltered(self, table: Table) -> None:
        """Raise `BackupFailed` naming the table where its definition has changed."""
        with self._lock:
            if self._digest(table) == self.digests[table.relation.name]:
                return
        raise BackupFailed(
            f"cannot back up table '{table.relation}': it was altered while it was read",
            hint="run the backup again when that is over",
        )

    def _digest(self, table: Table) -> str:
        try:
            rows, _ = self._session.fetch(f"SHOW CREATE TABLE {quoted(table.relation.name)}")
        except StatementFailed as error:
            raise table_failed(str(table.relation), error) from error
        except ConnectionLost as error:
            raise BackupFailed(
                f"cannot determine whether table '{table.relation}' was altered: {error.message}"
            ) from error
        return digest(rows[0][1] or b"").hex()
