"""Packs small files into a tar of long chunks, as each chunk has a fixed cost."""

from __future__ import annotations

import stat
import tarfile
import zlib
from dataclasses import field
from typing import NamedTuple

from holdfast.model.lazy_dataclass import dataclass

FOLDER_MODE, FILE_MODE = stat.S_IFDIR | 0o700, stat.S_IFREG | 0o600
# Permission bits without setuid, setgid and sticky.
RIGHTS = 0o777
END = bytes(2 * tarfile.BLOCKSIZE)
_LONGEST_NAME, _LONGEST_FILE = 100, 8 << 30
_NOBODY = b"0000000\0"
_SUM_BYTES = 8
# The header after its type: no link name, magic and version, no owners' names, device 0, no prefix.
_REST = bytes(100) + b"ustar\00000" + bytes(64) + 2 * _NOBODY + bytes(167)


# Adler-32 starts its sum of bytes, the low half of its result, with 1.
_ADLER_START, _ADLER_SUM = 1, 0xFFFF
_REST_SUM = sum(tarfile.REGTYPE + _REST) + _SUM_BYTES * ord(" ")


class Gathered(NamedTuple):
    """The whole pages of one relation file in an arena, from byte `start` of it on.

    `first_block` is the number of its first page in the relation.
    """

    path: str
    start: int
    pages: int
    first_block: int


@dataclass(kw_only=True)
class Arena:
    """A buffer of `size_bytes` that is filled with headers and whole files, one after another."""

    size_bytes: int
    used: int = 0
    gathered: list[Gathered] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._view = memoryview(bytearray(self.size_bytes))

    @property
    def content(self) -> memoryview:
        return self._view[: self.used]

    def place(self, head: bytes, size_bytes: int) -> memoryview | None:
        """The place of `size_bytes` behind `head`, padded; None if there is no room for all of it.

        The caller must overwrite every byte of it.
        """
        first = self.used + len(head)
        end = first + size_bytes
        after = end + padding_bytes(size_bytes)
        if after > self.size_bytes:
            return None
        view = self._view
        view[self.used : first] = head
        if after > end:
            view[end:after] = bytes(after - end)
        self.used = after
        return view[first:end]

    def clear(self) -> None:
        self.used = 0
        self.gathered.clear()


def padding_bytes(size_bytes: int) -> int:
    """The number of bytes that pad a member's content to a whole block."""
    return -size_bytes % tarfile.BLOCKSIZE


def header(path: str, *, size_bytes: int, modified: int, mode: int) -> bytes:
    """The tar header of a file, or of a folder if `mode` says so.

    A long name, a name that is not ASCII, or a size from 8 GiB on is put into a pax header first.
    """
    is_folder, rights = stat.S_ISDIR(mode), mode & RIGHTS
    is_plain = len(path) <= _LONGEST_NAME and path.isascii() and size_bytes < _LONGEST_FILE
    if is_folder or not is_plain:
        member = tarfile.TarInfo(path)
        member.size, member.mtime, member.mode = size_bytes, modified, rights
        member.type = tarfile.DIRTYPE if is_folder else tarfile.REGTYPE
        return member.tobuf(tarfile.PAX_FORMAT)
    # Built by hand: `tarfile` takes as long for a header as reading a small file does.
    head = b"%s%07o\0%s%011o\0%011o\0" % (
        path.encode().ljust(_LONGEST_NAME, b"\0"),
        rights,
        2 * _NOBODY,
        size_bytes,
        modified,
    )
    # Exact, because these few ASCII characters add up to less than its modulus; `sum` is slow.
    checksum = (zlib.adler32(head) & _ADLER_SUM) - _ADLER_START + _REST_SUM
    return head + b"%06o\0 " % checksum + tarfile.REGTYPE + _REST
