"""Uploads are held back byte by byte, and nothing else is."""

from __future__ import annotations

from hashlib import sha256

import pytest

from holdfast.config.repositories import S3Settings
from holdfast.model.backup import Buffer
from holdfast.ports.repository import Content
from holdfast.repositories.paced import PacedRepository
from holdfast.wiring.repositories import repository
from tests.fakes.repository import MemoryRepository


def test_every_byte_of_an_upload_is_spent_before_it_is_sent() -> None:
    store = MemoryRepository()
    spent: list[int] = []
    paced = PacedRepository(store, spent.append)
    chunks: list[Buffer] = [b"one", memoryview(b"three")]
    paced.put("job/stream", iter(chunks))
    assert spent == [3, 5]
    content = Content(size_bytes=2, sha256=sha256(b"ab").hexdigest(), read=lambda: [b"a", b"b"])
    paced.put("job/content", content)
    assert spent == [3, 5, 1, 1]
    assert store.objects == {"job/stream": b"onethree", "job/content": b"ab"}


def test_reading_is_not_held_back() -> None:
    store = MemoryRepository()
    store.objects["job/key"] = b"x"

    def never(_size_bytes: int) -> None:
        raise AssertionError("only uploads are held back")

    paced = PacedRepository(store, never)
    with paced.open("job/key") as chunks:
        assert b"".join(chunks) == b"x"
    assert [each.key for each in paced.list("job")] == ["job/key"]
    assert paced.stat("job/key").size_bytes == 1


@pytest.mark.parametrize(("rate", "is_paced"), [(None, False), (1_000_000, True)])
def test_only_a_store_with_a_rate_is_paced(rate: int | None, is_paced: bool) -> None:
    made = repository(S3Settings(kind="s3", bucket="b", upload_rate=rate))
    assert isinstance(made._repository, PacedRepository) is is_paced  # type: ignore[attr-defined]  # inside the one that retries
