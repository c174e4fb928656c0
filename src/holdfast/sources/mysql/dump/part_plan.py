"""The parts of a dumped database: a script for each table's rows, or one for everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from holdfast.model.backup import PartKind, PartPlan
from holdfast.sources.mysql.rows.insert_text import Limits
from holdfast.sources.mysql.rows.part_plan import accounts_of
from holdfast.sources.mysql.rows.part_plan import contents as native_contents
from holdfast.sources.mysql.server.accounts import Access
from holdfast.sources.mysql.server.definitions import Definitions
from holdfast.sources.mysql.server.sql import slug
from holdfast.sources.mysql.server.tables import Table

FORMAT = "format"
SQL = "sql"
XBSTREAM = "xbstream"
METHOD = "method"
DEFINITION = "definition_sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dumped:
    """What to store, and where each part comes from: a table's dump, a text, or a whole dump."""

    plans: tuple[PartPlan, ...]
    tables: Mapping[str, Table]
    texts: Mapping[str, bytes]


def by_table(
    tables: Sequence[Table],
    definitions: Definitions,
    access: Access,
    limits: Limits,
    *,
    program: str,
    digests: Mapping[str, str],
) -> Dumped:
    """Definitions as the native engine keeps them, and a dump of rows for each table.

    The digest of its definition stands with each part: a resumed run takes a table that was
    altered since anew.
    """
    found = native_contents(tables, definitions, access, limits, packed=False)

    def said(plan: PartPlan) -> PartPlan:
        if plan.kind is not PartKind.DATA or plan.relation is None:
            return plan
        details = {METHOD: program, DEFINITION: digests[plan.relation.name]}
        return replace(plan, details=details)

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
        details={
            FORMAT: SQL,
            METHOD: program,
            "character_set": character_set,
            "collation": collation,
        },
    )
    others = (_text(name, text, access) for name, text in texts.items())
    return Dumped(plans=(dump, *others), tables={}, texts=texts)


def _text(name: str, text: bytes, access: Access) -> PartPlan:
    kind = PartKind(name.removesuffix(".sql"))
    details = {"accounts": accounts_of(access)} if kind is PartKind.GRANTS else {}
    return PartPlan(name=name, kind=kind, estimated_bytes=len(text), details=details)
