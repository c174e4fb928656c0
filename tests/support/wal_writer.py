"""WAL as a server writes it: records with CRCs, across pages and segments of 1 MiB."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

from crc32c import crc32c

from holdfast.model.wal import Position
from tests.support.segments import MIB, header

PAGE = 8192
XLOG, TRANSACTION, TABLESPACE, HEAP = 0, 1, 5, 10
SWITCH, RESTORE_POINT, COMMIT = 0x40, 0x70, 0x00


class WalWriter:
    """Writes from the beginning of segment `first` on."""

    def __init__(self, *, first: int = 3, identifier: int = 77) -> None:
        self._first = first
        self._identifier = identifier
        self._body = bytearray()
        # The start and end of each record in the body.
        self._begins: list[tuple[int, int]] = []
        self._before = 0
        self._is_switched = False

    def record(self, manager: int, info: int, data: bytes) -> str:
        """Append a record; returns its LSN."""
        self._body += bytes(-len(self._body) % 8)
        at = len(self._body)
        short = len(data) < 256
        head = bytes((0xFF, len(data))) if short else b"\xfe" + struct.pack("=I", len(data))
        main = (head + data) if data else b""
        begin = struct.pack("=IIQBBH", 24 + len(main), 700, self._before, info, manager, 0)
        self._body += begin + struct.pack("=I", crc32c(begin, crc32c(main))) + main
        self._begins.append((at, len(self._body)))
        lsn = self.lsn(at)
        self._before = Position.parse(lsn).byte
        return lsn

    def filler(self, size_bytes: int) -> str:
        """A record of user data that takes `size_bytes` of the body."""
        return self.record(HEAP, 0, b"x" * (size_bytes - 24 - (2 if size_bytes < 282 else 5)))

    def fill_to(self, left: int) -> None:
        """Write fillers until `left` bytes of the segment's body are free."""
        while (free := _segment_body() - self._used()) > left + 7000:
            self.filler(min(6000, free - left - 1000))
        self.filler(_segment_body() - self._used() - left)

    def tablespace(self, oid: int, location: str) -> str:
        return self.record(TABLESPACE, 0, struct.pack("=I", oid) + location.encode() + b"\0")

    def commit(self, at: datetime) -> str:
        micros = int((at - datetime(2000, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000)
        return self.record(TRANSACTION, COMMIT, struct.pack("=q", micros))

    def restore_point(self, name: str) -> str:
        return self.record(XLOG, RESTORE_POINT, bytes(8) + name.encode().ljust(64, b"\0"))

    def switch(self) -> None:
        self.record(XLOG, SWITCH, b"")

    def lsn(self, body: int) -> str:
        segment, rest = divmod(body, _segment_body())
        page = (rest + 16) // (PAGE - 24)
        return str(Position((self._first + segment) * MIB + rest + 40 + 24 * page))

    def name(self, number: int = 0) -> str:
        return f"{1:08X}{0:08X}{self._first + number:08X}"

    def segments(self) -> list[bytes]:
        """All segments; the last one is padded with zeros."""
        count = -(-len(self._body) // _segment_body())
        return [self._segment(number) for number in range(max(1, count))]

    def _used(self) -> int:
        return -(-len(self._body) // 8) * 8 % _segment_body()

    def _segment(self, number: int) -> bytes:
        pages, at = bytearray(), number * _segment_body()
        for page in range(MIB // PAGE):
            if at >= len(self._body):
                break
            room = PAGE - (24 if page else 40)
            pages += self._page_header(number, page, at) + self._body[at : at + room]
            at += room
        return bytes(pages.ljust(MIB, b"\0"))

    def _page_header(self, number: int, page: int, at: int) -> bytes:
        goes_on = next((end - at for begin, end in self._begins if begin < at < end), 0)
        address = (self._first + number) * MIB + page * PAGE
        info = (1 if goes_on else 0) | (0 if page else 2)
        short = struct.pack("=HHIQI4x", 0xD10D, info, 1, address, goes_on)
        if page:
            return short
        whole = header(self.name(number), identifier=self._identifier)
        return short + whole[24:]


def _segment_body() -> int:
    return MIB - 40 - 24 * (MIB // PAGE - 1)
