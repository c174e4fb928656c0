"""A host makes its secret once."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from holdfast.host_state.secret import SECRET_BYTES, lasting_secret
from holdfast.model.errors import ConfigInvalid


def test_it_is_random_private_and_the_same_afterwards(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert len(lasting_secret(one)) == SECRET_BYTES
    assert lasting_secret(one) == lasting_secret(one) != lasting_secret(other)
    assert stat.S_IMODE(one.stat().st_mode) == 0o600


def test_runs_that_begin_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as runs:
        found = set(runs.map(lambda _: lasting_secret(tmp_path / "key"), range(64)))
    assert len(found) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_one_that_was_cut_short_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(ConfigInvalid, match="it is 5 bytes long") as raised:
        lasting_secret(tmp_path / "key")
    assert "nothing is lost" in raised.value.hint
