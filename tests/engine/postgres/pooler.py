"""A strict pooler: it refuses any startup parameter that it does not know."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ASKS_FOR_ENCRYPTION = {80877103, 80877104}
_LENGTH = struct.Struct("!I")
BUFFER_BYTES = 1 << 16


class Pooler:
    """Forwards connections to `server`, the path of a socket; `refused` counts refused ones."""

    def __init__(self, listener: socket.socket, server: str) -> None:
        self._listener = listener
        self._server = server
        self.port: int = listener.getsockname()[1]
        self.refused = 0

    def serve(self) -> None:
        # The listener is closed at the end.
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._meet, args=(client,), daemon=True).start()

    def _meet(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.socket(socket.AF_UNIX) as server:
            start = self._start(client)
            if b"\0options\0" in start:
                self.refused += 1
                client.sendall(_error("unsupported startup parameter: options"))
                return
            server.connect(self._server)
            server.sendall(start)
            back = threading.Thread(target=_carry, args=(server, client), daemon=True)
            back.start()
            _carry(client, server)
            back.join()

    def _start(self, client: socket.socket) -> bytes:
        while True:
            head = client.recv(_LENGTH.size, socket.MSG_WAITALL)
            (size,) = _LENGTH.unpack(head)
            rest = client.recv(size - _LENGTH.size, socket.MSG_WAITALL)
            if _LENGTH.unpack(rest[:4])[0] not in ASKS_FOR_ENCRYPTION:
                return head + rest
            client.sendall(b"N")


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(BUFFER_BYTES):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _error(message: str) -> bytes:
    fields = b"SFATAL\0VFATAL\0C08P01\0M" + message.encode() + b"\0\0"
    return b"E" + _LENGTH.pack(_LENGTH.size + len(fields)) + fields


@contextmanager
def pooler(server: str) -> Iterator[Pooler]:
    """A pooler on its own port until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Pooler(listener, server)
        serving = threading.Thread(target=made.serve, daemon=True)
        serving.start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)
        serving.join()
