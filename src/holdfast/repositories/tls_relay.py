"""A tunnel in this process for stores whose certificate rustls takes from no server.

obstore asks its proxy, which this is, for a tunnel to the store. It gets a TLS connection to this
process instead, with a certificate that is made for the moment and that nobody else can show. What
comes through it goes on over OpenSSL's TLS, which trusts the authorities of `ca_file` and no other.
Nothing is in the clear outside of this process, and bytes are passed on as they are.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from contextlib import suppress
from pathlib import Path

from holdfast.repositories.own_certificates import MomentaryCertificate
from holdfast.repositories.tls_faults import TlsFault, in_error
from holdfast.runtime.cleanup import afterwards

_LOOPBACK = "127.0.0.1"
_CHUNK_BYTES = 256 << 10
# The head of a request for a tunnel.
_HEAD_BYTES = 16 << 10
_TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"
_NO_TUNNEL = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


class TlsRelay:
    """Tunnels to `host`:`port`, believed by the authorities of `ca_file`, for as long as we live.

    `connect_seconds` is how long the store may take to answer. Connections are made when asked for.
    """

    def __init__(self, host: str, port: int, ca_file: Path, *, connect_seconds: float) -> None:
        self._there = (host, port)
        self._asked = f"CONNECT {f'[{host}]' if ':' in host else host}:{port} ".encode()
        self._trust = trusting(ca_file)
        self._seconds = connect_seconds
        own = MomentaryCertificate(host)
        self.certificate = own.certificate
        self._own = own.server_context()
        self._fault: TlsFault | None = None
        self._loop = asyncio.new_event_loop()
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, _LOOPBACK, 0, limit=_CHUNK_BYTES)
        )
        self.port: int = server.sockets[0].getsockname()[1]
        threading.Thread(target=self._loop.run_forever, name="tls relay", daemon=True).start()

    def fault(self) -> TlsFault | None:
        """Why the store was not believed the last time that it was asked; None where it was."""
        return self._fault

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with afterwards(writer.close), suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            head = await reader.readuntil(b"\r\n\r\n")
            if len(head) > _HEAD_BYTES or not head.startswith(self._asked):
                return
            try:
                there = await self._store()
            except OSError:
                writer.write(_NO_TUNNEL)
                await writer.drain()
                return
            with afterwards(there[1].close):
                writer.write(_TUNNEL)
                await writer.start_tls(self._own)
                await _both_ways((reader, writer), there)

    async def _store(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the store; raises `OSError`, and remembers what its certificate lacks."""
        opening = asyncio.open_connection(*self._there, ssl=self._trust, limit=_CHUNK_BYTES)
        try:
            made = await asyncio.wait_for(opening, self._seconds)
        except OSError as error:
            self._fault = in_error(error)
            raise
        self._fault = None
        return made


def trusting(ca_file: Path) -> ssl.SSLContext:
    """What believes a server by the authorities of `ca_file`, as obstore does.

    Python 3.13 asks besides for extensions that RFC 5280 wants and that own authorities often lack.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _both_ways(client: _Ends, store: _Ends) -> None:
    """Until one of them ends: HTTP keeps no half of a connection open."""
    ways = [
        asyncio.create_task(_pass_on(client[0], store[1])),
        asyncio.create_task(_pass_on(store[0], client[1])),
    ]
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for each in ways:
        each.cancel()
    await asyncio.gather(*ways, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
