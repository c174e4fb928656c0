"""Lists of files in a few bytes, whatever their names."""

from __future__ import annotations

from holdfast.sources.postgres.files.entries import Entries, paths
from holdfast.sources.postgres.files.tree import Entry

ODD = ["base/5/1259", "größe", b"base/\xff\xfe".decode(errors="surrogateescape"), "a\nb\tc '\""]


def test_what_was_listed_comes_back_as_often_as_wanted() -> None:
    listed = [Entry(path="pg_wal", is_folder=True)]
    listed += [Entry(path=path, size_bytes=5 << 40, mode=0o640, is_sparse=True) for path in ODD]
    found = Entries(listed)
    assert list(found) == list(found) == listed
    assert (len(found), list(Entries([]))) == (5, [])


def test_a_set_of_paths_knows_what_was_added() -> None:
    with paths() as found:
        found.add(ODD)
        found.add(ODD[:1])
        assert all(path in found for path in ODD)
        assert "base/5/1260" not in found
