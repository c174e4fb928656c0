"""What is written of a backup: its manifest, or the record of its failure.

Both are JSON with a schema name; a manifest has a fingerprint over its own body as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from holdfast.catalog.documents import unwrapped, wrapped
from holdfast.catalog.places import is_backup_id, is_blob_of, is_part_of
from holdfast.model.backup import Blob, Manifest, Member, Part
from holdfast.model.errors import ManifestInvalid
from holdfast.model.stored_json import MANIFEST, Unreadable, as_text, damaged, parsed, typed
from holdfast.model.values import Count, Line, Moment, Span, Text, tells_moment
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


FAILURE_SCHEMA: Literal["holdfast.failure/1"] = "holdfast.failure/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A backup that did not come to its end, and never a manifest; `part` and `relation` name what
    stopped it."""

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


@cache
def _failure_adapter() -> TypeAdapter[Failure]:
    from pydantic import TypeAdapter

    return TypeAdapter(Failure)


def encode_failure(failure: Failure) -> bytes:
    """As it is stored: what a server said is told as far as it is text, and not for ever."""
    told = replace(failure, error=as_text(failure.error), hint=as_text(failure.hint))
    return _failure_adapter().dump_json(told, indent=1) + b"\n"


def decode_failure(data: bytes, *, backup_id: str, key: str) -> Failure:
    """The record in `data`, which lies where that of `backup_id` does; raises `ManifestInvalid`
    naming `key`."""
    try:
        failure = typed(_failure_adapter(), parsed(data))
    except Unreadable as error:
        raise damaged(key, error) from error
    if failure.backup_id != backup_id:
        raise ManifestInvalid(
            f"cannot read '{key}': it is that of backup '{failure.backup_id}'",
            hint="it was moved after it was written, or somebody else wrote it",
        )
    return failure
