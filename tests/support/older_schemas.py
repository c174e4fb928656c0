"""Manifests as the schema before today's has them."""

from __future__ import annotations

from holdfast.catalog.documents import wrapped
from holdfast.catalog.manifest import NAME, as_json
from holdfast.catalog.places import manifest_key
from holdfast.model.backup import Manifest
from tests.fakes.repository import MemoryRepository

SCHEMA_1 = "holdfast.manifest/1"


def in_schema_1(manifest: Manifest) -> bytes:
    """What commands print is what schema 1 stores."""
    return wrapped(as_json(manifest), schema=SCHEMA_1, name=NAME)


def kept_in_schema_1(repository: MemoryRepository, *manifests: Manifest) -> None:
    """As if the release before had made these backups."""
    for each in manifests:
        repository.objects[manifest_key(each.backup_id)] = in_schema_1(each)
