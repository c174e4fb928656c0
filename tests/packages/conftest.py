"""The release that is under test: of all Debian releases at full depth, else of the newest."""

from __future__ import annotations

from pathlib import Path

import pytest

from release.__main__ import release
from release.debian_package import SUITES
from tests.support.depth import full
from tests.support.installed_collection import Installed, installed_from

DEBIAN = sorted(SUITES) if full() else [max(SUITES)]


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    release(folder, debian=DEBIAN)
    return folder


@pytest.fixture(scope="session")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    (file,) = dist.glob("holdfast-holdfast-*.tar.gz")
    return installed_from(file, into=tmp_path_factory.mktemp("collections"))
