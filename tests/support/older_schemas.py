"""Manifests in the schema before the current one."""

from __future__ import annotations

from holdfast.catalog.documents import wrapped
from holdfast.catalog.manifest import NAME, as_json
from holdfast.catalog.places import manifest_key
from holdfast.model.backup import Manifest
from tests.fakes.repository import MemoryRepository

SCHEMA_1 = "holdfast.manifest/1"


def in_schema_1(manifest: Manifest) -> bytes:
    """A stored manifest in schema 1, which is also what commands print."""
    return wrapped(as_json(manifest), schema=SCHEMA_1, name=NAME)


def kept_in_schema_1(repository: MemoryRepository, *manifests: Manifest) -> None:
    """Store manifests as the release before would have."""
    for each in manifests:
        repository.objects[manifest_key(each.backup_id)] = in_schema_1(each)
