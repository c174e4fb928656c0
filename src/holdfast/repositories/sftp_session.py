"""One SFTP channel: what paramiko lacks of OpenSSH's extensions, and writes whose errors count."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from typing import Any

import paramiko
from paramiko.message import Message
from paramiko.sftp import (
    CMD_EXTENDED,
    CMD_EXTENDED_REPLY,
    CMD_INIT,
    CMD_STATUS,
    CMD_VERSION,
    CMD_WRITE,
    SFTPError,
    int64,
)

from holdfast.model import Buffer

FSYNC = "fsync@openssh.com"
STATVFS = "statvfs@openssh.com"
PROTOCOL = 3
# What every server takes in one message, and how many may be on their way: 2 MiB.
WRITE_BYTES = 32 << 10
WRITES_AT_ONCE = 64


class SftpSession(paramiko.SFTPClient):
    """Knows which extensions the server offers; used by one thread at a time."""

    extensions: frozenset[str] = frozenset()

    def write_all(self, file: paramiko.SFTPFile, chunks: Iterable[Buffer]) -> int:
        """Write `chunks` from the beginning of `file`, many messages at once; how many bytes.

        Every answer is looked at. paramiko's own pipelined writes drop those that come while it
        waits for another one, and a full disk would go unnoticed.
        """
        answers = _Answers(self)
        position = 0
        for chunk in chunks:
            view = memoryview(chunk)
            for start in range(0, len(view), WRITE_BYTES):
                piece = bytes(view[start : start + WRITE_BYTES])
                answers.expect(file.handle, position, piece)
                position += len(piece)
        answers.settle()
        return position

    def fsync(self, file: paramiko.SFTPFile) -> None:
        """Have the server bring `file` to its disk, where it offers that."""
        if FSYNC in self.extensions:
            self._request(CMD_EXTENDED, FSYNC, file.handle)

    def free_bytes(self, path: str) -> int | None:
        """Room for unprivileged users on the file system of `path`; None where nobody tells."""
        if STATVFS not in self.extensions:
            return None
        kind, answer = self._request(CMD_EXTENDED, STATVFS, path)
        if kind != CMD_EXTENDED_REPLY:
            return None
        fragment, available = struct.unpack(">8x Q 16x Q", answer.get_bytes(40))
        return int(fragment * available)

    def _send_version(self) -> int:
        """As the original does it, but what the server offers is kept."""
        hello = Message()
        hello.add_int(PROTOCOL)
        self._send_packet(CMD_INIT, hello)
        kind, content = self._read_packet()
        if kind != CMD_VERSION:
            raise SFTPError("the server speaks no SFTP")
        answer = Message(content)
        version: int = answer.get_int()
        offered = set()
        while answer.get_remainder():
            offered.add(answer.get_text())
            answer.get_binary()
        self.extensions = frozenset(offered)
        return version

    def send_write(self, answers: _Answers, handle: bytes, position: int, piece: bytes) -> None:
        self._async_request(answers, CMD_WRITE, handle, int64(position), piece)

    def read_answer(self) -> None:
        """Wait for one message from the server, and hand it to whoever expects it."""
        self._read_response()

    def require_ok(self, kind: int, message: Any) -> None:
        """Raise what a status stands for."""
        if kind != CMD_STATUS:
            raise SFTPError("the server answered a write with something else")
        try:
            self._convert_status(message)
        except OSError as error:
            if error.errno is None:
                raise WriteFailed(str(error) or "Failure") from error
            raise


class WriteFailed(OSError):
    """The server could not write, and its protocol has no word for why."""

    def __init__(self, said: str) -> None:
        super().__init__(errno.EIO, said)


class _Answers:
    """The writes of one file that are on their way; the first error is raised at the next step."""

    def __init__(self, session: SftpSession) -> None:
        self._session = session
        self._waiting = 0
        self._error: Exception | None = None

    def expect(self, handle: bytes, position: int, piece: bytes) -> None:
        self._session.send_write(self, handle, position, piece)
        self._waiting += 1
        while self._waiting >= WRITES_AT_ONCE:
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
            self._error = self._error or error

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
