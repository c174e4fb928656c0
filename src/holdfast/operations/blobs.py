"""Long values kept once for all backups of a job: under the name of their content, proven."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from holdfast import events
from holdfast.catalog.catalog import blob_key
from holdfast.errors import BackupFailed, ObjectMissing, VerifyFailed
from holdfast.failpoints import reached
from holdfast.model import SUFFIXES, Blob, Buffer, Codec
from holdfast.operations.parts import HINT
from holdfast.pipeline.compress import COMPRESSORS
from holdfast.pipeline.decompress import CorruptStream, decompress
from holdfast.pipeline.fingerprint import Fingerprint
from holdfast.pipeline.flow import flow
from holdfast.ports import Repository


class BlobKeeper:
    """Obeys `ports.Blobs` for one run of a job."""

    def __init__(
        self,
        repository: Repository,
        *,
        job: str,
        codec: Codec,
        level: int,
        advance: Callable[[int], None],
    ) -> None:
        self._repository = repository
        self._job = job
        self._codec = codec
        self._level = level
        self._advance = advance
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        self._kept: dict[str, Blob] = {}
        self.stored = 0
        self.healed = 0

    @property
    def kept(self) -> tuple[Blob, ...]:
        """Every value that this run refers to."""
        with self._lock:
            return tuple(self._kept[sha256] for sha256 in sorted(self._kept))

    def keep(self, sha256: str, size_bytes: int, read: Callable[[], Iterable[Buffer]]) -> None:
        blob = Blob(
            key=blob_key(self._job, sha256, SUFFIXES[self._codec]),
            sha256=sha256,
            plain_bytes=size_bytes,
        )
        # Two tables may hold the same value: whoever comes second waits and finds it kept.
        with self._turn(sha256):
            if sha256 not in self._kept:
                if not self._is_kept_well(blob):
                    self._store(blob, read)
                self._kept[sha256] = blob

    @contextmanager
    def _turn(self, sha256: str) -> Iterator[None]:
        with self._lock:
            turn = self._turns.setdefault(sha256, threading.Lock())
        with turn:
            yield
        with self._lock:
            self._turns.pop(sha256, None)

    def _is_kept_well(self, blob: Blob) -> bool:
        """Whether it is there and right; one that is damaged is removed, and so kept anew."""
        try:
            for chunk in proven_blob(self._repository, blob):
                self._advance(len(chunk))
        except VerifyFailed as error:
            if isinstance(error.__cause__, ObjectMissing):
                return False
            events.warning("blob_damaged", blob=blob.key, problem=error.message)
            self._repository.delete(blob.key)
            self.healed += 1
            return False
        return True

    def _store(self, blob: Blob, read: Callable[[], Iterable[Buffer]]) -> None:
        plain = Fingerprint(advance=self._advance)
        stages = [plain, COMPRESSORS[self._codec](self._level)]
        self._repository.put(blob.key, _as_named(flow(read(), stages), plain, blob))
        self.stored += 1
        reached("blob-stored")


def _as_named(chunks: Iterator[Buffer], plain: Fingerprint, blob: Blob) -> Iterator[Buffer]:
    """Whole or not at all: the error at the end keeps the repository from keeping it."""
    yield from chunks
    if plain.sha256 != blob.sha256:
        raise BackupFailed(
            f"cannot keep value '{blob.sha256}': it was read as '{plain.sha256}'",
            hint="run the backup again; if it comes back, check the server's storage",
        )


def proven_blob(repository: Repository, blob: Blob) -> Iterator[bytes]:
    """The plain bytes of `blob`; the last chunk comes only after its name was found right.

    Raises `VerifyFailed`, whose cause is `ObjectMissing` where there is none.
    """
    plain = Fingerprint()
    last = b""
    try:
        with repository.open(blob.key) as chunks:
            for chunk in decompress(chunks, codec_of(blob.key)):
                plain.feed(chunk)
                if last:
                    yield last
                last = chunk
    except (CorruptStream, ObjectMissing) as error:
        raise VerifyFailed(f"cannot trust blob '{blob.sha256}': {error}", hint=HINT) from error
    if plain.sha256 != blob.sha256:
        raise VerifyFailed(
            f"cannot trust blob '{blob.sha256}': its content is '{plain.sha256}'", hint=HINT
        )
    if last:
        yield last


def codec_of(key: str) -> Codec:
    for codec, suffix in SUFFIXES.items():
        if suffix and key.endswith(suffix):
            return codec
    return Codec.NONE
