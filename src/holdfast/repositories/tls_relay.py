"""A relay in this process for stores whose certificate rustls never accepts from a server.

The relay acts as the proxy of obstore, which asks it for a tunnel to the store. obstore gets a TLS
connection to this process instead, with a temporary certificate that nobody else has. The relay
forwards the bytes unchanged over OpenSSL's TLS, which trusts only the authorities of `ca_file`.
Nothing leaves this process unencrypted.

`openssl req -x509` by default makes a certificate that is an authority (CA:TRUE). rustls refuses
such a certificate from a server (`CaUsedAsEndEntity` of its webpki); OpenSSL accepts it if it is
trusted explicitly.
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
from holdfast.runtime.kernel import start

if TYPE_CHECKING:
    from cryptography import x509


# Longer than any run and valid on any clock: only this process uses the certificate.
_LIFETIME = timedelta(days=3650)
_LOOPBACK = "127.0.0.1"
_CHUNK_BYTES = 256 << 10
# The longest head of a request for a tunnel.
_HEAD_BYTES = 16 << 10
_TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"
_NO_TUNNEL = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


class TlsRelay:
    """Tunnels to `host`:`port`, verified by the authorities of `ca_file`, until the process ends.

    `connect_seconds` is how long the store may take to answer. Each tunnel connects on demand.
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
        start(threading.Thread(target=self._loop.run_forever, name="tls relay", daemon=True))

    def fault(self) -> TlsFault | None:
        """Why the last connection to the store failed in TLS; None if it did not."""
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
        """A connection to the store; raises `OSError`, and remembers a TLS fault."""
        opening = asyncio.open_connection(*self._there, ssl=self._trust, limit=_CHUNK_BYTES)
        try:
            made = await asyncio.wait_for(opening, self._seconds)
        except OSError as error:
            self._fault = tls_fault_of(error)
            raise
        self._fault = None
        return made


def trusting(ca_file: Path) -> ssl.SSLContext:
    """A TLS context that trusts the authorities of `ca_file`, as obstore does.

    Python 3.13 also demands extensions of RFC 5280 that private authorities often lack.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _both_ways(client: _Ends, store: _Ends) -> None:
    """Forward until one side ends: HTTP needs no half-closed connections."""
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
    """Whether a certificate in `ca_file` is an authority and also names the server `host`."""
    # Imported here: few stores have their own certificate.
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(ca_file.read_bytes())
        return any(_is_authority(each) and _names(each, host) for each in found)
    except ValueError:
        return False  # OpenSSL reads some files that this parser refuses; leave those to rustls


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
    """Matches a name, or a `*` as first label (RFC 6125, 6.4.3); OpenSSL checks the name again."""
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    first, _, rest = pattern.partition(".")
    return pattern == host or (first == "*" and bool(rest) and rest == host.partition(".")[2])


class MomentaryCertificate:
    """A server certificate for `host` whose key never leaves this process."""

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
        """A TLS context for a server that presents this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        # The ssl module reads keys only from files, so this file is anonymous memory.
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
