"""Files of the state directory belong to whoever owns the directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.errors import ConfigInvalid
from holdfast.scheduling.state import make_folder, open_private

NOBODY = 65534


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Somebody else's folder where the tests run as root, our own where they do not."""
    if os.geteuid() == 0:
        os.chown(tmp_path, NOBODY, NOBODY)
    return tmp_path


def test_what_root_makes_there_is_the_owners(state: Path) -> None:
    make_folder(state / "locks")
    os.close(open_private(state / "locks/shop.lock", os.O_RDWR))
    owner = state.stat().st_uid
    assert (state / "locks").stat().st_uid == owner
    assert (state / "locks/shop.lock").stat().st_uid == owner
    assert (state / "locks/shop.lock").stat().st_mode & 0o777 == 0o600


def test_a_link_that_somebody_planted_is_not_followed(state: Path) -> None:
    (state / "shop.lock").symlink_to("/etc/passwd")
    with pytest.raises(ConfigInvalid, match="Too many levels of symbolic links"):
        open_private(state / "shop.lock", os.O_RDWR)
