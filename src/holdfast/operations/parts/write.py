"""Write one part from the snapshot through the pipeline into the repository."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast.catalog.places import part_key
from holdfast.model.backup import Buffer, Codec, Part, PartPlan
from holdfast.model.errors import BackupFailed, HoldfastError, TasksRefused
from holdfast.operations.parts.read import stored_suffix
from holdfast.pipeline.compression import Pass, compressor
from holdfast.pipeline.encryption import encryption
from holdfast.pipeline.flow import Fingerprint, Stage, flow
from holdfast.runtime import events
from holdfast.runtime.kernel import is_refusal

if TYPE_CHECKING:
    from holdfast.model.fingerprints import Algorithms
    from holdfast.operations.context import StoredForm
    from holdfast.ports.repository import Repository
    from holdfast.ports.source import PartStream, Snapshot


def store_part(
    snapshot: Snapshot,
    part: PartPlan,
    *,
    into: Repository,
    key: str,
    form: StoredForm,
    advance: Callable[[int], None],
) -> Part:
    """Stream `part` into the object `key`; errors name the part.

    `advance` is called with the size of every plain chunk, and may block to throttle the stream.
    Raises `TasksRefused` if the kernel refuses a process or thread, and `BackupFailed` for any
    unexpected error.
    """
    began = time.monotonic()
    codec = _codec(form, part)
    with _named(part), snapshot.read(part) as stream:
        compression = _compression(stream, codec, level=form.level, part=part)
        plain, stored = keep(
            into,
            key,
            stream,
            compression=compression,
            recipients=form.recipients,
            fingerprints=form.fingerprints,
            advance=advance,
        )
        rows, members = stream.rows, tuple(stream.members)
        memo, checksum = stream.memo, stream.checksum
    return Part(
        name=part.name,
        key=key,
        kind=part.kind,
        relation=part.relation,
        ancestors=part.ancestors,
        rows=rows,
        plain_bytes=plain.size_bytes,
        plain_fingerprint=plain.fingerprint,
        stored_bytes=stored.size_bytes,
        stored_fingerprint=stored.fingerprint,
        codec=codec,
        encryption=form.encryption,
        seconds=round(time.monotonic() - began, 3),
        details=part.details,
        members=members,
        memo=memo,
        checksum=checksum,
    )


def tell_stored(part: Part) -> None:
    events.info(
        "part_stored",
        part=part.name,
        relation=str(part.relation) if part.relation else None,
        rows=part.rows,
        plain_bytes=part.plain_bytes,
        stored_bytes=part.stored_bytes,
        seconds=part.seconds,
        bytes_per_second=round(part.plain_bytes / part.seconds) if part.seconds else None,
    )


def keep(
    repository: Repository,
    key: str,
    chunks: Iterable[Buffer],
    *,
    compression: Stage,
    recipients: Sequence[str],
    fingerprints: Algorithms,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[Fingerprint, Fingerprint]:
    """Put `chunks` under `key`, compressed and sealed; returns both fingerprints, plain and stored.

    They are one object, the cryptographic one, if nothing was changed. Raises what
    `Repository.put` raises.
    """
    with encryption(recipients) as encrypt:
        changing: list[Stage] = [compression, encrypt]
        if all(isinstance(stage, Pass) for stage in changing):
            plain = stored = Fingerprint(fingerprints.stored, advance=advance)
            stages: list[Stage] = [stored]
        else:
            # The manifest is not encrypted, and XXH3 can be reversed: it reveals short content.
            by = fingerprints.stored if recipients else fingerprints.plain
            plain = Fingerprint(by, advance=advance)
            stored = Fingerprint(fingerprints.stored)
            stages = [plain, *changing, stored]
        repository.put(key, flow(chunks, stages))
    return plain, stored


def key_of(form: StoredForm, backup_id: str, part: PartPlan) -> str:
    """The key of `part`; its suffix names the stock tools that can read it."""
    suffix = stored_suffix(_codec(form, part), form.encryption)
    return part_key(backup_id, part.name + suffix)


def _codec(form: StoredForm, part: PartPlan) -> Codec:
    return form.codec if part.compress else Codec.NONE


def _compression(stream: PartStream, codec: Codec, *, level: int, part: PartPlan) -> Stage:
    """The stream's own compression, else a new compressor."""
    own = stream.compression
    if own is not None:
        return own
    return compressor(codec, level, threads=part.compress_threads)


@contextmanager
def _named(part: PartPlan) -> Iterator[None]:
    """Make unexpected errors name the part, too."""
    try:
        yield
    except HoldfastError:
        raise
    except Exception as error:
        what = part.relation or part.name
        if is_refusal(error):
            raise TasksRefused(
                f"cannot back up '{what}': the kernel refused another process or thread",
                hint="raise TasksMax= of the service, or give the job fewer processes",
            ) from error
        raise BackupFailed(f"cannot back up '{what}': {error}") from error
