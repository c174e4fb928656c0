"""Impossible manifests are refused with a reason, even if their own fingerprint matches."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.catalog.catalog import Catalog, Damaged
from holdfast.catalog.documents import wrapped
from holdfast.catalog.manifest import NAME, SCHEMA, as_json, decode, encode
from holdfast.catalog.places import manifest_key
from holdfast.model.errors import ManifestInvalid
from tests.fakes.repository import MemoryRepository
from tests.support.manifests import manifest

GOOD, BAD = manifest("20261119T020000Z-00000001"), manifest("20261120T020000Z-00000002")
MEMBER = {"relation": {"schema": "public", "name": "t"}, "rows": 1, "offset": 0, "plain_bytes": 1}
BLOB = {
    "key": "shop/blobs/ab/abcd.zst",
    "sha256": "ab" * 32,
    "plain_fingerprint": f"sha256:{'ab' * 32}",
    "plain_bytes": 1,
}
# Schema 1 has no kinds, and ignores them.
TABLE = {"kind": "postgres-table", "format": "text", "encoding": "UTF8", "columns": "[]"}

BASE = {"kind": "base-backup"}

Change = Callable[[dict[str, Any]], object]


SCHEMAS = ["holdfast.manifest/1", SCHEMA]


def found(change: Change, schema: str) -> Damaged | None:
    """The report of a survey on a changed manifest, beside a good one."""
    body = json.loads(encode(BAD))[NAME] if schema == SCHEMA else as_json(BAD)
    change(body)
    store = MemoryRepository()
    Catalog(store).commit(GOOD)
    store.objects[manifest_key(BAD.backup_id)] = wrapped(body, schema=schema, name=NAME)
    survey = Catalog(store).survey("shop")
    assert GOOD in survey.manifests
    assert [each.backup_id for each in survey.damaged] in ([], [BAD.backup_id])
    return survey.damaged[0] if survey.damaged else None


def in_part(**changes: object) -> Change:
    return lambda body: body["parts"][0].update(changes)


def in_body(**changes: object) -> Change:
    return lambda body: body.update(changes)


WRONG: dict[str, tuple[Change, str]] = {
    "a negative offset": (in_part(members=[MEMBER | {"offset": -7}]), "offset: "),
    "a negative length": (in_part(members=[MEMBER | {"plain_bytes": -1}]), "plain_bytes: "),
    "an absurd size": (in_part(plain_bytes=1e300), "plain_bytes: "),
    "a negative size": (in_part(stored_bytes=-1), "stored_bytes: "),
    "no details": (lambda body: body["parts"][0].pop("details"), "details: "),
    "details that are no text": (in_part(details={"format": ["text"]}), "details: its 'format'"),
    "pages before the first": (
        in_part(details=TABLE | {"pages": "-5-3"}),
        "'pages' has the invalid value '-5-3'",
    ),
    "pages beyond any table": (
        in_part(details=TABLE | {"pages": "1-" + "9" * 40}),
        "'pages' has the invalid value '1-9",
    ),
    "no parts": (lambda body: body.pop("parts"), "are not a list"),
    "parts by name": (in_body(parts={"a": 1}), "are not a list"),
    "a part that is none": (in_body(parts=[None]), "a part or a blob is not "),
    "a part of another backup": (
        in_part(key=f"{GOOD.backup_id}/parts/data/00001-orders.copy.zst"),
        "does not belong to this backup",
    ),
    "a part above its folder": (
        in_part(key=f"{BAD.backup_id}/parts/../../x"),
        "does not belong to this backup",
    ),
    "a part that is the manifest": (
        in_part(key=manifest_key(BAD.backup_id)),
        "does not belong to this",
    ),
    "a part of no name": (
        in_part(key=f"{BAD.backup_id}/parts/a\0b"),
        "does not belong to this backup",
    ),
    "a value of another job": (
        in_body(blobs=[BLOB | {"key": "other/blobs/a"}]),
        "does not belong to this job",
    ),
    "a value that is a part": (
        in_body(blobs=[BLOB | {"key": "shop/x"}]),
        "does not belong to this job",
    ),
    "a value without a length": (in_body(blobs=[{"key": "shop/blobs/a"}]), "plain_fingerprint: "),
    "a time without a zone": (in_body(snapshot_at="2026-11-20T02:00:00"), "snapshot_at: "),
    "a time before year 1": (in_body(finished_at="0001-01-01T00:00:00+14:00"), "finished_at: "),
    "a time after year 9999": (in_body(started_at="9999-12-31T23:59:59-14:00"), "started_at: "),
    "a metric that is none": (in_body(metrics={"seconds": "NaN"}), r"metrics\.seconds: "),
    "its own parent": (in_body(proof={"kind": "snapshot", "parent": BAD.backup_id}), "its parent "),
    "a parent of another job": (
        in_body(proof={"kind": "snapshot", "parent": "other/20261119T020000Z-00000001"}),
        "its parent ",
    ),
    "a position that is none": (
        in_body(proof=BASE | {"start_lsn": "0/XYZ"}),
        "'start_lsn' has the invalid value '0/XYZ'",
    ),
    "a timeline that is none": (
        in_body(proof=BASE | {"timeline": "-1"}),
        "'timeline' has the invalid value '-1'",
    ),
    "a cluster that is none": (
        in_body(proof=BASE | {"system_identifier": "../x"}),
        "'system_identifier'",
    ),
    "an end that is no moment": (in_body(proof=BASE | {"ended_at": "2026-11-20"}), "'ended_at'"),
    "a name that is none": (in_body(name="../../other"), "its backup id is invalid"),
    "thousands of notes": (in_body(notes=["x"] * 20_000), "notes: "),
}


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize(("change", "why"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_is_named_and_hides_no_other(change: Change, why: str, schema: str) -> None:
    damaged = found(change, schema)
    assert damaged is not None
    assert why.replace("\\", "") in damaged.problem
    assert f"'{manifest_key(BAD.backup_id)}'" in damaged.problem
    assert len(damaged.problem) < 500


@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_can_be_is_read(schema: str) -> None:
    assert found(lambda _: None, schema) is None
    assert found(in_part(members=[MEMBER], details=TABLE | {"pages": "0-"}), schema) is None
    assert found(in_body(blobs=[BLOB]), schema) is None


NEWER: dict[str, tuple[Change, str]] = {
    "a part by another algorithm": (
        in_part(stored_fingerprint="blake4:" + "ab" * 32),
        "fingerprints of the unknown algorithm 'blake4'",
    ),
    "a value by another algorithm": (
        in_body(blobs=[BLOB | {"plain_fingerprint": "k12:" + "ab" * 16}]),
        "fingerprints of the unknown algorithm 'k12'",
    ),
    "another kind of part": (
        in_part(details={"kind": "delta"}),
        "facts of the unknown kind 'delta'",
    ),
    "another kind of proof": (
        in_body(proof={"kind": "binlog"}),
        "facts of the unknown kind 'binlog'",
    ),
}


@pytest.mark.parametrize(
    "change",
    [
        in_part(stored_fingerprint="xxh3:" + "ab" * 16),
        in_body(blobs=[BLOB | {"plain_fingerprint": "xxh3:" + "ab" * 16}]),
        in_body(blobs=[BLOB | {"stored_fingerprint": "xxh3:" + "ab" * 16}]),
    ],
    ids=["a part", "the name of a value", "a value"],
)
def test_what_is_believed_never_rests_on_a_fingerprint_that_proves_nothing(change: Change) -> None:
    damaged = found(change, SCHEMA)
    assert damaged is not None
    assert "proves nothing: xxh3 is not cryptographic" in damaged.problem


@pytest.mark.parametrize(("change", "why"), NEWER.values(), ids=NEWER.keys())
def test_what_a_newer_version_may_have_written_is_told_as_that(change: Change, why: str) -> None:
    body = json.loads(encode(BAD))[NAME]
    change(body)
    key = manifest_key(BAD.backup_id)
    with pytest.raises(ManifestInvalid) as refused:
        decode(wrapped(body, schema=SCHEMA, name=NAME), key=key)
    assert why in refused.value.message
    assert key in refused.value.message
    assert "newer" in refused.value.hint


@pytest.mark.parametrize(
    "fingerprint", ["ab" * 32, "sha256:xy", "sha256:ab", "sha256:" + "AB" * 32, "x" * 5000, 7, None]
)
def test_a_fingerprint_that_is_none_is_named(fingerprint: object) -> None:
    damaged = found(in_part(stored_fingerprint=fingerprint), SCHEMA)
    assert damaged is not None
    assert "is not a fingerprint" in damaged.problem
    assert len(damaged.problem) < 300


@pytest.mark.parametrize("wrong", [{}, None, "x", {"members": [{}] * 100}])
@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_manifest_of_which_everything_is_wrong_takes_little_memory(
    wrong: object, schema: str
) -> None:
    """One error for each of a million fields used gigabytes once."""
    tracemalloc.start()
    try:
        assert found(in_body(parts=[wrong] * 5_000), schema) is not None
        assert tracemalloc.get_traced_memory()[1] < 60 << 20
    finally:
        tracemalloc.stop()
