"""Replace a segment that was archived before its server had finished it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.errors import (
    HoldfastError,
    IdentityNeeded,
    RepositoryUnreachable,
    TasksRefused,
    WalConflict,
)
from holdfast.model.wal import WalKind
from holdfast.operations.parts.read import proven
from holdfast.runtime import events
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.tablespaces import segment_at

if TYPE_CHECKING:
    from holdfast.model.wal_archive import ArchivedFile
    from holdfast.model.wal_records import Segment
    from holdfast.operations.wal.files import WalFile
    from holdfast.pipeline.encryption import Identities
    from holdfast.ports.repository import Repository

TWO_SERVERS = (
    "two servers, or a server and its copy, archive under one job: give each its own job, and make"
    " a new backup of the server that stays in use"
)


def require_same(known: ArchivedFile, file: WalFile, *, hint: str = TWO_SERVERS) -> None:
    """Raises `WalConflict` unless `file` is the archived one."""
    if not file.has(known.part.plain_fingerprint):
        raise WalConflict(
            f"cannot archive '{known.name}': the archive of job '{known.job}' holds another file of"
            f" that name, from host '{known.host}' at {known.archived_at:%Y-%m-%d %H:%M:%SZ}",
            hint=hint,
        )


def make_way(
    repository: Repository, known: ArchivedFile, file: WalFile, *, identities: Identities | None
) -> None:
    """Remove `known` from the archive if it was archived before its server had finished it.

    That is proven if its content ends within the segment, and `file` is identical up to there.
    Raises `WalConflict` otherwise.
    """
    is_segment = file.name.kind is WalKind.SEGMENT
    if not is_segment or not _is_unfinished(repository, known, file, identities=identities):
        require_same(known, file)
    WalArchive(repository, known.job).forget(known)
    events.warning(
        "unfinished_wal_replaced", file=known.name, archived_at=known.archived_at.isoformat()
    )


def _is_unfinished(
    repository: Repository, known: ArchivedFile, file: WalFile, *, identities: Identities | None
) -> bool:
    try:
        with _opened(repository, known, identities) as early, segment_at(file.path) as finished:
            return not early.is_written_through and early.goes_on_in(finished)
    except (TasksRefused, RepositoryUnreachable):
        raise
    except IdentityNeeded:
        require_same(
            known,
            file,
            hint=f"{TWO_SERVERS}. If the archived file was pushed by hand before its server had"
            f" finished it, `holdfast wal push {known.job} {file.path} --identity FILE` replaces"
            " it",
        )
    except HoldfastError as error:
        events.warning("archived_wal_unreadable", file=known.name, problem=error.message)
    return False


@contextmanager
def _opened(
    repository: Repository, known: ArchivedFile, identities: Identities | None
) -> Iterator[Segment]:
    import tempfile  # hardly any push replaces a segment

    with tempfile.NamedTemporaryFile(prefix="holdfast-") as out:
        plain = proven(repository, known.part, identities=identities)
        with afterwards(plain.close):
            for chunk in plain:
                out.write(chunk)
        out.flush()
        with segment_at(Path(out.name)) as segment:
            yield segment
