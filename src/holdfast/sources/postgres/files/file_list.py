"""The list of files inside of a base backup's tar, taken out while the tar passes by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO

from holdfast.model.backup import Buffer, Member
from holdfast.sources.postgres.files.snapshot import MANIFEST_FILE

CHUNK_BYTES = 1 << 20


class FileList:
    """Obeys `ports.source.PartStream` and `tar_stream.Watcher`: `backup_manifest` as it stood in a
    tar.

    It is kept in `file`: that of a huge cluster has hundreds of MiB.
    """

    rows: int | None = None
    members: Sequence[Member] = ()

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._wanted = 0
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """0 unless all of it was there."""
        return 0 if self._wanted else self._size_bytes

    def begin(self, name: str, size_bytes: int) -> None:
        if name == MANIFEST_FILE:
            self._size_bytes = self._wanted = size_bytes

    def see(self, content: memoryview) -> None:
        taken = content[: self._wanted]
        self._file.write(taken)
        self._wanted -= len(taken)

    def __iter__(self) -> Iterator[Buffer]:
        self._file.seek(0)
        while chunk := self._file.read(CHUNK_BYTES):
            yield chunk
