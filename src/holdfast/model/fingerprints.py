"""Fingerprints of bytes, each with its algorithm: `ALGORITHM:HEX`.

XXH3 finds damage, at next to no cost. It is no proof against somebody who chooses the bytes, so
whatever is believed rests on a cryptographic one: BLAKE3 or SHA-256.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.lazy_pattern import regex
from holdfast.model.stored_json import NotKnown, Unreadable

if TYPE_CHECKING:
    from holdfast.model.backup import Buffer

XXH3, BLAKE3, SHA256 = "xxh3", "blake3", "sha256"
# The number of hex digits of each; that of XXH3 has 128 bits.
ALGORITHMS = {XXH3: 32, BLAKE3: 64, SHA256: 64}
CRYPTOGRAPHIC = (BLAKE3, SHA256)
_FORM = regex(r"(?P<algorithm>[a-z0-9-]{1,32}):(?P<digits>[0-9a-f]{1,256})")


class Digest(Protocol):
    """Takes bytes, and has the fingerprint of those so far."""

    def update(self, data: Buffer, /) -> object: ...

    def digest(self) -> bytes: ...

    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithms:
    """How a job takes fingerprints: of plain bytes, and of stored bytes and names by content."""

    plain: str = XXH3
    stored: str = BLAKE3


FAST = Algorithms()
ONLY_SHA256 = Algorithms(plain=SHA256, stored=SHA256)


def digest(algorithm: str) -> Digest:
    """A new digest by one of `ALGORITHMS`; in one thread, without the interpreter's lock."""
    # Imported here: most commands compute none.
    if algorithm == BLAKE3:
        from blake3 import blake3

        return blake3()
    if algorithm == XXH3:
        from xxhash import xxh3_128

        return xxh3_128()
    if algorithm == SHA256:
        from hashlib import sha256

        return sha256()
    raise ValueError(f"'{algorithm}' is no algorithm of fingerprints")


def told(algorithm: str, found: Digest) -> str:
    """The fingerprint that `found`, a digest by `algorithm`, has come to."""
    return f"{algorithm}:{found.hexdigest()}"


def fingerprint_of(content: Buffer, algorithm: str = BLAKE3) -> str:
    found = digest(algorithm)
    found.update(content)
    return told(algorithm, found)


def algorithm_of(fingerprint: str) -> str:
    """The algorithm of a fingerprint; BLAKE3 for an empty one, which none was recorded for."""
    return fingerprint.partition(":")[0] or BLAKE3


def of_sha256(digits: str) -> str:
    """The fingerprint for the hex digits of a SHA-256; empty if there are none."""
    return f"{SHA256}:{digits}" if digits else ""


def sha256_of(fingerprint: str) -> str:
    """The hex digits of SHA-256; empty for every other algorithm."""
    algorithm, _, digits = fingerprint.partition(":")
    return digits if algorithm == SHA256 else ""


def fingerprint_in(text: object, *, is_proof: bool = False) -> str:
    """`text` as a stored fingerprint; empty if none was recorded.

    With `is_proof` it has to be cryptographic. Raises `Unreadable`, and `NotKnown` for an algorithm
    that a newer version may know.
    """
    if text == "":
        return ""
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise Unreadable(f"'{str(text)[:80]}' is not a fingerprint")
    algorithm = found["algorithm"]
    if algorithm not in ALGORITHMS:
        raise NotKnown(f"it has fingerprints of the unknown algorithm '{algorithm}'")
    if len(found["digits"]) != ALGORITHMS[algorithm]:
        raise Unreadable(f"'{found[0][:80]}' is not a fingerprint")
    if is_proof and algorithm not in CRYPTOGRAPHIC:
        raise Unreadable(f"'{found[0]}' proves nothing: {algorithm} is not cryptographic")
    return found[0]
