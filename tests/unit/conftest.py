"""Events go where the test can see them, not where an earlier test sent them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

# A busy machine is no error: what is too slow shows in benchmarks.
settings.register_profile("whenever", deadline=None)
settings.load_profile("whenever")


@pytest.fixture(autouse=True)
def _events_as_they_come() -> Iterator[None]:
    yield
    structlog.reset_defaults()
