"""A tar that passes by, however it is cut into chunks: who wants to, sees its files."""

from __future__ import annotations

import tarfile
from typing import Protocol

from holdfast.model.backup import Buffer

BLOCK_BYTES = 512


class Watcher(Protocol):
    """Sees every regular file of a tar, in its order."""

    def begin(self, name: str, size_bytes: int) -> None: ...

    def see(self, content: memoryview) -> None:
        """The next bytes of the file that was begun last; valid for this call only."""
        ...


class TarStream:
    """Tells `watcher` of a stream that is fed to it; what is no tar is let pass, as it is not for
    us to judge."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._head = bytearray()
        self._left = 0
        self._padding = 0
        self._is_lost = False

    def feed(self, chunk: Buffer) -> None:
        rest = memoryview(chunk)
        while rest and not self._is_lost:
            if self._left:
                here = rest[: self._left]
                self._watcher.see(here)
                self._left -= len(here)
                rest = rest[len(here) :]
            elif self._padding:
                passed = min(self._padding, len(rest))
                self._padding -= passed
                rest = rest[passed:]
            else:
                rest = self._through_head(rest)

    def _through_head(self, rest: memoryview) -> memoryview:
        missing = BLOCK_BYTES - len(self._head)
        self._head += rest[:missing]
        if len(self._head) == BLOCK_BYTES:
            self._begin_member()
        return rest[missing:]

    def _begin_member(self) -> None:
        head = bytes(self._head)
        self._head.clear()
        if not any(head):
            # Behind the last member.
            return
        try:
            member = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            self._is_lost = True
            return
        self._left = member.size if member.isreg() else 0
        self._padding = -self._left % BLOCK_BYTES
        if member.isreg():
            self._watcher.begin(member.name, member.size)
