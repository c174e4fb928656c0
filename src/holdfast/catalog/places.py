"""Where everything lies in a repository. Whose an object is comes from its key, never from content.

Whoever can write one object could name any backup in it; he cannot be in another one's folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast.model.backup import BACKUP_NAME, JOB_NAME

MANIFEST = "manifest.json"
FAILURE = "failed.json"
MARK = "pruned"
PARTS = "parts"
# No backup is called so: its name begins with a digit.
BLOBS = "blobs"

WAL = ".wal"
"""Behind the name of a job: no job is called so, as a name has no dot."""

_OF_BACKUP = re.compile(
    rf"(?P<backup_id>(?:{JOB_NAME.pattern})/(?:{BACKUP_NAME.pattern}))/(?P<file>.+)", re.DOTALL
)
# What every store takes, and no step of it leads anywhere but down.
_STEPS = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_WAL_RECORD = re.compile(
    rf"(?:{JOB_NAME.pattern}){re.escape(WAL)}/[^/]+/[^/]+/[^/]+/{re.escape(MANIFEST)}"
)


@dataclass(frozen=True, slots=True)
class Place:
    """An object of a backup: which one's, and its name below that backup's folder."""

    backup_id: str
    file: str


def place_of(key: str) -> Place | None:
    """None for what is of no backup, such as blobs, or what holdfast never made."""
    found = _OF_BACKUP.fullmatch(key)
    return Place(found["backup_id"], found["file"]) if found else None


def record_at(key: str) -> str:
    """`MANIFEST`, `FAILURE` or `MARK`: what kind of record lies there; empty for all else.

    A part may have any name, that of a record as well.
    """
    if _WAL_RECORD.fullmatch(key):
        return MANIFEST
    place = place_of(key)
    return place.file if place is not None and place.file in (MANIFEST, FAILURE, MARK) else ""


def is_backup_id(text: str) -> bool:
    job, _, name = text.partition("/")
    return JOB_NAME.fullmatch(job) is not None and BACKUP_NAME.fullmatch(name) is not None


def is_part_of(backup_id: str, key: str) -> bool:
    """Whether a part of that backup can be there."""
    return is_below(f"{backup_id}/{PARTS}/", key)


def is_blob_of(job: str, key: str) -> bool:
    """Whether a long value of that job can be there."""
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


def part_key(backup_id: str, name: str) -> str:
    return f"{backup_id}/{PARTS}/{name}"


def blob_key(job: str, sha256: str, suffix: str) -> str:
    """Blobs of all backups of a job lie together, in folders that stay small."""
    return f"{job}/{BLOBS}/{sha256[:2]}/{sha256}{suffix}"
