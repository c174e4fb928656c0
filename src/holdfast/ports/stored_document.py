"""One document out of a repository, whose size and shape are looked at before it is parsed."""

from __future__ import annotations

from holdfast.model.stored_json import Limits, Unreadable, damaged, gathered
from holdfast.ports.repository import Repository, Stored


def read(
    repository: Repository, key: str, limits: Limits, *, stored: Stored | None = None
) -> bytes:
    """What is stored under `key`, looked at no further than its shape; `stored` is what a list has
    told of it. Raises `ManifestInvalid` naming the key, `ObjectMissing`."""
    told = stored or repository.stat(key)
    try:
        if told.size_bytes > limits.most_bytes:
            raise Unreadable(f"it is larger than {limits.most_bytes} bytes")
        with repository.open(key) as chunks:
            return gathered(chunks, limits)
    except Unreadable as error:
        raise damaged(key, error) from error
