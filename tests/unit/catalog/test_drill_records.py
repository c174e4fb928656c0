"""Records of drills: kept beside backups, believed only where they belong, dropped by a rule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.documents import wrapped
from holdfast.catalog.drill_records import DrillRecords
from holdfast.catalog.places import DRILL_RECORD, drill_record_key, record_at
from holdfast.catalog.signed_manifests import SignedManifests, Signer
from holdfast.model.drill import DrillFinding, DrillRecord, DrillSeconds, Outcome, ProofRow
from holdfast.model.errors import ManifestInvalid, RepositoryReadOnly
from holdfast.operations.backup.job import backup
from holdfast.operations.prune import prune
from holdfast.operations.repair import repair
from tests.fakes.repository import MemoryRepository
from tests.support.memory_job import MemoryJob
from tests.unit.model.test_drill import RECORD

WHOLE = replace(
    RECORD,
    findings=(
        DrillFinding(subject="extension 'x'", problem="is missing", hint="apt", blocks=False),
    ),
    rows=(ProofRow(name="rows of public.orders", outcome=Outcome.PASSED, expected="3", found="3"),),
    seconds=DrillSeconds(prepare=1.5, fetch=2, load=3, indexes=4, recovery=5, checks=6),
    reached=RECORD.began,
    plain_bytes=123,
)


def named(number: int, **changes: object) -> DrillRecord:
    """A record with its own name, `number` hours after the first."""
    began = RECORD.began + timedelta(hours=number)
    name = f"20261120T120000Z-{number:08}"
    return replace(RECORD, name=name, began=began, **changes)  # type: ignore[arg-type]


def test_a_record_comes_back_as_it_was_stored() -> None:
    records = DrillRecords(MemoryRepository(), "shop")
    records.commit(WHOLE)
    assert records.find(WHOLE.name) == WHOLE
    assert records.all().records == (WHOLE,)


def changed(content: bytes, **changes: object) -> bytes:
    body = json.loads(content)["drill"] | changes
    return wrapped(body, schema="holdfast.drill/1", name="drill")


@pytest.mark.parametrize(
    "changes",
    [
        {"job": "other"},
        {"name": "20261120T120000Z-99999999"},
        {"backup": "other/20261120T020000Z-00000001"},
        {"backup": "../../etc"},
        {"outcome": "skipped"},
        {"began": "yesterday"},
        {"seconds": {"load": -1}},
        {"rows": "none"},
        {"plain_bytes": -1},
    ],
)
def test_a_record_that_cannot_be_trusted_is_told_and_hides_no_other(
    changes: dict[str, object],
) -> None:
    repository = MemoryRepository()
    records = DrillRecords(repository, "shop")
    records.commit(WHOLE)
    records.commit(named(2))
    key = drill_record_key("shop", WHOLE.name)
    repository.objects[key] = changed(repository.objects[key], **changes)
    with pytest.raises(ManifestInvalid):
        records.find(WHOLE.name)
    found = records.all()
    assert [each.name for each in found.records] == [named(2).name]
    assert [each.drill_id for each in found.damaged] == [WHOLE.drill_id]


def test_a_record_that_this_user_may_not_read_hides_no_other() -> None:
    class Closed(MemoryRepository):
        @contextmanager
        def open(self, key: str) -> Iterator[Iterator[bytes]]:
            if key == drill_record_key("shop", WHOLE.name):
                raise RepositoryReadOnly(f"cannot read '{key}': Permission denied")
            with super().open(key) as chunks:
                yield chunks

    records = DrillRecords(Closed(), "shop")
    records.commit(WHOLE)
    records.commit(named(2))
    found = records.all()
    assert [each.name for each in found.records] == [named(2).name]
    (bad,) = found.damaged
    assert (bad.drill_id, "Permission denied" in bad.problem) == (WHOLE.drill_id, True)


def test_a_record_is_signed_where_manifests_are() -> None:
    store, signer = MemoryRepository(), Signer.generate()
    signed = SignedManifests(store, signer=lambda: signer, trusted=())
    DrillRecords(signed, "shop").commit(WHOLE)
    key = drill_record_key("shop", WHOLE.name)
    assert record_at(key) == DRILL_RECORD
    assert b'"signature": "ed25519:' in store.objects[key]
    assert DrillRecords(signed, "shop").find(WHOLE.name) == WHOLE
    store.objects[key] = store.objects[key].replace(b"orders", b"others")
    with pytest.raises(ManifestInvalid, match="cannot trust"):
        DrillRecords(signed, "shop").find(WHOLE.name)


def test_the_newest_records_of_each_database_outlive_their_backups() -> None:
    records = DrillRecords(MemoryRepository(), "shop")
    kept_backup = "shop/20261120T020000Z-00000009"
    every = [
        named(1, backup=kept_backup),
        named(2),
        named(3),
        named(4, outcome=Outcome.FAILED),
        named(5, outcome=Outcome.FAILED),
        named(6, database="other"),
    ]
    for each in every:
        records.commit(each)
    gone = records.drop_outlived({kept_backup})
    assert [each.name for each in gone] == [every[3].name, every[1].name]
    assert len(records.all().records) == 4


def test_retention_keeps_the_newest_backup_that_was_drilled_and_repair_no_rubbish() -> None:
    job = MemoryJob()
    for _ in range(4):
        backup(job.context)
    oldest = Catalog(job.repository).survey("shop").manifests[-1]
    records = DrillRecords(job.repository, "shop")
    records.commit(replace(RECORD, backup=oldest.backup_id))
    report = prune(job.prune_context, dry_run=False)
    verdict = next(each for each in report.verdicts if each.candidate.backup_id == oldest.backup_id)
    assert (verdict.keep, verdict.because) == (
        True,
        "the newest that a drill brought back is always kept",
    )
    assert repair(job.repair_context, dry_run=False).leftovers == ()
    assert [each.backup for each in records.all().records] == [oldest.backup_id]


def test_prune_drops_the_record_of_a_dropped_backup_unless_it_is_the_newest() -> None:
    job = MemoryJob()
    for _ in range(4):
        backup(job.context)
    manifests = Catalog(job.repository).survey("shop").manifests
    records = DrillRecords(job.repository, "shop")
    for number, manifest in enumerate(reversed(manifests[1:])):
        records.commit(named(number, backup=manifest.backup_id))
    prune(job.prune_context, dry_run=False)
    left = {each.backup_id for each in Catalog(job.repository).survey("shop").manifests}
    assert {each.backup for each in records.all().records} <= left
