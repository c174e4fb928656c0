"""How a blob is stored by the word of every backup that refers to it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import Manifest
from holdfast.ports.repository import Repository

Records = defaultdict[str, set[tuple[int, str]]]
"""Sizes and SHA-256 by key."""


class BlobRecords:
    """A blob that was damaged is stored anew by the next backup: the same content in other bytes.

    Older backups, for which it is as good, have noted the old ones. Which bytes are right they
    are told by the newer ones, whose manifests are read only where somebody has to ask.
    """

    def __init__(self, repository: Repository, manifests: Sequence[Manifest] | None = None) -> None:
        """`manifests` are all of the job, for whoever has read them already."""
        self._repository = repository
        self._manifests = manifests
        self._lock = threading.Lock()
        self._known: dict[str, Records] = {}

    def know(self, key: str, *, size_bytes: int, sha256: str = "") -> bool:
        """Whether some backup says that this is how `key` is stored; without `sha256`, how long."""
        found = self._of(key)
        return any(size_bytes == size and sha256 in ("", digest) for size, digest in found)

    def disagree(self, key: str) -> bool:
        """Whether it was stored more than once, in other bytes each time."""
        return len(self._of(key)) > 1

    def _of(self, key: str) -> set[tuple[int, str]]:
        job = key.partition("/")[0]
        with self._lock:
            if job not in self._known:
                manifests = self._manifests or Catalog(self._repository).survey(job).manifests
                self._known[job] = _records(manifests)
            return self._known[job][key]


def _records(manifests: Sequence[Manifest]) -> Records:
    found: Records = defaultdict(set)
    for manifest in manifests:
        for blob in manifest.blobs:
            if blob.is_recorded:
                found[blob.key].add((blob.stored_bytes, blob.stored_sha256))
    return found
