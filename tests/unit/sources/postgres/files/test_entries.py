"""Lists of files: compressed, and the same again."""

from __future__ import annotations

import pytest

from holdfast.sources.postgres.files.entries import Entries, Entry, paths

ODD = ["base/5/1259", "größe", b"base/\xff\xfe".decode(errors="surrogateescape"), "a\nb\tc '\""]


def test_what_was_listed_comes_back_as_often_as_wanted() -> None:
    listed = [Entry(path="pg_wal", is_folder=True)]
    listed += [Entry(path=path, size_bytes=5 << 40, mode=0o640, is_sparse=True) for path in ODD]
    found = Entries(listed)
    assert list(found) == list(found) == listed
    assert (len(found), list(Entries([]))) == (5, [])


@pytest.mark.parametrize("in_memory", [0, 1, 2, 100])
def test_a_set_of_paths_knows_what_was_added_in_memory_or_not(in_memory: int) -> None:
    with paths(in_memory=in_memory) as found:
        for each in ODD:
            found.add([each])
        found.add(ODD[:1])
        assert all(path in found for path in ODD)
        assert "base/5/1260" not in found
