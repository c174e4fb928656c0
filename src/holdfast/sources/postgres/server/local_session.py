"""A session with a server on a local socket that asks for no password, without the driver.

The driver takes 100 ms to load, a monitor calls `status` every minute, and most of its servers are
reached like this. Whatever else a login needs is left to the driver, and so is every error, which
it tells in words of its own: here the only error is `NotAnswered`.
"""

from __future__ import annotations

import os
import pwd
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from holdfast.runtime.cleanup import afterwards

Rows = list[list[str | None]]

SECONDS = 10.0
# The answers here are short; a server that sends more is not the one that was asked.
MOST_MESSAGE_BYTES, MOST_BYTES = 64 << 10, 1 << 20
PROTOCOL = 3 << 16
DEFAULT_PORT = "5432"
_KNOWN = {"host", "port", "user", "dbname", "application_name"}
_PAIR = re.compile(r"([a-z_]+)=([^\s'\\=]+)")
# As in sessions of the driver, whatever the role or the database has set.
_OPTIONS = {
    "search_path": "",
    "statement_timeout": "0",
    "datestyle": "ISO",
    "timezone": "UTC",
    "default_transaction_read_only": "on",
}


class NotAnswered(Exception):
    """The driver has to ask instead; `sqlstate` is that of a refused statement."""

    def __init__(self, cause: str, *, sqlstate: str = "") -> None:
        super().__init__(cause)
        self.sqlstate = sqlstate


class LocalSession:
    """Made by `opened`."""

    def __init__(self, connected: socket.socket) -> None:
        self._file = connected.makefile("rb")
        self._socket = connected
        self._left = MOST_BYTES

    def begin(self, settings: Mapping[str, str]) -> None:
        said = struct.pack("!I", PROTOCOL)
        for name, value in settings.items():
            said += f"{name}\0{value}\0".encode()
        self._socket.sendall(struct.pack("!I", len(said) + 5) + said + b"\0")
        for kind, body in self._messages():
            if kind == b"R" and body != struct.pack("!I", 0):
                raise NotAnswered("the server asks for a password or the like")
            if kind == b"E":
                raise NotAnswered("the server refuses the session")

    def rows(self, statement: str) -> Rows:
        """The rows that the server answers, as texts; raises `NotAnswered`."""
        self._send(b"Q", statement.encode() + b"\0")
        rows: Rows = []
        refused: NotAnswered | None = None
        for kind, body in self._messages():
            if kind == b"D":
                rows.append(_values(body))
            elif kind == b"E":
                fields = {each[:1]: each[1:] for each in body.split(b"\0")}
                state = fields.get(b"C", b"").decode("ascii", "replace")
                refused = NotAnswered("the server refuses the statement", sqlstate=state)
        if refused is not None:
            raise refused
        return rows

    def end(self) -> None:
        """Say goodbye. A server that has asked for a password would log this as a wrong answer."""
        with suppress(OSError):
            self._send(b"X", b"")

    def close(self) -> None:
        self._file.close()

    def _send(self, kind: bytes, body: bytes) -> None:
        self._socket.sendall(kind + struct.pack("!I", len(body) + 4) + body)

    def _messages(self) -> Iterator[tuple[bytes, bytes]]:
        """Messages up to the one that says that the server is ready."""
        while True:
            head = self._read(5)
            size_bytes = struct.unpack("!I", head[1:])[0] - 4
            if not 0 <= size_bytes <= MOST_MESSAGE_BYTES:
                raise NotAnswered("a message is too long")
            body = self._read(size_bytes)
            if head[:1] == b"Z":
                return
            yield head[:1], body

    def _read(self, size_bytes: int) -> bytes:
        self._left -= size_bytes
        found = self._file.read(size_bytes) if self._left >= 0 else b""
        if len(found) != size_bytes:
            raise NotAnswered("the answer is too long, or cut short")
        return found


def _values(body: bytes) -> list[str | None]:
    (count,) = struct.unpack_from("!H", body)
    values: list[str | None] = []
    at = 2
    for _ in range(count):
        (size_bytes,) = struct.unpack_from("!i", body, at)
        at += 4
        if size_bytes < 0:
            values.append(None)
            continue
        values.append(body[at : at + size_bytes].decode())
        at += size_bytes
    if at != len(body):
        raise NotAnswered("a row is cut short")
    return values


@contextmanager
def opened(dsn: str, *, application_name: str) -> Iterator[LocalSession]:
    """A session that is closed after the block. Raises `NotAnswered`."""
    settings = _settings(dsn, application_name)
    try:
        with socket.socket(socket.AF_UNIX) as connected:
            connected.settimeout(SECONDS)
            connected.connect(f"{settings.pop('host')}/.s.PGSQL.{settings.pop('port')}")
            session = LocalSession(connected)
            with afterwards(session.close):
                session.begin(settings)
                with afterwards(session.end):
                    yield session
    except (OSError, ValueError, struct.error) as error:
        raise NotAnswered(str(error)) from error


def _settings(dsn: str, application_name: str) -> dict[str, str]:
    """What the session begins with, and `host` and `port`."""
    # libpq separates words by other characters than Python does.
    is_plain = dsn.isascii() and dsn.isprintable()
    pairs = [_PAIR.fullmatch(word) for word in dsn.split()]
    said = {each[1]: each[2] for each in pairs if each}
    is_local = said.get("host", "").startswith("/") and "," not in said["host"]
    # Variables of the environment may name files with passwords, services and much else.
    is_known = is_plain and all(pairs) and said.keys() <= _KNOWN
    user = said.get("user") or _system_user()
    if not is_local or not is_known or not user or _has_variables():
        raise NotAnswered("the login needs the driver")
    options = [f"-c {name}={value}" for name, value in _OPTIONS.items()]
    return {
        "host": said["host"],
        "port": said.get("port", DEFAULT_PORT),
        "user": user,
        "database": said.get("dbname", user),
        "application_name": said.get("application_name", application_name),
        "client_encoding": "UTF8",
        "options": " ".join(options),
    }


def _system_user() -> str:
    """The name of this process's user; in a container it may have none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


def _has_variables() -> bool:
    return any(name.startswith("PG") and name != "PGDATA" for name in os.environ)
