"""Segments in a server's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.errors import BackupFailed
from holdfast.sources.postgres.files.wal import require_segment
from tests.support.segments import MIB, header


def test_a_whole_segment_of_this_cluster_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "000000010000000000000030"
    path.write_bytes(header(path.name).ljust(MIB, b"\0"))
    require_segment(path, segment_bytes=MIB, system_identifier="77")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "the server has removed it already"),
        (header("000000010000000000000030"), "it has 40 bytes"),
        (header("000000010000000000000010").ljust(MIB, b"\0"), "it holds the WAL of"),
        (header("000000010000000000000030", identifier=9).ljust(MIB, b"\0"), "another cluster"),
    ],
)
def test_what_is_not_the_segment_is_refused(
    tmp_path: Path, content: bytes | None, cause: str
) -> None:
    path = tmp_path / "000000010000000000000030"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BackupFailed, match=cause):
        require_segment(path, segment_bytes=MIB, system_identifier="77")
