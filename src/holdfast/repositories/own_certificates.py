"""Certificates that a server signed for itself, and one that is made for a moment.

`openssl req -x509` makes by default a certificate that is an authority (CA:TRUE). rustls takes that
from no server (`CaUsedAsEndEntity` of its webpki); OpenSSL does where it is trusted by name.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

# Longer than any run, and not before the clock of anybody: it is made and trusted in one process.
_LIFETIME = timedelta(days=3650)


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
