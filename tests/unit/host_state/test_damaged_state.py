"""A run continues with whatever a broken disk leaves intact in the state directory."""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.daemon.session_store import SessionStore
from holdfast.host_state.runs import FileJournal, FileRunHistory
from holdfast.host_state.verification_log import FileVerificationLog
from holdfast.locking.host_lock import FlockGuard
from holdfast.model.backup import Member, Relation
from holdfast.model.errors import ConfigInvalid, RunInFlight
from holdfast.model.stored_json import plain
from holdfast.model.stored_parts import part_in_schema_1
from holdfast.ports.host_state import Reread, RunRecord, Unfinished
from holdfast.sources.postgres.server.table_part import External, Pages, TablePart
from tests.fakes.clock import START, FakeClock
from tests.support.manifests import manifest

ODD = [
    b"",
    b"\0" * 4096,
    b"[" * 100_000,
    b'{"a": ' + b"9" * 6000 + b"}",
    b'{"job": NaN}',
    rb'{"job": "\ud800"}',
    b'{"job": "shop", "job": "shop"}',
    b"\xff\xfe",
    b'"' + b"x" * (2 << 20) + b'"',
    b"null",
    b"[]",
    b"{}",
]

RUN = RunRecord(
    job="shop",
    run_id="0" * 32,
    outcome="ok",
    started_at=START,
    finished_at=START + timedelta(seconds=1),
)
UNFINISHED = Unfinished(
    job="shop",
    name="20261120T020000Z-0a0b0c0d",
    run_id="0" * 32,
    database="shop",
    snapshot="1",
    started_at=START,
    snapshot_at=START,
)
PART = manifest().parts[0]


@pytest.mark.parametrize("line", ODD)
def test_a_damaged_line_of_the_ledger_hides_none_before_it(tmp_path: Path, line: bytes) -> None:
    ledger = FileRunHistory(tmp_path / "runs")
    ledger.record(RUN)
    with (tmp_path / "runs/shop.jsonl").open("ab") as file:
        file.write(line + b"\n")
    assert ledger.last("shop", count=9) == [RUN]
    ledger.record(RUN)
    assert ledger.last("shop", count=9) == [RUN, RUN]


@pytest.mark.parametrize(
    "change",
    [
        {"started_at": "2026-11-20T02:00:00"},
        {"finished_at": "0001-01-01T00:00:00+14:00"},
        {"exit_code": -1},
        {"facts": {"a": 1}},
    ],
)
def test_a_run_that_cannot_have_been_is_left_out(tmp_path: Path, change: dict[str, object]) -> None:
    ledger = FileRunHistory(tmp_path / "runs")
    ledger.record(RUN)
    path = tmp_path / "runs/shop.jsonl"
    path.write_text(path.read_text() + json.dumps(json.loads(path.read_text()) | change) + "\n")
    assert ledger.last("shop", count=9) == [RUN]


def test_whatever_a_server_said_the_ledger_can_keep_it(tmp_path: Path) -> None:
    """An error text with half a character was once replaced by an error of the run history."""
    ledger = FileRunHistory(tmp_path / "runs")
    ledger.record(replace(RUN, error="relation \udcff is gone", hint="x" * (1 << 21)))
    (told,) = ledger.last("shop", count=9)
    assert told.error == "relation \\udcff is gone"


def journal_of(tmp_path: Path) -> tuple[FileJournal, Path]:
    journal = FileJournal(tmp_path / "unfinished")
    journal.begin(replace(UNFINISHED, parts=(PART,)))
    return journal, tmp_path / "unfinished/shop/shop.jsonl"


def test_a_power_cut_costs_the_parts_of_one_second_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = list[int]()
    now = [7.0]
    monkeypatch.setattr(os, "fsync", synced.append)
    journal = FileJournal(tmp_path / "unfinished", monotonic=lambda: now[0])
    journal.begin(UNFINISHED)
    assert len(synced) == 1
    for moment, syncs in ((7.0, 1), (7.9, 1), (8.0, 2), (8.5, 2), (9.5, 3)):
        now[0] = moment
        journal.add("shop", "shop", PART)
        assert len(synced) == syncs
    found = journal.read("shop", "shop")
    assert found is not None
    assert len(found.parts) == 5
    journal.begin(UNFINISHED)
    assert len(synced) == 4


