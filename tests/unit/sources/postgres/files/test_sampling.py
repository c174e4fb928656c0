"""Which files are stored as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.sources.postgres.files.sampling import SAMPLED_FILE_BYTES, is_worth_compressing
from holdfast.sources.postgres.files.tree import Entry

NOISE = os.urandom(SAMPLED_FILE_BYTES)


@pytest.mark.parametrize(
    ("piece", "size_bytes", "worth"),
    [
        (NOISE, SAMPLED_FILE_BYTES, False),
        (b"row " * (1 << 14), SAMPLED_FILE_BYTES, True),
        (NOISE, SAMPLED_FILE_BYTES - 1, True),
    ],
)
def test_only_big_files_of_noise_are_stored_as_they_are(
    tmp_path: Path, piece: bytes, size_bytes: int, worth: bool
) -> None:
    (tmp_path / "1259").write_bytes(
        (piece * 257)[:size_bytes] if len(piece) < size_bytes else piece[:size_bytes]
    )
    assert is_worth_compressing(tmp_path, Entry(path="1259", size_bytes=size_bytes)) is worth


def test_a_file_that_has_vanished_is_not_asked(tmp_path: Path) -> None:
    assert is_worth_compressing(tmp_path, Entry(path="gone", size_bytes=SAMPLED_FILE_BYTES))
