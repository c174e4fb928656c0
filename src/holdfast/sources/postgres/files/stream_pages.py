"""Pages inside of a base backup's tar that no WAL of the backup would mend.

The server verifies what is older than the backup, and fails it. Of what claims to be younger it
believes every word: that is looked at here.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from holdfast.sources.postgres.files.checksum_results import ChecksumResults
from holdfast.sources.postgres.files.page import PAGE_BYTES, PAGES_PER_SEGMENT, claims_from, suspect
from holdfast.sources.postgres.files.tree import Entry

# A file of which only some blocks are sent: their numbers come first (basebackup_incremental.h).
INCREMENTAL = "INCREMENTAL."
MAGIC = 0xD3AE1F0D
_HEAD = struct.Struct("=III")
_NUMBER_BYTES = 4


class StreamPages:
    """Obeys `tar_stream.Watcher`; `start` is an LSN of before the backup; what
    is doubtful goes to `findings`."""

    def __init__(self, start: int, findings: ChecksumResults) -> None:
        self._start = start
        self._path = ""
        self._segment = -1
        self._rest = bytearray()
        self._next_block = 0
        self._head_bytes = 0
        self._blocks: Sequence[int] | None = None
        self._findings = findings

    def begin(self, name: str, size_bytes: int) -> None:  # noqa: ARG002  # as others want it
        path = name.removeprefix("./")
        folder, _, last = path.rpartition("/")
        is_changed = last.startswith(INCREMENTAL)
        self._path = f"{folder}/{last.removeprefix(INCREMENTAL)}" if folder else last
        self._segment = Entry(path=self._path).segment
        self._rest.clear()
        self._next_block = 0
        self._head_bytes = _HEAD.size if is_changed else 0
        self._blocks = [] if is_changed else None

    def see(self, content: memoryview) -> None:
        if self._segment < 0:
            return
        self._rest += content
        while self._head_bytes and len(self._rest) >= self._head_bytes:
            self._through_head()
        if not self._head_bytes and self._segment >= 0:
            whole = len(self._rest) // PAGE_BYTES * PAGE_BYTES
            self._look(bytes(self._rest[:whole]))
            del self._rest[:whole]

    def _through_head(self) -> None:
        magic, count, _ = _HEAD.unpack(self._rest[: _HEAD.size])
        if magic != MAGIC or count > PAGES_PER_SEGMENT:
            # Of a release that we do not know.
            self._segment, self._head_bytes = -1, 0
            return
        numbers = _HEAD.size + _NUMBER_BYTES * count
        # The blocks begin where a page would.
        wanted = -(-numbers // PAGE_BYTES) * PAGE_BYTES if count else numbers
        if self._head_bytes < wanted:
            self._head_bytes = wanted
            return
        self._blocks = np.frombuffer(
            bytes(self._rest[_HEAD.size : numbers]), dtype=np.uint32
        ).tolist()
        del self._rest[:wanted]
        self._head_bytes = 0

    def _look(self, pages: bytes) -> None:
        first = self._segment * PAGES_PER_SEGMENT
        for number, lsn in claims_from(pages, self._start):
            place = self._next_block + number
            block = first + (place if self._blocks is None else self._block_at(place))
            page = pages[number * PAGE_BYTES : (number + 1) * PAGE_BYTES]
            if suspect(page, block):
                self._findings.add_pages(self._path, checked=0, doubtful=[(block, lsn)])
        self._next_block += len(pages) // PAGE_BYTES

    def _block_at(self, place: int) -> int:
        blocks = self._blocks or ()
        return blocks[place] if place < len(blocks) else place
