"""The session daemon for every test of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.memory_daemon import MemoryDaemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[MemoryDaemon]:
    found = MemoryDaemon(tmp_path)
    try:
        yield found
    finally:
        found.store.close()
