"""Standard age files, so that the stock `age` command can read what we store.

pyrage holds the interpreter's lock while it seals 64 KiB; between those others get their turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyrage

from holdfast.pipeline.compress import Pass
from holdfast.pipeline.flow import Stage
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
