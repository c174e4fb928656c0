"""Both schemas of a manifest mean the same, for every backup that was ever made."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.manifest import SCHEMA, decode, encode
from holdfast.catalog.places import manifest_key, record_at
from holdfast.model.proof import BaseBackupProof, Proof
from tests.fakes.repository import MemoryRepository
from tests.support.golden import GOLDEN
from tests.support.manifests import manifest
from tests.support.older_schemas import SCHEMA_1, body_in_schema_1, in_schema_1, kept_in_schema_1

MANIFEST = "manifest.json"


def golden() -> Iterator[tuple[str, bytes]]:
    """Every manifest of a backup in the golden repositories."""
    for archive in sorted(GOLDEN.glob("*/*.tar")):
        with tarfile.open(archive) as packed:
            for member in packed:
                key = member.name.partition("/")[2]
                if record_at(key) == MANIFEST and ".wal/" not in key:
                    content = packed.extractfile(member)
                    assert content is not None
                    yield f"{archive.parent.name}/{archive.stem}/{member.name}", content.read()


STORED = dict(golden())


def body_of(content: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(content)["manifest"]
    return body


def test_the_golden_repositories_hold_every_way_to_back_up() -> None:
    proofs = {type(decode(each, key="k").proof).__name__ for each in STORED.values()}
    assert len(STORED) > 15
    assert len(proofs) == 5


@pytest.mark.parametrize("key", STORED)
def test_what_schema_1_says_is_printed_as_it_was_and_means_the_same_in_schema_2(key: str) -> None:
    content = STORED[key]
    read, body = decode(content, key=key), body_of(content)
    assert json.loads(content)["schema"] == SCHEMA_1
    # Fields were added since, and none was removed.
    for part in body["parts"]:
        if part["details"].get("path") == "backup_label":
            part["details"] = {"links": "{}", "mode": "0"} | part["details"]
        part.pop("memo", None)
    assert json.loads(json.dumps(body_in_schema_1(read))) == body
    again = encode(read)
    assert json.loads(again)["schema"] == SCHEMA
    assert decode(again, key=key) == read


def test_every_fingerprint_says_by_which_algorithm_it_is() -> None:
    for key, content in STORED.items():
        body = body_of(encode(decode(content, key=key)))
        for piece in (*body["parts"], *body["blobs"]):
            assert not {name for name in piece if name.endswith("sha256")}
            for name in ("plain_fingerprint", "stored_fingerprint"):
                assert piece[name] == "" or piece[name].startswith("sha256:")


def test_every_fact_says_of_which_kind_it_is() -> None:
    for key, content in STORED.items():
        body = body_of(encode(decode(content, key=key)))
        members = [member for part in body["parts"] for member in part["members"]]
        assert body["proof"]["kind"]
        assert all(not each["details"] or "kind" in each["details"] for each in body["parts"])
        assert all(not each["details"] or "kind" in each["details"] for each in members)


def test_an_incremental_continues_from_a_backup_of_the_schema_before() -> None:
    store = MemoryRepository()
    proof = BaseBackupProof(system_identifier="77", timeline=1, start_lsn="0/2000028")
    full = replace(manifest("20261119T020000Z-00000001"), proof=proof)
    child = replace(
        manifest("20261120T020000Z-00000002"), proof=replace(proof, parent=full.backup_id)
    )
    kept_in_schema_1(store, full)
    Catalog(store).commit(child)
    survey = Catalog(store).survey("shop")
    assert survey.damaged == ()
    assert {each.backup_id: each for each in survey.manifests} == {
        full.backup_id: full,
        child.backup_id: child,
    }
    assert Catalog(store).find(child.backup_id).parent == full.backup_id


def test_a_schema_that_is_yet_to_come_is_told_as_that() -> None:
    store = MemoryRepository()
    made = manifest()
    later = encode(made).replace(SCHEMA.encode(), b"holdfast.manifest/3")
    store.objects[manifest_key(made.backup_id)] = later
    (damaged,) = Catalog(store).survey("shop").damaged
    assert "its schema is 'holdfast.manifest/3', not 'holdfast.manifest/2'" in damaged.problem


def test_a_manifest_of_schema_1_is_not_read_as_one_of_schema_2() -> None:
    """Its facts have no kinds, which must not be guessed."""
    made = replace(manifest(), proof=Proof(snapshot="1"))
    renamed = in_schema_1(made).replace(SCHEMA_1.encode(), SCHEMA.encode())
    store = MemoryRepository()
    store.objects[manifest_key(made.backup_id)] = renamed
    (damaged,) = Catalog(store).survey("shop").damaged
    assert "facts of the unknown kind ''" in damaged.problem
