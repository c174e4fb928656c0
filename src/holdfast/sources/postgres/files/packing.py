"""Small files as a tar in long chunks: what is done to a chunk costs as much for one page as for
a hundred of them."""

from __future__ import annotations

import stat
import tarfile
from dataclasses import dataclass, field

from holdfast.model.backup import Buffer

FOLDER_MODE, FILE_MODE = stat.S_IFDIR | 0o700, stat.S_IFREG | 0o600
# Never the right to run as somebody else.
RIGHTS = 0o777
END = bytes(2 * tarfile.BLOCKSIZE)
_LONGEST_NAME, _LONGEST_FILE = 100, 8 << 30
_NOBODY = b"0000000\0"
_SUM_BYTES = 8
# What follows the type: no link, this format, no names of owners, no device, no prefix.
_REST = bytes(100) + b"ustar\00000" + bytes(64) + 2 * _NOBODY + bytes(167)


@dataclass(frozen=True, slots=True)
class Gathered:
    """The content of one file in an arena."""

    path: str
    segment: int
    content: memoryview


@dataclass(kw_only=True)
class Arena:
    """A buffer of `size_bytes` that headers and whole files are laid into, one after the other."""

    size_bytes: int
    used: int = 0
    gathered: list[Gathered] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._view = memoryview(bytearray(self.size_bytes))

    @property
    def content(self) -> memoryview:
        return self._view[: self.used]

    def has_room(self, size_bytes: int) -> bool:
        return self.used + size_bytes <= self.size_bytes

    def take(self, size_bytes: int) -> memoryview:
        """The next `size_bytes`, to be written over."""
        first, self.used = self.used, self.used + size_bytes
        return self._view[first : self.used]

    def add(self, content: Buffer) -> None:
        self.take(len(content))[:] = content

    def clear(self) -> None:
        self.used = 0
        self.gathered.clear()


def padding_bytes(size_bytes: int) -> int:
    """What a member's content is filled up with."""
    return -size_bytes % tarfile.BLOCKSIZE


def header(path: str, *, size_bytes: int, modified: int, mode: int) -> bytes:
    """The header of one file, or of a folder where `mode` is that of one; what the format has no
    room for has a header of its own first."""
    is_folder, rights = stat.S_ISDIR(mode), mode & RIGHTS
    is_plain = len(path) <= _LONGEST_NAME and path.isascii() and size_bytes < _LONGEST_FILE
    if is_folder or not is_plain:
        member = tarfile.TarInfo(path)
        member.size, member.mtime, member.mode = size_bytes, modified, rights
        member.type = tarfile.DIRTYPE if is_folder else tarfile.REGTYPE
        return member.tobuf(tarfile.PAX_FORMAT)
    # The library takes as long for it as reading a small file does.
    head = b"%s%07o\0%s%011o\0%011o\0" % (
        path.encode().ljust(_LONGEST_NAME, b"\0"),
        rights,
        2 * _NOBODY,
        size_bytes,
        modified,
    )
    rest = tarfile.REGTYPE + _REST
    checksum = sum(head) + sum(rest) + _SUM_BYTES * ord(" ")
    return head + b"%06o\0 " % checksum + rest
