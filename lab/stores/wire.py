"""A wire between a client and a server on loopback; it can delay, cut or swallow bytes."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

READ_BYTES = 1 << 18
# The chunks in flight per connection and direction: as many as a long wire holds.
IN_FLIGHT_CHUNKS = 256


@dataclass
class Wire:
    """The wire's port, its connections so far, and its faults.

    `cut_at` are counts of bytes that a client may still send, one for each connection to be cut.
    While it is `silent`, nothing arrives and no error is reported.
    """

    port: int = 0
    connections: int = 0
    cut_at: list[int] = field(default_factory=list)
    silent: bool = False


@contextmanager
def wire(target: int, *, one_way_seconds: float = 0.0) -> Iterator[Wire]:
    """Relay a port of loopback to `target`; every byte takes `one_way_seconds` each way."""
    laid = Wire()
    with running(lambda: _serve(laid, target, one_way_seconds)):
        yield laid


@contextmanager
def running(start: Callable[[], Coroutine[Any, Any, asyncio.Server]]) -> Iterator[None]:
    """Run the server of `start` in an event loop of its own thread until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="wire", daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _serve(laid: Wire, target: int, seconds: float) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        laid.connections += 1
        cut_at = laid.cut_at.pop(0) if laid.cut_at else None
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(
                _carry(laid, reader, back, seconds, cut_at, [writer, back]),
                _carry(laid, there, writer, seconds, None, [writer, back]),
            )

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=READ_BYTES)
    laid.port = server.sockets[0].getsockname()[1]
    return server


async def _carry(
    laid: Wire,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    seconds: float,
    cut_at: int | None,
    ends: list[asyncio.StreamWriter],
) -> None:
    """Relay one direction; after `cut_at` bytes both ends are reset."""
    on_its_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT_CHUNKS)
    loop = asyncio.get_running_loop()
    arriving = asyncio.create_task(_deliver(on_its_way, writer))
    left = cut_at
    try:
        while content := await reader.read(READ_BYTES):
            if left is not None:
                left -= len(content)
                if left < 0:
                    for end in ends:
                        end.transport.abort()
                    return
            if not laid.silent:
                await on_its_way.put((loop.time() + seconds, content))
    except OSError:
        return
    finally:
        with suppress(OSError):
            await on_its_way.put((loop.time() + seconds, b""))
            await arriving


async def _deliver(
    on_its_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
) -> None:
    loop = asyncio.get_running_loop()
    try:
        while True:
            due, content = await on_its_way.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            if not content:
                break
            writer.write(content)
            await writer.drain()
    except OSError:
        # The receiver is gone: drop the bytes that are still in flight.
        while (await on_its_way.get())[1]:
            pass
    with suppress(OSError):
        writer.close()
