"""A repository in a dictionary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from holdfast.model.backup import Buffer
from holdfast.model.errors import AlreadyStored, HoldfastError, ObjectMissing, RepositoryReadOnly
from holdfast.ports.repository import Stored

CHUNK_BYTES = 1 << 16


class MemoryRepository:
    """Objects in memory; `refuse_puts_with` and `refuse_all_with` make it a broken store.

    `refuse_key_with` refuses only puts of keys with that suffix.
    """

    def __init__(self, *, free_bytes: int | None = None) -> None:
        self.objects: dict[str, bytes] = {}
        self.unfinished: set[str] = set()
        self.refuse_puts_with: HoldfastError | None = None
        self.refuse_all_with: HoldfastError | None = None
        self.refuse_key_with: tuple[str, HoldfastError] | None = None
        self.refuse_deletes_with: HoldfastError | None = None
        self.locked: set[str] = set()
        self.fingerprint_given: dict[str, str] = {}
        self._free_bytes = free_bytes

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        self._refuse(self.refuse_puts_with)
        if self.refuse_key_with is not None and key.endswith(self.refuse_key_with[0]):
            raise self.refuse_key_with[1]
        _require_plain(key)
        content = b"".join(bytes(chunk) for chunk in chunks)
        if key in self.objects:
            raise AlreadyStored(f"cannot store '{key}' in memory: File exists")
        self.objects[key] = content
        return Stored(key=key, size_bytes=len(content))

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        self._refuse()
        _require_plain(key)
        if key not in self.objects:
            raise ObjectMissing(f"cannot read '{key}' in memory: No such file or directory")
        content = self.objects[key]
        yield (
            content[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES)
        )

    def stat(self, key: str) -> Stored:
        self._refuse()
        if key not in self.objects:
            raise ObjectMissing(f"cannot read '{key}' in memory: No such file or directory")
        return Stored(key=key, size_bytes=len(self.objects[key]))

    def list(self, prefix: str) -> Iterator[Stored]:
        self._refuse()
        below = f"{prefix.rstrip('/')}/" if prefix else ""
        for key in sorted(self.objects):
            if key.startswith(below):
                fingerprint = self.fingerprint_given.get(key, "")
                yield Stored(key=key, size_bytes=len(self.objects[key]), fingerprint=fingerprint)

    def delete(self, key: str) -> None:
        self._refuse(self.refuse_deletes_with)
        _require_plain(key)
        if key in self.locked:
            raise RepositoryReadOnly(f"cannot delete '{key}' in memory: it is locked")
        self.objects.pop(key, None)

    def sweep(self, prefix: str) -> int:
        self._refuse()
        swept = {key for key in self.unfinished if key.startswith(f"{prefix}/")}
        self.unfinished -= swept
        return len(swept)

    def free_bytes(self) -> int | None:
        self._refuse()
        return self._free_bytes

    def check(self) -> str:
        self._refuse(self.refuse_puts_with)
        return self.refuse_deletes_with.message if self.refuse_deletes_with else ""

    def flip_bit(self, key: str, *, at: int = 0) -> None:
        """Flip a bit of one stored object, as a bad disk does."""
        content = bytearray(self.objects[key])
        content[at] ^= 1
        self.objects[key] = bytes(content)

    def _refuse(self, error: HoldfastError | None = None) -> None:
        for refusal in (self.refuse_all_with, error):
            if refusal is not None:
                raise refusal


def _require_plain(key: str) -> None:
    if any(segment == "" or segment.startswith(".") for segment in key.split("/")):
        raise ObjectMissing(f"cannot use key '{key}': it is not a plain relative name")
