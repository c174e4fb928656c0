"""Encrypt to standard age files, which the stock `age` command can read, and decrypt.

pyrage holds the interpreter's lock while it seals 64 KiB; other threads run between these blocks.
An identity is never printed. Each function imports the library, which other backups do not need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from holdfast.pipeline.compression import Pass
from holdfast.pipeline.flow import CorruptStream, Stage
from holdfast.runtime.thread_bridge import ReadsFrom, ThreadBridge, WritesTo

SSH_PREFIX = "ssh-"


@contextmanager
def encryption(recipients: Sequence[str]) -> Iterator[Stage]:
    """The stage that seals a stream for `recipients`: `age1...`, or SSH public keys.

    Each recipient alone can open it. Without recipients the stage changes nothing. Raises
    `ValueError` for an invalid recipient.
    """
    if not recipients:
        yield Pass()
        return
    import pyrage

    keys = [_recipient(each) for each in recipients]

    def seal(source: ReadsFrom, sink: WritesTo) -> None:
        pyrage.encrypt_io(source, sink, keys)

    with ThreadBridge(seal) as stage:
        yield stage


def sealed(data: bytes, recipients: Sequence[str]) -> bytes:
    """`data`, which is small, as an age file."""
    import pyrage

    content: bytes = pyrage.encrypt(data, [_recipient(each) for each in recipients])
    return content


def _recipient(text: str) -> Any:
    import pyrage

    kind = pyrage.ssh if text.startswith(SSH_PREFIX) else pyrage.x25519
    try:
        return kind.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise ValueError(f"'{text}' is not an age recipient: {error}") from error


SECRET_PREFIX = "AGE-SECRET-KEY-1"  # noqa: S105 - what every identity begins with, not one of them
PLUGIN_PREFIX = "AGE-PLUGIN-"
# pyrage has one error for everything; this text means that none of the identities fits.
_NO_MATCH = "No matching keys found"


class CannotOpen(Exception):
    """None of the identities opens this age file."""


class Identities:
    """The private keys of recipients; its repr is `***`."""

    __slots__ = ("_keys", "recipients")

    def __init__(self, keys: Mapping[str, Any]) -> None:
        """`keys` holds each private key under its public recipient."""
        self._keys = list(keys.values())
        self.recipients = tuple(keys)

    @classmethod
    def parse(cls, text: str) -> Identities:
        """Parse the format of `age-keygen`: one identity per line, and comments.

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
        import pyrage

        try:
            return cls({recipient: pyrage.ssh.Identity.from_buffer(private)})
        except pyrage.IdentityError:
            raise ValueError("age cannot use this kind of SSH key") from None

    @classmethod
    def generate(cls) -> Identities:
        import pyrage

        key = pyrage.x25519.Identity.generate()
        return cls({str(key.to_public()): key})

    def reveal(self) -> str:
        """The secret identities, one per line, for their file."""
        return "".join(f"{key}\n" for key in self._keys)

    @contextmanager
    def decryption(self) -> Iterator[Stage]:
        """The stage that opens an age file; raises `CannotOpen`, `CorruptStream`."""

        import pyrage

        def unseal(source: ReadsFrom, sink: WritesTo) -> None:
            with _translated():
                pyrage.decrypt_io(source, sink, self._keys)

        with ThreadBridge(unseal) as stage:
            yield stage

    def opened(self, data: bytes) -> bytes:
        """The content of a small age file; raises as the stage does."""
        import pyrage

        with _translated():
            content: bytes = pyrage.decrypt(data, self._keys)
        return content

    def __repr__(self) -> str:
        return "***"


# How pyrage refuses a passphrase whose work would take this host too long. Each call measures the
# host for some milliseconds, so a host that is busy at that moment seems too slow.
_TOO_SLOW = "Excessive work"
UNLOCK_TRIES = 20


def is_locked(content: bytes) -> bool:
    """Whether an identity file is itself an age file, sealed with a passphrase."""
    return content.startswith((b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----"))


def unlocked(content: bytes, passphrase: str) -> bytes:
    """The content of an identity file sealed with a passphrase; raises `CannotOpen`."""
    import pyrage

    for _ in range(UNLOCK_TRIES):
        try:
            opened: bytes = pyrage.passphrase.decrypt(content, passphrase)
        except (pyrage.DecryptError, OSError) as error:
            if _TOO_SLOW not in str(error):
                # pyrage does not tell a wrong passphrase from damage, or from a file sealed for
                # a key.
                raise CannotOpen("the passphrase does not open it") from error
        else:
            return opened
    raise CannotOpen(
        "its passphrase needs more computing time than this host has now; try again later"
    )


def _identity(word: str, number: int) -> Any:
    import pyrage

    if word.upper().startswith(PLUGIN_PREFIX):
        raise ValueError(f"line {number} is for an age plugin, and plugins are not supported")
    try:
        return pyrage.x25519.Identity.from_str(word)
    except pyrage.IdentityError:
        # The message and the cause of pyrage's error might quote the secret.
        raise ValueError(f"line {number} is not an age identity ({SECRET_PREFIX}...)") from None


@contextmanager
def _translated() -> Iterator[None]:
    import pyrage

    try:
        yield
    except (pyrage.DecryptError, OSError) as error:
        # pyrage raises `DecryptError` for the header, and `OSError` for damage after it.
        first_line = str(error).partition("\n")[0]
        if first_line == _NO_MATCH:
            raise CannotOpen("none of the identities opens it") from error
        raise CorruptStream(f"it cannot be decrypted: {first_line}") from error
