"""A tunnel in this process for stores whose certificate rustls takes from no server.

obstore asks its proxy, which this is, for a tunnel to the store. It gets a TLS connection to this
process instead, with a certificate that is made for the moment and that nobody else can show. What
comes through it goes on over OpenSSL's TLS, which trusts the authorities of `ca_file` and no other.
Nothing is in the clear outside of this process, and bytes are passed on as they are.

`openssl req -x509` makes by default a certificate that is an authority (CA:TRUE). rustls takes that
from no server (`CaUsedAsEndEntity` of its webpki); OpenSSL does where it is trusted by name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING

from holdfast.repositories.object_errors import TlsFault, tls_fault_of
from holdfast.runtime.cleanup import afterwards

if TYPE_CHECKING:
    from cryptography import x509


# Longer than any run, and not before the clock of anybody: it is made and trusted in one process.
_LIFETIME = timedelta(days=3650)
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
            self._fault = tls_fault_of(error)
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


def is_server_and_authority(ca_file: Path, host: str) -> bool:
    """Whether a certificate of `ca_file` is an authority's and names the server `host` as well."""
    # Loaded where it is used: few stores have a certificate of their own.
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(ca_file.read_bytes())
        return any(_is_authority(each) and _names(each, host) for each in found)
    except ValueError:
        return False  # OpenSSL reads some that this reader does not: rustls decides about those


def _is_authority(certificate: x509.Certificate) -> bool:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _names(certificate: x509.Certificate, host: str) -> bool:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return any(_matches(str(each.value), host) for each in common)
    addresses = {str(each) for each in names.get_values_for_type(x509.IPAddress)}
    return host in addresses or any(
        _matches(each, host) for each in names.get_values_for_type(x509.DNSName)
    )


def _matches(pattern: str, host: str) -> bool:
    """A name, or one whose first label is `*` (RFC 6125, 6.4.3); OpenSSL has the last word."""
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    first, _, rest = pattern.partition(".")
    return pattern == host or (first == "*" and bool(rest) and rest == host.partition(".")[2])


class MomentaryCertificate:
    """A server's certificate for `host` whose key never leaves this process."""

    def __init__(self, host: str) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )
        from cryptography.x509.oid import NameOID

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "holdfast")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - _LIFETIME)
            .not_valid_after(now + _LIFETIME)
            .add_extension(x509.SubjectAlternativeName([_alternative(host)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.certificate = made.public_bytes(Encoding.PEM)
        self._key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def server_context(self) -> ssl.SSLContext:
        """What shows it to a client."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # The ssl module reads keys from files alone: this one is memory without a name.
        with _in_memory(self.certificate + self._key) as file:
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        return context


def _in_memory(content: bytes) -> IO[bytes]:
    file = os.fdopen(os.memfd_create("certificate"), "w+b", buffering=0)
    file.write(content)
    return file


def _alternative(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
