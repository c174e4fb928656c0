"""Reads long values: large objects, and long bytea values that become blobs.

The server copies rows of (object, offset, bytes): the pages of short objects, if the login may read
them, and pieces of a MiB of the others. So neither side holds a whole object. A restore writes them
back with `lo_put`. A long object has a COPY of its own, because it becomes a blob.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import psycopg

from holdfast.model.backup import Buffer
from holdfast.model.fingerprints import of_sha256, sha256_of
from holdfast.model.lazy_dataclass import dataclass
from holdfast.ports.source import Blobs
from holdfast.sources.packing import StreamCutter
from holdfast.sources.postgres.server.catalog_queries import Facts
from holdfast.sources.postgres.server.sql_text import identifier, literal, qualified
from holdfast.sources.postgres.server.table_part import TablePart

# LOBLKSIZE of src/include/storage/large_object.h: a quarter of the default block of 8 KiB.
PAGE_BYTES = 2048
# Bytes per `lo_get`: large enough to need few calls and few writes into the pipe, small enough for
# the server's memory.
OBJECT_PIECE_BYTES = 1 << 20
# For shorter objects the call costs more than their pages do.
PAGES_OF_SHORT_OBJECT = 16
OBJECTS_PER_BATCH = 500
PRIVILEGES = {"SELECT": "SELECT", "UPDATE": "UPDATE"}

_BOUNDS = """
SELECT min(oid)::bigint, NULL::bigint, NULL::bigint FROM (
    SELECT oid, ntile(%s) OVER (ORDER BY oid) AS piece FROM pg_largeobject_metadata
) AS pieces GROUP BY piece ORDER BY 1
"""
# One look into the index per object: a scan would read all pages.
_LAST = "SELECT l.pageno FROM pg_largeobject l WHERE l.loid = m.oid ORDER BY l.pageno DESC LIMIT 1"
_SIZED = f"""
WITH sized AS MATERIALIZED (
    SELECT m.oid, coalesce(({_LAST}), -1) + 1 AS pages FROM pg_largeobject_metadata m)
"""  # noqa: S608  # constants only
_LONG_BY_PAGES = f"{_SIZED} SELECT oid::bigint FROM sized WHERE pages > %s ORDER BY 1"  # noqa: S608  # constants only
_BOUNDS_BY_PAGES = f"""
{_SIZED}
SELECT min(oid)::bigint, count(*), sum(pages)::bigint FROM (
    SELECT oid, pages, (sum(pages) OVER (ORDER BY oid) - pages) / %s AS piece
    FROM sized WHERE pages <= %s
) AS pieces GROUP BY piece ORDER BY 1
"""  # noqa: S608  # constants only
# 262144 is INV_READ, 2 is SEEK_END (libpq-fs.h); a descriptor lives until its transaction ends.
_SIZE = "lo_lseek64(lo_open({oid}, 262144), 0, 2)"
_LONG_BY_FUNCTIONS = """
SELECT oid::bigint FROM pg_largeobject_metadata
WHERE lo_lseek64(lo_open(oid, 262144), 0, 2) > %s ORDER BY 1
"""
_DESCRIBED = """
SELECT m.oid::bigint, pg_get_userbyid(m.lomowner)::text, obj_description(m.oid, 'pg_largeobject'),
       m.lomacl IS NOT NULL
FROM pg_largeobject_metadata m WHERE m.oid >= %s ORDER BY m.oid LIMIT %s
"""
_GRANTED = """
SELECT m.oid::bigint, pg_get_userbyid(acl.grantor)::text,
       CASE WHEN acl.grantee = 0 THEN NULL ELSE pg_get_userbyid(acl.grantee)::text END,
       acl.privilege_type::text, acl.is_grantable
