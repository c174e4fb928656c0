"""The recipients of a repository's backups, and the keys whose signatures are trusted."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from holdfast.config.secret import SecretPath, SecretSource
from holdfast.config.values import AbsolutePath, Strict, shown
from holdfast.model.checked import After, Mistake
from holdfast.model.errors import ConfigInvalid
from holdfast.model.lazy_pattern import regex

# Bech32 of BIP 173: an age recipient has a checksum, so a typing error is found here and not at the
# first backup.
_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_HUMAN_PART = "age"
# 32 bytes in groups of five bits, and six more groups of checksum.
_GROUPS = 52 + 6

PUBLIC_KEY_PREFIX = "ed25519:"
PUBLIC_KEY_BYTES = 32
SSH_PREFIX = "ssh-"
# The limits of age: a smaller key is too weak, a larger one takes too long to decrypt with.
SMALLEST_RSA, LARGEST_RSA = 2048, 4096
_PLUGIN = regex(r"age1[a-z0-9+._-]+1[a-z0-9]+$")
RECIPIENT_HINT = (
    "a recipient is what age-keygen, or holdfast keys identity, prints (age1...), or the public key"
    " of an SSH key (ssh-ed25519 AAAA..., ssh-rsa AAAA...)"
)


def _recipient(text: str) -> str:
    """The recipient as manifests list it: an SSH key without its comment."""
    if text.strip().upper().startswith("AGE-SECRET-KEY-"):
        # Never shown: a secret does not belong in this file, and least of all in a log.
        raise Mistake(
            "this is an identity, the private half of a recipient",
            hint="remove it from this file, create a new one, and write its age1... here",
        )
    plain = _plain(text)
    if plain is None:
        cause, hint = _refusal(text, "is not an age recipient (age1...)")
        raise Mistake(f"{shown(text)} {cause}", hint=hint)
    return plain


def _plain(text: str) -> str | None:
    """The canonical spelling of a recipient; None if `text` is not a recipient."""
    if text.startswith(SSH_PREFIX):
        words = text.split()
        return " ".join(words[:2]) if len(words) > 1 and _is_ssh(words[0], words[1]) else None
    return text if _is_recipient(text) else None


def _refusal(text: str, otherwise: str) -> tuple[str, str]:
    """The reason why `text` is not a recipient, and a hint."""
    if text.startswith((SSH_PREFIX, "ecdsa-", "sk-")):
        hint = f"age supports Ed25519, and RSA of {SMALLEST_RSA} to {LARGEST_RSA} bits"
        return "is not an SSH key that age supports", hint
    if _PLUGIN.match(text):
        hint = "docs/encryption.md says how a hardware token can protect an identity"
        return "is for an age plugin, and plugins are not supported", hint
    return otherwise, RECIPIENT_HINT


def _is_ssh(kind: str, encoded: str) -> bool:
    try:
        fields = list(_fields(base64.b64decode(encoded, validate=True)))
    except (binascii.Error, ValueError):
        return False
    if kind == "ssh-ed25519":
        return len(fields) == 2 and fields[0] == kind.encode() and len(fields[1]) == 32
    if kind == "ssh-rsa" and len(fields) == 3 and fields[0] == kind.encode():
        return SMALLEST_RSA <= int.from_bytes(fields[2], "big").bit_length() <= LARGEST_RSA
    return False


def _fields(blob: bytes) -> Iterator[bytes]:
    """The strings of SSH's wire format, each preceded by its length; raises `ValueError`."""
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            raise ValueError("cut short")
        yield blob[4 : 4 + size]
        blob = blob[4 + size :]


def _is_recipient(text: str) -> bool:
    human, _, data = text.rpartition("1")
    if human != _HUMAN_PART or len(data) != _GROUPS or set(data) - set(_CHARSET):
        return False
    expanded = [ord(char) >> 5 for char in human] + [0] + [ord(char) & 31 for char in human]
    return _checksum([*expanded, *(_CHARSET.index(char) for char in data)]) == 1


