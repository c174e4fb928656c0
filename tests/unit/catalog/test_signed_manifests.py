"""A writer to the repository cannot make a manifest that readers accept."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.manifest import decode, encode
from holdfast.catalog.places import manifest_key
from holdfast.catalog.signed_manifests import SignedManifests, Signer
from holdfast.model.backup import Manifest
from holdfast.model.errors import ConfigInvalid, ManifestInvalid, ManifestUntrusted
from holdfast.model.fingerprints import of_sha256
from holdfast.ports.repository import Repository
from tests.fakes.repository import MemoryRepository
from tests.support.manifests import manifest

OURS, THIEF = Signer.generate(), Signer.generate()
ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
OTHER_NAME = "20261121T020000Z-0a0b0c0d"


def signed(repository: Repository, signer: Signer | None = OURS, *trusted: str) -> SignedManifests:
    return SignedManifests(repository, signer=lambda: signer, trusted=trusted)


@pytest.fixture
def store() -> MemoryRepository:
    return MemoryRepository(free_bytes=1 << 30)


@pytest.fixture
def kept(store: MemoryRepository) -> Manifest:
    Catalog(signed(store)).commit(manifest())
    return manifest()


def read(store: MemoryRepository, backup_id: str, *, by: SignedManifests | None = None) -> Manifest:
    return Catalog(by or signed(store)).find(backup_id)


def test_what_we_signed_is_what_we_read(store: MemoryRepository, kept: Manifest) -> None:
    assert read(store, kept.backup_id) == kept
    assert Catalog(signed(store)).survey("shop").manifests == (kept,)


def test_a_signed_manifest_is_json_that_a_reader_without_keys_understands(
    store: MemoryRepository, kept: Manifest
) -> None:
    content = store.objects[manifest_key(kept.backup_id)]
    assert json.loads(content)["signature"].startswith(f"{OURS.public_key} ")
    assert decode(content, key="manifest") == kept


def test_a_reader_needs_the_public_key_alone(store: MemoryRepository, kept: Manifest) -> None:
    reader = signed(store, None, OURS.public_key)
    assert read(store, kept.backup_id, by=reader) == kept
    with pytest.raises(ConfigInvalid, match="no key to sign the manifest with"):
        reader.put("shop/20261120T020000Z-0a0b0c0d/parts/x.sql", [b"x"])
    with pytest.raises(ConfigInvalid, match="no key to sign"):
        reader.check()


def test_one_flipped_bit_at_any_place_of_a_signed_manifest_is_found(
    store: MemoryRepository, kept: Manifest
) -> None:
    key = manifest_key(kept.backup_id)
    for at in range(len(store.objects[key])):
        store.flip_bit(key, at=at)
        with pytest.raises(ManifestUntrusted):
            read(store, kept.backup_id)
        store.flip_bit(key, at=at)
    assert read(store, kept.backup_id) == kept


def test_another_spelling_of_the_same_signature_is_refused(
    store: MemoryRepository, kept: Manifest
) -> None:
    key = manifest_key(kept.backup_id)
    content = store.objects[key]
    end = content.rindex(b'=="')
    # Four bits of the last letter are unused.
    last = ALPHABET.index(content[end - 1])
    store.objects[key] = content[: end - 1] + ALPHABET[last + 1 :][:1] + content[end:]
    assert base64.b64decode(content[end - 86 : end + 2]) == base64.b64decode(
        store.objects[key][end - 86 : end + 2]
    )
    with pytest.raises(ManifestUntrusted):
        read(store, kept.backup_id)


def _drop_a_part(each: Manifest) -> Manifest:
    return replace(each, parts=())


def _swap_a_part(each: Manifest) -> Manifest:
    (part,) = each.parts
    other = replace(
        part, key=part.key.replace("orders", "others"), stored_fingerprint=of_sha256("c" * 64)
    )
    return replace(each, parts=(other,))


def _say_another_time(each: Manifest) -> Manifest:
    return replace(each, snapshot_at=each.snapshot_at.replace(year=2027))


@pytest.mark.parametrize("forge", [_drop_a_part, _swap_a_part, _say_another_time])
@pytest.mark.parametrize("by_thief", [False, True], ids=["unsigned", "signed by a thief"])
def test_a_manifest_that_somebody_else_wrote_is_refused_though_its_fingerprint_is_right(
    store: MemoryRepository,
    kept: Manifest,
    forge: Callable[[Manifest], Manifest],
    by_thief: bool,
) -> None:
    store.delete(manifest_key(kept.backup_id))
    thief = signed(store, THIEF) if by_thief else store
    Catalog(thief).commit(forge(kept))
    assert Catalog(store).find(kept.backup_id) == forge(kept)
    why = "which is not a trusted key" if by_thief else "it is not signed"
    with pytest.raises(ManifestUntrusted, match=why):
        read(store, kept.backup_id)


def test_our_signature_below_other_words_is_refused(
    store: MemoryRepository, kept: Manifest
) -> None:
    key = manifest_key(kept.backup_id)
    signature = json.loads(store.objects[key])["signature"]
    forged = encode(_drop_a_part(kept)).removesuffix(b"\n}\n")
    store.objects[key] = forged + f',\n "signature": "{signature}"\n}}\n'.encode()
    with pytest.raises(ManifestUntrusted, match="it was changed"):
        read(store, kept.backup_id)


def test_an_old_manifest_under_a_new_name_is_refused_signed_or_not(
    store: MemoryRepository, kept: Manifest
) -> None:
    key = manifest_key(kept.backup_id)
    replayed = key.replace(kept.name, OTHER_NAME)
    store.objects[replayed] = store.objects[key]
    with pytest.raises(ManifestUntrusted, match="changed or moved"):
        read(store, f"shop/{OTHER_NAME}")
    (damaged,) = Catalog(signed(store)).survey("shop").damaged
    assert damaged.backup_id == f"shop/{OTHER_NAME}"
    assert read(store, "shop/latest") == kept
    store.objects[replayed] = encode(kept)
    with pytest.raises(ManifestInvalid, match=f"it belongs to backup '{kept.backup_id}'"):
        Catalog(store).find(f"shop/{OTHER_NAME}")


def test_a_manifest_of_another_job_is_refused(store: MemoryRepository, kept: Manifest) -> None:
    key = manifest_key(kept.backup_id)
    store.objects[key.replace("shop/", "wiki/")] = store.objects[key]
    with pytest.raises(ManifestUntrusted):
        read(store, kept.backup_id.replace("shop/", "wiki/"))


def test_a_key_that_took_over_and_the_one_before_it_are_both_believed(
    store: MemoryRepository, kept: Manifest
) -> None:
    after = signed(store, THIEF, OURS.public_key)
    Catalog(after).commit(manifest(OTHER_NAME))
    assert len(Catalog(after).survey("shop").manifests) == 2


def test_everything_but_manifests_passes_through(store: MemoryRepository) -> None:
    repository = signed(store)
    repository.put("shop/x/parts/a.sql", [b"one"])
    with repository.open("shop/x/parts/a.sql") as chunks:
        assert b"".join(chunks) == b"one"
    assert store.objects == {"shop/x/parts/a.sql": b"one"}
    assert [each.key for each in repository.list("shop")] == ["shop/x/parts/a.sql"]
    assert (repository.free_bytes(), repository.sweep("shop")) == (1 << 30, 0)
    repository.delete("shop/x/parts/a.sql")
    repository.check()
    assert store.objects == {}


@pytest.mark.stock("openssl")
def test_a_key_of_openssl_is_understood_and_openssl_proves_our_signature(
    store: MemoryRepository, tmp_path: Path
) -> None:
    private, public = tmp_path / "signing.key", tmp_path / "public.pem"
    openssl = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(private)]
    subprocess.run(openssl, check=True, capture_output=True)
    signer = Signer.parse(private.read_bytes())
    Catalog(signed(store, signer)).commit(manifest())
    key = manifest_key(manifest().backup_id)
    value = json.loads(store.objects[key])["signature"].partition(" ")[2]
    (tmp_path / "value").write_bytes(base64.b64decode(value))
    message = f"holdfast.manifest.signature/1\n{key}\n".encode() + encode(manifest())
    (tmp_path / "message").write_bytes(message)
    subprocess.run(
        ["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)], check=True
    )
    proven = subprocess.run(
        [
            *("openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(public)),
            *("-sigfile", str(tmp_path / "value"), "-in", str(tmp_path / "message")),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert proven.returncode == 0, proven.stdout + proven.stderr


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nMC4\n"])
def test_what_is_no_key_is_refused_without_being_shown(content: bytes) -> None:
    with pytest.raises(ValueError, match="it is not a private key"):
        Signer.parse(content)
    assert repr(OURS) == "***"
