"""Versions that are found without reading what an installer wrote."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from holdfast.runtime import installed
from holdfast.runtime.installed import installed_version, tell_versions

DRIVER = """
import sys
from holdfast.runtime.installed import tell_versions
tell_versions(["psycopg", "psycopg_binary"])
import psycopg
import psycopg_binary
print(psycopg.__version__, psycopg_binary.__version__, "importlib.metadata" in sys.modules)
"""


def test_the_version_is_that_of_the_metadata() -> None:
    assert installed_version() == version("holdfast")


def test_the_driver_has_its_versions_and_asks_nobody_for_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], check=True, capture_output=True, text=True
    )
    said = f"{version('psycopg')} {version('psycopg-binary')} False"
    assert done.stdout.strip() == said


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        (["some-1.2.dist-info", "some_other-3.dist-info"], "1.2"),
        (["some-1.2.dist-info", "some-1.3.dist-info"], ""),
        (["some-1.2.egg-info"], ""),
        ([], ""),
    ],
)
def test_a_version_is_told_only_where_one_folder_names_it(
    tmp_path: Path, beside: list[str], told: str
) -> None:
    for name in ("some", *beside):
        (tmp_path / name).mkdir()
    assert installed._named_in(tmp_path, "some") == told


def test_a_package_without_a_known_version_asks_for_it_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unversioned").mkdir()
    (tmp_path / "unversioned/__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    tell_versions(["unversioned", "not_installed_at_all"])
    assert "unversioned.version" not in sys.modules
