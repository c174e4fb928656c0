"""Fetch WAL files for a server in recovery, each verified, and complete or not at all."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.errors import (
    HoldfastError,
    ObjectMissing,
    RepositoryUnreachable,
    RestoreFailed,
    TasksRefused,
    WalUnfit,
)
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.sha256 import sha256_hex
from holdfast.model.wal import WalKind, WalName, numbered_name
from holdfast.model.wal_records import PAGE_BYTES
from holdfast.operations.parts.read import proven
from holdfast.operations.retry import Retries
from holdfast.operations.wal.files import chunks_of, is_of
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.runtime.files import PRIVATE_FOLDER, make_folder, whole_file, write_all
from holdfast.runtime.worker_pool import WorkerPool

if TYPE_CHECKING:
    from holdfast.model.wal_archive import ArchivedFile
    from holdfast.operations.context import ArchiveContext
    from holdfast.pipeline.encryption import Identities
    from holdfast.runtime.tablespaces import NewTablespaces

UNFINISHED = ".unfinished"
SPOOL_DIGITS = 16
# A recovery that asked for nothing for so long has ended, or will fetch the files again.
ABANDONED_SECONDS = 86_400.0
# A call of a server that was killed may still run, and remove the file that we write.
MOST_COLLISIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Getting:
    """One call's request: the file `name` of `cluster`, and up to `at_once` files in all.

    The other files are spooled for later calls, in a folder of each recovery below `spool`.
    `spaces` relocates the tablespaces that WAL creates; without it the server creates them where
    the WAL says.
    """

    cluster: str
    name: str
    destination: Path
    spool: Path
    at_once: int = 1
    identities: Identities | None = None
    spaces: NewTablespaces | None = None

    @property
    def own_spool(self) -> Path:
        """The spool folder of this data directory: each recovery has its own position in WAL."""
        folder = self.destination.parent.resolve()
        found = folder.stat()
        told = f"{found.st_dev} {found.st_ino} ".encode() + os.fsencode(folder)
        return self.spool / sha256_hex(told)[:SPOOL_DIGITS]


def get(context: ArchiveContext, wanted: Getting) -> bool:
    """Write the file to its destination; returns False if it is not archived.

    The destination is complete, and its fingerprint was verified. Raises `WalUnfit` for a name that
    no server asks for, and `TargetNotEmpty` for WAL that would create a tablespace in a folder in
    use. Also raises `VerifyFailed`, `IdentityNeeded`, and what the repository raises.
    """
    name = WalName.parse(wanted.name)
    if name is None:
        raise WalUnfit(
            f"cannot get '{wanted.name}': this is not the name of a WAL file",
            hint="restore_command = 'holdfast wal get JOB %f %p'",
        )
    file = _found(context, wanted.cluster, wanted.name)
    if file is None:
        return False
    if not _is_spooled(wanted, file):
        later = _later(file, name, wanted.at_once - 1)
        WorkerPool(wanted.at_once).each(
            [file.name, *later], lambda each: _bring(context, wanted, file, name=each)
        )
    if name.kind is WalKind.SEGMENT:
        _admit(context, wanted, file, name=name)
        _forget_older(wanted)
    return True


def _admit(context: ArchiveContext, wanted: Getting, file: ArchivedFile, *, name: WalName) -> None:
    """Make the segment safe to replay; removes it from the destination if that fails."""
    spaces = wanted.spaces
    if spaces is None:
        return
    with on_failure(wanted.destination.unlink):
        for oid in spaces.admit(
            wanted.destination, lambda: _beginning_after(context, wanted, file, name=name)
        ):
            spaces.make(oid)


def _beginning_after(
    context: ArchiveContext, wanted: Getting, file: ArchivedFile, *, name: WalName
) -> bytes:
    """The first page of the next segment, verified.

    Empty if that is not archived: a record that continues there is then not replayed, either.
    """
    (later,) = _later(file, name, 1)
    found = _found(context, wanted.cluster, later)
    if found is None:
        return b""
    plain = proven(context.repositories[0], found.part, identities=wanted.identities)
    with afterwards(plain.close):
        beginning = b""
        for chunk in plain:
            beginning += chunk[: PAGE_BYTES - len(beginning)]
        return beginning


def _found(context: ArchiveContext, cluster: str, name: str) -> ArchivedFile | None:
    archive = WalArchive(context.repositories[0], context.job.name)
    trying = Retries(context.job.rules.attempts).trying
    try:
        return trying(
            lambda: archive.find(cluster, name), on=RepositoryUnreachable, what=f"getting '{name}'"
        )
    except ObjectMissing:
        return None


def _bring(context: ArchiveContext, wanted: Getting, asked: ArchivedFile, *, name: str) -> None:
    if name == asked.name:
        _write(context, asked, wanted.destination, identities=wanted.identities)
        return
    # Fetching ahead is optional: the call that asks for this file raises its error.
    try:
        file = _found(context, wanted.cluster, name)
        if file is not None and not _spooled(wanted, file).exists():
            make_folder(wanted.own_spool, above=PRIVATE_FOLDER)
            _write(context, file, _spooled(wanted, file), identities=wanted.identities)
    except TasksRefused:
        raise
    except (HoldfastError, OSError) as error:
        events.debug("wal_not_prefetched", file=name, problem=str(error))


def _write(
    context: ArchiveContext, file: ArchivedFile, path: Path, *, identities: Identities | None
) -> None:
    """Write the file to `path` atomically: after an error `path` is as it was."""
    unfinished = path.with_name(path.name + UNFINISHED)

    def attempt() -> None:
        for left in reversed(range(MOST_COLLISIONS)):
            try:
                once()
            except FileNotFoundError:
                if not left:
                    raise
            else:
                return

    def once() -> None:
        plain = proven(context.repositories[0], file.part, identities=identities)
        with afterwards(plain.close), whole_file(path, unfinished=unfinished) as out:
            for chunk in plain:
                write_all(out, chunk)

    try:
        Retries(context.job.rules.attempts).trying(
            attempt, on=RepositoryUnreachable, what=f"getting '{file.name}'"
        )
    except OSError as error:
        raise _unwritable(path, error) from error


def _is_spooled(wanted: Getting, file: ArchivedFile) -> bool:
    """Move the file from the spool to its destination; returns whether it was there, unaltered."""
    try:
        path = _spooled(wanted, file)
        if not is_of(chunks_of(path), file.part.plain_fingerprint):
            path.unlink()
            return False
    except OSError:
        return False
    try:
        _move(path, wanted.destination)
    except OSError as error:
        if not path.exists():
            # Another call has removed it: fetch it from the repository.
            return False
        raise _unwritable(wanted.destination, error) from error
    return True


def _move(path: Path, destination: Path) -> None:
    try:
        path.rename(destination)
    except OSError:
        # Another file system, or a folder: it loads three compressors, and is needed for these.
        from shutil import move

        move(path, destination)


def _spooled(wanted: Getting, file: ArchivedFile) -> Path:
    """The path in the spool; the fingerprint in it tells files of different archives apart."""
    fingerprint = file.part.plain_fingerprint.replace(":", "-")
    return wanted.own_spool / f"{file.name}-{fingerprint}"


def _forget_older(wanted: Getting) -> None:
    """Remove spooled files that this recovery has passed, and folders of abandoned recoveries."""
    with suppress(OSError):
        for path in list(wanted.own_spool.iterdir()):
            if path.name[:24] <= wanted.name[:24]:
                path.unlink(missing_ok=True)
    with suppress(OSError):
        for path in list(wanted.spool.iterdir()):
            if path != wanted.own_spool and _is_abandoned(path):
                from shutil import rmtree  # it loads three compressors

                rmtree(path, ignore_errors=True)


def _is_abandoned(path: Path) -> bool:
    """Whether a recovery's folder is abandoned; removes loose files, which old versions left."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return False
    return time.time() - path.stat().st_mtime >= ABANDONED_SECONDS


def _later(file: ArchivedFile, name: WalName, count: int) -> list[str]:
    if name.kind is not WalKind.SEGMENT:
        return []
    segment_bytes = file.part.plain_bytes
    first = name.number(segment_bytes) + 1
    return [
        numbered_name(name.timeline, number, segment_bytes=segment_bytes)
        for number in range(first, first + count)
    ]


def _unwritable(path: Path, error: OSError) -> RestoreFailed:
    return RestoreFailed(
        f"cannot write '{path}': {os.strerror(error.errno or 0)}",
        hint="check the free space and the owner of the folder",
    )
