"""The list of files inside of a base backup's tar, taken out while the tar passes by."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from typing import IO

from holdfast.model import Buffer, Member
from holdfast.sources.postgres_physical.snapshot import MANIFEST_FILE

BLOCK_BYTES = 512
CHUNK_BYTES = 1 << 20


class FileList:
    """Obeys `ports.PartStream`: `backup_manifest` as it stood in a tar that was fed to it.

    It is kept in `file`: that of a huge cluster has hundreds of MiB.
    """

    rows: int | None = None
    members: Sequence[Member] = ()

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._head = bytearray()
        self._left = 0
        self._wanted = 0
        self._size_bytes = 0
        self._is_lost = False

    @property
    def size_bytes(self) -> int:
        """0 unless all of it was there."""
        return 0 if self._wanted else self._size_bytes

    def feed(self, chunk: bytes) -> None:
        """Read along; what is no tar is let pass, as it is not for us to judge."""
        rest = memoryview(chunk)
        while rest and not self._is_lost:
            if self._left:
                rest = self._through_member(rest)
            else:
                missing = BLOCK_BYTES - len(self._head)
                self._head += rest[:missing]
                rest = rest[missing:]
                if len(self._head) == BLOCK_BYTES:
                    self._begin_member()

    def _through_member(self, rest: memoryview) -> memoryview:
        here = rest[: self._left]
        taken = here[: self._wanted]
        self._file.write(taken)
        self._wanted -= len(taken)
        self._left -= len(here)
        return rest[len(here) :]

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
        self._left = -(-member.size // BLOCK_BYTES) * BLOCK_BYTES if member.isreg() else 0
        if member.name == MANIFEST_FILE:
            self._size_bytes = self._wanted = member.size

    def __iter__(self) -> Iterator[Buffer]:
        self._file.seek(0)
        while chunk := self._file.read(CHUNK_BYTES):
            yield chunk
