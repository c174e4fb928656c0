"""The manifest on disk: JSON with a schema name and a fingerprint over its own body."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import TYPE_CHECKING, Any

from holdfast.errors import ManifestInvalid
from holdfast.model import Manifest

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = "holdfast.manifest/1"


@cache
def _adapter() -> TypeAdapter[Manifest]:
    """Loaded and built at the first use: `holdfast --help` should not wait for it."""
    from pydantic import TypeAdapter

    return TypeAdapter(Manifest)


def encode(manifest: Manifest) -> bytes:
    """`manifest` as the bytes that are stored; equal manifests give equal bytes."""
    body = as_json(manifest)
    document = {"schema": SCHEMA, "sha256": _fingerprint(body), "manifest": body}
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def decode(data: bytes, *, key: str) -> Manifest:
    """The manifest in `data`; raises `ManifestInvalid` naming `key`."""
    try:
        document = json.loads(data)
        schema, body = document["schema"], document["manifest"]
        written = document["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestInvalid(f"cannot read manifest '{key}': it is damaged") from error
    if schema != SCHEMA:
        raise ManifestInvalid(
            f"cannot read manifest '{key}': its schema is '{schema}', not '{SCHEMA}'",
            hint="use the version of holdfast that wrote it, or a newer one",
        )
    if written != _fingerprint(body):
        raise ManifestInvalid(
            f"cannot read manifest '{key}': its content does not match its own fingerprint",
            hint="it was changed after it was written: trust another backup",
        )
    try:
        return _adapter().validate_python(body, strict=False)
    except ValueError as error:
        raise ManifestInvalid(f"cannot read manifest '{key}': {error}") from error


def as_json(manifest: Manifest) -> dict[str, Any]:
    """`manifest` as plain JSON values, for output."""
    body: dict[str, Any] = _adapter().dump_python(manifest, mode="json")
    for part in body["parts"]:
        # It is the journal's alone.
        part.pop("memo", None)
    return body


def _fingerprint(body: dict[str, Any]) -> str:
    canonical = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
