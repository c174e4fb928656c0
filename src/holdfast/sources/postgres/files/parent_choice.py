"""Which earlier backup of a cluster the next one takes only the changes since."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.model.backup import Manifest, Part
from holdfast.model.chain import ancestors, by_id
from holdfast.model.errors import Unsupported
from holdfast.sources.postgres.files.snapshot import MANIFEST_FILE
from holdfast.sources.postgres.files.stream_facts import StreamFacts

OLDEST_SERVER = 170000
# Why a server will not send changes only; the same server sends all of its files.
_CANNOT_FOLLOW = re.compile(r"WAL summar|incremental backup|manifest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A backup to go on from, and the part of it that lists its files for the server."""

    manifest: Manifest
    part: Part

    @property
    def backup_id(self) -> str:
        return self.manifest.backup_id


def require_summaries(found: StreamFacts) -> None:
    """Raises `Unsupported` where the server does not know what changed."""
    if found.version_number < OLDEST_SERVER:
        raise Unsupported(
            f"cannot take incremental backups: server {found.version} is older than 17",
            hint="leave 'incremental' out, or upgrade the server",
        )
    if not found.summarizes:
        raise Unsupported(
            "cannot take incremental backups: the server keeps no summaries of its WAL",
            hint="ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf()",
        )


def parent_among(
    manifests: Sequence[Manifest], found: StreamFacts, *, most: int
) -> tuple[Parent | None, str]:
    """The newest of `manifests` to go on from, else why all files are to be copied.

    `manifests` can all be restored and come newest first; a chain has at most `most` incrementals.
    """
    if not manifests:
        return None, "no earlier backup"
    of_cluster = [
        each for each in manifests if each.proof.get("system_identifier") == found.system_identifier
    ]
    if not of_cluster:
        return None, "the earlier backups are of another cluster"
    of_timeline = [each for each in of_cluster if each.proof.get("timeline") == str(found.timeline)]
    if not of_timeline:
        return None, f"the earlier backups are not of timeline {found.timeline}"
    listed = [each for each in map(_listed, of_timeline) if each is not None]
    if not listed:
        return None, "the earlier backups were taken without 'incremental'"
    newest = listed[0]
    length = len(ancestors(newest.manifest, by_id(manifests)))
    if length >= most:
        return None, f"incrementals since the last full one: {length}"
    return newest, ""


def cannot_follow(stderr: str) -> bool:
    """Whether the server refused the parent, and not the backup."""
    return _CANNOT_FOLLOW.search(stderr) is not None


def _listed(manifest: Manifest) -> Parent | None:
    found = [part for part in manifest.parts if part.name == MANIFEST_FILE]
    return Parent(manifest=manifest, part=found[0]) if found else None
