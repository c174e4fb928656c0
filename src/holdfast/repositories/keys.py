"""Which keys a store takes: the same everywhere, so that backups can move between stores."""

from __future__ import annotations

from holdfast.errors import ObjectMissing


def require_plain(key: str) -> None:
    """Refuse what is not a plain relative name; a segment with a leading dot is never an object's.

    Raises `ObjectMissing`: nothing can be stored under such a key.
    """
    if any(segment == "" or segment.startswith(".") for segment in key.split("/")):
        raise ObjectMissing(f"cannot use key '{key}': it is not a plain relative name")
