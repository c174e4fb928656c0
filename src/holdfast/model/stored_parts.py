"""Parts and blobs as JSON: the one place that knows how the two manifest schemas differ.

Schema 1 stored facts without their kind, and fingerprints, all of them SHA-256, without their
algorithm. Manifests, journals and records of archived WAL are written in schema 2. Commands print
schema 1, which their readers know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.model.backup import Blob, Manifest, Member, Part
from holdfast.model.facts import stored
from holdfast.model.fingerprints import fingerprint_in, of_sha256, sha256_of
from holdfast.model.part_details import Details, details_in, details_of_schema_1, stored_details
from holdfast.model.proof import Proof, proof_in, proof_of_schema_1
from holdfast.model.stored_json import Unreadable

Json = dict[str, Any]

# The names of fingerprints in schema 2, and in schema 1.
_OF_PART = {"plain_fingerprint": "plain_sha256", "stored_fingerprint": "stored_sha256"}
_OF_BLOB = {"plain_fingerprint": "sha256", "stored_fingerprint": "stored_sha256"}


def manifest_as_stored(body: Json, manifest: Manifest) -> Json:
    """Turn `body`, the plain form of `manifest`, into schema 2; changed in place."""
    body["proof"] = stored(manifest.proof)
    for each, part in zip(body["parts"], manifest.parts, strict=True):
        # Only the journal stores it.
        del each["memo"]
        part_as_stored(each, part)
    return body


def part_as_stored(body: Json, part: Part) -> Json:
    """Like `manifest_as_stored`, for one part."""
    return _with_details(body, part, stored_details)


def manifest_as_printed(body: Json, manifest: Manifest) -> Json:
    """Turn `body`, the plain form of `manifest`, into schema 1; changed in place.

    Its fingerprints of SHA-256 are empty for other algorithms. Those of schema 2 stand beside them.
    """
    body["proof"] = manifest.proof.texts()
    for each, part in zip(body["parts"], manifest.parts, strict=True):
        del each["memo"]
        part_in_schema_1(each, part)
        _beside(each, part)
    for each, blob in zip(body["blobs"], manifest.blobs, strict=True):
        _beside(_rename(each, _OF_BLOB), blob)
    return body


def part_in_schema_1(body: Json, part: Part) -> Json:
    """Turn `body`, the plain form of `part`, into schema 1; changed in place."""
    return _rename(_with_details(body, part, Details.texts), _OF_PART)


def _with_details(body: Json, part: Part, told: Callable[[Details], dict[str, str]]) -> Json:
    everything: tuple[Part | Member, ...] = (part, *part.members)
    for each, of in zip((body, *body["members"]), everything, strict=True):
        each["details"] = told(of.details)
        if not each["checksum"]:
            # Most parts and members have none, and there may be many of them.
            del each["checksum"]
    return body


def _rename(body: Json, names: dict[str, str]) -> Json:
    for name, was in names.items():
        body[was] = sha256_of(body.pop(name))
    return body


def _beside(body: Json, piece: Part | Blob) -> None:
    body["plain_fingerprint"] = piece.plain_fingerprint
    body["stored_fingerprint"] = piece.stored_fingerprint


def proof_from(value: object, schema: int) -> Proof:
    """Read a proof in either schema; raises `Unreadable`."""
    return proof_in(value) if schema > 1 else proof_of_schema_1(value)


def part_from(value: object, schema: int) -> Json:
    """One part without its members, as input of `typed` for a `Part`; raises `Unreadable`."""
    found = _object(value) | {"members": ()}
    return _fingerprints(_details(found, schema), _OF_PART, schema)


def member_from(value: object, schema: int) -> Json:
    """Like `part_from`, for a table in a part."""
    return _details({"details": {}} | _object(value), schema)


def blob_from(value: object, schema: int) -> Json:
    """Like `part_from`, for a blob."""
    return _fingerprints(dict(_object(value)), _OF_BLOB, schema)


def _details(found: Json, schema: int) -> Json:
    """Read the details into their class of facts, which `typed` accepts unchanged."""
    if "details" not in found:
        raise Unreadable("details: they are missing")
    read = details_in if schema > 1 else details_of_schema_1
    try:
        return found | {"details": read(found["details"])}
    except Unreadable as error:
        raise type(error)(f"details: {error}") from error


def _fingerprints(found: Json, names: dict[str, str], schema: int) -> Json:
    for name, was in names.items():
        if schema > 1 and name in found:
            # Stored bytes are believed because of it, and a value is named after it.
            is_proof = name == "stored_fingerprint" or names is _OF_BLOB
            found[name] = fingerprint_in(found[name], is_proof=is_proof)
        elif schema == 1:
            # Schema 1 has no field of that name.
            found.pop(name, None)
            if was in found:
                found[name] = _of_schema_1(found.pop(was))
    return found


def _of_schema_1(digits: object) -> object:
    """Leave anything but a text for `typed` to refuse."""
    return fingerprint_in(of_sha256(digits)) if isinstance(digits, str) else digits


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        raise Unreadable("a part or a blob is not a JSON object")
    return value
