"""A table's part as a manifest holds it."""

from __future__ import annotations

from dataclasses import replace

from holdfast.model.backup import Part, PartKind
from holdfast.sources.postgres.server.table_part import TablePart
from tests.support.manifests import bare_part


def kept(table: TablePart, *, name: str = "data/00001-orders.copy") -> Part:
    return replace(
        bare_part(name, PartKind.DATA),
        relation=table.relation,
        ancestors=table.ancestors,
        rows=0,
        details=table.details(),
    )
