"""Chooses the parent of an incremental pg_basebackup, and keeps the file list for the next one."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from holdfast.model.backup import Buffer, Manifest, Part
from holdfast.model.chain import ancestors, by_id
from holdfast.model.errors import IdentityNeeded, Unsupported, VerifyFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.proof import BaseBackupProof
from holdfast.ports.source import EarlierBackup, PartStream
from holdfast.runtime import events
from holdfast.runtime.process import ChildFailed
from holdfast.sources.postgres.files.snapshot import MANIFEST_FILE
from holdfast.sources.postgres.files.stream_facts import StreamFacts
from holdfast.sources.postgres.files.stream_watchers import TarStream, Watcher

CHUNK_BYTES = 1 << 20


class FileList(PartStream, Watcher):
    """The `backup_manifest` of a tar; `size_bytes` is 0 until all of it was seen.

    It is stored in `file`, because that of a huge cluster has hundreds of MiB.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._wanted = 0
        self._told_bytes = 0
        self.size_bytes = 0

    def begin(self, name: str, size_bytes: int) -> None:
        if name == MANIFEST_FILE:
            self._told_bytes = self._wanted = size_bytes
            self.size_bytes = 0

    def see(self, content: memoryview) -> None:
        taken = content[: self._wanted]
        self._file.write(taken)
        self._wanted -= len(taken)
        if not self._wanted:
            self.size_bytes = self._told_bytes

    def __iter__(self) -> Iterator[Buffer]:
        self._file.seek(0)
        while chunk := self._file.read(CHUNK_BYTES):
            yield chunk


OLDEST_SERVER = 170000
# Errors by which a server refuses an incremental backup; a full one is still possible then.
_CANNOT_FOLLOW = re.compile(r"WAL summar|incremental backup|manifest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The backup that an incremental one is based on, and its part with the list of its files."""

    manifest: Manifest
    part: Part

    @property
    def backup_id(self) -> str:
        return self.manifest.backup_id


def require_summaries(found: StreamFacts) -> None:
    """Raises `Unsupported` if the server keeps no WAL summaries, which name changed blocks."""
    if found.version_number < OLDEST_SERVER:
        raise Unsupported(
            f"cannot take incremental backups: server {found.version} is older than 17",
            hint="remove 'incremental' from the job, or upgrade the server",
        )
    if not found.summarizes:
        raise Unsupported(
            "cannot take incremental backups: the server does not summarize its WAL",
            hint="ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf()",
        )


def parent_among(
    manifests: Sequence[Manifest], found: StreamFacts, *, most: int
) -> tuple[Parent | None, str]:
    """The newest suitable parent in `manifests`, or None and the reason for a full backup.

    `manifests` must be restorable and newest first. A chain has at most `most` incrementals.
    """
    if not manifests:
        return None, "no earlier backup"
    of_cluster = [each for each in manifests if each.proof.cluster == found.system_identifier]
    if not of_cluster:
        return None, "the earlier backups are of another cluster"
    of_timeline = [each for each in of_cluster if _timeline(each) == found.timeline]
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
    """Whether the server refused the parent only, so that a full backup is still possible."""
    return _CANNOT_FOLLOW.search(stderr) is not None


def _timeline(manifest: Manifest) -> int | None:
    return manifest.proof.timeline if isinstance(manifest.proof, BaseBackupProof) else None


def _listed(manifest: Manifest) -> Parent | None:
    found = [part for part in manifest.parts if part.name == MANIFEST_FILE]
    return Parent(manifest=manifest, part=found[0]) if found else None


class IncrementalStream:
    """The parent of a running backup, dropped if the server refuses it.

    `listed` is a private copy of the parent's file list. `file` stores the list of this backup.
    `why_full` says why there is no parent.
    """

    def __init__(
        self,
        file: IO[bytes],
        *,
        is_wanted: bool,
        parent: Parent | None = None,
        listed: Path = Path(),
        why_full: str = "",
    ) -> None:
        self._file = file
        self._parent = parent
        self._listed = listed
        self._why_full = why_full
        self.is_wanted = is_wanted
        self.files = FileList(file)

    @property
    def options(self) -> Sequence[str]:
        """The additional arguments of pg_basebackup."""
        return [f"--incremental={self._listed}"] if self._parent else []

    @property
    def parent(self) -> str:
        """The id of the parent; empty for a full backup."""
        return self._parent.backup_id if self._parent else ""

    @property
    def notes(self) -> Sequence[str]:
        if not self.is_wanted:
            return ()
        if self._parent:
            return (f"incremental: blocks changed since '{self._parent.backup_id}'",)
        return (f"a full backup: {self._why_full}",)

    def give_up(self, error: ChildFailed) -> bool:
        """Drop the parent if `error` says that the server refused it; returns whether it did."""
        if self._parent is None or not cannot_follow(error.stderr):
            return False
        self._why_full = f"cannot continue from '{self._parent.backup_id}': {error.stderr}"
        self._parent = None
        events.info("full_backup", because=self._why_full)
        return True

    def new_list(self) -> Callable[[bytes], None]:
        """Start a new file list; returns the function that takes the stream from its first byte.

        What an earlier, broken stream left in the file is discarded.
        """
        self._file.seek(0)
        self._file.truncate()
        self.files = FileList(self._file)
        return TarStream(self.files).feed if self.is_wanted else _nothing


def _nothing(_chunk: bytes) -> None:
    """Ignores the stream: no incremental backup will need its list."""


@contextmanager
def following(
    found: StreamFacts, earlier: EarlierBackup | None, *, most: int
) -> Iterator[IncrementalStream]:
    """Choose the parent; its private files are deleted when the block ends.

    A parent whose list is damaged, or encrypted without an identity, makes this a full backup.
    """
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile(prefix="holdfast-"))
        if not most:
            yield IncrementalStream(file, is_wanted=False)
            return
        manifests = earlier.manifests() if earlier else ()
        parent, why = parent_among(manifests, found, most=most)
        listed = Path()
        if parent and earlier:
            try:
                listed = stack.enter_context(_copied(parent, earlier))
            except (VerifyFailed, IdentityNeeded) as error:
                parent, why = None, error.message
        if parent is None:
            events.info("full_backup", because=why)
        yield IncrementalStream(file, is_wanted=True, parent=parent, listed=listed, why_full=why)


@contextmanager
def _copied(parent: Parent, earlier: EarlierBackup) -> Iterator[Path]:
    """The parent's file list as a private temporary file, deleted when the block ends.

    Raises `VerifyFailed` if it is damaged, and `IdentityNeeded`.
    """
    with tempfile.NamedTemporaryFile(prefix="holdfast-") as file:
        with earlier.open_part(parent.part) as chunks:
            for chunk in chunks:
                file.write(chunk)
        file.flush()
        yield Path(file.name)
