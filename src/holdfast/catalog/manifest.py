"""The manifest on disk: JSON with a schema name and a fingerprint over its own body."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from holdfast.catalog.documents import unwrapped, wrapped
from holdfast.catalog.places import is_backup_id, is_blob_of, is_part_of
from holdfast.model.backup import Blob, Manifest, Member, Part, tells_moment
from holdfast.model.ranges import Span
from holdfast.model.stored_json import MANIFEST, Unreadable, damaged, typed
from holdfast.model.wal import Position

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = "holdfast.manifest/1"
NAME = "manifest"

Sound = Callable[[str], object]


def _is_span(text: str) -> bool:
    try:
        Span.parse(text)
    except ValueError:
        return False
    return True


# What is read again by more than the source that wrote it.
_PROOF: dict[str, Sound] = {
    "start_lsn": Position.is_one,
    "stop_lsn": Position.is_one,
    "timeline": re.compile(r"[1-9][0-9]{0,9}").fullmatch,
    "system_identifier": re.compile(r"[0-9]{1,20}").fullmatch,
    "ended_at": tells_moment,
}
_DETAILS: dict[str, Sound] = {"pages": _is_span, "bytes": _is_span}


@cache
def _adapter() -> TypeAdapter[Manifest]:
    """Loaded and built at the first use: `holdfast --help` should not wait for it."""
    from pydantic import TypeAdapter

    return TypeAdapter(Manifest)


@cache
def _part() -> TypeAdapter[Part]:
    from pydantic import TypeAdapter

    return TypeAdapter(Part)


@cache
def _member() -> TypeAdapter[Member]:
    from pydantic import TypeAdapter

    return TypeAdapter(Member)


@cache
def _blob() -> TypeAdapter[Blob]:
    from pydantic import TypeAdapter

    return TypeAdapter(Blob)


def encode(manifest: Manifest) -> bytes:
    """`manifest` as the bytes that are stored; equal manifests give equal bytes."""
    return wrapped(as_json(manifest), schema=SCHEMA, name=NAME)


def decode(data: bytes, *, key: str) -> Manifest:
    """The manifest in `data`; raises `ManifestInvalid` naming `key`.

    What it names lies below the backup that it says it is of; that this is the one at `key` is for
    whoever knows where it was read.
    """
    body = unwrapped(data, schema=SCHEMA, name=NAME, key=key, limits=MANIFEST)
    try:
        parts = tuple(_parts(body.pop("parts", None)))
        blobs = tuple(typed(_blob(), each) for each in _listed(body.pop("blobs", [])))
        # One by one: of a million things that are wrong the first is told, and no other is kept.
        bare = typed(_adapter(), {**body, "parts": (), "blobs": ()})
        manifest = replace(bare, parts=parts, blobs=blobs)
        _require_sound(manifest)
    except Unreadable as error:
        raise damaged(key, error) from error
    return manifest


def _parts(found: object) -> Iterator[Part]:
    for each in _listed(found):
        members = _listed(each.get("members", []) if isinstance(each, dict) else [])
        part = typed(_part(), {**each, "members": ()} if members else each)
        if members:
            part = replace(part, members=tuple(typed(_member(), member) for member in members))
        yield part


def _listed(found: object) -> list[Any]:
    if not isinstance(found, list):
        raise Unreadable("it has no list of what it names")
    return found


def _require_sound(manifest: Manifest) -> None:
    """Raise `Unreadable` where what it says cannot be, or is of another backup."""
    if not is_backup_id(manifest.backup_id):
        raise Unreadable("it is of no backup")
    for part in manifest.parts:
        if not is_part_of(manifest.backup_id, part.key):
            raise Unreadable(f"its part '{part.key[:200]}' is none of this backup")
        _require_words(part.details, _DETAILS)
    for blob in manifest.blobs:
        if not is_blob_of(manifest.job, blob.key):
            raise Unreadable(f"its value '{blob.key[:200]}' is none of this job")
    _require_words(manifest.proof, _PROOF)
    parent = manifest.parent
    if parent and (
        not is_backup_id(parent)
        or parent.partition("/")[0] != manifest.job
        or parent == manifest.backup_id
    ):
        raise Unreadable(f"its parent '{parent[:200]}' is no other backup of this job")


def _require_words(found: dict[str, str], words: dict[str, Sound]) -> None:
    for name, is_sound in words.items():
        if name in found and not is_sound(found[name]):
            raise Unreadable(f"its '{name}' is '{found[name][:80]}'")


def as_json(manifest: Manifest) -> dict[str, Any]:
    """`manifest` as plain JSON values, for output."""
    body: dict[str, Any] = _adapter().dump_python(manifest, mode="json")
    for part in body["parts"]:
        # It is the journal's alone.
        part.pop("memo", None)
        for each in (part, *part["members"]):
            if not each["checksum"]:
                # Most have none, and there may be many of them.
                del each["checksum"]
    return body
