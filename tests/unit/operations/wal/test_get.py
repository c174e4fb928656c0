"""Fetching files from the WAL archive."""

from __future__ import annotations

import os
import time
from copy import copy
from pathlib import Path

import pytest

from holdfast.model.errors import IdentityNeeded, ManifestInvalid, VerifyFailed, WalUnfit
from holdfast.operations.wal.get import ABANDONED_SECONDS, Getting, get
from holdfast.operations.wal.push import push
from holdfast.pipeline.encryption import Identities
from tests.fakes.repository import MemoryRepository
from tests.support.memory_cluster import DataDirectory, archiving

ONE, TWO, THREE = (f"00000001000000000000000{number}" for number in "123")


class Place:
    """A server that recovers, and the archive that it asks."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryRepository()
        self.server = DataDirectory(folder / "data")
        self.spool = folder / "early"
        self.destination = folder / "RECOVERYXLOG"

    def beside(self, folder: Path) -> Place:
        """Another server that recovers from the same archive, on the same host."""
        other = copy(self)
        folder.mkdir()
        other.destination = folder / "RECOVERYXLOG"
        return other

    def archive(self, *names: str) -> None:
        for name in names:
            push(archiving(self.store), self.server.finish(name, text=name.encode()))

    def get(self, name: str, *, at_once: int = 1) -> bool:
        return get(archiving(self.store), self.wanted(name, at_once=at_once))

    def wanted(self, name: str, *, at_once: int = 1) -> Getting:
        return Getting(
            cluster="77",
            name=name,
            destination=self.destination,
            spool=self.spool,
            at_once=at_once,
        )

    def spooled(self) -> list[str]:
        own = self.wanted(ONE).own_spool
        return sorted(path.name[:24] for path in own.glob("*"))

    def lose_content_of(self, name: str) -> None:
        for key in [key for key in self.store.objects if name in key and key.endswith(".zst")]:
            del self.store.objects[key]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_was_archived_comes_back_as_it_was(place: Place) -> None:
    place.archive(ONE)
    assert place.get(ONE)
    assert place.destination.read_bytes() == (place.server.wal / ONE).read_bytes()
    assert place.destination.stat().st_mode & 0o777 == 0o600


def test_what_is_not_archived_is_told_and_leaves_nothing(place: Place) -> None:
    place.archive(ONE)
    assert not place.get(TWO)
    assert not place.get("00000002.history")
    assert not place.destination.exists()


def test_a_file_without_a_record_is_not_archived(place: Place) -> None:
    place.archive(ONE)
    del place.store.objects[f"shop.wal/77/00000001/{ONE}/manifest.json"]
    assert not place.get(ONE)


def test_a_damaged_segment_never_arrives(place: Place) -> None:
    place.archive(ONE)
    (key,) = [key for key in place.store.objects if key.endswith(".zst")]
    content = bytearray(place.store.objects[key])
    content[-1] ^= 1
    place.store.objects[key] = bytes(content)
    with pytest.raises(VerifyFailed, match=ONE):
        place.get(ONE)
    assert list(place.destination.parent.glob("RECOVERY*")) == []


def test_a_record_of_another_file_is_not_believed(place: Place) -> None:
    place.archive(ONE, TWO)
    folder = "shop.wal/77/00000001"
    place.store.objects[f"{folder}/{ONE}/manifest.json"] = place.store.objects[
        f"{folder}/{TWO}/manifest.json"
    ]
    with pytest.raises(ManifestInvalid, match=f"it belongs to '{TWO}'"):
        place.get(ONE)


def test_the_next_ones_are_fetched_early_and_used(place: Place) -> None:
    place.archive(ONE, TWO, THREE)
    assert place.get(ONE, at_once=3)
    assert place.spooled() == [TWO, THREE]
    place.lose_content_of(TWO)
    assert place.get(TWO, at_once=3)
    assert place.destination.read_bytes() == (place.server.wal / TWO).read_bytes()
    assert place.spooled() == [THREE]


def test_what_was_fetched_early_and_changed_since_is_fetched_again(place: Place) -> None:
    place.archive(ONE, TWO)
    place.get(ONE, at_once=2)
    (early,) = place.spool.glob("*/*")
    early.write_bytes(b"something else")
    assert place.get(TWO, at_once=2)
    assert place.destination.read_bytes() == (place.server.wal / TWO).read_bytes()


def test_a_spool_that_cannot_be_used_costs_nothing(place: Place) -> None:
    place.archive(ONE, TWO)
    place.spool.write_text("no folder")
    assert place.get(ONE, at_once=2)


def test_a_name_that_no_server_asks_for_is_refused(place: Place) -> None:
    with pytest.raises(WalUnfit):
        place.get("../../etc/passwd")


def test_sealed_wal_is_opened_by_its_identity_only(place: Place) -> None:
    identities = Identities.generate()
    context = archiving(place.store, recipients=identities.recipients)
    path = place.server.finish(ONE)
    push(context, path)
    assert push(context, path).was_there
    with pytest.raises(IdentityNeeded):
        place.get(ONE)
    assert not place.destination.exists()
    wanted = Getting(
        cluster="77",
        name=ONE,
        destination=place.destination,
        spool=place.spool,
        identities=identities,
    )
    assert get(context, wanted)
    assert place.destination.read_bytes() == path.read_bytes()


def test_two_recoveries_on_a_host_do_not_forget_what_the_other_has_yet_to_come_to(
    place: Place, tmp_path: Path
) -> None:
    place.archive(ONE, TWO, THREE)
    other = place.beside(tmp_path / "other")
    assert place.get(ONE, at_once=3)
    assert other.get(THREE, at_once=3)
    assert place.spooled() == [TWO, THREE]
    place.lose_content_of(TWO)
    place.lose_content_of(THREE)
    for name in (TWO, THREE):
        assert place.get(name, at_once=3)
        assert place.destination.read_bytes() == (place.server.wal / name).read_bytes()


def test_what_a_recovery_has_left_long_ago_is_removed_by_the_next_one(
    place: Place, tmp_path: Path
) -> None:
    place.archive(ONE, TWO)
    other = place.beside(tmp_path / "other")
    assert other.get(ONE, at_once=2)
    (place.spool / "of-an-earlier-release").write_bytes(b"")
    assert place.get(ONE)
    assert other.spooled() == [TWO]
    long_ago = time.time() - 2 * ABANDONED_SECONDS
    os.utime(other.wanted(ONE).own_spool, (long_ago, long_ago))
    assert place.get(TWO)
    assert list(place.spool.iterdir()) == []


def test_a_file_that_somebody_takes_out_of_the_spool_is_fetched_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.archive(ONE, TWO)
    place.get(ONE, at_once=2)

    def taken_away(path: Path, _destination: Path) -> None:
        path.unlink()
        raise FileNotFoundError(path)

    monkeypatch.setattr("shutil.move", taken_away)
    assert place.get(TWO)
    assert place.destination.read_bytes() == (place.server.wal / TWO).read_bytes()
