"""A repository that signs manifests and records as they are put and verifies them when opened.

It wraps the port, so that no reader of a manifest can forget to verify its author. The signature is
the last member of the manifest and covers every byte before it, and the bytes are verified before
anything is parsed. The key of the object is signed too: a manifest that is moved becomes invalid.

Records that cause deletions are signed as well: records of failures, which the next good backup
removes with all parts kept for them, and the marks of a prune. A host that only prunes may have no
signing key. Its mark is unsigned then, and `repair` handles one that a killed prune leaves behind.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from holdfast.catalog.places import HOST_STATUS, MARK, record_at
from holdfast.model.errors import ConfigInvalid, ManifestUntrusted
from holdfast.model.host_status import STATUS
from holdfast.model.stored_json import MANIFEST as WHOLE, Unreadable, damaged, gathered
from holdfast.ports.repository import ForwardingRepository, Repository, Stored

if TYPE_CHECKING:
    from holdfast.model.backup import Buffer

_CONTEXT = "holdfast.manifest.signature/1"
_END = b"\n}\n"
_SIGNATURE = re.compile(
    rb',\n "signature": "(?P<key>ed25519:[A-Za-z0-9+/=]{44}) (?P<value>[A-Za-z0-9+/=]{88})"\n}\n\Z'
)


_SIGNATURE_BYTES = 200


class SignedManifests(ForwardingRepository):
    """Signs and verifies records; passes everything else through.

    `signer` is called at the first use, and returns None if this host only reads.
    """

    def __init__(
        self,
        repository: Repository,
        *,
        signer: Callable[[], Signer | None],
        trusted: Sequence[str],
    ) -> None:
        super().__init__(repository)
        self._ask_signer = signer
        self._also_trusted = trusted

    @cached_property
    def _signer(self) -> Signer | None:
        return self._ask_signer()

    @cached_property
    def trusted(self) -> tuple[str, ...]:
        """The public keys whose signatures are accepted."""
        own = (self._signer.public_key,) if self._signer else ()
        return tuple(dict.fromkeys((*own, *self._also_trusted)))

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        if record_at(key) == MARK and self._signer is None:
            # A prune needs the right to delete, but not necessarily a signing key.
            return self._repository.put(key, chunks)
        signer = self._required_signer(key)
        if record_at(key):
            content = b"".join(bytes(chunk) for chunk in chunks)
            return self._repository.put(key, [_signed(content, key, signer)])
        return self._repository.put(key, chunks)

    def _required_signer(self, key: str) -> Signer:
        """The signer; required at the first part, or a long run would fail at its last write."""
        if self._signer is None:
            raise ConfigInvalid(
                f"cannot store '{key}': this host has no key to sign the manifest with",
                hint="name one in authentication.key_file; holdfast keys signing FILE creates it",
            )
        return self._signer

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        with self._repository.open(key) as chunks:
            if record_at(key):
                chunks = iter([self.proven(key, self._gathered(key, chunks))])
            yield chunks

    def _gathered(self, key: str, chunks: Iterable[bytes]) -> bytes:
        """The whole record within its limit, as its signature covers all bytes."""
        try:
            return gathered(chunks, STATUS if record_at(key) == HOST_STATUS else WHOLE)
        except Unreadable as error:
            raise damaged(key, error) from error

    def proven(self, key: str, content: bytes) -> bytes:
        """`content` without its signature; raises `ManifestUntrusted`."""
        found = _SIGNATURE.search(content, max(0, len(content) - _SIGNATURE_BYTES))
        if found is None:
            raise _untrusted(key, "it is not signed")
        public_key = found["key"].decode()
        if public_key not in self.trusted:
            raise _untrusted(key, f"it is signed by '{public_key}', which is not a trusted key")
        original = content[: found.start()] + _END
        if not is_signed(_message(key, original), _signature(found["value"]), public_key):
            raise _untrusted(key, "it was changed or moved after it was signed")
        return original

    def check(self) -> str:
        self._required_signer("check")
        return self._repository.check()


def _signed(content: bytes, key: str, signer: Signer) -> bytes:
    if not content.endswith(_END):
        raise ValueError(f"'{key}' is not a JSON object as manifests are written")
    value = base64.b64encode(signer.sign(_message(key, content))).decode()
    member = f',\n "signature": "{signer.public_key} {value}"'
    return content.removesuffix(_END) + member.encode() + _END


def _message(key: str, content: bytes) -> bytes:
    return f"{_CONTEXT}\n{key}\n".encode() + content


def _signature(value: bytes) -> bytes:
    """The decoded bytes; empty if `value` is not the canonical Base64 of them."""
    try:
        signature = base64.b64decode(value, validate=True)
    except binascii.Error:
        return b""
    return signature if base64.b64encode(signature) == value else b""


def _untrusted(key: str, why: str) -> ManifestUntrusted:
    return ManifestUntrusted(
        f"cannot trust manifest '{key}': {why}",
        hint="use another backup, and find out who wrote this one: see docs/encryption.md",
    )


PREFIX = "ed25519:"


class Signer:
    """An Ed25519 private key, asymmetric so that a reader needs no secret; never printed.

    Its file is a PKCS#8 PEM, the format of `openssl genpkey -algorithm ed25519`.
    """

    __slots__ = ("_key",)

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> Signer:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, pem: bytes) -> Signer:
        """The key in a PEM file; raises `ValueError` without quoting it."""
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as error:
            raise ValueError("it is not a private key in PEM without a passphrase") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("it is not an Ed25519 key")
        return cls(key)

    @property
    def public_key(self) -> str:
        """`ed25519:` and 32 bytes in Base64."""
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return PREFIX + base64.b64encode(raw).decode()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def reveal(self) -> bytes:
        """The private key in PEM, for its file."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def __repr__(self) -> str:
        return "***"


def is_signed(message: bytes, signature: bytes, public_key: str) -> bool:
    """Whether `signature` was made over `message` by the private half of `public_key`."""
    raw = base64.b64decode(public_key.removeprefix(PREFIX), validate=True)
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, message)
    except InvalidSignature:
        return False
    return True