FROM pg_largeobject_metadata m CROSS JOIN LATERAL aclexplode(m.lomacl) AS acl
WHERE m.oid = ANY (%s)
"""
_LABELLED = """
SELECT objoid::bigint, provider, label FROM pg_seclabel
WHERE classoid = 'pg_largeobject'::regclass AND objoid = ANY (%s)
"""
_HEADER = """\
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
"""

# A binary COPY (COPY, "Binary Format"): signature, flags and an empty extension; each row is the
# number of its fields, here one, or `_END`, and each value follows its length.
_HEADER_BYTES = 19
_FIELDS = struct.Struct("!h")
_LENGTH = struct.Struct("!i")
_END = -1
# No object has as many.
_MOST_PAGES = (1 << 31) - 1

# The largest piece of a value, of any length, that is held in memory.
PIECE_BYTES = 1 << 20
VALUES_PER_FETCH = 500
CURSOR = "holdfast_long_values"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Objects with OIDs from `first` to below `after` (None: no bound), except `without`.

    With `knows_pages` the login may read pages, which tell how long an object is; with `by_pages`
    they are read themselves.
    """

    first: int
    after: int | None
    without: tuple[int, ...]
    knows_pages: bool
    by_pages: bool
    estimated_bytes: int

    def copy_out(self, destination: str) -> str:
        source = self._pages() if self.by_pages else self._pieces()
        return f"COPY ({source}) TO {destination} (FORMAT binary)"

    def _pages(self) -> str:
        return (
            f"SELECT loid, pageno::bigint * {PAGE_BYTES}, data"  # noqa: S608  # numbers only
            f" FROM pg_catalog.pg_largeobject WHERE {self._condition('loid')}"
        )

    def _pieces(self) -> str:
        return (
            f"SELECT m.oid, start, lo_get(m.oid, start, {OBJECT_PIECE_BYTES})"  # noqa: S608  # numbers only
            f" FROM pg_catalog.pg_largeobject_metadata m, {_starts(knows_pages=self.knows_pages)}"
            f" WHERE {self._condition('m.oid')}"
        )

    def _condition(self, oid: str) -> str:
        said = f"{oid} >= {self.first}"
        said += f" AND {oid} < {self.after}" if self.after is not None else ""
        if self.without:
            listed = ",".join(str(each) for each in self.without)
            said += f" AND {oid} <> ALL ('{{{listed}}}'::oid[])"
        return said


def _starts(*, knows_pages: bool) -> str:
    """Where each piece of the object `m` begins, as items of a FROM."""
    series = f"LATERAL generate_series(0::bigint, {{last}}, {OBJECT_PIECE_BYTES}) AS start"
    if knows_pages:
        last = series.format(last=f"last.pageno::bigint * {PAGE_BYTES}")
        return f"LATERAL ({_LAST}) AS last, {last}"
    return series.format(last=f"{_SIZE.format(oid='m.oid')} - 1")


