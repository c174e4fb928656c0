"""Makes frames of zstd, by the table of the level or by a small one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import zstandard

# Level 1 remembers 2^14 places; so few fit into the first cache of any processor. Numbers
# and random text have matches near by or none: they take a tenth less time then, and less space.
SMALL_HASH_LOG = 10
# A frame of which both are tried, and after how many it is tried again: the rows may be others.
FIRST_TRY = 3
FRAMES_BETWEEN_TRIES = 64
# Frames are alike if the parts of them that remain differ by no more than this.
LIKE_SHARE = 1 / 32


class FrameCompressor:
    """Frames of one level, each made in one step; the level's table may be a small one.

    At level 1 a small table is kept for frames that it makes smaller, which one of
    `FRAMES_BETWEEN_TRIES` shows. Both are tried again where a frame shrinks unlike those that
    showed it: lines that repeat from far away may take ten times the space with a small table.
    """

    def __init__(self, level: int, usual: zstandard.ZstdCompressor) -> None:
        self._usual = usual
        self._small: zstandard.ZstdCompressor | None = None
        self._is_small_chosen = False
        self._tries_small = level == 1
        self._frames = 0
        # Sizes of frames for which the small table won, as shares of their content.
        self._won: list[float] = []

    def frame(self, chunk: bytes | bytearray | memoryview) -> bytes:
        number, self._frames = self._frames, self._frames + 1
        is_due = self._tries_small and number % FRAMES_BETWEEN_TRIES == FIRST_TRY
        if is_due:
            self._won.clear()
        elif not self._is_small_chosen:
            return self._usual.compress(chunk)
        if self._small is None:
            self._small = _compressor_of_small_table()
        by_small = self._small.compress(chunk)
        share = len(by_small) / len(chunk)
        if not is_due and self._is_like_others(share):
            return by_small
        by_usual = self._usual.compress(chunk)
        self._is_small_chosen = len(by_small) < len(by_usual)
        if self._is_small_chosen:
            self._won.append(share)
        return by_small if self._is_small_chosen else by_usual

    def _is_like_others(self, share: float) -> bool:
        # Each try widens the range, so that data which alternates costs few of them.
        return min(self._won) - LIKE_SHARE <= share <= max(self._won) + LIKE_SHARE


def _compressor_of_small_table() -> zstandard.ZstdCompressor:
    import zstandard

    parameters = zstandard.ZstdCompressionParameters.from_level(
        1, write_checksum=True, hash_log=SMALL_HASH_LOG
    )
    return zstandard.ZstdCompressor(compression_params=parameters)
