"""Values as stored: JSON with a schema name and a fingerprint of the body."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from holdfast.model.errors import ManifestInvalid
from holdfast.model.sha256 import sha256_hex
from holdfast.model.stored_json import Limits, Unreadable, damaged, parsed


def wrapped(body: dict[str, Any], *, schema: str, name: str) -> bytes:
    """The bytes to store for `body`, under the member `name`; equal values give equal bytes."""
    document = {"schema": schema, "sha256": _fingerprint(body), name: body}
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def unwrapped(
    data: bytes, *, schemas: Sequence[str], name: str, key: str, limits: Limits
) -> tuple[str, dict[str, Any]]:
    """The schema and the body of `data`; raises `ManifestInvalid` naming `key`.

    `schemas` are the accepted ones, newest first.
    """
    try:
        document = parsed(data, limits)
        if not isinstance(document, dict):
            raise Unreadable("it is not a JSON object")
        found, written = document.get("schema"), document.get("sha256")
        if not isinstance(found, str) or not isinstance(written, str):
            raise Unreadable("it has no schema or no fingerprint")
    except Unreadable as error:
        raise damaged(key, error) from error
    if found not in schemas:
        raise ManifestInvalid(
            f"cannot read '{key}': its schema is '{found[:80]}', not '{schemas[0]}'",
            hint="use the version of holdfast that wrote it, or a newer one",
        )
    body = document.get(name)
    if not isinstance(body, dict):
        raise damaged(key, Unreadable(f"it holds no {name}"))
    if written != _fingerprint(body):
        raise ManifestInvalid(
            f"cannot read '{key}': its content does not match its own fingerprint",
            hint="it was changed after it was written: use another backup",
        )
    return found, body


def _fingerprint(body: dict[str, Any]) -> str:
    canonical = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    return sha256_hex(canonical)
