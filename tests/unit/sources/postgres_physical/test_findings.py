"""What one run has seen, told to another one."""

from __future__ import annotations

from crc32c import crc32c

from holdfast.sources.postgres_physical.findings import Findings, ReadFile

READ = ReadFile(size_bytes=8192, modified=1.5, crc32c=0xDEADBEEF)


def test_what_was_seen_comes_back_whatever_its_name() -> None:
    name = b"base/5/\xff".decode(errors="surrogateescape")
    seen = Findings(files={name: [READ]}, folders=["pg_wal"], vanished={"base/5/2"})
    seen.add_pages("base/5/1", checked=3, bad=[7])
    text = seen.encode()
    assert text.isascii()
    assert "\n" not in text
    assert Findings.decode(text) == seen
    assert seen.paths == [name, "base/5/2"]
    assert Findings.decode("") == Findings()


def test_several_parts_are_seen_as_one() -> None:
    one = Findings(files={"base/5/1": [READ]}, pages=4, bad={"base/5/1": [3]})
    other = Findings(files={"base/5/2": [READ]}, folders=["pg_wal"], vanished={"base/5/3"}, pages=2)
    whole = Findings.of_all([one.encode(), other.encode(), ""])
    assert (list(whole.files), whole.pages) == (["base/5/1", "base/5/2"], 6)
    assert (whole.folders, whole.vanished, whole.bad) == (["pg_wal"], {"base/5/3"}, one.bad)


def piece(content: bytes, *, first: int, modified: float) -> ReadFile:
    return ReadFile(size_bytes=len(content), modified=modified, crc32c=crc32c(content), first=first)


def test_a_file_in_pieces_is_one_file_with_one_sum_whoever_read_them_first() -> None:
    last = Findings(files={"base/5/1": [piece(b"rest", first=4, modified=3.0)]})
    first = Findings(files={"base/5/1": [piece(b"head", first=0, modified=2.0)]})
    last.add_pages("base/5/1", checked=2, bad=[9])
    first.add_pages("base/5/1", checked=2, bad=[1])
    whole = Findings.of_all([last.encode(), first.encode()])
    assert dict(whole.whole_files()) == {"base/5/1": piece(b"headrest", first=0, modified=3.0)}
    assert sorted(whole.bad["base/5/1"]) == [1, 9]


def test_a_file_that_vanished_between_its_pieces_does_not_come_back() -> None:
    there = Findings(files={"base/5/1": [piece(b"head", first=0, modified=2.0)]})
    gone = Findings(vanished={"base/5/1"})
    assert dict(Findings.of_all([there.encode(), gone.encode()]).whole_files()) == {}
