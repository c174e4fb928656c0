"""Where each object lies in a repository. Its key says who owns it, never its content.

A writer can name any backup inside an object, but cannot put the object into another's folder.
"""

from __future__ import annotations

import re

from holdfast.model.backup import BACKUP_NAME, JOB_NAME
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.lazy_pattern import regex

MANIFEST = "manifest.json"
FAILURE = "failed.json"
MARK = "pruned"
PARTS = "parts"
# Not a possible name of a backup, which begins with a digit.
BLOBS = "blobs"

WAL = ".wal"
"""The suffix of a job's name in the WAL folder: no job has such a name, as names have no dot."""

DRILLS = ".drills"
"""The suffix of a job's name in the folder of its drills' records."""
DRILL_RECORD = "record.json"

STATUSES = "_status"
"""The folder of what hosts tell about their jobs: no job has a name that begins so."""
HOST_STATUS = "status.json"

_OF_BACKUP = regex(
    rf"(?P<backup_id>(?:{JOB_NAME.pattern})/(?:{BACKUP_NAME.pattern}))/(?P<file>.+)", re.DOTALL
)
# Characters that every store accepts; no segment leads out of the folder.
_STEPS = regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_WAL_RECORD = regex(
    rf"(?:{JOB_NAME.pattern}){re.escape(WAL)}/[^/]+/[^/]+/[^/]+/{re.escape(MANIFEST)}"
)
_DRILL_RECORD = regex(
    rf"(?P<job>{JOB_NAME.pattern}){re.escape(DRILLS)}/(?P<name>{BACKUP_NAME.pattern})"
    rf"/{re.escape(DRILL_RECORD)}"
)
_HOST_STATUS = regex(
    rf"{STATUSES}/(?P<job>{JOB_NAME.pattern})/(?P<host>[A-Za-z0-9_][A-Za-z0-9._-]{{0,199}})"
    rf"\.(?P<name>{BACKUP_NAME.pattern})\.{re.escape(HOST_STATUS)}"
)


@dataclass(frozen=True, slots=True)
class Place:
    """An object of a backup: the backup's id, and the object's name below the backup's folder."""

    backup_id: str
    file: str


def place_of(key: str) -> Place | None:
    """None for an object that belongs to no backup, such as a blob or a foreign file."""
    found = _OF_BACKUP.fullmatch(key)
    return Place(found["backup_id"], found["file"]) if found else None


def record_at(key: str) -> str:
    """The kind of record at `key`, as the name of its file; empty for any other object.

    A part may have any name, also that of a record.
    """
    if _WAL_RECORD.fullmatch(key):
        return MANIFEST
    if _DRILL_RECORD.fullmatch(key):
        return DRILL_RECORD
    if _HOST_STATUS.fullmatch(key):
        return HOST_STATUS
    place = place_of(key)
    return place.file if place is not None and place.file in (MANIFEST, FAILURE, MARK) else ""


def is_backup_id(text: str) -> bool:
    job, _, name = text.partition("/")
    return JOB_NAME.fullmatch(job) is not None and BACKUP_NAME.fullmatch(name) is not None


def is_part_of(backup_id: str, key: str) -> bool:
    """Whether `key` is a valid key for a part of that backup."""
    return is_below(f"{backup_id}/{PARTS}/", key)


def is_blob_of(job: str, key: str) -> bool:
    """Whether `key` is a valid key for a blob of that job."""
    return is_below(f"{job}/{BLOBS}/", key)


def is_below(folder: str, key: str) -> bool:
    """Whether `key` is a plain name below `folder`, which ends with a slash."""
    return key.startswith(folder) and _STEPS.fullmatch(key, len(folder)) is not None


def manifest_key(backup_id: str) -> str:
    return f"{backup_id}/{MANIFEST}"


def mark_key(backup_id: str) -> str:
    return f"{backup_id}/{MARK}"


def failure_key(backup_id: str) -> str:
    return f"{backup_id}/{FAILURE}"


def drill_record_key(job: str, name: str) -> str:
    return f"{job}{DRILLS}/{name}/{DRILL_RECORD}"


def drill_of(job: str, key: str) -> str:
    """The name of the drill of `job` whose record lies at `key`; empty for any other key."""
    found = _DRILL_RECORD.fullmatch(key)
    return found["name"] if found and found["job"] == job else ""


@dataclass(frozen=True, slots=True)
class StatusPlace:
    """A status of `host` about `job`; names of one host are in the order of time."""

    job: str
    host: str
    name: str


def status_key(place: StatusPlace) -> str:
    return f"{STATUSES}/{place.job}/{place.host}.{place.name}.{HOST_STATUS}"


def status_place_of(key: str) -> StatusPlace | None:
    found = _HOST_STATUS.fullmatch(key)
    return StatusPlace(found["job"], found["host"], found["name"]) if found else None


def part_key(backup_id: str, name: str) -> str:
    return f"{backup_id}/{PARTS}/{name}"


def blob_key(job: str, name: str, suffix: str) -> str:
    """The key of a blob, which all backups of a job share; many folders keep each folder small."""
    return f"{job}/{BLOBS}/{name.rpartition('-')[2][:2]}/{name}{suffix}"
