"""Standard age files, so that the stock `age` command can read what we store; and their way back.

pyrage holds the interpreter's lock while it seals 64 KiB; between those others get their turn. The
identity that opens a file is never printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyrage

from holdfast.pipeline.compression import Pass
from holdfast.pipeline.flow import CorruptStream, Stage
from holdfast.runtime.thread_bridge import ReadsFrom, ThreadBridge, WritesTo

SSH_PREFIX = "ssh-"


@contextmanager
def encryption(recipients: Sequence[str]) -> Iterator[Stage]:
    """The stage that seals a stream for `recipients`: `age1...`, or public keys of SSH.

    Changes nothing for none. Each of them alone can open it. Raises `ValueError` for what is no
    recipient.
    """
    if not recipients:
        yield Pass()
        return
    keys = [_recipient(each) for each in recipients]

    def seal(source: ReadsFrom, sink: WritesTo) -> None:
        pyrage.encrypt_io(source, sink, keys)

    with ThreadBridge(seal) as stage:
        yield stage


def sealed(data: bytes, recipients: Sequence[str]) -> bytes:
    """A few bytes as an age file of their own."""
    content: bytes = pyrage.encrypt(data, [_recipient(each) for each in recipients])
    return content


def _recipient(text: str) -> Any:
    kind = pyrage.ssh if text.startswith(SSH_PREFIX) else pyrage.x25519
    try:
        return kind.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise ValueError(f"'{text}' is not an age recipient: {error}") from error


SECRET_PREFIX = "AGE-SECRET-KEY-1"  # noqa: S105 - what every identity begins with, not one of them
PLUGIN_PREFIX = "AGE-PLUGIN-"
# pyrage has one error for everything; this is how it says that none of the identities fits.
_NO_MATCH = "No matching keys found"


class CannotOpen(Exception):
    """None of the identities opens this age file."""


class Identities:
    """The private halves of recipients; shows as `***` wherever it is printed."""

    __slots__ = ("_keys", "recipients")

    def __init__(self, keys: Mapping[str, Any]) -> None:
        """Of each key its recipient, which is public."""
        self._keys = list(keys.values())
        self.recipients = tuple(keys)

    @classmethod
    def parse(cls, text: str) -> Identities:
        """What `age-keygen` writes: an identity a line, and comments.

        Raises `ValueError` naming the line, never its content.
        """
        keys: dict[str, Any] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            word = line.strip()
            if word and not word.startswith("#"):
                key = _identity(word, number)
                keys[str(key.to_public())] = key
        if not keys:
            raise ValueError(f"no line begins with {SECRET_PREFIX}")
        return cls(keys)

    @classmethod
    def of_ssh(cls, private: bytes, recipient: str) -> Identities:
        """An SSH key without a passphrase, in OpenSSH's format; raises `ValueError`."""
        try:
            return cls({recipient: pyrage.ssh.Identity.from_buffer(private)})
        except pyrage.IdentityError:
            raise ValueError("age cannot use this kind of SSH key") from None

    @classmethod
    def generate(cls) -> Identities:
        key = pyrage.x25519.Identity.generate()
        return cls({str(key.to_public()): key})

    def reveal(self) -> str:
        """The identities themselves, for the file that is to hold them."""
        return "".join(f"{key}\n" for key in self._keys)

    @contextmanager
    def decryption(self) -> Iterator[Stage]:
        """The stage that opens an age file; raises `CannotOpen`, `CorruptStream`."""

        def unseal(source: ReadsFrom, sink: WritesTo) -> None:
            with _translated():
                pyrage.decrypt_io(source, sink, self._keys)

        with ThreadBridge(unseal) as stage:
            yield stage

    def opened(self, data: bytes) -> bytes:
        """What was sealed in a few bytes; raises as the stage does."""
        with _translated():
            content: bytes = pyrage.decrypt(data, self._keys)
        return content

    def __repr__(self) -> str:
        return "***"


def is_locked(content: bytes) -> bool:
    """Whether it is an age file itself: identities that a passphrase opens."""
    return content.startswith((b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----"))


def unlocked(content: bytes, passphrase: str) -> bytes:
    """The identities in such a file; raises `CannotOpen`."""
    try:
        opened: bytes = pyrage.passphrase.decrypt(content, passphrase)
    except (pyrage.DecryptError, OSError) as error:
        # Whether it was sealed for a key instead, is damaged, or the passphrase is another one.
        raise CannotOpen("the passphrase does not open it") from error
    return opened


def _identity(word: str, number: int) -> Any:
    if word.upper().startswith(PLUGIN_PREFIX):
        raise ValueError(f"line {number} is of a plugin of age, and plugins are not supported")
    try:
        return pyrage.x25519.Identity.from_str(word)
    except pyrage.IdentityError:
        # Its words and its cause might quote the secret.
        raise ValueError(f"line {number} is not an age identity ({SECRET_PREFIX}...)") from None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (pyrage.DecryptError, OSError) as error:
        # What the header says comes as the one, what is wrong behind it as the other.
        first_line = str(error).partition("\n")[0]
        if first_line == _NO_MATCH:
            raise CannotOpen("none of the identities opens it") from error
        raise CorruptStream(f"it cannot be decrypted: {first_line}") from error
