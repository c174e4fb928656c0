"""The plan of a run as text: a later run gets the same parts, or none at all."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from crc32c import crc32c

from holdfast.host_state.runs import LINE
from holdfast.model.values import Span
from holdfast.sources.postgres.files import kept_plan
from holdfast.sources.postgres.files.entries import MOST_ENTRIES, Entry
from holdfast.sources.postgres.files.kept_plan import MOST_CHARACTERS, KeptPlan
from holdfast.sources.postgres.files.part_plan import FileLayout, lay_out
from holdfast.sources.postgres.files.tree import Seen

ODD = b"base/5/\xff\xfe name".decode(errors="surrogateescape")
ENTRIES = [
    Entry("base/5", is_folder=True),
    Entry("base/5/1", 8192, mode=0o600),
    Entry("base/5/2", mode=0o640, modified=1_700_000_000),
    Entry(ODD, 7, mode=0o600),
    Entry("base/5/3", 300 << 20, mode=0o600, is_sparse=True),
    Entry("base/5/4", 5 << 20, mode=0o640),
]


def plan(layout: FileLayout | None = None) -> KeptPlan:
    seen = Seen(
        skipped={ODD: "a pipe, not a file"},
        links={"pg_wal": "/wal"},
        tablespaces={"16400": "/srv/space"},
    )
    return KeptPlan(layout=layout or lay_out(ENTRIES), seen=seen, unproven=["'x': no right"])


def test_parts_their_files_and_all_that_was_seen_come_back() -> None:
    given = plan()
    found = KeptPlan.decode(given.encode())
    assert found is not None
    assert found.layout.parts == given.layout.parts
    assert {name: [*files] for name, files in found.layout.contents.items()} == {
        name: [*files] for name, files in given.layout.contents.items()
    }
    assert [part.details.texts().get("bytes") for part in found.layout.parts][:3] == [
        str(Span(first=0, after=128 << 20)),
        str(Span(first=128 << 20, after=256 << 20)),
        str(Span(first=256 << 20)),
    ]
    assert found.seen == given.seen
    assert [*found.unproven] == [*given.unproven]
    assert found.encode() == given.encode()


@pytest.mark.parametrize("at", [0, 7, 8, 100, -1])
def test_a_damaged_character_costs_the_plan_and_no_file(at: int) -> None:
    memo = list(plan().encode())
    memo[at] = "0" if memo[at] != "0" else "1"
    assert KeptPlan.decode("".join(memo)) is None


@pytest.mark.parametrize("memo", ["", "0", "00000000", "00000000{}", "x" * 8 + "[]"])
def test_what_is_no_plan_is_none(memo: str) -> None:
    assert KeptPlan.decode(memo) is None


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "base/../../x", "base//x", "./x", "base/.", "base/x/", ""]
)
def test_a_path_out_of_the_data_directory_is_refused(path: str) -> None:
    layout = lay_out([Entry("base/5/1", 10), Entry(path, 10), Entry("base/5/2", 10)])
    assert KeptPlan.decode(plan(layout).encode()) is None


def test_names_with_dots_are_no_ways_out() -> None:
    paths = ["base/5/1259.1", "...", ".x/..y", "..\n"]
    layout = lay_out([Entry(path, 10) for path in paths])
    found = KeptPlan.decode(plan(layout).encode())
    assert found is not None
    assert [each.path for each in found.layout.entries] == paths


@pytest.mark.parametrize("name", ["../manifest", "files/../../x", "/x", "packs//x", "packs/X"])
def test_a_part_whose_name_would_be_another_key_is_refused(name: str) -> None:
    layout = lay_out(ENTRIES)
    (pack,) = (part for part in layout.parts if part.name.startswith("packs"))
    at = layout.parts.index(pack)
    layout.contents[name] = layout.contents.pop(pack.name)
    layout.parts[at] = replace(pack, name=name)
    assert KeptPlan.decode(plan(layout).encode()) is None


def test_a_part_whose_files_are_not_those_that_it_names_is_refused() -> None:
    layout = lay_out(ENTRIES)
    layout.contents["files/base/5/4"] = layout.contents["packs/00000.tar"]
    assert KeptPlan.decode(plan(layout).encode()) is None


def test_a_part_that_is_named_twice_is_refused() -> None:
    layout = lay_out(ENTRIES)
    layout.parts.append(layout.parts[0])
    assert KeptPlan.decode(plan(layout).encode()) is None


def test_a_bomb_is_not_unpacked() -> None:
    text = plan().encode()[8:]
    # The same part says that it has fewer files than its numbers are for.
    smaller = text.replace('"files":4', '"files":3')
    assert smaller != text
    assert KeptPlan.decode(f"{crc32c(smaller.encode()):08x}{smaller}") is None


def changed(**values: object) -> str:
    """A memo with another pack, and the right checksum."""
    kept = json.loads(plan(lay_out(ENTRIES[:3])).encode()[8:])
    kept["parts"][0] |= values
    text = json.dumps(kept)
    return f"{crc32c(text.encode()):08x}{text}"


def zeros(size_bytes: int) -> str:
    return base64.b64encode(zstandard.compress(bytes(size_bytes))).decode()


@pytest.mark.parametrize("files", [0, MOST_ENTRIES + 1, 1 << 59, (1 << 63) - 1])
def test_a_number_of_files_that_no_part_has_is_refused(files: int) -> None:
    assert KeptPlan.decode(changed(files=files)) is None


def test_no_more_is_unpacked_than_a_part_can_have(monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = []

    def decompress(content: bytes) -> bytes:
        unpacked.append(zstandard.frame_content_size(content))
        return b""

    # A few thousand characters for as many files as there are bytes of memory.
    files = 10_000_000
    memo = changed(files=files, numbers=zeros(18 * files), paths=zeros(2 * files - 1))
    assert len(memo) < 100_000
    monkeypatch.setattr(zstandard, "decompress", decompress)
    assert KeptPlan.decode(memo) is None
    assert unpacked == []


def test_the_longest_plan_is_within_a_line_of_the_journal() -> None:
    # Quotes and backslashes take two bytes there.
    assert LINE.size_bytes > 2 * MOST_CHARACTERS + (8 << 20)


def test_a_plan_that_is_too_long_for_a_line_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_plan, "MOST_CHARACTERS", 100)
    assert plan().encode() == ""


def test_it_takes_few_bytes_a_file(tmp_path: Path) -> None:
    files = [Entry(f"base/5/{16384 + number}", 8192, mode=0o600) for number in range(40_000)]
    assert len(plan(lay_out(files)).encode()) < 4 * len(files)
