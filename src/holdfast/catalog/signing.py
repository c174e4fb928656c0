"""Keys that sign manifests: Ed25519, so that whoever only reads needs no secret.

The private key is a PKCS#8 PEM file, as `openssl genpkey -algorithm ed25519` makes it too.
"""

from __future__ import annotations

import base64

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

PREFIX = "ed25519:"


class Signer:
    """A private key; shows as `***` wherever it is printed."""

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
