"""Fingerprints of bytes: `ALGORITHM:HEX`, so that another algorithm can follow.

To add one, add it to `ALGORITHMS` and to `pipeline.flow.Fingerprint`, which computes it.
"""

from __future__ import annotations

import re

from holdfast.model.stored_json import NotKnown, Unreadable

SHA256 = "sha256"
# The number of hex digits of each.
ALGORITHMS = {SHA256: 64}
_FORM = re.compile(r"(?P<algorithm>[a-z0-9-]{1,32}):(?P<digits>[0-9a-f]{1,256})")


def of_sha256(digits: str) -> str:
    """The fingerprint for the hex digits of a SHA-256; empty if there are none."""
    return f"{SHA256}:{digits}" if digits else ""


def sha256_of(fingerprint: str) -> str:
    """The hex digits of SHA-256; empty for every other algorithm."""
    algorithm, _, digits = fingerprint.partition(":")
    return digits if algorithm == SHA256 else ""


def fingerprint_in(text: object) -> str:
    """`text` as a stored fingerprint; empty if none was recorded.

    Raises `Unreadable`, and `NotKnown` for an algorithm that a newer version may know.
    """
    if text == "":
        return ""
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise Unreadable(f"'{str(text)[:80]}' is no fingerprint")
    if found["algorithm"] not in ALGORITHMS:
        raise NotKnown(f"it has fingerprints by '{found['algorithm']}', which is not known")
    if len(found["digits"]) != ALGORITHMS[found["algorithm"]]:
        raise Unreadable(f"'{found[0][:80]}' is no fingerprint")
    return found[0]
