"""Unit tests do not depend on the place of the project, the user or other programs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import settings

from holdfast.runtime import events
from tests.support import programs
from tests.support.depth import deep, full

# No deadlines, as the machine may be busy: benchmarks measure speed. Samples are repeatable.
settings.register_profile(
    "whenever",
    settings.get_profile("default"),
    deadline=None,
    derandomize=not full(),
    max_examples=deep(1000, sample=100),
)
settings.load_profile("whenever")


@pytest.fixture(scope="session", autouse=True)
def _programs_as_named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """PATH holds the listed programs only, so no test finds other programs of a host."""
    named = [*programs.ESSENTIAL, *programs.STOCK]
    folder = programs.link(tmp_path_factory.mktemp("programs") / "bin", named)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder))
        # Ansible refuses to work in any other.
        patch.setenv("LC_ALL", "C.UTF-8")
        yield


@pytest.fixture(autouse=True)
def _needs(request: pytest.FixtureRequest) -> None:
    """A test names its requirements: a stock program, or the rights of root."""
    for marker in request.node.iter_markers("stock"):
        for name in marker.args:
            if shutil.which(name) is None:
                package = programs.STOCK[name]
                pytest.skip(f"{name} is not installed here: apt-get install {package}")
    if request.node.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("only root can become another user, or give files away")


@pytest.fixture(autouse=True)
def _events_as_they_come() -> Iterator[None]:
    yield
    events.send_to(events.JSON_TO_STDERR)
