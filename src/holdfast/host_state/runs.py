"""The runs of each job: their history, the journal of parts that an unfinished one stored, and the
status as this host last told it."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.model.backup import BACKUP_NAME, Part
from holdfast.model.errors import HoldfastError
from holdfast.model.lazy_dataclass import replace
from holdfast.model.stored_json import (
    RECORD,
    Limits,
    Unreadable,
    as_text,
    line_of,
    parsed,
    plain,
    typed,
)
from holdfast.model.stored_parts import member_from, part_as_stored, part_from
from holdfast.ports.host_state import RunRecord, Unfinished
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import (
    alone,
    lines_of,
    make_state_folder,
    open_private,
    replace_private,
    state_errors,
    write_all,
)

if TYPE_CHECKING:
    from holdfast.model.host_status import HostStatus

RUNS_KEPT = 50
# Others hold the lock only while they write one file.
WAIT_SECONDS = 30.0
# A pack and its tables are in one line.
LINE = Limits(size_bytes=64 << 20)


class FileRunHistory:
    """`FOLDER/JOB.jsonl`, the newest run last; each write replaces the file atomically."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def record(self, run: RunRecord) -> None:
        make_state_folder(self._folder)
        # A skipped run writes while the run in progress may be writing too.
        with alone(self._folder, seconds=WAIT_SECONDS):
            told = replace(run, error=as_text(run.error), hint=as_text(run.hint))
            lines = [*self._lines(run.job), line_of(told)][-RUNS_KEPT:]
            replace_private(self._path(run.job), b"".join(line + b"\n" for line in lines))

    def last(self, job: str, *, count: int) -> list[RunRecord]:
        runs = (_parse(line) for line in reversed(self._lines(job)))
        return [run for run in runs if run is not None][:count]

    def _lines(self, job: str) -> list[bytes]:
        lines = lines_of(self._path(job), most_bytes=RECORD.size_bytes)
        return [*deque(lines, maxlen=RUNS_KEPT)]

    def _path(self, job: str) -> Path:
        return self._folder / f"{job}.jsonl"


def _parse(line: bytes) -> RunRecord | None:
    """None for a line that a newer or faulty version wrote: the other lines still count."""
    try:
        return typed(RunRecord, parsed(line))
    except Unreadable:
        return None


SECONDS_BETWEEN_SYNCS = 1.0


class FileJournal:
    """Obeys `ports.host_state.Journal`: `FOLDER/JOB/DATABASE.jsonl`, with the head in its first
    line, then one line a part.

    Small parts are not worth a sync each: after a power cut, those of the last second are read
    again. The parts themselves are on the disk before their lines.
    """

    def __init__(self, folder: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._monotonic = monotonic
        self._synced_at: dict[Path, float] = {}

    def begin(self, unfinished: Unfinished) -> None:
        path = self._path(unfinished.job, unfinished.database)
        make_state_folder(self._folder)
        make_state_folder(path.parent)
        head = plain(unfinished)
        # Each has a line of its own.
        del head["parts"]
        lines = [json.dumps(head, ensure_ascii=False).encode()]
        lines += map(_line, unfinished.parts)
        # Whole or not at all: the parts of an earlier run are known from nowhere else.
        replace_private(path, b"".join(line + b"\n" for line in lines))
        self._synced_at[path] = self._monotonic()

    def add(self, job: str, database: str, part: Part) -> None:
        self._append(self._path(job, database), _line(part) + b"\n")

    def read(self, job: str, database: str) -> Unfinished | None:
        found = self._read(self._path(job, database))
        return found if found is not None and found.database == database else None

    def _read(self, path: Path) -> Unfinished | None:
        """None if the head is missing, or names another job than the folder."""
        lines = lines_of(path, most_bytes=LINE.size_bytes)
        try:
            head = typed(Unfinished, parsed(next(lines, b""), LINE))
        except Unreadable:
            return None
        if head.job != path.parent.name or not BACKUP_NAME.fullmatch(head.name):
            events.warning("journal_damaged", path=str(path))
            return None
        return Unfinished(
            job=head.job,
            name=head.name,
            run_id=head.run_id,
            database=head.database,
            snapshot=head.snapshot,
            started_at=head.started_at,
            snapshot_at=head.snapshot_at,
            parts=tuple(_readable(lines)),
            recipients=head.recipients,
            memo=head.memo,
        )

    def unfinished(self, job: str) -> list[Unfinished]:
        folder = self._folder / job
        with state_errors(folder):
            paths = sorted(folder.glob("*.jsonl"))
        found = [self._read(path) for path in paths]
        return [each for each in found if each is not None]

    def end(self, job: str, database: str) -> None:
        path = self._path(job, database)
        with state_errors(path):
            path.unlink(missing_ok=True)

    def _append(self, path: Path, line: bytes) -> None:
        with state_errors(path):
            descriptor = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            with afterwards(os.close, descriptor):
                write_all(descriptor, line)
                now = self._monotonic()
                before = self._synced_at.get(path)
                if before is None or now - before >= SECONDS_BETWEEN_SYNCS:
                    os.fsync(descriptor)
                    self._synced_at[path] = now

    def _path(self, job: str, database: str) -> Path:
        from urllib.parse import quote  # only for journals

        # A database name may contain anything; a file name may not, and its length is limited.
        return self._folder / job / f"{quote(database, safe='')[:200]}.jsonl"


def _readable(lines: Iterator[bytes]) -> Iterator[Part]:
    """The parts up to the first damaged line: a crash may cut a line, whose part is read again."""
    with suppress(Unreadable):
        for line in lines:
            yield _part_in(parsed(line, LINE))


def _line(part: Part) -> bytes:
    return json.dumps(part_as_stored(plain(part), part)).encode()


def _part_in(value: object) -> Part:
    """Raises `Unreadable`. Journals from before schema 2 can be resumed too."""
    schema = 2 if isinstance(value, dict) and "stored_fingerprint" in value else 1
    found = part_from(value, schema)
    members = value.get("members", []) if isinstance(value, dict) else []
    if not isinstance(members, list):
        raise Unreadable("its tables are not a list")
    return typed(Part, found | {"members": [member_from(each, schema) for each in members]})


# The status leaves the host also if it cannot be kept here.
STATUS_SECONDS = 3.0


class FileLastStatus:
    """Obeys `ports.host_state.LastStatus`: `FOLDER/JOB.json`, one line each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def replaced(self, job: str, change: Callable[[HostStatus | None], HostStatus]) -> HostStatus:
        try:
            make_state_folder(self._folder)
            with alone(self._folder, seconds=STATUS_SECONDS):
                status = change(self._read(job))
                self._keep(job, status)
        except HoldfastError as error:
            # A full disk of this host is something that the others should hear of.
            events.warning("host_status_not_kept", job=job, error=error.message)
            return change(self._read(job))
        return status

    def _keep(self, job: str, status: HostStatus) -> None:
        replace_private(self._path(job), line_of(status) + b"\n")

    def _read(self, job: str) -> HostStatus | None:
        """None for one that is missing, or that a newer or faulty version wrote."""
        from holdfast.model.host_status import STATUS, HostStatus  # not where only runs are read

        try:
            line = next(lines_of(self._path(job), most_bytes=STATUS.most_bytes), b"")
            status = typed(HostStatus, parsed(line, STATUS))
        except (HoldfastError, Unreadable):
            return None
        return status if status.job == job else None

    def _path(self, job: str) -> Path:
        return self._folder / f"{job}.json"
