"""Manifests in the schema before the current one."""

from __future__ import annotations

from typing import Any

from holdfast.catalog.documents import wrapped
from holdfast.catalog.manifest import NAME, as_json
from holdfast.catalog.places import manifest_key
from holdfast.model.backup import Manifest
from holdfast.model.fingerprints import SHA256
from tests.fakes.repository import MemoryRepository

SCHEMA_1 = "holdfast.manifest/1"


def body_in_schema_1(manifest: Manifest) -> dict[str, Any]:
    """What commands print, but for the fingerprints that schema 1 did not know."""
    body = as_json(manifest)
    for piece in (*body["parts"], *body["blobs"]):
        for name in ("plain_fingerprint", "stored_fingerprint"):
            assert piece.pop(name).partition(":")[0] in ("", SHA256)
    return body


def in_schema_1(manifest: Manifest) -> bytes:
    """A stored manifest in schema 1."""
    return wrapped(body_in_schema_1(manifest), schema=SCHEMA_1, name=NAME)


def kept_in_schema_1(repository: MemoryRepository, *manifests: Manifest) -> None:
    """Store manifests as the release before would have."""
    for each in manifests:
        repository.objects[manifest_key(each.backup_id)] = in_schema_1(each)
