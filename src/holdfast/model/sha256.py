"""SHA-256 of short texts, without OpenSSL."""

from __future__ import annotations

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
    for name in _WITHOUT_OPENSSL if len(content) < _FEW_BYTES else ():
        try:
            own: Any = import_module(name)
        except ImportError:
            continue
        return str(own.sha256(content).hexdigest())
    from hashlib import sha256

    return sha256(content).hexdigest()
