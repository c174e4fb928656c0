"""SSH keys in the forms that age uses: the private key to decrypt, the public line to encrypt.

It is in the catalog beside the signing keys: both use `cryptography`, which also opens keys that
have a passphrase.
"""

from __future__ import annotations

from dataclasses import field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from holdfast.model.lazy_dataclass import dataclass

OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"


class PassphraseNeeded(Exception):
    """The key is locked by a passphrase, and none was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshKey:
    """`private` in OpenSSH's format, without a passphrase; `public` as authorized_keys has it."""

    private: bytes = field(repr=False)
    public: str


def opened(content: bytes, passphrase: str | None) -> SshKey:
    """The key in `content`; raises `PassphraseNeeded`, and `ValueError` without quoting it."""
    # Keys in another format were written by ssh-keygen before 2018, or with -m PEM.
    secret = passphrase.encode() if passphrase is not None else None
    load = load_ssh_private_key if content.lstrip().startswith(OPENSSH) else load_pem_private_key
    try:
        key = load(content.lstrip(), password=secret)
    except TypeError as error:
        # Both loaders raise it for a missing passphrase, and for one that is not needed.
        if secret is not None:
            return opened(content, None)
        raise PassphraseNeeded from error
    except (ValueError, UnsupportedAlgorithm) as error:
        wrong = "the passphrase is wrong, or " if secret is not None else ""
        raise ValueError(f"{wrong}it is damaged or of an unknown type") from error
    if not isinstance(key, Ed25519PrivateKey | RSAPrivateKey):
        raise ValueError("age supports only Ed25519 and RSA keys")
    return SshKey(
        private=key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        public=key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
    )
