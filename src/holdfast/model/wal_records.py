"""WAL records that point outside a data directory, and those that a recovery may end at.

A record is a header of 24 bytes (XLogRecord) and its data. Each page of 8 KiB begins with a page
header, which belongs to no record. Records are therefore searched in the bytes between, the `body`.
Users choose the data of other records, which may imitate one. So a match is a record only if it
begins where a record of its page does and its CRC is correct.
"""

from __future__ import annotations

import re
import struct
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from holdfast.model.backup import Buffer
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.values import Count, Line
from holdfast.model.wal import Position

PAGE_BYTES = 8192
# The header of a segment's first page, and of all other pages.
LONG_PAGE_HEADER, PAGE_HEADER = 40, 24
RECORD_HEADER = 24
# xlp_magic, xlp_info, xlp_tli, xlp_pageaddr, xlp_rem_len; and the flag that xlp_rem_len counts.
_PAGE = struct.Struct("=HHIQI")
_GOES_ON = 1
# xl_tot_len, xl_xid, xl_prev, xl_info, xl_rmid, padding, xl_crc.
_RECORD = struct.Struct("=IIQBBHI")
_KIND_AT, _CRC_AT = 16, 20
_XLOG, _TRANSACTIONS, _TABLESPACES = 0, 1, 5
_KIND = 0xF0
_SWITCH, _NOOP, _RESTORE_POINT, _CREATE = 0x40, 0x20, 0x70, 0x00
# Commits and aborts, also of prepared transactions; other bits of the kind do not matter.
_OF_TRANSACTION, _ENDS_TRANSACTION = 0x70, {0x00, 0x20, 0x30, 0x40}
# Blocks that may precede a record's own data, and their size: origin, top transaction.
_BESIDE = {0xFD: 3, 0xFC: 5}
_SHORT, _LONG = 0xFF, 0xFE
_NUMBER, _MICROSECONDS = struct.Struct("=I"), struct.Struct("=q")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
# Resource manager, padding, CRC, length of the data, an OID and an absolute path.
_CREATED = re.compile(rb"\x05\x00\x00[\s\S]{4}(?:\xff[\s\S]|\xfe[\s\S]{4})[\s\S]{4}/")
_TO_RESOURCE_MANAGER = 17
# The longest such record: its header, the header of its data, an OID and the longest path.
_LONGEST = RECORD_HEADER + 5 + 4 + 1024
_WINDOW_PAGES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TablespaceMade:
    """A CREATE TABLESPACE at LSN `at` of the WAL; a server that replays it links to `location`.

    The record before it begins at LSN `after`.
    """

    oid: Count
    location: Line
    at: Line
    after: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A record at `lsn` where a recovery may end.

    It ends a transaction at the time `at`, or is the restore point `name`.
    """

    lsn: str
    at: datetime | None = None
    name: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTablespace:
    """A `TablespaceMade` with its record, and that record's offset in the segment's body."""

    made: TablespaceMade
    body: int
    record: bytes


class Segment:
    """A whole segment that begins at byte `address` of the WAL, and how far it was written."""

    def __init__(self, content: Buffer, *, address: int) -> None:
        self._content = memoryview(content)
        self._address = address
        self._following = b""
        self._pages = self._written_pages()

    def follow(self, following: bytes) -> None:
        """Take the beginning of the next segment, to complete the last record of this one."""
        self._following = following[LONG_PAGE_HEADER:PAGE_BYTES]

    def release(self) -> None:
        """Release the content, so that its buffer may be closed."""
        self._content.release()

    @property
    def is_written_through(self) -> bool:
        """Whether the server adds nothing more to it.

        Either its last page is full, or it ends in a switch to the next segment.
        """
        if not self._pages:
            return False
        is_last = self._pages * PAGE_BYTES == len(self._content)
        return (is_last and self._is_full(self._pages - 1)) or self._ends_in_a_switch()

    def goes_on_in(self, later: Segment) -> bool:
        """Whether `later` is the same segment, written further.

        Pages before the last written one are final. On that one each byte is final or still zero.
        Without a record nothing shows that both have the same history.
        """
        has_records = any(True for page in range(self._pages) for _ in self._records(page))
        if not has_records or len(self._content) != len(later._content):
            return False
        final, written = (self._pages - 1) * PAGE_BYTES, self._pages * PAGE_BYTES
        if self._content[:final] != later._content[:final]:
            return False
        last = zip(self._content[final:written], later._content[final:written], strict=True)
        return all(early in (0, now) for early, now in last)

    def tablespaces(self) -> Iterator[FoundTablespace]:
        """The tablespaces created by records that begin in this segment."""
        for first in range(0, self._pages, _WINDOW_PAGES):
            last = min(first + _WINDOW_PAGES, self._pages)
            begins, ends = _body_at(first), _body_at(last)
            text = self._body(begins, ends + _LONGEST)
            for found in _CREATED.finditer(text):
                record = self._tablespace(begins + found.start() - _TO_RESOURCE_MANAGER)
                if record is not None and begins <= record.body < ends:
                    yield record

    def ends(self) -> Iterator[End]:
        """Each record that a recovery to a time or a name may end at, in WAL order."""
        for page in range(self._pages):
            for at in self._records(page):
                head = self._body(at, at + RECORD_HEADER)
                if len(head) < RECORD_HEADER:
                    return
                size_bytes, _, _, info, manager, _, _ = _RECORD.unpack(head)
                if manager == _TRANSACTIONS and info & _OF_TRANSACTION in _ENDS_TRANSACTION:
                    data = _own_data(self._body(at, at + min(size_bytes, _LONGEST)))
                    yield End(lsn=self._lsn(at), at=_moment(data))
                elif manager == _XLOG and info & _KIND == _RESTORE_POINT:
                    data = _own_data(self._body(at, at + min(size_bytes, _LONGEST)))
                    yield End(lsn=self._lsn(at), name=data[8:].split(b"\0", 1)[0])

    @property
    def is_cut(self) -> bool:
        """Whether a record that may create a tablespace continues in the next segment, unseen."""
        if not self._pages or self._following:
            return False
        end = _body_at(self._pages)
        at = self._last_record(self._pages - 1)
        if at is None:
            return False
        head = self._body(at, end)
        if len(head) < RECORD_HEADER:
            return True
        size_bytes, _, _, info, manager, _, _ = _RECORD.unpack_from(head)
        return at + size_bytes > end and (manager, info & _KIND) == (_TABLESPACES, _CREATE)

    def without(self, found: FoundTablespace) -> list[tuple[int, bytes]] | None:
        """The bytes, each with its offset in the segment, that turn the record into a no-op.

        The no-op has the same length. None if the record's header continues in the next segment.
        """
        from crc32c import crc32c  # it loads forty modules, and hardly any segment needs it

        changed = bytearray(found.record)
        changed[_KIND_AT : _KIND_AT + 2] = bytes((_NOOP, _XLOG))
        crc = crc32c(changed[:_CRC_AT], crc32c(changed[RECORD_HEADER:]))
        changed[_CRC_AT:RECORD_HEADER] = _NUMBER.pack(crc)
        return self._header_as(found, changed)

    def ended_before(self, found: FoundTablespace) -> list[tuple[int, bytes]] | None:
        """Like `without`, but damages the CRC, so that a server takes it for the end of WAL."""
        changed = bytearray(found.record)
        changed[_CRC_AT] ^= 0xFF
        return self._header_as(found, changed)

    def _header_as(
        self, found: FoundTablespace, record: bytearray
    ) -> list[tuple[int, bytes]] | None:
        if found.body + RECORD_HEADER > _body_at(self._pages):
            return None
        return [
            (_offset(found.body + at), bytes(record[at : at + 1]))
            for at in range(_KIND_AT, RECORD_HEADER)
        ]

    def _tablespace(self, at: int) -> FoundTablespace | None:
        """The record at byte `at` of the body, if one begins there and it creates a tablespace."""
        if at < 0 or at not in self._records(_page_of(at)):
            return None
        head = self._body(at, at + RECORD_HEADER)
        size_bytes, _, before, info, manager, _, crc = _RECORD.unpack(head)
        record = self._body(at, at + size_bytes)
        is_whole = len(record) == size_bytes <= _LONGEST
        if not is_whole or (manager, info & _KIND) != (_TABLESPACES, _CREATE):
            return None
        from crc32c import crc32c

        if crc32c(record[:_CRC_AT], crc32c(record[RECORD_HEADER:])) != crc:
            return None
        data = _own_data(record)
        return FoundTablespace(
            made=TablespaceMade(
                oid=_NUMBER.unpack_from(data)[0],
                location=data[4:].split(b"\0", 1)[0].decode(errors="surrogateescape"),
                at=self._lsn(at),
                after=str(Position(before)),
            ),
            body=at,
            record=record,
        )

    def _lsn(self, body: int) -> str:
        return str(Position(self._address + _offset(body)))

    def _written_pages(self) -> int:
        """The number of leading pages that state their own address.

        A recycled or new segment has other pages behind them.
        """
        pages = len(self._content) // PAGE_BYTES
        for page in range(pages):
            if _PAGE.unpack_from(self._content, page * PAGE_BYTES)[3] != (
                self._address + page * PAGE_BYTES
            ):
                return page
        return pages

    def _is_full(self, page: int) -> bool:
        """Whether its last record reaches its end; a page within a record is written whole."""
        at, after = self._first_record(page), _body_at(page + 1)
        for at in self._records(page):
            at += _aligned(*_NUMBER.unpack(self._body(at, at + 4)))
        return at >= after

    def _ends_in_a_switch(self) -> bool:
        at = self._last_record(self._pages - 1)
        head = b"" if at is None else self._body(at, at + RECORD_HEADER)
        if len(head) < RECORD_HEADER:
            return False
        _, _, _, info, manager, _, _ = _RECORD.unpack(head)
        return (manager, info & _KIND) == (_XLOG, _SWITCH)

    def _last_record(self, page: int) -> int | None:
        """The body offset of the last record that begins in `page`."""
        found = deque(self._records(page), maxlen=1)
        return found[0] if found else None

    def _records(self, page: int) -> Iterator[int]:
        """The body offset of each record that begins in `page`."""
        if page >= self._pages:
            return
        at, end = self._first_record(page), _body_at(page + 1)
        while at < end:
            head = self._body(at, at + 4)
            # Records are aligned to 8 bytes, so that a size never crosses the end of a page.
            (size_bytes,) = _NUMBER.unpack(head)
            if size_bytes < RECORD_HEADER:
                return
            yield at
            at += _aligned(size_bytes)

    def _first_record(self, page: int) -> int:
        """The body offset behind the record continued from the page before.

        That record may be longer than this page.
        """
        _, info, _, _, goes_on = _PAGE.unpack_from(self._content, page * PAGE_BYTES)
        return _body_at(page) + (_aligned(goes_on) if info & _GOES_ON else 0)

    def _body(self, first: int, after: int) -> bytes:
        """Bytes of the body; beyond its end they come from the next segment."""
        pieces: list[bytes] = []
        end = _body_at(self._pages)
        at = first
        while at < min(after, end):
            page = _page_of(at)
            taken = min(after, _body_at(page + 1)) - at
            offset = _offset(at)
            pieces.append(bytes(self._content[offset : offset + taken]))
            at += taken
        if after > end and self._pages * PAGE_BYTES == len(self._content):
            pieces.append(self._following[max(0, first - end) : after - end])
        return b"".join(pieces)


def _own_data(record: bytes) -> bytes:
    """A record's own data, without what was logged beside it; `record` has no page headers."""
    at = RECORD_HEADER
    while at < len(record) and record[at] in _BESIDE:
        at += _BESIDE[record[at]]
    if at < len(record) and record[at] in (_SHORT, _LONG):
        return record[at + (2 if record[at] == _SHORT else 5) :]
    return b""


def _moment(data: bytes) -> datetime | None:
    """A timestamp in microseconds since PostgreSQL's epoch; None if it is no valid time."""
    if len(data) < 8:
        return None
    try:
        return _EPOCH + timedelta(microseconds=_MICROSECONDS.unpack_from(data)[0])
    except OverflowError:
        return None


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // 8) * 8


def _body_at(page: int) -> int:
    """The body offset where `page` begins; the first page has a longer header."""
    if page == 0:
        return 0
    return page * (PAGE_BYTES - PAGE_HEADER) - (LONG_PAGE_HEADER - PAGE_HEADER)


def _page_of(body: int) -> int:
    return (body + LONG_PAGE_HEADER - PAGE_HEADER) // (PAGE_BYTES - PAGE_HEADER)


def _offset(body: int) -> int:
    """The offset in the segment of that byte of the body."""
    page = _page_of(body)
    header = PAGE_HEADER if page else LONG_PAGE_HEADER
    return page * PAGE_BYTES + header + body - _body_at(page)
