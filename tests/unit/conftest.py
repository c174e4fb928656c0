"""Events go where the test can see them, not where an earlier test sent them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _events_as_they_come() -> Iterator[None]:
    yield
    structlog.reset_defaults()
