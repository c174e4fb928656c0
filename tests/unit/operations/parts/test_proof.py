"""Stored bytes are not trusted: how much is passed on before they are verified."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest

from holdfast.model.backup import Codec, Encryption, Part
from holdfast.model.errors import RestoreFailed, VerifyFailed
from holdfast.model.fingerprints import Algorithms, algorithm_of, fingerprint_of
from holdfast.operations.parts import proof
from holdfast.operations.parts.proof import BLOCK_BYTES, RepositoryParts
from holdfast.operations.parts.read import stored_suffix
from holdfast.operations.parts.write import keep
from holdfast.pipeline.compression import compressor
from holdfast.pipeline.encryption import Identities
from holdfast.runtime.spool import MOST_IN_MEMORY_BYTES, Spool
from tests.fakes.repository import MemoryRepository
from tests.support.manifests import part

OURS = Identities.generate()
FEW = b"CREATE TABLE orders ();\n"
MANY = os.urandom(MOST_IN_MEMORY_BYTES + (3 << 20))
WAYS = [
    (FEW, Codec.ZSTD, "age"),
    (FEW, Codec.NONE, "none"),
    (MANY, Codec.ZSTD, "age"),
    (MANY, Codec.GZIP, "none"),
    (MANY, Codec.NONE, "none"),
]
KINDS = pytest.mark.parametrize(("content", "codec", "encryption"), WAYS)


@dataclass
class Watched:
    """A repository, and how many bytes of it were read."""

    repository: MemoryRepository = field(default_factory=MemoryRepository)
    read_bytes: int = 0

    def parts(self) -> RepositoryParts:
        return RepositoryParts(repository=self, identities=OURS)  # type: ignore[arg-type]  # reads only

    def stored(self, content: bytes, codec: Codec, encryption: Encryption) -> Part:
        key = f"shop/1/parts/a{stored_suffix(codec, encryption)}"
        self.repository.delete(key)
        plain, stored = keep(
            self.repository,
            key,
            [content],
            compression=compressor(codec, 1),
            recipients=OURS.recipients if encryption == "age" else (),
            fingerprints=Algorithms(),
        )
        return replace(
            part("a"),
            key=key,
            codec=codec,
            encryption=encryption,
            plain_bytes=plain.size_bytes,
            plain_fingerprint=plain.fingerprint,
            stored_bytes=stored.size_bytes,
            stored_fingerprint=stored.fingerprint,
        )

    def take(self, stored: Part, way: str, seen: bytearray) -> None:
        with getattr(self.parts(), way)(stored) as given:
            for chunk in given:
                seen += chunk

    @contextmanager
    def open(self, key: str) -> Iterator[Iterator[bytes]]:
        with self.repository.open(key) as chunks:
            yield self._counted(chunks)

    def stat(self, key: str) -> object:
        return self.repository.stat(key)

    def _counted(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.read_bytes += len(chunk)
            yield chunk


@KINDS
def test_what_is_right_comes_whole_as_often_as_wanted_and_is_counted_once(
    content: bytes, codec: Codec, encryption: Encryption
) -> None:
    store, counted = Watched(), list[int]()
    stored = store.stored(content, codec, encryption)
    with replace(store.parts(), advance=counted.append).proven(stored) as proven:
        assert sum(counted) == 0
        assert b"".join(proven) == content
        assert proven.whole() == content
    assert sum(counted) == len(content)
    assert store.read_bytes == stored.stored_bytes


@KINDS
@pytest.mark.parametrize("at", [0, -1])
def test_of_a_part_with_one_wrong_bit_no_byte_is_given_out(
    content: bytes, codec: Codec, encryption: Encryption, at: int
) -> None:
    store = Watched()
    stored = store.stored(content, codec, encryption)
    store.repository.flip_bit(stored.key, at=at % stored.stored_bytes)
    with pytest.raises(VerifyFailed, match="cannot trust part 'a'"), store.parts().proven(stored):
        pytest.fail("it was given out")


@KINDS
def test_what_passes_while_it_is_read_lacks_its_end_until_it_was_found_right(
    content: bytes, codec: Codec, encryption: Encryption
) -> None:
    store, seen = Watched(), bytearray()
    stored = store.stored(content, codec, encryption)
    store.repository.flip_bit(stored.key, at=stored.stored_bytes - 1)
    with pytest.raises(VerifyFailed, match="cannot trust part 'a'"):
        store.take(stored, "streamed", seen)
    assert len(seen) < len(content)


@pytest.mark.parametrize("way", ["proven", "streamed"])
@pytest.mark.parametrize("size_bytes", [1, 0, -1])
def test_another_size_is_refused_before_a_byte_is_read(way: str, size_bytes: int) -> None:
    store = Watched()
    stored = store.stored(FEW, Codec.ZSTD, "age")
    objects = store.repository.objects
    objects[stored.key] = (objects[stored.key] + b"!")[: stored.stored_bytes + size_bytes]
    if not size_bytes:
        del objects[stored.key]
    with pytest.raises(VerifyFailed, match="cannot trust part 'a'"):
        store.take(stored, way, bytearray())
    assert store.read_bytes == 0


@pytest.mark.parametrize("way", ["proven", "streamed"])
@pytest.mark.parametrize("codec", [Codec.ZSTD, Codec.GZIP, Codec.XZ])
def test_what_unpacks_to_more_than_was_stated_is_read_no_further(way: str, codec: Codec) -> None:
    """All fingerprints of the stored bytes match: only the plain size differs."""
    store, seen = Watched(), bytearray()
    stored = replace(store.stored(bytes(64 << 20), codec, "none"), plain_bytes=3 << 20)
    with pytest.raises(VerifyFailed, match="plain size is more than the 3145728"):
        store.take(stored, way, seen)
    assert len(seen) <= stored.plain_bytes


class Full(Spool):
    """A disk that other programs fill up when half of a part is stored."""

    def put(self, chunk: bytes) -> None:
        if sum(map(len, self)) > len(MANY) // 2:
            raise RestoreFailed("cannot spool: No space left on device")
        super().put(chunk)


@contextmanager
def never(_size_bytes: int) -> Iterator[tuple[None, str]]:
    yield None, "there is no room"


@contextmanager
def half(_size_bytes: int) -> Iterator[tuple[Spool, str]]:
    yield Full(None, None), "there is room"


def is_content(content: bytes, fingerprint: str) -> bool:
    return fingerprint_of(content, algorithm_of(fingerprint)) == fingerprint


TIGHT = pytest.mark.parametrize("room", [never, half])


@TIGHT
@pytest.mark.parametrize(("codec", "encryption"), [(Codec.ZSTD, "age"), (Codec.NONE, "none")])
def test_without_room_for_it_a_part_is_read_twice_and_is_the_same(
    monkeypatch: pytest.MonkeyPatch, room: object, codec: Codec, encryption: Encryption
) -> None:
    monkeypatch.setattr(proof, "spooled", room)
    store = Watched()
    stored = store.stored(MANY, codec, encryption)
    with store.parts().proven(stored) as proven:
        assert is_content(proven.whole(), stored.plain_fingerprint)
    assert store.read_bytes == 2 * stored.stored_bytes


@TIGHT
@pytest.mark.parametrize("change", ["flipped", "cut", "longer", "gone"])
def test_what_a_store_gives_when_it_is_read_again_is_only_passed_on_where_it_is_the_same(
    monkeypatch: pytest.MonkeyPatch, room: object, change: str
) -> None:
    monkeypatch.setattr(proof, "spooled", room)
    store, seen = Watched(), bytearray()
    stored = store.stored(MANY, Codec.NONE, "none")
    objects, right = store.repository.objects, MANY
    last_block = len(MANY) - len(MANY) % BLOCK_BYTES - 1
    flipped = right[:last_block] + bytes([right[last_block] ^ 1]) + right[last_block + 1 :]

    def read_again() -> None:
        with store.parts().proven(stored) as proven:
            objects[stored.key] = {
                "flipped": flipped,
                "cut": right[:-1],
                "longer": right + b"!",
                "gone": b"",
            }[change]
            for chunk in proven:
                seen.extend(chunk)

    with pytest.raises(VerifyFailed, match="cannot trust part 'a'"):
        read_again()
    assert MANY.startswith(bytes(seen))
    assert len(seen) < len(MANY) or change == "longer"


@pytest.mark.parametrize("content", [FEW, MANY])
def test_what_a_store_gives_at_a_second_reading_is_never_asked_for(content: bytes) -> None:
    store = Watched()
    stored = store.stored(content, Codec.ZSTD, "age")
    with store.parts().proven(stored) as proven:
        store.stored(b"\\! id\n" * (len(content) // 6), Codec.ZSTD, "age")
        assert is_content(proven.whole(), stored.plain_fingerprint)


def test_what_is_sealed_is_not_laid_open_on_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    store, kept = Watched(), list[bytes]()
    secret = b"secret " * (1 << 20)
    stored = store.stored(secret, Codec.NONE, "age")
    monkeypatch.setattr(Spool, "put", lambda _, chunk: kept.append(bytes(chunk)))
    with store.parts().proven(stored):
        assert b"secret" not in b"".join(kept)
        assert sum(map(len, kept)) == stored.stored_bytes
