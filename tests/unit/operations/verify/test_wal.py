"""Archived WAL is read back within the budget of a nightly verification, and damage is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.errors import VerifyFailed
from holdfast.model.fingerprints import fingerprint_of
from holdfast.model.wal_archive import Switch
from holdfast.operations.verify.scrub import RereadReport, reread
from holdfast.operations.wal.push import push
from holdfast.pipeline.compression import compressor
from holdfast.pipeline.encryption import Identities
from holdfast.pipeline.flow import flow
from tests.support.memory_cluster import MemoryCluster, archiving, name
from tests.support.segments import segment

HISTORY, LABEL, PARTIAL = "00000002.history", f"{name(3)}.00000028.backup", f"{name(5)}.partial"
FILES = (name(2), name(3), name(4), HISTORY, LABEL, PARTIAL)


@pytest.fixture
def cluster(tmp_path: Path) -> MemoryCluster:
    """Files of the WAL of each kind; no backup, so no gap is reported beside them."""
    made = MemoryCluster(tmp_path)
    made.archive(2, 3, 4)
    made.server.branch(2, "1\t0/480000\tno target")
    (made.server.wal / LABEL).write_text("START WAL LOCATION: 0/300028\n")
    (made.server.wal / PARTIAL).write_bytes(segment(name(5)))
    for each in (HISTORY, LABEL, PARTIAL):
        push(archiving(made.job.repository), made.server.wal / each)
    return made


def scrub(
    cluster: MemoryCluster, *, files: int = 1000, identities: Identities | None = None
) -> RereadReport:
    """A scrub whose budget is over after so many files."""
    ticks: Iterator[float] = iter(range(10_000))
    return reread(
        replace(cluster.job.reader, identities=identities),
        "shop",
        budget=timedelta(seconds=files),
        workers=1,
        seconds=lambda: float(next(ticks)),
    )


def stored_keys(cluster: MemoryCluster) -> list[str]:
    return [each.key for each in cluster.job.repository.list("shop.wal")]


def test_whole_wal_of_every_kind_is_good(cluster: MemoryCluster) -> None:
    report = scrub(cluster)
    assert (report.wal_files, report.bad, report.left, report.exit_code) == (6, (), 0, 0)
    assert report.plain_bytes > 4 << 20
    assert report.unopened == 0


def test_a_flipped_bit_in_any_object_of_any_file_is_found_and_the_file_named(
    cluster: MemoryCluster,
) -> None:
    objects = cluster.job.repository.objects
    keys = stored_keys(cluster)
    assert len(keys) == 2 * len(FILES)
    for key in keys:
        before = objects[key]
        cluster.job.repository.flip_bit(key, at=len(before) // 2)
        report = scrub(cluster)
        folder = key.split("/")[-2]
        (found,) = [each.lower() for each in FILES if each.lower() == folder]
        assert [(backup, bad.name.lower()) for backup, bad in report.bad] == [
            ("", f"wal {found}")
        ], key
        assert report.exit_code == VerifyFailed.exit_code
        objects[key] = before
    assert scrub(cluster).bad == ()


def replaced(cluster: MemoryCluster, file: str, content: bytes, **record: object) -> None:
    """Store other content for `file`, with a record that fits it."""
    repository = cluster.job.repository
    archive = WalArchive(repository, "shop")
    found = archive.find("77", file)
    stored = b"".join(flow([content], [compressor(found.part.codec, 3)]))
    part = replace(
        found.part,
        plain_bytes=len(content),
        stored_bytes=len(stored),
        plain_fingerprint=fingerprint_of(content),
        stored_fingerprint=fingerprint_of(stored),
    )
    archive.forget(found)
    repository.put(part.key, [stored])
    archive.commit(replace(found, part=part, **record))  # type: ignore[arg-type]  # any field


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        (name(3), segment(name(9)), f"it holds the WAL of '{name(9)}'"),
        (name(3), segment(name(3), identifier=78), "it belongs to another cluster"),
        (name(3), bytes(1 << 20), "it belongs to another cluster"),
        (PARTIAL, segment(name(9)), f"it holds the WAL of '{name(9)}'"),
        (PARTIAL, b"short", "it is no WAL segment"),
        (HISTORY, b"1\t0/990000\tno target\n", "its timeline switches are not those of its record"),
    ],
)
def test_content_that_cannot_be_that_file_is_damage_although_every_fingerprint_matches(
    cluster: MemoryCluster, file: str, content: bytes, why: str
) -> None:
    replaced(cluster, file, content)
    ((backup, bad),) = scrub(cluster).bad
    assert (backup, bad.name) == ("", f"wal {file}")
    assert bad.problem == f"cannot trust WAL file '{file}': {why}"


def test_a_history_is_compared_with_the_switches_of_its_record(cluster: MemoryCluster) -> None:
    replaced(cluster, HISTORY, b"1\t0/990000\tx\n", switches=(Switch(timeline=1, at="0/990000"),))
    assert scrub(cluster).bad == ()


def test_a_short_budget_reads_what_was_not_read_for_longest(cluster: MemoryCluster) -> None:
    first, second = scrub(cluster, files=4), scrub(cluster, files=4)
    assert (first.wal_files, first.left) == (3, 3)
    assert (second.wal_files, second.left) == (3, 3)
    log = cluster.job.verification_log
    assert len(log.of("shop.wal")) == 6
    assert second.oldest is not None


def test_the_log_forgets_wal_that_was_pruned(cluster: MemoryCluster) -> None:
    scrub(cluster)
    archive = WalArchive(cluster.job.repository, "shop")
    archive.forget(archive.find("77", name(4)))
    scrub(cluster)
    assert f"77/{name(4)}" not in cluster.job.verification_log.of("shop.wal")
    assert f"77/{name(3)}" in cluster.job.verification_log.of("shop.wal")


def test_sealed_wal_is_compared_as_stored_and_opened_with_an_identity(tmp_path: Path) -> None:
    key = Identities.generate()
    cluster = MemoryCluster(tmp_path)
    path = cluster.server.finish(name(2))
    push(archiving(cluster.job.repository, recipients=key.recipients), path)
    closed = scrub(cluster)
    assert (closed.wal_files, closed.unopened, closed.bad) == (1, 1, ())
    opened = scrub(cluster, identities=key)
    assert (opened.wal_files, opened.unopened, opened.bad) == (1, 0, ())
    (content,) = [each for each in stored_keys(cluster) if not each.endswith("manifest.json")]
    cluster.job.repository.flip_bit(content, at=len(cluster.job.repository.objects[content]) // 2)
    for read in (scrub(cluster), scrub(cluster, identities=key)):
        assert [bad.name for _, bad in read.bad] == [f"wal {name(2)}"]


def test_wal_that_is_sealed_for_others_than_its_record_says_is_bad_and_hides_nothing(
    tmp_path: Path,
) -> None:
    key, other = Identities.generate(), Identities.generate()
    cluster = MemoryCluster(tmp_path)
    for number in (2, 3):
        path = cluster.server.finish(name(number))
        push(archiving(cluster.job.repository, recipients=other.recipients), path)
    archive = WalArchive(cluster.job.repository, "shop")
    record = archive.find("77", name(2))
    (written,) = (
        each
        for each in stored_keys(cluster)
        if each.endswith("manifest.json") and name(2).lower() in each
    )
    cluster.job.repository.delete(written)
    archive.commit(replace(record, recipients=key.recipients))
    told = scrub(cluster, identities=key)
    assert [bad.name for _, bad in told.bad] == [f"wal {name(2)}"]
    assert (told.wal_files, told.left) == (2, 0)
