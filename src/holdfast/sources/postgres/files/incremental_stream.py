"""What one run of pg_basebackup goes on from, and what it leaves for the next one to go on from."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from holdfast.model.backup import PARENT
from holdfast.model.errors import IdentityNeeded, VerifyFailed
from holdfast.ports.source import EarlierBackup
from holdfast.runtime import events
from holdfast.runtime.process import ChildFailed
from holdfast.sources.postgres.files.file_list import FileList
from holdfast.sources.postgres.files.parent_choice import Parent, cannot_follow, parent_among
from holdfast.sources.postgres.files.stream_facts import StreamFacts
from holdfast.sources.postgres.files.tar_stream import TarStream


class IncrementalStream:
    """The parent of a backup under way, until the server refuses it.

    `listed` is a private copy of the parent's list of files, `file` where that of this backup is
    kept; `why_full` says why there is no parent.
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
        """For pg_basebackup."""
        return [f"--incremental={self._listed}"] if self._parent else []

    @property
    def proof(self) -> dict[str, str]:
        return {PARENT: self._parent.backup_id} if self._parent else {}

    @property
    def notes(self) -> Sequence[str]:
        if not self.is_wanted:
            return ()
        if self._parent:
            return (f"incremental: what changed since '{self._parent.backup_id}'",)
        return (f"a full backup: {self._why_full}",)

    def give_up(self, error: ChildFailed) -> bool:
        """Whether all files may be asked for instead, as the server only refused the parent."""
        if self._parent is None or not cannot_follow(error.stderr):
            return False
        self._why_full = f"cannot go on from '{self._parent.backup_id}': {error.stderr}"
        self._parent = None
        events.info("full_backup", because=self._why_full)
        return True

    def list_anew(self) -> Callable[[bytes], None]:
        """What is to see a stream from its first byte: one that was broken off leaves nothing."""
        self._file.seek(0)
        self._file.truncate()
        self.files = FileList(self._file)
        return TarStream(self.files).feed if self.is_wanted else _nothing


def _nothing(_chunk: bytes) -> None:
    """Nobody will go on from this backup."""


@contextmanager
def following(
    found: StreamFacts, earlier: EarlierBackup | None, *, most: int
) -> Iterator[IncrementalStream]:
    """Who is gone on from, with private files that are gone after the block."""
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
    """Its list of files as a private file; raises `VerifyFailed` where it is damaged."""
    with tempfile.NamedTemporaryFile(prefix="holdfast-") as file:
        with earlier.open_part(parent.part) as chunks:
            for chunk in chunks:
                file.write(chunk)
        file.flush()
        yield Path(file.name)
