"""What one run has seen, told to another one."""

from __future__ import annotations

from holdfast.sources.postgres_physical.findings import Findings, ReadFile

READ = ReadFile(size_bytes=8192, modified=1.5, sha256="ab" * 32)


def test_what_was_seen_comes_back_whatever_its_name() -> None:
    name = b"base/5/\xff".decode(errors="surrogateescape")
    seen = Findings(files={name: READ}, folders=["pg_wal"], vanished={"base/5/2"})
    seen.add_pages("base/5/1", checked=3, bad=[7])
    text = seen.encode()
    assert text.isascii()
    assert "\n" not in text
    assert Findings.decode(text) == seen
    assert seen.paths == [name, "base/5/2"]
    assert Findings.decode("") == Findings()


def test_several_parts_are_seen_as_one() -> None:
    one = Findings(files={"base/5/1": READ}, pages=4, bad={"base/5/1": [3]})
    other = Findings(files={"base/5/2": READ}, folders=["pg_wal"], vanished={"base/5/3"}, pages=2)
    whole = Findings.of_all([one.encode(), other.encode(), ""])
    assert (list(whole.files), whole.pages) == (["base/5/1", "base/5/2"], 6)
    assert (whole.folders, whole.vanished, whole.bad) == (["pg_wal"], {"base/5/3"}, one.bad)