def _checksum(values: list[int]) -> int:
    found = 1
    for value in values:
        top = found >> 25
        found = (found & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            found ^= generator if top >> bit & 1 else 0
    return found


def read_recipients(path: Path) -> tuple[str, ...]:
    """The recipients in `path`, one a line, with comment lines; raises `ConfigInvalid`.

    A user who can change the file can read every later backup, so only its owner may write it.
    """
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        what = f"cannot read '{path}': {os.strerror(error.errno or 0)}"
        raise ConfigInvalid(what, hint="recipients_file names a file of public keys") from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid(f"cannot use '{path}': it is not text", hint=RECIPIENT_HINT) from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigInvalid(
            f"cannot use '{path}': others may write to it (mode {stat.S_IMODE(mode):04o})",
            hint=f"chmod go-w {path}",
        )
    words = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    found = [(number, word) for number, word in words if word and not word.startswith("#")]
    recipients = [(number, word, _plain(word)) for number, word in found]
    for number, word, plain in recipients:
        if plain is None:
            # Not shown: it could be an identity.
            cause, hint = _refusal(word, "is not an age recipient (age1...)")
            raise ConfigInvalid(f"cannot use '{path}': line {number} {cause}", hint=hint)
    if not found:
        raise ConfigInvalid(f"cannot use '{path}': it names no recipient", hint=RECIPIENT_HINT)
    return tuple(plain for _, _, plain in recipients if plain is not None)


def _readable(path: Path) -> Path:
    try:
        read_recipients(path)
    except ConfigInvalid as error:
        raise Mistake(error.message, hint=error.hint) from error
    return path


def _public_key(text: str) -> str:
    try:
        raw = base64.b64decode(text.removeprefix(PUBLIC_KEY_PREFIX), validate=True)
    except ValueError:
        raw = b""
    # A key has one spelling: unused bits of the last Base64 character would allow others.
    spelled = PUBLIC_KEY_PREFIX + base64.b64encode(raw).decode()
    if text != spelled or len(raw) != PUBLIC_KEY_BYTES:
        raise Mistake(
            # Not shown: it could be the private key.
            f"it is not a public key ({PUBLIC_KEY_PREFIX}...)",
            hint="holdfast keys signing prints it with a new key, holdfast keys public at any time",
        )
    return text


Recipient = Annotated[str, After(_recipient)]
RecipientsPath = Annotated[AbsolutePath, After(_readable)]
PublicKey = Annotated[str, After(_public_key)]


class EncryptionSettings(Strict):
    """The public age recipients for which the parts of new backups are encrypted."""

    recipients: tuple[Recipient, ...] = ()
    recipients_file: RecipientsPath | None = None

    def require_sound(self) -> None:
        """There is somebody to encrypt for."""
        if not self.recipients and self.recipients_file is None:
            raise Mistake("it names no recipient", hint="add recipients: [age1...]")

    @property
    def everybody(self) -> tuple[str, ...]:
        """All recipients in order, without duplicates; reads the file each time."""
        listed = read_recipients(self.recipients_file) if self.recipients_file else ()
        return tuple(dict.fromkeys((*self.recipients, *listed)))


class AuthenticationSettings(Strict):
    """The key that signs manifests, and the keys trusted beside it, the `public_keys`.

    The key is a file of this host, or the secret `key`. With neither, this host can read backups of
    others, but cannot back up.
    """

    key_file: SecretPath | None = None
    key: SecretSource | None = None
    public_keys: tuple[PublicKey, ...] = ()

    @property
    def signs(self) -> bool:
        """Whether this host has a key to sign with."""
        return self.key_file is not None or self.key is not None

    def require_sound(self) -> None:
        """There is a key, and at most one to sign with."""
        if self.key_file is not None and self.key is not None:
            raise Mistake("two keys to sign with are named", hint="name either key_file or key")
        if not self.public_keys and not self.signs:
            raise Mistake("it names no key", hint="add a key_file, or public_keys: [ed25519:...]")
