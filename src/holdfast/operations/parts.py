"""One part from the snapshot through the pipeline into the repository, and back again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfast.catalog.catalog import part_key
from holdfast.errors import (
    BackupFailed,
    HoldfastError,
    ObjectMissing,
    TasksRefused,
    VerifyFailed,
)
from holdfast.model import SUFFIXES, Codec, Part, PartPlan
from holdfast.operations.plugs import Plugs
from holdfast.pipeline.compress import compressor
from holdfast.pipeline.decompress import CorruptStream, decompress
from holdfast.pipeline.fingerprint import Fingerprint
from holdfast.pipeline.flow import Stage, flow
from holdfast.ports import PartStream, Repository, SelfCompressing, Snapshot
from holdfast.process import is_refusal


def store_part(
    plugs: Plugs,
    snapshot: Snapshot,
    backup_id: str,
    part: PartPlan,
    *,
    advance: Callable[[int], None],
) -> Part:
    """Stream `part` into the repository; raises what went wrong, naming the part.

    `advance` is told of every plain byte, and may hold it back.
    """
    began = time.monotonic()
    codec = plugs.job.codec if part.compress else Codec.NONE
    plain = Fingerprint(advance=advance)
    stored = Fingerprint()
    key = part_key(backup_id, part.name + SUFFIXES[codec])
    with _named(part), snapshot.read(part) as stream:
        compress = _compression(stream, codec, level=plugs.job.level, part=part)
        plugs.repository.put(key, flow(stream, [plain, compress, stored]))
        rows, members = stream.rows, tuple(stream.members)
    return Part(
        name=part.name,
        key=key,
        kind=part.kind,
        relation=part.relation,
        ancestors=part.ancestors,
        rows=rows,
        plain_bytes=plain.size_bytes,
        plain_sha256=plain.sha256,
        stored_bytes=stored.size_bytes,
        stored_sha256=stored.sha256,
        codec=codec,
        encryption="none",
        seconds=round(time.monotonic() - began, 3),
        details=part.details,
        members=members,
    )


def _compression(stream: PartStream, codec: Codec, *, level: int, part: PartPlan) -> Stage:
    """What the part brings itself, else a compressor of ours."""
    if isinstance(stream, SelfCompressing):
        return stream.compression
    return compressor(codec, level, threads=part.compress_threads)


@contextmanager
def _named(part: PartPlan) -> Iterator[None]:
    """Errors that nobody foresaw still say which part they struck."""
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


def proven(
    repository: Repository, part: Part, *, advance: Callable[[int], None] = lambda _: None
) -> Iterator[bytes]:
    """The plain bytes of `part`; the last chunk comes only after all fingerprints matched.

    Raises `VerifyFailed` naming the part, also where it is missing or cannot be decompressed.
    """
    plain, stored = Fingerprint(advance=advance), Fingerprint()
    last = b""
    try:
        with repository.open(part.key) as chunks:
            seen = (bytes(chunk) for chunk in flow(chunks, [stored]))
            for chunk in decompress(seen, part.codec):
                plain.feed(chunk)
                if last:
                    yield last
                last = chunk
            # A decompressor may stop before the end: what follows is not ours, and must show.
            for _ in seen:
                pass
    except (CorruptStream, ObjectMissing) as error:
        raise VerifyFailed(f"cannot trust part '{part.name}': {error}", hint=HINT) from error
    _compare(part, plain, stored)
    if last:
        yield last


HINT = "this backup is damaged: restore from another one"


def _compare(part: Part, plain: Fingerprint, stored: Fingerprint) -> None:
    for what, found, expected in (
        ("stored size", stored.size_bytes, part.stored_bytes),
        ("stored SHA-256", stored.sha256, part.stored_sha256),
        ("plain size", plain.size_bytes, part.plain_bytes),
        ("plain SHA-256", plain.sha256, part.plain_sha256),
    ):
        if found != expected:
            raise VerifyFailed(
                f"cannot trust part '{part.name}': {what} is {found}, the manifest says {expected}",
                hint=HINT,
            )
