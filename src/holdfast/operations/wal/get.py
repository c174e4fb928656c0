"""Bring files of the WAL back for a server that recovers: each proven, whole or not there."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path

from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.errors import (
    HoldfastError,
    Interrupted,
    ObjectMissing,
    RepositoryUnreachable,
    RestoreFailed,
    TasksRefused,
    WalUnfit,
)
from holdfast.model.wal import WalKind, WalName, numbered_name
from holdfast.model.wal_archive import ArchivedFile
from holdfast.model.wal_records import PAGE_BYTES
from holdfast.operations.context import ArchiveContext
from holdfast.operations.parts.read import proven
from holdfast.operations.retry import Retries
from holdfast.pipeline.encryption import Identities
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.runtime.files import PRIVATE_FOLDER, make_folder, whole_file, write_all
from holdfast.runtime.tablespaces import NewTablespaces
from holdfast.runtime.worker_pool import WorkerPool

UNFINISHED = ".unfinished"
SPOOL_DIGITS = 16
# A recovery that asked for nothing for so long has ended, or fetches again.
ABANDONED_SECONDS = 86_400.0
# Of a server that was killed a call may still run, which takes away what we write.
MOST_COLLISIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Getting:
    """What one call brings: a file of `cluster`, and up to `at_once` in all.

    The others go below `spool` for the calls that will ask for them; each recovery of a host has a
    folder there. `spaces` is what becomes of tablespaces that WAL makes; without it the server does
    with them what the WAL says.
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
        """That of the data directory that it is for: what one recovery has gone past another one
        has yet to come to."""
        folder = self.destination.parent.resolve()
        found = folder.stat()
        told = f"{found.st_dev} {found.st_ino} ".encode() + os.fsencode(folder)
        return self.spool / sha256(told).hexdigest()[:SPOOL_DIGITS]


def get(context: ArchiveContext, wanted: Getting) -> bool:
    """Whether the file is archived, and then it is whole at its destination.

    Its SHA-256 is proven first. Raises `WalUnfit` for a name that no server asks for,
    `TargetNotEmpty` for WAL that would make a tablespace in a folder that is in use, and
    whatever keeps us from knowing: `VerifyFailed`, `IdentityNeeded`, what the repository raises.
    """
    name = WalName.parse(wanted.name)
    if name is None:
        raise WalUnfit(
            f"cannot get '{wanted.name}': no file of the WAL is called so",
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
    """Only what is safe to be replayed stays at the destination."""
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
    """Of the next segment, proven; nothing where it is not archived yet: then it is not replayed
    either."""
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
    # What is fetched early is a favour: whoever asks for it in earnest hears of what is wrong.
    try:
        file = _found(context, wanted.cluster, name)
        if file is not None and not _spooled(wanted, file).exists():
            make_folder(wanted.own_spool, above=PRIVATE_FOLDER)
            _write(context, file, _spooled(wanted, file), identities=wanted.identities)
    except (Interrupted, TasksRefused):
        raise
    except (HoldfastError, OSError) as error:
        events.debug("wal_not_fetched_early", file=name, problem=str(error))


def _write(
    context: ArchiveContext, file: ArchivedFile, path: Path, *, identities: Identities | None
) -> None:
    """`path` is there with all of the file, or as it was."""
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
    """Whether an earlier call has fetched it, and it is still what it was: then it is moved."""
    try:
        path = _spooled(wanted, file)
        if _sha256(path) != file.part.plain_sha256:
            path.unlink()
            return False
    except OSError:
        return False
    try:
        shutil.move(path, wanted.destination)
    except OSError as error:
        if not path.exists():
            # Somebody took it away since: it is fetched as any other.
            return False
        raise _unwritable(wanted.destination, error) from error
    return True


def _spooled(wanted: Getting, file: ArchivedFile) -> Path:
    """The name says what is in it: another archive's file of the same name is another file."""
    return wanted.own_spool / f"{file.name}-{file.part.plain_sha256}"


def _forget_older(wanted: Getting) -> None:
    """What recovery has gone past is asked for by nobody, nor what others have left long ago."""
    with suppress(OSError):
        for path in list(wanted.own_spool.iterdir()):
            if path.name[:24] <= wanted.name[:24]:
                path.unlink(missing_ok=True)
    with suppress(OSError):
        for path in list(wanted.spool.iterdir()):
            if path != wanted.own_spool and _is_abandoned(path):
                shutil.rmtree(path, ignore_errors=True)


def _is_abandoned(path: Path) -> bool:
    """Before each recovery had a folder, files lay there too: nobody asks for these."""
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _unwritable(path: Path, error: OSError) -> RestoreFailed:
    return RestoreFailed(
        f"cannot write '{path}': {os.strerror(error.errno or 0)}",
        hint="is there room, and is the folder yours?",
    )
