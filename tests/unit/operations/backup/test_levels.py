"""The three ways to verify: a quick look, every byte, and bit by bit within a time budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.catalog.manifest import encode
from holdfast.catalog.manifest_index import ManifestIndex
from holdfast.catalog.places import manifest_key
from holdfast.model.backup import Manifest, Part, PartKind
from holdfast.model.errors import HoldfastError, ManifestInvalid
from holdfast.model.part_details import ClusterFile, PostgresTable
from holdfast.model.part_gaps import gaps
from holdfast.model.values import Span
from holdfast.operations.backup.job import backup
from holdfast.operations.copy.backups import CopyContext, copy
from holdfast.operations.verify.backup import quick, verify
from holdfast.operations.verify.proofs import proven_at
from holdfast.operations.verify.scrub import RereadReport, reread
from tests.fakes.progress import FakeProgress
from tests.fakes.repository import MemoryRepository
from tests.support.memory_job import MemoryJob


def made(job: MemoryJob) -> Manifest:
    return backup(job.context).manifest


def rewritten(job: MemoryJob, manifest: Manifest) -> None:
    """As if the run itself had committed this manifest: its own fingerprint is right."""
    job.repository.objects[manifest_key(manifest.backup_id)] = encode(manifest)


def with_first(manifest: Manifest, part: Part) -> Manifest:
    return replace(manifest, parts=(part, *manifest.parts[1:]))


def test_a_quick_look_finds_a_good_backup_good_and_reads_no_part() -> None:
    job = MemoryJob()
    manifest = made(job)
    for part in manifest.parts:
        content = job.repository.objects[part.key]
        job.repository.objects[part.key] = bytes(len(content))
    assert quick(job.repository, "shop/latest").bad == ()


def _lose(repository: MemoryRepository, key: str) -> None:
    repository.delete(key)


def _cut(repository: MemoryRepository, key: str) -> None:
    repository.objects[key] = repository.objects[key][:-1]


def _hash(repository: MemoryRepository, key: str) -> None:
    repository.fingerprint_given[key] = "blake3:" + "f" * 64


@pytest.mark.parametrize(
    ("damage", "told"),
    [(_lose, "it is missing"), (_cut, "stored size"), (_hash, "stored fingerprint")],
)
def test_a_quick_look_finds_what_is_lost_cut_short_or_of_another_hash(
    damage: Callable[[MemoryRepository, str], None], told: str
) -> None:
    job = MemoryJob()
    first = made(job).parts[0]
    damage(job.repository, first.key)
    report = quick(job.repository, "shop/latest")
    assert [each.name for each in report.bad] == [first.name]
    assert told in report.bad[0].problem
    assert report.exit_code == 31


def test_every_bit_of_a_manifest_counts() -> None:
    """For each of them: a flipped bit is refused, or found, or changes nothing at all."""
    job = MemoryJob()
    manifest = made(job)
    key = manifest_key(manifest.backup_id)
    whole = job.repository.objects[key]
    for at in range(len(whole)):
        for bit in range(8):
            content = bytearray(whole)
            content[at] ^= 1 << bit
            job.repository.objects[key] = bytes(content)
            try:
                found = quick(job.repository, manifest.backup_id)
            except HoldfastError:
                continue
            assert found.manifest == manifest, f"bit {bit} of byte {at}"
    job.repository.objects[key] = whole
    assert verify(job.reader, manifest.backup_id, workers=1).bad == ()


def test_a_part_with_fewer_rows_than_its_manifest_says_is_found() -> None:
    job = MemoryJob()
    manifest = made(job)
    first = manifest.parts[0]
    assert first.rows is not None
    rewritten(job, with_first(manifest, replace(first, rows=first.rows + 1)))
    (bad,) = verify(job.reader, manifest.backup_id, workers=1).bad
    assert bad.problem == (
        f"cannot trust part '{first.name}': it holds {first.rows} rows, "
        f"the manifest says {first.rows + 1}"
    )


TABLE = PostgresTable(format="text", encoding="UTF8", columns=("id",))


def ranges(manifest: Manifest, *pages: str) -> Manifest:
    first = manifest.parts[0]
    parts = [
        replace(
            first,
            name=f"{number}-{first.name}",
            key=f"{first.key}.{number}",
            details=replace(TABLE, pages=Span.parse(each)),
        )
        for number, each in enumerate(pages)
    ]
    return replace(manifest, parts=tuple(parts))


@pytest.mark.parametrize(
    ("pages", "problem"),
    [
        (("0-4", "4-9", "9-"), ""),
        (("9-", "0-4", "4-9"), ""),
        (("0-",), ""),
        (("0-4", "9-"), "its ranges have page 9 where page 4 is expected"),
        (("0-4", "3-"), "its ranges have page 3 where page 4 is expected"),
        (("1-4", "4-"), "its ranges have page 1 where page 0 is expected"),
        (("0-4", "4-9"), "its ranges have the end where page 9 is expected"),
        (("0-", "9-"), "its ranges have page 9 where the end is expected"),
    ],
)
def test_the_ranges_of_a_table_follow_each_other_from_the_first_page_to_the_end(
    pages: tuple[str, ...], problem: str
) -> None:
    found = [each.problem for each in gaps(ranges(made(MemoryJob()), *pages))]
    assert found == ([f"cannot trust table 'public.orders': {problem}"] if problem else [])


def test_a_part_that_is_named_twice_is_found() -> None:
    manifest = made(MemoryJob())
    twice = replace(manifest, parts=(*manifest.parts, manifest.parts[0]))
    assert ["lists it twice" in each.problem for each in gaps(twice)] == [True]


def with_pieces(manifest: Manifest, *spans: str) -> Manifest:
    """As if its parts were pieces of one file of ten bytes each."""
    kept = [
        replace(
            part,
            name=f"files/base/5/1/{number}",
            kind=PartKind.FILE,
            relation=None,
            rows=None,
            members=(),
            plain_bytes=10 if number else part.plain_bytes,
            details=ClusterFile(path="base/5/1", piece=Span.parse(span)),
        )
        for number, (part, span) in enumerate(zip(manifest.parts, spans, strict=False))
    ]
    return replace(manifest, parts=tuple(kept))


@pytest.mark.parametrize(
    ("spans", "problem"),
    [
        (("10-",), "the bytes after its first 0 are missing"),
        (("0-10",), "the bytes after its first 10 are missing"),
        (("0-", "0-"), "it has parts beyond its end"),
    ],
)
def test_a_file_that_lacks_a_piece_is_good_nowhere(
    spans: tuple[str, ...], problem: str, tmp_path: Path
) -> None:
    job = MemoryJob()
    torn = with_pieces(made(job), *spans)
    rewritten(job, torn)
    expected = f"cannot trust file 'base/5/1': {problem}"
    for report in (
        quick(job.repository, torn.backup_id),
        verify(job.reader, torn.backup_id, workers=1),
    ):
        assert expected in [each.problem for each in report.bad]
        assert report.exit_code == 31
    assert expected in [bad.problem for _, bad in reread_in(job, 10).bad]
    for _ in range(2):
        overview = ManifestIndex(job.repository, tmp_path / "state" / "index").overview()
        assert overview.summaries == ()
        assert [each.problem for each in overview.damaged] == [expected]
    offsite = MemoryRepository()
    context = CopyContext(
        source=job.repository,
        target=offsite,
        believed=job.repository,
        guard=job.guard,
        at_once=1,
    )
    (copied,) = copy("shop", context, FakeProgress()).backups
    assert (copied.problem, copied.exit_code) == (expected, 31)
    assert offsite.objects == {}


def reread_in(job: MemoryJob, seconds: float, *, each_takes: float = 1.0) -> RereadReport:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += each_takes
        return now - each_takes

    return reread(job.reader, "shop", budget=timedelta(seconds=seconds), workers=1, seconds=clock)


def test_a_scrub_reads_the_parts_unread_for_longest_and_continues_the_next_time() -> None:
    job = MemoryJob()
    manifest = made(job)
    first, second = reread_in(job, 2), reread_in(job, 2)
    assert [(each.pieces, each.left) for each in (first, second)] == [(1, 2), (1, 2)]
    assert (first.oldest, second.oldest) == (None, None)
    assert len(job.verification_log.of(manifest.backup_id)) == 2
    third = reread_in(job, 2)
    assert third.oldest == min(
        each.at for each in job.verification_log.of(manifest.backup_id).values()
    )
    assert proven_at(manifest, job.verification_log) == third.oldest


def test_the_ledger_never_reads_anything_twice_in_one_go() -> None:
    job = MemoryJob()
    made(job)
    report = reread_in(job, 3600)
    assert (report.pieces, report.left, report.exit_code) == (3, 0, 0)


def test_what_the_ledger_finds_bad_is_told_and_remembered() -> None:
    job = MemoryJob()
    manifest = made(job)
    job.repository.flip_bit(manifest.parts[1].key, at=3)
    report = reread_in(job, 3600)
    assert [(backup_id, bad.name) for backup_id, bad in report.bad] == [
        (manifest.backup_id, manifest.parts[1].name)
    ]
    assert report.exit_code == 31
    assert job.verification_log.damaged("shop") == {manifest.backup_id}
    assert proven_at(manifest, job.verification_log) is None


def test_a_full_verification_is_remembered_too() -> None:
    job = MemoryJob()
    manifest = made(job)
    assert proven_at(manifest, job.verification_log) is None
    verify(job.reader, "shop/latest", workers=2)
    assert proven_at(manifest, job.verification_log) is not None


def test_a_manifest_that_cannot_be_read_is_an_error_for_every_level() -> None:
    job = MemoryJob()
    manifest = made(job)
    job.repository.flip_bit(manifest_key(manifest.backup_id), at=300)
    with pytest.raises(ManifestInvalid):
        quick(job.repository, manifest.backup_id)
    report = reread_in(job, 60)
    assert [each.backup_id for each in report.damaged] == [manifest.backup_id]
    assert report.exit_code == 31
