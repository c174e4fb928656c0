"""Values as they are stored: JSON with a schema name and a fingerprint over its own body."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from holdfast.errors import ManifestInvalid


def wrapped(body: dict[str, Any], *, schema: str, name: str) -> bytes:
    """`body` as the bytes that are stored, under `name`; equal values give equal bytes."""
    document = {"schema": schema, "sha256": _fingerprint(body), name: body}
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def unwrapped(data: bytes, *, schema: str, name: str, key: str) -> dict[str, Any]:
    """The body in `data`; raises `ManifestInvalid` naming `key`."""
    try:
        document = json.loads(data)
        found, written = document["schema"], document["sha256"]
        body: dict[str, Any] = document[name] if found == schema else {}
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestInvalid(f"cannot read manifest '{key}': it is damaged") from error
    if found != schema:
        raise ManifestInvalid(
            f"cannot read manifest '{key}': its schema is '{found}', not '{schema}'",
            hint="use the version of holdfast that wrote it, or a newer one",
        )
    if written != _fingerprint(body):
        raise ManifestInvalid(
            f"cannot read manifest '{key}': its content does not match its own fingerprint",
            hint="it was changed after it was written: trust another backup",
        )
    return body


def _fingerprint(body: dict[str, Any]) -> str:
    canonical = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
