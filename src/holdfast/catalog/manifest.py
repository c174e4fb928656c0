"""The manifest on disk: JSON with a schema name and a fingerprint over its own body."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from holdfast.catalog.documents import unwrapped, wrapped
from holdfast.errors import ManifestInvalid
from holdfast.model import Manifest

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = "holdfast.manifest/1"
NAME = "manifest"


@cache
def _adapter() -> TypeAdapter[Manifest]:
    """Loaded and built at the first use: `holdfast --help` should not wait for it."""
    from pydantic import TypeAdapter

    return TypeAdapter(Manifest)


def encode(manifest: Manifest) -> bytes:
    """`manifest` as the bytes that are stored; equal manifests give equal bytes."""
    return wrapped(as_json(manifest), schema=SCHEMA, name=NAME)


def decode(data: bytes, *, key: str) -> Manifest:
    """The manifest in `data`; raises `ManifestInvalid` naming `key`."""
    body = unwrapped(data, schema=SCHEMA, name=NAME, key=key)
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
