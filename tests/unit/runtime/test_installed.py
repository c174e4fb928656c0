"""Versions that are found without reading what an installer wrote."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from holdfast.runtime import installed
from holdfast.runtime.installed import installed_version


def test_the_version_is_that_of_the_metadata() -> None:
    assert installed_version() == version("holdfast")


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
