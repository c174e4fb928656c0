"""A table's part as a manifest keeps it."""

from __future__ import annotations

from holdfast.model import Codec, Part, PartKind
from holdfast.sources.postgres_native.table_part import TablePart


def kept(table: TablePart, *, name: str = "data/00001-orders.copy") -> Part:
    return Part(
        name=name,
        key=name,
        kind=PartKind.DATA,
        relation=table.relation,
        ancestors=table.ancestors,
        rows=0,
        plain_bytes=0,
        plain_sha256="",
        stored_bytes=0,
        stored_sha256="",
        codec=Codec.NONE,
        encryption="none",
        seconds=0.0,
        details=table.details(),
    )
