"""A repository whose manifests and records are signed as they are put, proven as they are opened.

Around the port, because then nobody who reads a manifest can forget to ask who wrote it. The
signature is the manifest's last member, so what it signs is simply every byte before it, and these
are proven before anything is parsed. Their place in the repository is signed with them: a manifest
under another name is not the same manifest.

So are the records that have something removed later: of failures, which the next good backup has
forgotten with all that was kept for them, and the marks of a prune. Whoever only prunes may have no
key: then a mark of its own that a kill leaves behind is one more thing for `repair`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from holdfast.catalog.places import MARK, record_at
from holdfast.model.backup import Buffer
from holdfast.model.errors import ConfigInvalid, ManifestUntrusted
from holdfast.model.stored_json import MANIFEST as WHOLE, Unreadable, damaged, gathered
from holdfast.ports.repository import ForwardingRepository, Repository, Stored

_CONTEXT = "holdfast.manifest.signature/1"
_END = b"\n}\n"
_SIGNATURE = re.compile(
    rb',\n "signature": "(?P<key>ed25519:[A-Za-z0-9+/=]{44}) (?P<value>[A-Za-z0-9+/=]{88})"\n}\n\Z'
)


_SIGNATURE_BYTES = 200


class SignedManifests(ForwardingRepository):
    """All but records passes through.

    `signer` is asked for once it is needed, and is None where this host only reads.
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
        """The public keys whose signatures are believed."""
        own = (self._signer.public_key,) if self._signer else ()
        return tuple(dict.fromkeys((*own, *self._also_trusted)))

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        if record_at(key) == MARK and self._signer is None:
            # Whoever prunes needs the right to delete; a key it may have.
            return self._repository.put(key, chunks)
        signer = self._required_signer(key)
        if record_at(key):
            content = b"".join(bytes(chunk) for chunk in chunks)
            return self._repository.put(key, [_signed(content, key, signer)])
        return self._repository.put(key, chunks)

    def _required_signer(self, key: str) -> Signer:
        """At the first part already: a night's work must not end at the last write."""
        if self._signer is None:
            raise ConfigInvalid(
                f"cannot store '{key}': this host has no key to sign the manifest with",
                hint="name one in authentication.key_file; holdfast keys signing FILE makes it",
            )
        return self._signer

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        with self._repository.open(key) as chunks:
            if record_at(key):
                chunks = iter([self.proven(key, self._gathered(key, chunks))])
            yield chunks

    def _gathered(self, key: str, chunks: Iterable[bytes]) -> bytes:
        """A signature is over the whole, so the whole is held: as much as a record may have."""
        try:
            return gathered(chunks, WHOLE)
        except Unreadable as error:
            raise damaged(key, error) from error

    def proven(self, key: str, content: bytes) -> bytes:
        """The manifest as it was before it was signed; raises `ManifestUntrusted`."""
        found = _SIGNATURE.search(content, max(0, len(content) - _SIGNATURE_BYTES))
        if found is None:
            raise _untrusted(key, "it is not signed")
        public_key = found["key"].decode()
        if public_key not in self.trusted:
            raise _untrusted(key, f"it is signed by '{public_key}', whom nobody told to trust")
        original = content[: found.start()] + _END
        if not is_signed(_message(key, original), _signature(found["value"]), public_key):
            raise _untrusted(key, "it was changed, or is of another place, since it was signed")
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
    """Its bytes; none where the Base64 is not the one that we would have written."""
    try:
        signature = base64.b64decode(value, validate=True)
    except binascii.Error:
        return b""
    return signature if base64.b64encode(signature) == value else b""


def _untrusted(key: str, why: str) -> ManifestUntrusted:
    return ManifestUntrusted(
        f"cannot trust manifest '{key}': {why}",
        hint="trust another backup, or find out who wrote it: see docs/encryption.md",
    )


PREFIX = "ed25519:"


class Signer:
    """A private key, Ed25519, so that whoever only reads needs no secret; never printed.

    Its file is a PKCS#8 PEM, as `openssl genpkey -algorithm ed25519` makes it too.
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
            raise ValueError("it holds no private key in PEM without a passphrase") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("its key is not of the kind Ed25519")
        return cls(key)

    @property
    def public_key(self) -> str:
        """`ed25519:` and 32 bytes in Base64."""
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return PREFIX + base64.b64encode(raw).decode()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def reveal(self) -> bytes:
        """The key itself, for the file that is to hold it."""
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
