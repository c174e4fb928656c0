"""One run of pg_dump serves all readers of definitions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from holdfast.sources.postgres.server.schema_dump import schema_archive


def content(descriptor: int) -> bytes:
    return os.pread(descriptor, 100, 0)


def test_it_is_written_once_and_read_by_all() -> None:
    runs: list[int] = []

    @contextmanager
    def dumping() -> Iterator[list[bytes]]:
        runs.append(1)
        yield [b"ar", b"chive"]

    with schema_archive() as archive:
        assert content(archive.descriptor(dumping)) == b"archive"
        assert content(archive.descriptor(dumping)) == b"archive"
    assert len(runs) == 1


def test_a_run_that_failed_leaves_nothing_to_the_next() -> None:
    @contextmanager
    def failing() -> Iterator[Iterator[bytes]]:
        yield iter([b"a long beginning"])
        raise RuntimeError("it ended early")

    @contextmanager
    def dumping() -> Iterator[list[bytes]]:
        yield [b"whole"]

    with schema_archive() as archive:
        with pytest.raises(RuntimeError, match="ended early"):
            archive.descriptor(failing)
        assert content(archive.descriptor(dumping)) == b"whole"
