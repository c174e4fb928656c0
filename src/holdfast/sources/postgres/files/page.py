"""A data page: its size, and how a wrong one is reported. Loads no numpy."""

from __future__ import annotations

from holdfast.model.lazy_dataclass import dataclass

PAGE_BYTES = 8192
PAGES_PER_SEGMENT = (1 << 30) // PAGE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A page with a wrong checksum: the index of its content, its block number and its LSN.

    `lsn` is 0 if the page claims to be new: a valid new page contains only zeros.
    """

    piece: int
    block: int
    lsn: int