def long_objects(connection: psycopg.Connection, found: Facts, size_bytes: int) -> list[int]:
    """The OIDs of all objects longer than `size_bytes`, ascending."""
    if found.may_read_pages_of_large_objects:
        rows = connection.execute(_LONG_BY_PAGES.encode(), [size_bytes // PAGE_BYTES])
    else:
        rows = connection.execute(_LONG_BY_FUNCTIONS, [size_bytes])
    return [int(row[0]) for row in rows]


def slices(
    connection: psycopg.Connection,
    found: Facts,
    *,
    chunk_bytes: int,
    without: Sequence[int],
    longest_bytes: int,
) -> list[Slice]:
    """All objects except `without`, in slices of about `chunk_bytes` each.

    If any are left out, they are those longer than `longest_bytes`.
    """
    if not found.has_large_objects:
        return []
    knows_pages = found.may_read_pages_of_large_objects
    if knows_pages:
        most_pages = longest_bytes // PAGE_BYTES if without else _MOST_PAGES
        values = [max(1, chunk_bytes // PAGE_BYTES), most_pages]
        bounds = connection.execute(_BOUNDS_BY_PAGES.encode(), values).fetchall()
    else:
        pieces = max(1, -(-found.large_object_bytes // chunk_bytes))
        bounds = connection.execute(_BOUNDS, [pieces]).fetchall()
    ends = [*(row[0] for row in bounds[1:]), None] if bounds else []
    return [
        Slice(
            first=first,
            after=after,
            without=tuple(
                oid for oid in without if oid >= first and (after is None or oid < after)
            ),
            knows_pages=knows_pages,
            by_pages=knows_pages and pages < count * PAGES_OF_SHORT_OBJECT,
            estimated_bytes=pages * PAGE_BYTES
            if knows_pages
            else found.large_object_bytes // len(bounds),
        )
        for (first, count, pages), after in zip(bounds, ends, strict=True)
    ]


def statements(connection: psycopg.Connection) -> Iterator[Buffer]:
    """SQL that creates every object, empty, with its owner, comment, privileges and labels.

    Each transaction creates a few hundred objects: one per object costs a commit each, and one for
    all needs more locks than the server's lock table holds.
    """
    yield _HEADER.encode()
    first = 0
    while rows := connection.execute(_DESCRIBED, [first, OBJECTS_PER_BATCH]).fetchall():
        oids = [row[0] for row in rows]
        lines = ["BEGIN;", *(line for row in rows for line in _described(row))]
        granted = connection.execute(_GRANTED, [oids]).fetchall()
        lines += [line for row in granted for line in _grant(row, owners=_owners(rows))]
        lines += [_label(*row) for row in connection.execute(_LABELLED, [oids]).fetchall()]
        yield "\n".join([*lines, "COMMIT;", ""]).encode()
        first = oids[-1] + 1


def _owners(rows: Sequence[tuple[int, str, str | None, bool]]) -> dict[int, str]:
    return {oid: owner for oid, owner, _, _ in rows}


def _described(row: tuple[int, str, str | None, bool]) -> Iterator[str]:
    oid, owner, comment, has_rights = row
    yield f"SELECT pg_catalog.lo_create('{oid}');"
    yield f"ALTER LARGE OBJECT {oid} OWNER TO {identifier(owner)};"
    if comment is not None:
        yield f"COMMENT ON LARGE OBJECT {oid} IS {literal(comment)};"
    if has_rights:
        yield f"REVOKE ALL ON LARGE OBJECT {oid} FROM {identifier(owner)};"


def _grant(row: tuple[int, str, str | None, str, bool], *, owners: dict[int, str]) -> Iterator[str]:
    oid, grantor, grantee, privilege, is_grantable = row
    to = "PUBLIC" if grantee is None else identifier(grantee)
    option = " WITH GRANT OPTION" if is_grantable else ""
    grant = f"GRANT {PRIVILEGES[privilege]} ON LARGE OBJECT {oid} TO {to}{option};"
    if grantor == owners[oid]:
        yield grant
    else:
        yield f"SET SESSION AUTHORIZATION {identifier(grantor)};"
        yield grant
        yield "RESET SESSION AUTHORIZATION;"


def _label(oid: int, provider: str, label: str) -> str:
    return f"SECURITY LABEL FOR {identifier(provider)} ON LARGE OBJECT {oid} IS {literal(label)};"


def of_table(session: psycopg.Connection, table: TablePart, blobs: Blobs) -> Iterator[Buffer]:
    """Store the table's long values as blobs; yields a line `SHA256 BYTES` for each.

    The server names them, as it does within the rows: it knows SHA-256, not BLAKE3. A value that is
    stored already is never sent again.
    """
    session.execute(f"DECLARE {CURSOR} NO SCROLL CURSOR FOR {_listing(table)}".encode())
    while rows := session.execute(f"FETCH {VALUES_PER_FETCH} FROM {CURSOR}".encode()).fetchall():
        for place, column, sha256, size_bytes in rows:
            read = partial(_value, session, table, column=table.columns[column], place=place)
            blobs.keep(of_sha256(sha256), size_bytes, read)
        yield "".join(f"{row[2]} {row[3]}\n" for row in rows).encode()
    session.execute(f"CLOSE {CURSOR}".encode())


def of_large_objects(
    oids: Sequence[int], blobs: Blobs, read: Callable[[int], Iterator[Buffer]]
) -> Iterator[Buffer]:
    """Store the objects as blobs, each as `read`; yields a line `OID FINGERPRINT BYTES` for each.

    A SHA-256 stands there as its digits alone, as the first release wrote it.
    """
    for oid in oids:
        fingerprint, size_bytes = blobs.take(partial(read, oid))
        yield f"{oid} {sha256_of(fingerprint) or fingerprint} {size_bytes}\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeObject:
    """One object; `knows_pages` as in `Slice`."""

    oid: int
    knows_pages: bool

    def copy_out(self, destination: str) -> str:
        source = (
            f"SELECT lo_get(m.oid, start, {OBJECT_PIECE_BYTES})"  # noqa: S608  # numbers only
            f" FROM pg_catalog.pg_largeobject_metadata m, {_starts(knows_pages=self.knows_pages)}"
            f" WHERE m.oid = {self.oid} ORDER BY start"
        )
        return f"COPY ({source}) TO {destination} (FORMAT binary)"


def values_of(chunks: Iterable[Buffer]) -> Iterator[Buffer]:
    """The bytes of the values in a binary COPY of one column, one after another.

    What is yielded is valid until the next is asked for. Raises `EOFError`.
    """
    stream = StreamCutter(chunks)
    stream.skip_to(_HEADER_BYTES)
    while _FIELDS.unpack(stream.exactly(_FIELDS.size))[0] != _END:
        (size_bytes,) = _LENGTH.unpack(stream.exactly(_LENGTH.size))
        yield from stream.take(size_bytes)
    # The answer of the server comes after the last row.
    stream.drain()


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
    session: psycopg.Connection, table: TablePart, *, column: str, place: str
) -> Iterator[Buffer]:
    query = (
        f"SELECT substring({identifier(column)} FROM %s FOR {PIECE_BYTES})"  # noqa: S608  # names are quoted
        f" FROM ONLY {qualified(table.relation)} WHERE ctid = %s::tid"
    ).encode()
    return _pieces(session, lambda start: (query, [start + 1, place]))


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
