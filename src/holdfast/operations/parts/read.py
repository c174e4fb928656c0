"""Turn stored bytes into plain bytes: decrypt, decompress, and compare with the manifest."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import AGE_SUFFIX, SUFFIXES, Blob, Codec, Encryption, Manifest, Part
from holdfast.model.errors import IdentityNeeded, ObjectMissing, VerifyFailed
from holdfast.model.fingerprints import algorithm_of
from holdfast.pipeline.compression import Pass, decompress
from holdfast.pipeline.encryption import CannotOpen, Identities
from holdfast.pipeline.flow import CorruptStream, Fingerprint, Size, Stage, flow

if TYPE_CHECKING:
    from holdfast.ports.repository import Repository

HINT = "this backup is damaged: restore from another one"
IDENTITY_HINT = (
    "name the file of an identity with --identity FILE, in HOLDFAST_IDENTITY_FILE, or as the"
    " systemd credential 'holdfast-identity'"
)
Records = defaultdict[str, set[tuple[int, str]]]
"""Sizes and fingerprints by key."""


class Opens(Protocol):
    """Anything that opens stored objects by key."""

    def open(self, key: str) -> AbstractContextManager[Iterator[bytes]]: ...


def opened(
    repository: Opens, piece: Part | Blob, *, stored: Size, identities: Identities | None
) -> Iterator[bytes]:
    """The plain bytes of `piece`; after the last one `stored` has seen every stored byte.

    Nothing is read beyond the sizes in the manifest: a longer stream raises `CorruptStream`.
    If no identity fits, it reads to the end and then raises `CannotOpen`. Also raises
    `ObjectMissing` and `IdentityNeeded`.
    """
    with repository.open(piece.key) as chunks, _unsealing(piece, identities) as unseal:
        raw = flow(_at_most(chunks, _known_size(piece), "stored"), [stored])
        seen = (bytes(chunk) for chunk in flow(raw, [unseal]))
        try:
            yield from _at_most(decompress(seen, codec_of(piece)), piece.plain_bytes, "plain")
            # A decompressor may stop before the end: read on, so that appended bytes are noticed.
            for _ in seen:
                pass
        except CannotOpen:
            # A damaged header may look like one for other recipients: only the fingerprint of the
            # whole object can tell.
            for _ in raw:
                pass
            raise


def _at_most(chunks: Iterable[bytes], size_bytes: int | None, what: str) -> Iterator[bytes]:
    """`chunks`; raises `CorruptStream` once they exceed `size_bytes`, None for no limit.

    zstd stores a megabyte of zeros in 40 bytes: a restore must not wait for a terabyte of them.
    """
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        if size_bytes is not None and seen > size_bytes:
            raise CorruptStream(f"{what} size is more than the {size_bytes} bytes in the manifest")
        yield chunk


def _known_size(piece: Part | Blob) -> int | None:
    # A blob may have been stored again since, in other bytes than this backup has recorded.
    return piece.stored_bytes if isinstance(piece, Part) else None


def proven_bytes(
    repository: Opens,
    piece: Part | Blob,
    plain: Size,
    *,
    identities: Identities | None,
    require: Callable[[Fingerprint], None],
    records: BlobRecords | None = None,
    stored: Fingerprint | None = None,
) -> Generator[bytes, None, None]:
    """The plain bytes of `piece`; the last chunk is yielded only after everything has matched.

    `plain` sees all of them. `require` then gets the fingerprint of the stored bytes, and raises
    if the plain bytes are wrong. Raises `VerifyFailed` naming the piece; its cause is
    `ObjectMissing` for a missing piece. Raises `IdentityNeeded` if the piece is whole but sealed
    for other recipients.
    """
    stored = stored or Fingerprint.like(piece.stored_fingerprint)
    last = b""
    try:
        for chunk in opened(repository, piece, stored=stored, identities=identities):
            plain.feed(chunk)
            if last:
                yield last
            last = chunk
    except (CorruptStream, ObjectMissing) as error:
        raise VerifyFailed(f"cannot trust {called(piece)}: {error}", hint=HINT) from error
    except CannotOpen as error:
        compare_stored(piece, stored, records)
        raise not_for(identities, called(piece)) from error
    compare_stored(piece, stored, records)
    require(stored)
    if last:
        yield last


def proven(
    repository: Opens,
    part: Part,
    *,
    identities: Identities | None = None,
    advance: Callable[[int], None] = lambda _: None,
    both: bool = True,
) -> Generator[bytes, None, None]:
    """The plain bytes of `part`; the last chunk is yielded only after the fingerprints matched.

    Without `both`, the stored fingerprint is enough. It proves that the stored bytes are those that
    were written, and every codec checks the unpacked bytes by its own checksum. Raises
    `VerifyFailed` naming the part, also if it is missing or cannot be decompressed. Raises
    `IdentityNeeded` if the part is whole but sealed for other recipients.
    """
    plain = (
        Fingerprint.like(part.plain_fingerprint, advance=advance)
        if both and _is_changed(part)
        else Size(advance=advance)
    )

    def require(stored: Fingerprint) -> None:
        compare(part, "plain size", found=plain.size_bytes, expected=part.plain_bytes)
        proof = plain if isinstance(plain, Fingerprint) else stored
        if proof is plain or not _is_changed(part):
            told, expected = proof.fingerprint, part.plain_fingerprint
            compare(part, "plain fingerprint", found=told, expected=expected)

    return proven_bytes(repository, part, plain, identities=identities, require=require)


def _is_changed(part: Part) -> bool:
    """Whether the stored bytes differ from the plain ones."""
    return part.codec is not Codec.NONE or part.encryption != "none"


def require_stored(
    repository: Repository,
    piece: Part | Blob,
    *,
    advance: Callable[[int], None],
    records: BlobRecords | None = None,
) -> Fingerprint:
    """Verify the stored bytes without opening them; raises `VerifyFailed` naming the piece."""
    stored = Fingerprint.like(piece.stored_fingerprint, advance=advance)
    try:
        with repository.open(piece.key) as chunks:
            for _ in flow(chunks, [stored]):
                pass
    except ObjectMissing as error:
        raise VerifyFailed(f"cannot trust {called(piece)}: {error}", hint=HINT) from error
    compare_stored(piece, stored, records)
    return stored


def compare_stored(
    piece: Part | Blob, stored: Fingerprint, records: BlobRecords | None = None
) -> None:
    """Raises `VerifyFailed` if the stored bytes differ from the manifest and from `records`.

    A blob without a record is not compared: its name has to prove its content.
    """
    if isinstance(piece, Blob) and not piece.is_recorded:
        return
    if (
        records is not None
        and isinstance(piece, Blob)
        and stored.fingerprint != piece.stored_fingerprint
        and records.know(piece.key, size_bytes=stored.size_bytes, fingerprint=stored.fingerprint)
    ):
        return
    compare(piece, "stored size", found=stored.size_bytes, expected=piece.stored_bytes)
    found, expected = stored.fingerprint, piece.stored_fingerprint
    compare(piece, "stored fingerprint", found=found, expected=expected)


def compare(piece: Part | Blob, what: str, *, found: int | str, expected: int | str) -> None:
    """Raise `VerifyFailed` unless `found` is `expected`."""
    if found != expected:
        raise VerifyFailed(
            f"cannot trust {called(piece)}: {what} is {found}, the manifest says {expected}",
            hint=HINT,
        )


def called(piece: Part | Blob) -> str:
    if isinstance(piece, Part):
        return f"part '{piece.name}'"
    return f"blob '{piece.plain_fingerprint or piece.key}'"


def require_identity(manifest: Manifest, identities: Identities | None) -> None:
    """Raise `IdentityNeeded`, before anything is read, if a sealed part cannot be opened."""
    pieces: list[Part | Blob] = [*manifest.parts, *manifest.blobs]
    sealed = any(each.encryption != "none" for each in pieces)
    if sealed and identities is None:
        raise IdentityNeeded(
            f"cannot open backup '{manifest.backup_id}': it is encrypted, and no identity is given",
            hint=IDENTITY_HINT,
        )
    if sealed and identities and not set(identities.recipients) & set(manifest.recipients):
        raise not_for(identities, f"backup '{manifest.backup_id}'", manifest.recipients)


def not_for(
    identities: Identities | None, what: str, recipients: tuple[str, ...] = ()
) -> IdentityNeeded:
    """The error for an identity that is none of the recipients."""
    given = ", ".join(identities.recipients) if identities else "nobody"
    wanted = f" of one of {', '.join(recipients)}" if recipients else ""
    return IdentityNeeded(
        f"cannot open {what}: it is not encrypted for the given identity, whose recipient is"
        f" {given}",
        hint=f"name the identity{wanted} with --identity FILE",
    )


def stored_suffix(codec: Codec, encryption: Encryption) -> str:
    """The file name suffix by which stock tools recognize a stored object."""
    return SUFFIXES[codec] + (AGE_SUFFIX if encryption == "age" else "")


def codec_of(piece: Part | Blob) -> Codec:
    if isinstance(piece, Part):
        return piece.codec
    plain = piece.key.removesuffix(AGE_SUFFIX)
    for codec, suffix in SUFFIXES.items():
        if suffix and plain.endswith(suffix):
            return codec
    return Codec.NONE


def _unsealing(piece: Part | Blob, identities: Identities | None) -> AbstractContextManager[Stage]:
    if piece.encryption == "none":
        return nullcontext(Pass())
    if identities is None:
        raise IdentityNeeded(
            f"cannot open {called(piece)}: it is encrypted, and no identity is given",
            hint=IDENTITY_HINT,
        )
    return identities.decryption()


class BlobRecords:
    """How each blob is stored, according to every backup that refers to it.

    The next backup stores a damaged blob again: the same content in other stored bytes.

    Older backups have recorded the old bytes, and may use the new ones just as well. The manifests
    of newer backups say which bytes are right; they are read only when a caller asks.
    """

    def __init__(self, repository: Repository, manifests: Sequence[Manifest] | None = None) -> None:
        """`manifests` are all of the job, if the caller has read them already."""
        self._repository = repository
        self._manifests = manifests
        self._lock = threading.Lock()
        self._known: dict[str, Records] = {}

    def know(self, key: str, *, size_bytes: int, fingerprint: str = "") -> bool:
        """Whether a backup records `key` with this size, and with `fingerprint` if one is given.

        Reads the object again for records of other algorithms.
        """
        recorded = [told for size, told in self._of(key) if size == size_bytes]
        if not fingerprint or fingerprint in recorded:
            return bool(recorded)
        others = {algorithm_of(told) for told in recorded} - {algorithm_of(fingerprint)}
        return any(self._read_by(key, each, same=fingerprint) in recorded for each in others)

    def disagree(self, key: str) -> bool:
        """Whether backups record different stored bytes for `key`.

        They may, without being seen to, where their fingerprints are of different algorithms.
        """
        found = self._of(key)
        algorithms = {algorithm_of(told) for _, told in found}
        return len({size for size, _ in found}) > 1 or len(found) > len(algorithms)

    def _read_by(self, key: str, algorithm: str, *, same: str) -> str:
        """The fingerprint by `algorithm`; empty if the bytes are not those of `same` any more."""
        stored, again = Fingerprint(algorithm), Fingerprint.like(same)
        with self._repository.open(key) as chunks:
            for _ in flow(chunks, [stored, again]):
                pass
        return stored.fingerprint if again.fingerprint == same else ""

    def _of(self, key: str) -> set[tuple[int, str]]:
        job = key.partition("/")[0]
        with self._lock:
            if job not in self._known:
                manifests = self._manifests or Catalog(self._repository).survey(job).manifests
                self._known[job] = _records(manifests)
            return self._known[job][key]


def _records(manifests: Sequence[Manifest]) -> Records:
    found: Records = defaultdict(set)
    for manifest in manifests:
        for blob in manifest.blobs:
            if blob.is_recorded:
                found[blob.key].add((blob.stored_bytes, blob.stored_fingerprint))
    return found
