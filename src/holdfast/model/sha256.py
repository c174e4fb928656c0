"""SHA-256 of short texts, without OpenSSL."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

# The interpreter's own: since Python 3.12, and before.
_WITHOUT_OPENSSL = ("_sha2", "_sha256")
# More than these take longer without OpenSSL than OpenSSL takes to load.
_FEW_BYTES = 256 << 10


def sha256_hex(content: bytes) -> str:
    """As `hashlib.sha256`, which first loads OpenSSL: that takes 3 ms.

    Python has the same without OpenSSL, where its own `random` takes it from. The name is one of
    its own, so `hashlib` remains for a Python that has neither.
    """
    own = _without_openssl() if len(content) < _FEW_BYTES else None
    if own is not None:
        return str(own(content).hexdigest())
    from hashlib import sha256

    return sha256(content).hexdigest()


@cache
def _without_openssl() -> Callable[[bytes], Any] | None:
    """Looked for once: a module that is missing is sought in each folder, for each text again."""
    for name in _WITHOUT_OPENSSL:
        with suppress(ImportError):
            found: Callable[[bytes], Any] = import_module(name).sha256
            return found
    return None