def test_parts_stored_by_a_run_of_the_release_before_are_used_again(tmp_path: Path) -> None:
    aside = External(columns=("v",), size_bytes=4096, marker=b"that of its snapshot")
    table = TablePart(
        relation=Relation(schema="public", name="t"),
        columns=("id", "v"),
        encoding="UTF8",
        pages=Pages(first=0, after=8),
        external=aside,
    )
    rows = table.details(transport="wire")
    member = Member(
        relation=Relation(schema="public", name="t"),
        rows=1,
        offset=0,
        plain_bytes=1,
        details=rows,
    )
    parts = (replace(PART, details=rows), replace(PART, name="pack", members=(member,), memo="m"))
    journal, path = journal_of(tmp_path)
    lines = [path.read_bytes().splitlines()[0]]
    for part in parts:
        # As that release wrote them: texts without a kind, and hex digits.
        body = plain(part)
        lines.append(json.dumps(part_in_schema_1(body, part)).encode())
    path.write_bytes(b"\n".join([*lines, b""]))
    found = journal.read("shop", "shop")
    assert found is not None
    assert found.parts == parts
    journal.begin(found)
    again = journal.read("shop", "shop")
    assert again is not None
    assert again.parts == parts
    planned = replace(table, external=replace(aside, marker=b"of another one"))
    assert found.parts[0].details.lasting == planned.details(transport="wire").lasting


@pytest.mark.parametrize("line", ODD)
def test_a_damaged_line_of_the_journal_costs_what_comes_after_it(
    tmp_path: Path, line: bytes
) -> None:
    journal, path = journal_of(tmp_path)
    head, part = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([head, part, line, part, b""]))
    found = journal.read("shop", "shop")
    assert found is not None
    assert found.parts == (PART,)
    path.write_bytes(b"\n".join([line, part, b""]))
    assert journal.read("shop", "shop") is None
    assert journal.unfinished("shop") == []


@pytest.mark.parametrize(
    "change", [{"job": "other"}, {"name": "../../other"}, {"name": "blobs"}, {"database": "stock"}]
)
def test_a_journal_of_another_backup_is_none_of_this_job(
    tmp_path: Path, change: dict[str, str]
) -> None:
    journal, path = journal_of(tmp_path)
    head, part = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(head) | change), part, ""]))
    assert journal.read("shop", "shop") is None


def owner(**changes: str) -> bytes:
    """A lock file with this text about its owner."""
    names = ("host", "pid_space", "boot_id", "process_started", "run_id", "deadline")
    said = dict.fromkeys(names, "") | {"pid": "1", "started_at": "2026-11-20T02:00:00+00:00"}
    return json.dumps(said | changes).encode()


@pytest.mark.parametrize(
    "content",
    [
        *ODD,
        b'{"pid": "1"}',
        owner(pid="99999999999"),
        owner(pid="-1"),
        owner(started_at="yesterday"),
        owner(host="x" * 10_000),
    ],
)
def test_a_lock_is_held_whatever_its_file_says(tmp_path: Path, content: bytes) -> None:
    guard = FlockGuard(tmp_path, clock=FakeClock(), run_id="r")
    with guard.hold("shop", deadline=None):
        (tmp_path / "shop.lock").write_bytes(content + b"\n")
        assert guard.owner("shop") is None
        with pytest.raises(RunInFlight, match="another process is starting it"):
            guard.hold("shop", deadline=None).__enter__()


def test_a_state_file_that_is_none_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    os.mkfifo(tmp_path / "runs/shop.jsonl")
    assert FileRunHistory(tmp_path / "runs").last("shop", count=1) == []


@pytest.mark.parametrize("at", ["", "yesterday", "2026-11-20T02:00:00", 7, None, b"\xff"])
def test_what_cannot_be_read_of_a_proof_counts_as_never_read(tmp_path: Path, at: object) -> None:
    path = tmp_path / "main.sqlite"
    proofs = FileVerificationLog(path)
    now = datetime(2026, 11, 20, tzinfo=UTC)
    for key in ("a", "b"):
        proofs.reread("shop/x", key, Reread(at=now, problem="", opened=True))
    assert proofs.unreferenced("shop", ["a", "b"], now=now) == {"a": now, "b": now}
    with sqlite3.connect(path) as database:
        database.execute("UPDATE reread SET at = ? WHERE key = 'a'", [at])
        database.execute("UPDATE unreferenced SET since = ? WHERE key = 'a'", [at])
    assert proofs.of("shop/x").keys() == {"b"}
    later = now + timedelta(days=1)
    assert proofs.unreferenced("shop", ["a", "b"], now=later) == {"a": later, "b": now}


def test_a_table_of_proofs_that_is_gone_is_told_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "main.sqlite"
    proofs = FileVerificationLog(path)
    proofs.forget("shop/x")
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE reread")
    with pytest.raises(ConfigInvalid, match=r"main\.sqlite': no such table"):
        proofs.of("shop/x")


@pytest.mark.parametrize("document", [each.decode(errors="replace") for each in ODD])
def test_a_session_that_cannot_be_read_hides_no_other(tmp_path: Path, document: str) -> None:
    path = tmp_path / "sessions.sqlite"
    catalogue = SessionStore(path)
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO sessions VALUES ('a', 'open', '2026-11-20', ?)", [document])
    assert catalogue.listed(all_states=True) == []
    assert catalogue.lose_all("it ended", now=START) == []
