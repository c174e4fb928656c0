"""One SFTP channel with OpenSSH's extensions, and many reads and writes in flight, all checked.

While paramiko waits for another answer, its own pipelined writes drop the answers that arrive, so
that a full disk would go unnoticed. Its read-ahead runs in threads whose errors nobody sees.
"""

from __future__ import annotations

import errno
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import paramiko
from paramiko.message import Message
from paramiko.sftp import (
    CMD_DATA,
    CMD_EXTENDED,
    CMD_EXTENDED_REPLY,
    CMD_INIT,
    CMD_READ,
    CMD_STATUS,
    CMD_VERSION,
    CMD_WRITE,
    SFTPError,
    int64,
)

if TYPE_CHECKING:
    from holdfast.model.backup import Buffer

FSYNC = "fsync@openssh.com"
STATVFS = "statvfs@openssh.com"
PROTOCOL = 3
# The size that every server takes in one message, and how many may be in flight: 2 MiB.
PIECE_BYTES = 32 << 10
PIECES_AT_ONCE = 64


class SftpSession(paramiko.SFTPClient):
    """Knows which extensions the server offers; used by one thread at a time."""

    extensions: frozenset[str] = frozenset()
    is_busy = False
    """Whether answers are still on their way, so that no other thread may use this channel."""

    def write_all(self, file: paramiko.SFTPFile, chunks: Iterable[Buffer]) -> int:
        """Write `chunks` from the start of `file`; the number of bytes. Checks every answer."""
        answers = _Written(self)
        position = 0
        for chunk in chunks:
            view = memoryview(chunk)
            for start in range(0, len(view), PIECE_BYTES):
                piece = bytes(view[start : start + PIECE_BYTES])
                answers.expect(file.handle, position, piece)
                position += len(piece)
        answers.settle()
        return position

    def read_all(self, file: paramiko.SFTPFile, size_bytes: int) -> Iterator[bytes]:
        """The first `size_bytes` of `file` in order, fewer if the file is shorter."""
        self.is_busy = True
        pieces = _Read(self, file.handle)
        asked = 0
        while asked < size_bytes or pieces.waiting:
            while asked < size_bytes and len(pieces.waiting) < PIECES_AT_ONCE:
                length = min(PIECE_BYTES, size_bytes - asked)
                pieces.ask(asked, length)
                asked += length
            yield pieces.next_piece()
        self.is_busy = False

    def fsync(self, file: paramiko.SFTPFile) -> None:
        """Have the server sync `file` to its disk, if it offers that."""
        if FSYNC in self.extensions:
            self._request(CMD_EXTENDED, FSYNC, file.handle)

    def free_bytes(self, path: str) -> int | None:
        """Free bytes for unprivileged users on the file system of `path`; None if unknown."""
        if STATVFS not in self.extensions:
            return None
        kind, answer = self._request(CMD_EXTENDED, STATVFS, path)
        if kind != CMD_EXTENDED_REPLY:
            return None
        fragment, available = struct.unpack(">8x Q 16x Q", answer.get_bytes(40))
        return int(fragment * available)

    def _send_version(self) -> int:
        """Like paramiko's own method, but remembers the extensions that the server offers."""
        hello = Message()
        hello.add_int(PROTOCOL)
        self._send_packet(CMD_INIT, hello)
        kind, content = self._read_packet()
        if kind != CMD_VERSION:
            raise SFTPError("the server does not speak SFTP")
        answer = Message(content)
        version: int = answer.get_int()
        offered = set()
        while answer.get_remainder():
            offered.add(answer.get_text())
            answer.get_binary()
        self.extensions = frozenset(offered)
        return version

    def _send_packet(self, kind: int, packet: Any) -> None:
        """Raise `ConnectionError` for a lost connection: paramiko's class also fits file errors."""
        try:
            super()._send_packet(kind, packet)
        except OSError as error:
            if isinstance(error, TimeoutError | ConnectionError):
                raise
            raise ConnectionError(str(error)) from error

    def send(self, answers: object, kind: int, *arguments: object) -> int:
        """Send a request without waiting; its number. The answer goes to `answers`."""
        number: int = self._async_request(answers, kind, *arguments)
        return number

    def read_answer(self) -> None:
        """Wait for one message from the server, and pass it to the object that expects it."""
        self._read_response()

    def require_ok(self, kind: int, message: Any) -> None:
        """Raise the error that a status means, if any."""
        if kind != CMD_STATUS:
            raise SFTPError("the server sent an unexpected answer")
        self._convert_status(message)


class WriteFailed(OSError):
    """The server could not write, and SFTP has no code for the cause."""

    def __init__(self, said: str) -> None:
        super().__init__(errno.EIO, said)


class _Written:
    """The writes of one file in flight; the first error is raised at the next step."""

    def __init__(self, session: SftpSession) -> None:
        self._session = session
        self._waiting = 0
        self._error: Exception | None = None

    def expect(self, handle: bytes, position: int, piece: bytes) -> None:
        self._session.send(self, CMD_WRITE, handle, int64(position), piece)
        self._waiting += 1
        while self._waiting >= PIECES_AT_ONCE:
            self._session.read_answer()
        self._raise()

    def settle(self) -> None:
        while self._waiting:
            self._session.read_answer()
        self._raise()

    def _async_response(self, kind: int, message: Any, _number: int) -> None:
        """Called by paramiko, by this name, with each answer."""
        self._waiting -= 1
        try:
            self._session.require_ok(kind, message)
        except (OSError, SFTPError) as error:
            if isinstance(error, OSError) and error.errno is None:
                error = WriteFailed(str(error) or "Failure")
            self._error = self._error or error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


class _Read:
    """The reads of one file in flight, returned in order."""

    def __init__(self, session: SftpSession, handle: bytes) -> None:
        self._session = session
        self._handle = handle
        self._came: dict[int, bytes | Exception] = {}
        self.waiting: deque[tuple[int, int, int]] = deque()

    def ask(self, position: int, length: int) -> None:
        number = self._session.send(self, CMD_READ, self._handle, int64(position), length)
        self.waiting.append((number, position, length))

    def next_piece(self) -> bytes:
        """The oldest piece in flight; if the server returned less of it, the rest is requested."""
        number, position, length = self.waiting.popleft()
        piece = self._answer(number)
        while piece and len(piece) < length:
            number = self._session.send(
                self, CMD_READ, self._handle, int64(position + len(piece)), length - len(piece)
            )
            rest = self._answer(number)
            if not rest:
                break
            piece += rest
        return piece

    def _answer(self, number: int) -> bytes:
        while number not in self._came:
            self._session.read_answer()
        answer = self._came.pop(number)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _async_response(self, kind: int, message: Any, number: int) -> None:
        """Called by paramiko, by this name, with each answer."""
        try:
            if kind == CMD_DATA:
                self._came[number] = message.get_binary()
            else:
                self._session.require_ok(kind, message)
                self._came[number] = SFTPError("the server answered a read with a status")
        except EOFError:
            self._came[number] = b""
        except (OSError, SFTPError) as error:
            self._came[number] = error
