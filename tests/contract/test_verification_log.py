"""What `ports.host_state.VerificationLog` promises, asked of the file and of the fake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.host_state.verification_log import FileVerificationLog
from holdfast.model.backup import fingerprint_of_keys
from holdfast.ports.host_state import ReadBack, Reread, VerificationLog
from tests.fakes.clock import START
from tests.fakes.verification_log import MemoryVerificationLog

DAY = timedelta(days=1)


def memory(_folder: Path) -> VerificationLog:
    return MemoryVerificationLog()


def file(folder: Path) -> VerificationLog:
    return FileVerificationLog(folder / "proofs.sqlite")


@pytest.fixture(params=[memory, file], ids=lambda make: str(make.__name__))
def proofs(request: pytest.FixtureRequest, tmp_path: Path) -> VerificationLog:
    make: Callable[[Path], VerificationLog] = request.param
    return make(tmp_path)


def test_the_last_reading_of_an_object_counts(proofs: VerificationLog) -> None:
    proofs.reread("shop/a", "k", Reread(at=START, problem="bad"))
    assert proofs.damaged("shop") == {"shop/a"}
    proofs.reread("shop/a", "k", Reread(at=START + DAY))
    assert proofs.of("shop/a") == {"k": Reread(at=START + DAY)}
    assert proofs.damaged("shop") == set()


def test_a_look_at_what_is_stored_does_not_outweigh_one_that_opened_it(
    proofs: VerificationLog,
) -> None:
    bad = Reread(at=START, problem="plain fingerprint is another one")
    proofs.reread("shop/a", "k", bad)
    proofs.reread("shop/a", "k", Reread(at=START + DAY, opened=False))
    assert proofs.of("shop/a") == {"k": bad}
    assert proofs.damaged("shop") == {"shop/a"}
    proofs.reread("shop/a", "k", Reread(at=START + 2 * DAY))
    assert proofs.damaged("shop") == set()
    stored = Reread(at=START, problem="stored fingerprint is another one", opened=False)
    proofs.reread("shop/a", "k", stored)
    proofs.reread("shop/a", "k", Reread(at=START + DAY, opened=False))
    assert proofs.damaged("shop") == set()


def test_what_is_bad_is_told_for_its_own_job_only(proofs: VerificationLog) -> None:
    proofs.reread("shop-eu/a", "k", Reread(at=START, problem="bad"))
    assert proofs.damaged("shop") == set()
    assert proofs.damaged("shop-eu") == {"shop-eu/a"}


def test_a_backup_that_is_forgotten_was_never_read(proofs: VerificationLog) -> None:
    proofs.reread("shop/a", "k", Reread(at=START))
    proofs.restored("shop/a", at=START)
    proofs.forget("shop/a")
    assert proofs.of("shop/a") == {}
    assert proofs.read_back("shop") == {}


def test_what_was_read_of_each_backup_is_told_in_short(proofs: VerificationLog) -> None:
    assert proofs.read_back("") == {}
    proofs.reread("shop/a", "k", Reread(at=START + DAY))
    proofs.reread("shop/a", "l", Reread(at=START, problem="bad", opened=False))
    proofs.restored("shop/b", at=START)
    proofs.restored("shop/b", at=START + DAY)
    proofs.reread("shop-eu/c", "k", Reread(at=START))
    # No backups: they would only take time and memory, as there may be millions.
    proofs.reread("shop/blobs", "k", Reread(at=START))
    proofs.reread("shop.wal", "k", Reread(at=START))
    shop = {
        "shop/a": ReadBack(
            parts=2,
            bad=1,
            unopened=1,
            keys_fingerprint=fingerprint_of_keys(["l", "k"]),
            since=START,
        ),
        "shop/b": ReadBack(restored_at=START + DAY),
    }
    assert proofs.read_back("shop") == shop
    assert proofs.read_back("") == shop | {
        "shop-eu/c": ReadBack(parts=1, keys_fingerprint=fingerprint_of_keys(["k"]), since=START)
    }


def test_time_without_a_reference_starts_again_when_there_was_one_in_between(
    proofs: VerificationLog,
) -> None:
    proofs.unreferenced("shop", {"x", "y"}, now=START)
    assert proofs.unreferenced("shop", {"x", "z"}, now=START + DAY) == {
        "x": START,
        "z": START + DAY,
    }
    assert proofs.unreferenced("shop", {"y"}, now=START + 2 * DAY) == {"y": START + 2 * DAY}


def test_only_the_kept_objects_of_one_id_stay(proofs: VerificationLog) -> None:
    for backup_id, key in (("shop.wal", "a"), ("shop.wal", "b"), ("shop/a", "a")):
        proofs.reread(backup_id, key, Reread(at=START))
    proofs.keep_only("shop.wal", {"b", "c"})
    assert list(proofs.of("shop.wal")) == ["b"]
    assert list(proofs.of("shop/a")) == ["a"]
    assert list(proofs.read_back("shop")) == ["shop/a"]


def test_the_file_is_private_and_outlives_its_process(tmp_path: Path) -> None:
    file(tmp_path).reread("shop/a", "k", Reread(at=START))
    assert file(tmp_path).of("shop/a") == {"k": Reread(at=START)}
    assert (tmp_path / "proofs.sqlite").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"x" * 5000, b"SQLite format 3\x00" + b"\xff" * 4000])
def test_a_damaged_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "proofs.sqlite").write_bytes(content)
    proofs = file(tmp_path)
    assert proofs.of("shop/a") == {}
    proofs.reread("shop/a", "k", Reread(at=START))
    assert file(tmp_path).of("shop/a") == {"k": Reread(at=START)}
