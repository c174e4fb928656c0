"""What `ports.host_state.Journal` promises, asked of every journal."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.host_state.runs import FileJournal
from holdfast.ports.host_state import Journal, Unfinished
from tests.fakes.clock import START
from tests.fakes.journal import MemoryJournal
from tests.support.manifests import manifest

PART = manifest().parts[0]

DATABASES = ["shop", "Shop's / \x1b[31m \n ä", "x" * 300]


@pytest.fixture(params=["file", "memory"])
def open_journal(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Journal]:
    """Opens the same journal each time, as two runs do."""
    memory = MemoryJournal()
    return (lambda: FileJournal(tmp_path / "j")) if request.param == "file" else lambda: memory


def unfinished(database: str) -> Unfinished:
    return Unfinished(
        job="shop",
        name="20261120T020000Z-1a2b3c4d",
        run_id="1a2b3c4d" * 4,
        database=database,
        snapshot="00000003-0000001B-1",
        started_at=START,
        snapshot_at=START + timedelta(seconds=1),
        # As long as that of a million files.
        memo="m" * (4 << 20),
    )


@pytest.mark.parametrize("database", DATABASES)
def test_what_was_stored_is_known_to_the_next_run(
    open_journal: Callable[[], Journal], database: str
) -> None:
    begun = unfinished(database)
    open_journal().begin(begun)
    open_journal().add("shop", database, PART)
    found = open_journal().read("shop", database)
    assert found is not None
    assert (found.name, found.snapshot, found.snapshot_at, found.memo) == (
        begun.name,
        begun.snapshot,
        begun.snapshot_at,
        begun.memo,
    )
    assert found.parts == (PART,)
    assert open_journal().read("stock", database) is None
    open_journal().end("shop", database)
    assert open_journal().read("shop", database) is None
    open_journal().end("shop", database)


def test_a_new_beginning_forgets_the_old(open_journal: Callable[[], Journal]) -> None:
    open_journal().begin(unfinished("shop"))
    open_journal().add("shop", "shop", PART)
    open_journal().begin(unfinished("shop"))
    found = open_journal().read("shop", "shop")
    assert found is not None
    assert found.parts == ()


def test_a_line_that_was_cut_short_costs_its_own_part_only(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "j")
    journal.begin(unfinished("shop"))
    journal.add("shop", "shop", PART)
    (path,) = (tmp_path / "j").rglob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"name": "data/0')
    found = journal.read("shop", "shop")
    assert found is not None
    assert found.parts == (PART,)


def test_a_run_that_dies_while_it_writes_its_beginning_costs_no_part_of_the_run_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = FileJournal(tmp_path / "j")
    journal.begin(unfinished("shop"))
    journal.add("shop", "shop", PART)
    write = os.write
    monkeypatch.setattr(os, "write", lambda where, what: _died_after(write, where, what))
    with pytest.raises(KeyboardInterrupt):
        journal.begin(replace(unfinished("shop"), parts=(PART,)))
    found = journal.read("shop", "shop")
    assert found is not None
    assert found.parts == (PART,)


def _died_after(write: Callable[[int, bytes], int], where: int, what: bytes) -> int:
    write(where, bytes(what)[:1000])
    raise KeyboardInterrupt


def test_it_is_for_its_owner_only(tmp_path: Path) -> None:
    FileJournal(tmp_path / "j").begin(unfinished("shop"))
    (path,) = (tmp_path / "j").rglob("*.jsonl")
    assert path.stat().st_mode & 0o077 == 0


def test_what_is_unfinished_of_a_job_is_known_without_its_databases(
    open_journal: Callable[[], Journal],
) -> None:
    assert open_journal().unfinished("shop") == []
    for database in ("a", "b"):
        open_journal().begin(unfinished(database))
    open_journal().add("shop", "b", PART)
    found = open_journal().unfinished("shop")
    assert sorted((each.database, len(each.parts)) for each in found) == [("a", 0), ("b", 1)]
    assert open_journal().unfinished("stock") == []
