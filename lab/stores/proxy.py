"""An HTTP proxy in front of an S3 server that injects faults of networks and servers."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

from lab.stores.wire import running

READ_BYTES = 1 << 18
HEAD_END = b"\r\n\r\n"
Kind = Literal["reset", "answer-lost", "status", "truncated", "wrong-etag", "stalled", "damaged"]


@dataclass
class Fault:
    """A fault for `times` requests whose request line matches `requests`, after the first `after`.

    `reset`: cut before the server receives it. `answer-lost`: cut after the server has executed it.
    `status`: the proxy answers with `status` and `code`. `truncated`: half of the answer's body.
    `wrong-etag`: another ETag in the answer. `stalled`: no answer for `seconds`, then cut.
    `damaged`: one bit of each chunk of the request's body is flipped.
    """

    kind: Kind
    requests: str = ""
    times: int = 1
    status: int = 503
    code: str = "ServiceUnavailable"
    seconds: float = 0.0
    after: int = 0
    done: int = 0

    def strikes(self, line: str) -> bool:
        if self.done >= self.times or not re.search(self.requests, line):
            return False
        if self.after:
            self.after -= 1
            return False
        self.done += 1
        return True


@dataclass
class FaultProxy:
    """The proxy's port, the pending faults, and the request line of each request so far."""

    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, requests: str) -> int:
        """The number of requests so far whose request line matches."""
        return len([line for line in self.lines if re.search(requests, line)])


@contextmanager
def fault_proxy(target: int) -> Iterator[FaultProxy]:
    """Run a proxy in front of port `target` on loopback until the block ends."""
    proxy = FaultProxy()
    with running(lambda: _serve(proxy, target)):
        yield proxy


async def _serve(proxy: FaultProxy, target: int) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await _one_request(proxy, target, reader, writer)
        with suppress(OSError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=READ_BYTES)
    proxy.port = server.sockets[0].getsockname()[1]
    return server


async def _one_request(
    proxy: FaultProxy, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Handle the only request of a connection; both sides are told to close afterwards."""
    head = await reader.readuntil(HEAD_END)
    line, _, rest = head.partition(b"\r\n")
    proxy.lines.append(line.decode())
    fault = next((each for each in proxy.faults if each.strikes(line.decode())), None)
    if fault and fault.kind == "reset":
        writer.transport.abort()
        return
    if fault and fault.kind == "stalled":
        await asyncio.sleep(fault.seconds)
        writer.transport.abort()
        return
    length = _length(head)
    if fault and fault.kind == "status":
        await reader.readexactly(length)
        writer.write(_answer(fault))
        await writer.drain()
        return
    there, back = await asyncio.open_connection("127.0.0.1", target, limit=READ_BYTES)
    try:
        back.write(line + b"\r\nConnection: close\r\n" + rest)
        while length:
            content = await reader.read(min(length, READ_BYTES))
            if not content:
                return
            length -= len(content)
            if fault and fault.kind == "damaged":
                content = bytes([content[0] ^ 1]) + content[1:]
            back.write(content)
            await back.drain()
        await _hand_back(there, writer, fault)
    finally:
        back.close()


async def _hand_back(
    there: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None
) -> None:
    head = await there.readuntil(HEAD_END)
    if fault and fault.kind == "answer-lost":
        await there.read()
        writer.transport.abort()
        return
    if fault and fault.kind == "wrong-etag":
        head = re.sub(rb'(?i)(etag: *"?)[0-9a-f]{8}', rb"\g<1>00000000", head)
    if fault and fault.kind == "truncated":
        content = await there.read()
        writer.write(head + content[: len(content) // 2])
        await writer.drain()
        return
    writer.write(head)
    while content := await there.read(READ_BYTES):
        writer.write(content)
        await writer.drain()


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found[1]) if found else 0


def _answer(fault: Fault) -> bytes:
    document = f"<Error><Code>{fault.code}</Code><Message>said the proxy</Message></Error>"
    return (
        f'HTTP/1.1 {fault.status} Fault\r\nContent-Type: application/xml\r\nETag: "-"\r\n'
        f"Content-Length: {len(document)}\r\nConnection: close\r\n\r\n{document}"
    ).encode()
