"""Long values on their way to where each is kept once: found, named by SHA-256, read in pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import psycopg

from holdfast.model.backup import Buffer
from holdfast.ports.source import Blobs
from holdfast.sources.postgres.server.quoting import identifier, qualified
from holdfast.sources.postgres.server.table_part import TablePart

# One buffer is all that we hold of a value of any length.
PIECE_BYTES = 1 << 20
VALUES_PER_FETCH = 500
CURSOR = "holdfast_long_values"


def of_table(session: psycopg.Connection, table: TablePart, blobs: Blobs) -> Iterator[Buffer]:
    """Keep the table's long values; a line each, `SHA256 BYTES`, says which they were.

    The server computes the SHA-256, so a value that was kept before is never sent again.
    """
    session.execute(f"DECLARE {CURSOR} NO SCROLL CURSOR FOR {_listing(table)}".encode())
    while rows := session.execute(f"FETCH {VALUES_PER_FETCH} FROM {CURSOR}".encode()).fetchall():
        for place, column, sha256, size_bytes in rows:
            read = partial(_value, session, table, table.columns[column], place)
            blobs.keep(sha256, size_bytes, read)
        yield "".join(f"{row[2]} {row[3]}\n" for row in rows).encode()
    session.execute(f"CLOSE {CURSOR}".encode())


def of_large_objects(
    session: psycopg.Connection, oids: Sequence[int], blobs: Blobs
) -> Iterator[Buffer]:
    """Keep the objects; a line each, `OID SHA256 BYTES`, says what they hold.

    An object is read once for its name, and once more only where it was not kept before.
    """
    for oid in oids:
        digest, size_bytes = hashlib.sha256(), 0
        for piece in _object(session, oid):
            digest.update(piece)
            size_bytes += len(piece)
        blobs.keep(digest.hexdigest(), size_bytes, partial(_object, session, oid))
        yield f"{oid} {digest.hexdigest()} {size_bytes}\n".encode()


def _listing(table: TablePart) -> str:
    if table.external is None:
        raise ValueError(f"table '{table.relation}' keeps its values in its rows")
    return " UNION ALL ".join(
        f"SELECT ctid::text, {table.columns.index(column)}, encode(sha256({identifier(column)}),"  # noqa: S608  # names are quoted
        f" 'hex'), octet_length({identifier(column)}) FROM ONLY {qualified(table.relation)}"
        f" WHERE octet_length({identifier(column)}) >= {table.external.size_bytes}"
        for column in table.external.columns
    )


def _value(
    session: psycopg.Connection, table: TablePart, column: str, place: str
) -> Iterator[Buffer]:
    query = (
        f"SELECT substring({identifier(column)} FROM %s FOR {PIECE_BYTES})"  # noqa: S608  # names are quoted
        f" FROM ONLY {qualified(table.relation)} WHERE ctid = %s::tid"
    ).encode()
    return _pieces(session, lambda start: (query, [start + 1, place]))


def _object(session: psycopg.Connection, oid: int) -> Iterator[Buffer]:
    query = f"SELECT lo_get({oid}, %s, {PIECE_BYTES})".encode()
    return _pieces(session, lambda start: (query, [start]))


def _pieces(
    session: psycopg.Connection, query_at: Callable[[int], tuple[bytes, list[object]]]
) -> Iterator[Buffer]:
    start = 0
    while True:
        query, values = query_at(start)
        row = session.execute(query, values, binary=True).fetchone()
        piece = row[0] if row else b""
        if piece:
            yield piece
        if len(piece) < PIECE_BYTES:
            return
        start += len(piece)
