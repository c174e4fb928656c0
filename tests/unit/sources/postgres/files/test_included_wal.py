"""The WAL beside a restored cluster, also if a damaged backup has none."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from holdfast.runtime.tablespaces import NewTablespaces
from holdfast.sources.postgres.files.target import tablespaces_to_bring


class Admits:
    """Records the segments that it sees, each with the beginning of the next one."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []

    def admit(self, path: Path, beginning: object) -> list[int]:
        assert callable(beginning)
        self.seen.append((path.name, beginning()))
        return [len(self.seen)]


@pytest.mark.parametrize("names", [[], ["A"], ["A", "B", "C"]])
def test_each_segment_is_looked_at_with_the_beginning_of_the_next(
    tmp_path: Path, names: list[str]
) -> None:
    wal = tmp_path / "pg_wal"
    wal.mkdir()
    (wal / "archive_status").mkdir()
    segments = [f"00000001000000000000000{name}" for name in names]
    for segment in segments:
        (wal / segment).write_bytes(segment.encode())
    admits = Admits()
    new = cast("NewTablespaces", admits)
    assert tablespaces_to_bring(tmp_path, new) == list(range(1, len(names) + 1))
    after = [*(segment.encode() for segment in segments[1:]), b""][: len(names)]
    assert admits.seen == list(zip(segments, after, strict=True))
