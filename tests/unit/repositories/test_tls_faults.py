"""Each fault of a certificate has its own message, with real TLS servers."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import re
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from holdfast.model.errors import ObjectMissing, RepositoryRefused, RepositoryUnreachable
from holdfast.repositories.buckets import Bucket
from holdfast.repositories.s3 import S3Keys, s3_repository
from holdfast.repositories.tls_relay import is_server_and_authority

NOW = datetime.datetime.now(UTC)
HERE = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Made:
    """A certificate with its key, both in a file each."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    file: Path
    key_file: Path


def made(
    folder: Path,
    name: str,
    *,
    by: Made | None = None,
    names: tuple[str, ...] = HERE,
    authority: bool = False,
    days: tuple[int, int] = (-1, 9),
    purpose: x509.ObjectIdentifier | None = None,
) -> Made:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = by.certificate.subject if by else subject
    builder = x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number()
    ).not_valid_before(NOW + timedelta(days=days[0]))
    builder = builder.not_valid_after(NOW + timedelta(days=days[1]))
    if authority:
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = builder.add_extension(constraints, critical=True)
    if names:
        alternatives = [_alternative(each) for each in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    if purpose:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    certificate = builder.sign(by.key if by else key, hashes.SHA256())
    file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Made(certificate, key, file, key_file)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class _Nothing(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


class _Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that disconnects is expected."""


@contextmanager
def served(own: Made | None, *, wants_client: bool = False) -> Iterator[int]:
    """A store that shows `own`, or speaks no TLS; its port."""
    with _Quiet(("127.0.0.1", 0), _Nothing) as server:
        port = server.socket.getsockname()[1]
        if own is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(own.file, own.key_file)
            if wants_client:
                context.verify_mode = ssl.CERT_REQUIRED
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        assert isinstance(server, socketserver.BaseServer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield port
        server.shutdown()


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made(tmp_path_factory.mktemp("authority"), "authority", names=(), authority=True)


def store(port: int, trusted: Path, *, host: str = "localhost") -> Any:
    return s3_repository(
        Bucket(name="b", endpoint=f"https://{host}:{port}", ca_file=trusted),
        region="us-east-1",
        keys=S3Keys(access_key="a", secret_key="b"),
        clock=lambda: NOW,
    )


def refusals(repository: Any) -> list[RepositoryRefused]:
    """Of a request through obstore, and of one through Python's own TLS."""
    found = []
    acts: list[Callable[[], object]] = [
        lambda: repository.stat("job/x"),
        lambda: repository.sweep("job"),
    ]
    for act in acts:
        with pytest.raises(RepositoryRefused) as caught:
            act()
        found.append(caught.value)
    return found


CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "expired": ({"days": (-9, -1)}, "has expired", "timedatectl"),
    "not yet": ({"days": (5, 9)}, "is not valid yet", "timedatectl"),
    "another name": (
        {"names": ("elsewhere.example",)},
        "is (for|not for the name)",
        "subjectAltName",
    ),
    "client": ({"purpose": ExtendedKeyUsageOID.CLIENT_AUTH}, "is not for servers", "correct"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_fault_of_a_certificate_is_named_with_its_own_remedy(
    tmp_path: Path, signer: Made, case: str
) -> None:
    words, cause, hint = CASES[case]
    with served(made(tmp_path, "server", by=signer, **words)) as port:
        for refused in refusals(store(port, signer.file)):
            assert refused.exit_code == 57
            assert re.search(f"the store's certificate {cause}", refused.message), refused.message
            assert hint in refused.hint


def test_a_certificate_of_an_unknown_signer_asks_for_it_in_ca_file(
    tmp_path: Path, signer: Made
) -> None:
    other = made(tmp_path, "other", names=(), authority=True)
    with served(made(tmp_path, "server", by=other)) as port:
        for refused in refusals(store(port, signer.file)):
            assert "is signed by an authority that this host does not trust" in refused.message
            assert "ca_file" in refused.hint


# Made by `openssl req -x509`: an authority that names the server, in one of two ways.
AS_OPENSSL: dict[str, tuple[dict[str, Any], str]] = {
    "its name": ({"names": ("localhost",)}, "localhost"),
    "any name of a domain": ({"names": ("*.localhost.localdomain", "localhost")}, "localhost"),
    "its address": ({"names": ("127.0.0.1",)}, "127.0.0.1"),
    "common name alone": ({"names": ()}, "localhost"),
}


@pytest.mark.parametrize("case", AS_OPENSSL)
def test_a_store_that_signs_for_itself_as_openssl_does_it_is_trusted_by_its_ca_file(
    tmp_path: Path, case: str
) -> None:
    words, host = AS_OPENSSL[case]
    own = made(tmp_path, "localhost", authority=True, **words)
    with served(own) as port, pytest.raises(ObjectMissing):
        store(port, own.file, host=host).stat("job/x")


def test_a_store_with_a_certificate_of_the_same_name_and_another_key_is_not_believed(
    tmp_path: Path,
) -> None:
    (tmp_path / "other").mkdir()
    own = made(tmp_path, "localhost", authority=True)
    other = made(tmp_path / "other", "localhost", authority=True)
    with served(other) as port:
        for refused in refusals(store(port, own.file)):
            assert "is signed by an authority that this host does not trust" in refused.message


def test_the_fault_of_a_certificate_that_is_server_and_authority_is_named_as_that_of_others(
    tmp_path: Path,
) -> None:
    own = made(tmp_path, "localhost", authority=True, days=(-9, -1))
    with served(own) as port:
        for refused in refusals(store(port, own.file)):
            assert refused.exit_code == 57
            assert "the store's certificate has expired" in refused.message
            assert "timedatectl" in refused.hint


def test_an_authority_that_is_no_server_of_that_name_gets_no_tunnel(
    tmp_path: Path, signer: Made
) -> None:
    own = made(tmp_path, "localhost", authority=True)
    elsewhere = made(tmp_path, "elsewhere", names=("elsewhere.example",), authority=True)
    plain = made(tmp_path, "server")
    found = [
        is_server_and_authority(each.file, "localhost") for each in (own, elsewhere, plain, signer)
    ]
    assert found == [True, False, False, False]


def test_a_store_that_is_down_is_told_as_that_through_the_tunnel_too(tmp_path: Path) -> None:
    own = made(tmp_path, "localhost", authority=True)
    with served(own) as port:
        through = store(port, own.file)
    with pytest.raises(RepositoryUnreachable, match="error sending request"):
        through.stat("job/x")


def test_a_store_that_signs_for_itself_as_a_server_is_trusted_by_its_ca_file(
    tmp_path: Path,
) -> None:
    own = made(tmp_path, "server")
    with served(own) as port, pytest.raises(ObjectMissing):
        store(port, own.file).stat("job/x")


def test_a_port_without_tls_is_told_as_that(signer: Made) -> None:
    with (
        served(None) as port,
        pytest.raises(RepositoryRefused, match="does not speak TLS at that port"),
    ):
        store(port, signer.file).stat("job/x")
