"""The records of drills, beside the backups that they are about: `JOB.drills/NAME/record.json`.

No job has such a name, as names have no dot, so listing, sweeping or repairing a job never meets
them. They are signed where manifests are signed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from holdfast.catalog.documents import unwrapped, wrapped
from holdfast.catalog.places import DRILLS, drill_of, drill_record_key
from holdfast.model.drill import DrillRecord, is_backup_of
from holdfast.model.errors import ManifestInvalid, ObjectMissing, RepositoryReadOnly
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.stored_json import RECORD, Unreadable, damaged, plain, typed
from holdfast.ports.repository import Repository, Stored, read_document
from holdfast.runtime.worker_pool import WorkerPool

if TYPE_CHECKING:
    pass

SCHEMA = "holdfast.drill/1"
# Stores far away answer slowly, and many requests at once.
AT_ONCE = 8
NAME = "drill"


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedRecord:
    """A record of a drill that cannot be trusted."""

    drill_id: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drills:
    """The records of a job, newest first, and those that cannot be trusted."""

    records: tuple[DrillRecord, ...] = ()
    damaged: tuple[DamagedRecord, ...] = ()

    @property
    def newest(self) -> DrillRecord | None:
        return next(iter(self.records), None)

    @property
    def newest_of_each(self) -> tuple[DrillRecord, ...]:
        """The newest drill of each database, newest first."""
        found: dict[str, DrillRecord] = {}
        for each in self.records:
            found.setdefault(each.database, each)
        return tuple(found.values())

    def newest_passed(self, backup_id: str) -> DrillRecord | None:
        """The newest drill that brought that backup back; None if there is none."""
        return next(
            (each for each in self.records if each.passed and each.backup == backup_id), None
        )


class DrillRecords:
    """Reads and writes the records of the drills of one job."""

    def __init__(self, repository: Repository, job: str) -> None:
        self._repository = repository
        self._job = job

    def commit(self, record: DrillRecord) -> None:
        """Store the record of a finished drill; raises what `Repository.put` raises."""
        body = plain(record)
        key = drill_record_key(self._job, record.name)
        self._repository.put(key, [wrapped(body, schema=SCHEMA, name=NAME)])

    def find(self, name: str, *, stored: Stored | None = None) -> DrillRecord:
        """The record of that name; raises `ObjectMissing`, `ManifestInvalid`."""
        key = drill_record_key(self._job, name)
        data = read_document(self._repository, key, RECORD, stored=stored)
        _, body = unwrapped(data, schemas=[SCHEMA], name=NAME, key=key, limits=RECORD)
        try:
            record = typed(DrillRecord, body)
            if not is_backup_of(self._job, record.backup):
                raise Unreadable(f"'{record.backup[:80]}' is no backup of this job")
        except Unreadable as error:
            raise damaged(key, error) from error
        if (record.job, record.name) != (self._job, name):
            raise ManifestInvalid(
                f"cannot read '{key}': it is that of drill '{record.drill_id}'",
                hint="it was moved after it was written",
            )
        return record

    def all(self) -> Drills:
        """Every record; a damaged one does not hide the others."""
        found: list[DrillRecord] = []
        bad: list[DamagedRecord] = []
        for each in WorkerPool(AT_ONCE).map(self._stored().items(), self._read):
            if isinstance(each, DamagedRecord):
                bad.append(each)
            elif each is not None:
                found.append(each)
        found.sort(key=lambda each: (each.began, each.name), reverse=True)
        return Drills(records=tuple(found), damaged=tuple(bad))

    def _read(self, listed: tuple[str, Stored]) -> DrillRecord | DamagedRecord | None:
        name, stored = listed
        try:
            return self.find(name, stored=stored)
        except ObjectMissing:
            return None
        except (ManifestInvalid, RepositoryReadOnly) as error:
            # The second: this user may not read that object.
            return DamagedRecord(drill_id=f"{self._job}/{name}", problem=error.message)

    def drop_outlived(self, backups: Collection[str]) -> list[DrillRecord]:
        """Remove records of backups that are not in `backups`; returns the removed ones.

        The newest record of each database stays, and so does its newest good one: they tell which
        database is due, and how long its restore takes. A damaged record stays, as nobody knows
        which backup it is about.
        """
        newest: set[tuple[str, bool]] = set()
        outlived: list[DrillRecord] = []
        for each in self.all().records:
            marks = {(each.database, False), (each.database, each.passed)}
            if each.backup not in backups and marks <= newest:
                outlived.append(each)
            newest |= marks
        for each in outlived:
            self._repository.delete(drill_record_key(self._job, each.name))
        return outlived

    def _stored(self) -> dict[str, Stored]:
        listed = self._repository.list(f"{self._job}{DRILLS}")
        named = ((drill_of(self._job, each.key), each) for each in listed)
        return {name: each for name, each in named if name}
