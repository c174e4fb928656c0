"""The two documents about a backup: its manifest, or the record of its failure.

Both are JSON with a schema name; a manifest also has a fingerprint of its own body.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from holdfast.catalog.documents import unwrapped, wrapped
from holdfast.catalog.places import is_backup_id, is_blob_of, is_part_of
from holdfast.model.backup import Blob, Manifest, Member, Part
from holdfast.model.errors import ManifestInvalid
from holdfast.model.lazy_dataclass import dataclass, replace
from holdfast.model.stored_json import MANIFEST, Unreadable, as_text, damaged, parsed, plain, typed
from holdfast.model.stored_parts import (
    blob_from,
    manifest_as_printed,
    manifest_as_stored,
    member_from,
    part_from,
    proof_from,
)
from holdfast.model.values import Count, Line, Moment, Text

SCHEMA = "holdfast.manifest/2"
# The schemas that can be read, newest first, with the number of each.
SCHEMAS = {SCHEMA: 2, "holdfast.manifest/1": 1}
NAME = "manifest"


def encode(manifest: Manifest) -> bytes:
    """`manifest` as the bytes that are stored; equal manifests give equal bytes."""
    return wrapped(manifest_as_stored(plain(manifest), manifest), schema=SCHEMA, name=NAME)


def decode(data: bytes, *, key: str) -> Manifest:
    """The manifest in `data`; raises `ManifestInvalid` naming `key`.

    Every part that it lists lies below the backup that it names. The caller must check that this
    is the backup stored at `key`.
    """
    found, body = unwrapped(data, schemas=[*SCHEMAS], name=NAME, key=key, limits=MANIFEST)
    schema = SCHEMAS[found]
    try:
        parts = tuple(_parts(body.pop("parts", None), schema))
        blobs = tuple(
            typed(Blob, blob_from(each, schema)) for each in _listed(body.pop("blobs", []))
        )
        proof = proof_from(body.pop("proof", None), schema)
        # Parsed one by one: of a million faults the first is reported, and no other is kept.
        bare = typed(Manifest, {**body, "proof": proof, "parts": (), "blobs": ()})
        manifest = replace(bare, parts=parts, blobs=blobs)
        _require_sound(manifest)
    except Unreadable as error:
        raise damaged(key, error) from error
    return manifest


def _parts(found: object, schema: int) -> Iterator[Part]:
    for each in _listed(found):
        part = typed(Part, part_from(each, schema))
        if members := _listed(each.get("members", [])):
            read = (typed(Member, member_from(member, schema)) for member in members)
            part = replace(part, members=tuple(read))
        yield part


def _listed(found: object) -> list[Any]:
    if not isinstance(found, list):
        raise Unreadable("its parts, tables or blobs are not a list")
    return found


def _require_sound(manifest: Manifest) -> None:
    """Raise `Unreadable` if a value is impossible, or belongs to another backup."""
    if not is_backup_id(manifest.backup_id):
        raise Unreadable("its backup id is invalid")
    for part in manifest.parts:
        if not is_part_of(manifest.backup_id, part.key):
            raise Unreadable(f"its part '{part.key[:200]}' does not belong to this backup")
    for blob in manifest.blobs:
        if not is_blob_of(manifest.job, blob.key):
            raise Unreadable(f"its blob '{blob.key[:200]}' does not belong to this job")
    parent = manifest.parent
    if parent and (
        not is_backup_id(parent)
        or parent.partition("/")[0] != manifest.job
        or parent == manifest.backup_id
    ):
        raise Unreadable(f"its parent '{parent[:200]}' is not another backup of this job")


def as_json(manifest: Manifest) -> dict[str, Any]:
    """`manifest` as plain JSON values, for output."""
    return manifest_as_printed(plain(manifest), manifest)


FAILURE_SCHEMA: Literal["holdfast.failure/1"] = "holdfast.failure/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A backup that did not finish and has no manifest; `part` and `relation` name what failed."""

    job: Line
    name: Line
    run_id: Line
    host: Line
    engine: Line
    database: Line
    started_at: Moment
    failed_at: Moment
    error: Text
    hint: Text
    exit_code: Count
    part: Line = ""
    relation: Line = ""
    parts_kept: Count = 0
    schema: Literal["holdfast.failure/1"] = FAILURE_SCHEMA

    @property
    def backup_id(self) -> str:
        return f"{self.job}/{self.name}"


def encode_failure(failure: Failure) -> bytes:
    """The bytes to store; error and hint are cut to a limit, and invalid text is escaped."""
    told = replace(failure, error=as_text(failure.error), hint=as_text(failure.hint))
    return json.dumps(plain(told), indent=1, ensure_ascii=False).encode() + b"\n"


def decode_failure(data: bytes, *, backup_id: str, key: str) -> Failure:
    """The failure record in `data`, read from the place of `backup_id`.

    Raises `ManifestInvalid` naming `key`.
    """
    try:
        failure = typed(Failure, parsed(data))
    except Unreadable as error:
        raise damaged(key, error) from error
    if failure.backup_id != backup_id:
        raise ManifestInvalid(
            f"cannot read '{key}': it belongs to backup '{failure.backup_id}'",
            hint="it was moved after it was written, or somebody else wrote it",
        )
    return failure
