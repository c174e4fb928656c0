"""Manifests and parts for tests to start from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from holdfast.model.backup import Codec, Consistency, Manifest, Part, PartKind, Relation, Server
from holdfast.model.fingerprints import of_sha256
from holdfast.model.part_details import CopiedRows
from holdfast.model.proof import Proof

STARTED = datetime(2026, 11, 20, 2, tzinfo=UTC)


NAME = "20261120T020000Z-0a0b0c0d"


def part(name: str = "data/00001-orders.copy", *, backup: str = NAME) -> Part:
    return Part(
        name=name,
        key=f"shop/{backup}/parts/{name}.zst",
        kind=PartKind.DATA,
        relation=Relation(schema="public", name="orders"),
        rows=3,
        plain_bytes=30,
        plain_fingerprint=of_sha256("a" * 64),
        stored_bytes=20,
        stored_fingerprint=of_sha256("b" * 64),
        codec=Codec.ZSTD,
        encryption="none",
        seconds=0.25,
        details=CopiedRows(format="text"),
    )


def bare_part(name: str, kind: PartKind) -> Part:
    """A part of which only name and kind matter, stored unchanged."""
    return Part(
        name=name,
        key=name,
        kind=kind,
        relation=None,
        rows=None,
        plain_bytes=1,
        plain_fingerprint="",
        stored_bytes=1,
        stored_fingerprint="",
        codec=Codec.NONE,
        encryption="none",
        seconds=0.0,
    )


def manifest(name: str = NAME, *, age: timedelta = timedelta(0)) -> Manifest:
    started = STARTED - age
    return Manifest(
        job="shop",
        name=name,
        run_id="0a0b0c0d" * 4,
        host="db1",
        engine="native",
        server=Server(kind="postgres", version="17.2", database="shop"),
        consistency=Consistency.SNAPSHOT,
        proof=Proof(snapshot="00000003-0000001B-1"),
        tools={"pg_dump": "17.2"},
        started_at=started,
        snapshot_at=started + timedelta(seconds=1),
        finished_at=started + timedelta(seconds=9),
        peak_memory_bytes=60 << 20,
        workers=2,
        parts=(part(backup=name),),
    )
