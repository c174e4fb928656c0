"""One stream of bytes in pieces: a table out of a pack, a row out of a binary COPY."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class StreamCutter:
    """Takes a stream apart from front to back; `chunks` is read only as far as it is asked for."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self.position = 0

    def skip_to(self, offset: int) -> None:
        for _ in self.take(offset - self.position):
            pass

    def take(self, size_bytes: int) -> Iterator[memoryview]:
        """The next `size_bytes` as they come; raises `EOFError` where there are fewer, or where
        they would lie before what has been read."""
        if size_bytes < 0:
            raise EOFError(f"{-size_bytes} bytes before {self.position} are read already")
        left = size_bytes
        while left:
            piece = self._next(left)
            left -= len(piece)
            self.position += len(piece)
            yield piece

    def exactly(self, size_bytes: int) -> memoryview:
        """The next `size_bytes` in one piece."""
        if 0 <= size_bytes <= len(self._rest):
            piece, self._rest = self._rest[:size_bytes], self._rest[size_bytes:]
            self.position += size_bytes
            return piece
        return memoryview(b"".join(self.take(size_bytes)))

    def drain(self) -> None:
        """Read what is left: a stream is only proven once its end has been seen."""
        self._rest = memoryview(b"")
        for chunk in self._chunks:
            self.position += len(chunk)

    def _next(self, most: int) -> memoryview:
        if not self._rest:
            chunk = next(self._chunks, b"")
            if not chunk:
                raise EOFError(f"the stream ends after {self.position} bytes")
            self._rest = memoryview(chunk)
        piece, self._rest = self._rest[:most], self._rest[most:]
        return piece
