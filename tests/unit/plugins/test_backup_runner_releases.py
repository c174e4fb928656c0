"""The releases of a host, and its folders with a wrong owner or mode."""

import os
from pathlib import Path

import pytest

from plugins.modules.backup_runner_releases import installed, is_as_wanted, target, unfinished

MARK = ".complete"
NAMES = ("0.1.0-3f2a9c41d0be", "0.1.0-d9af357631e9", "0.2.0-34537ba9d84b")


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    """Two complete releases, the later one first in the alphabet, and one left half done."""
    later, earlier, half_done = (tmp_path / name for name in NAMES)
    for seconds, release in enumerate((earlier, later)):
        release.mkdir()
        (release / MARK).touch()
        os.utime(release / MARK, (1_000 + seconds, 1_000 + seconds))
    half_done.mkdir()
    return tmp_path


def test_complete_releases_are_told_newest_first(releases: Path) -> None:
    assert installed(releases, MARK) == [NAMES[0], NAMES[1]]


def test_a_link_to_a_release_is_not_a_release_of_its_own(releases: Path) -> None:
    (releases / "current").symlink_to(NAMES[0])
    assert installed(releases, MARK) == [NAMES[0], NAMES[1]]
    assert target(releases / "current") == NAMES[0]
    assert target(releases / "previous") == ""


def test_only_a_folder_with_a_releases_name_counts_as_left_half_done(releases: Path) -> None:
    (releases / "backups-of-somebody").mkdir()
    assert unfinished(releases, MARK) == [NAMES[2]]


def test_a_folder_is_as_wanted_only_with_owner_group_and_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    wanted = {
        "path": str(tmp_path), "owner": tmp_path.owner(), "group": tmp_path.group(), "mode": "0700",
    }  # fmt: skip
    assert is_as_wanted(wanted)
    assert not is_as_wanted({**wanted, "mode": "0750"})
    assert not is_as_wanted({**wanted, "owner": "somebody-else"})
    assert not is_as_wanted({**wanted, "path": str(tmp_path / "missing")})
