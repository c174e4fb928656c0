"""A manifest is the same after encoding and decoding, and every change to it is found."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from holdfast.catalog.manifest import SCHEMA, decode, encode
from holdfast.model.errors import ManifestInvalid
from tests.support.manifests import manifest


def test_a_manifest_comes_back_as_it_was() -> None:
    assert decode(encode(manifest()), key="k") == manifest()


def test_equal_manifests_give_equal_bytes() -> None:
    assert encode(decode(encode(manifest()), key="k")) == encode(manifest())


def test_a_checksum_comes_back_and_its_absence_takes_no_room() -> None:
    plain = manifest()
    assert b"checksum" not in encode(plain)
    part = dataclasses.replace(plain.parts[0], checksum="mysql-rows/1:5")
    proven = dataclasses.replace(plain, parts=(part, *plain.parts[1:]))
    assert decode(encode(proven), key="k") == proven


def test_names_in_any_script_are_kept_readable() -> None:
    written = encode(dataclasses.replace(manifest(), host="größe"))
    assert "größe" in written.decode()


def test_a_changed_row_count_is_found() -> None:
    changed = encode(manifest()).replace(b'"rows": 3', b'"rows": 4')
    with pytest.raises(ManifestInvalid, match="does not match its own fingerprint") as caught:
        decode(changed, key="shop/x/manifest.json")
    assert "shop/x/manifest.json" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"schema": 1}', b"\xff\xfe"])
def test_what_is_no_manifest_is_called_damaged(data: bytes) -> None:
    with pytest.raises(ManifestInvalid, match="it is damaged"):
        decode(data, key="k")


def test_a_manifest_of_a_newer_version_is_refused_with_both_names() -> None:
    document = json.loads(encode(manifest()))
    document["schema"] = "holdfast.manifest/9"
    with pytest.raises(ManifestInvalid, match=re.escape(f"'holdfast.manifest/9', not '{SCHEMA}'")):
        decode(json.dumps(document).encode(), key="k")
