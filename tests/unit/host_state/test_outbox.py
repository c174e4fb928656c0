"""What is still to be told survives the process, is bounded, and is sent by one process alone."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.host_state import outbox as outboxes
from holdfast.host_state.outbox import FileOutbox
from holdfast.model.errors import ConfigInvalid
from holdfast.model.notification import Event, Topic
from holdfast.ports.notify import Begun, Message
from holdfast.runtime import files

AT = datetime(2026, 11, 30, 2, tzinfo=UTC)
BEGUN = Begun(job="shop", command="wal receive", run_id="ab" * 16, at=AT)


def message(number: int) -> Message:
    event = Event(
        id=f"{number:032x}",
        topic=Topic.FAILURE,
        command="backup",
        job="shop",
        host="db1",
        at=AT + timedelta(seconds=number),
        warnings=("a", "b"),
    )
    return Message(receiver="mail", event=event)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "notify"


def test_what_was_added_is_there_in_the_next_process_oldest_first(folder: Path) -> None:
    for number in (3, 1, 2):
        FileOutbox(folder).add(message(number))
    assert FileOutbox(folder).waiting() == [message(1), message(2), message(3)]
    FileOutbox(folder).remove(message(2))
    assert FileOutbox(folder).waiting() == [message(1), message(3)]
    modes = {oct(path.stat().st_mode & 0o777) for path in folder.rglob("*") if path.is_file()}
    assert modes == {"0o600"}


def test_it_is_bounded_and_the_oldest_make_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "MOST_MESSAGES", 3)
    box = FileOutbox(folder)
    for number in range(10):
        box.add(message(number))
    assert box.waiting() == [message(7), message(8), message(9)]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"receiver": "mail"}', b"x" * (1 << 20), b"\xff"]
)
def test_a_damaged_message_is_dropped_and_the_others_are_sent(folder: Path, content: bytes) -> None:
    box = FileOutbox(folder)
    box.add(message(1))
    (path,) = (folder / "waiting").iterdir()
    path.with_name("0-damaged.json").write_bytes(content)
    assert box.waiting() == [message(1)]
    assert [each.name for each in (folder / "waiting").iterdir()] == [path.name]


def test_a_message_under_another_name_is_not_believed(folder: Path) -> None:
    box = FileOutbox(folder)
    box.add(message(1))
    (path,) = (folder / "waiting").iterdir()
    path.rename(path.with_name("0-elsewhere.json"))
    assert box.waiting() == []


def test_only_one_process_sends_a_message(folder: Path) -> None:
    mine, other = FileOutbox(folder), FileOutbox(folder)
    mine.add(message(1))
    with mine.claimed(message(1)) as is_mine:
        assert is_mine
        with other.claimed(message(1)) as is_others:
            assert not is_others
        mine.remove(message(1))
    with other.claimed(message(1)) as is_others:
        assert not is_others, "it was sent"


def test_failures_are_counted_by_job_and_command_and_a_success_ends_the_count(folder: Path) -> None:
    def ended(job: str, command: str, *, failed: bool) -> int:
        return FileOutbox(folder).failures_in_a_row(job, command, failed=failed)

    assert [ended("shop", "backup", failed=True) for _ in range(3)] == [1, 2, 3]
    assert ended("shop", "prune", failed=True) == 1
    assert ended("wiki", "backup", failed=True) == 1
    assert ended("shop", "backup", failed=False) == 0
    assert ended("shop", "backup", failed=True) == 1


def test_a_host_with_many_jobs_loses_no_count(folder: Path) -> None:
    folder.mkdir()
    others = {f"shop{number}/verify": 1 for number in range(5000)}
    (folder / "failures.json").write_text(json.dumps({**others, "shop/backup": 2}))
    assert FileOutbox(folder).failures_in_a_row("shop", "backup", failed=True) == 3


def test_damaged_counts_begin_again(folder: Path) -> None:
    FileOutbox(folder).count_unsent("mail")
    (folder / "unsent.json").write_text('{"mail": -5}')
    assert FileOutbox(folder).count_unsent("mail") == {"mail": 1}
    assert FileOutbox(folder).count_unsent("ops") == {"mail": 1, "ops": 1}


def test_a_run_that_never_ended_is_returned_once(folder: Path) -> None:
    box = FileOutbox(folder)
    with box.running(BEGUN) as earlier:
        assert earlier is None
        assert FileOutbox(folder).never_ended() == [], "it is still running"
        with FileOutbox(folder).running(replace(BEGUN, run_id="cd" * 16)) as other:
            assert other is None
        (path,) = (folder / "running").iterdir()
        left = path.read_bytes()
    assert box.never_ended() == []
    path.write_bytes(left)
    with box.running(replace(BEGUN, run_id="cd" * 16)) as earlier:
        assert earlier == BEGUN
    path.write_bytes(left)
    assert box.never_ended() == [BEGUN]
    assert box.never_ended() == []


def test_a_record_of_a_run_that_says_nothing_is_no_run(folder: Path) -> None:
    box = FileOutbox(folder)
    with box.running(BEGUN):
        (path,) = (folder / "running").iterdir()
    path.write_text(json.dumps({"job": "shop"}))
    assert box.never_ended() == []


class FakeTime:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.slept = 0.0

    def monotonic(self) -> float:
        return self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def test_a_process_that_never_releases_the_lock_delays_a_run_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = FakeTime()
    monkeypatch.setattr(files, "time", time)
    box = FileOutbox(folder)
    assert box.count_unsent("mail") == {"mail": 1}
    with (folder / ".lock").open() as stuck:
        fcntl.flock(stuck, fcntl.LOCK_EX)
        for _ in range(3):
            with pytest.raises(ConfigInvalid) as caught:
                box.failures_in_a_row("shop", "backup", failed=True)
            assert time.slept == pytest.approx(outboxes.PATIENCE_SECONDS)
    assert outboxes.PATIENCE_SECONDS <= 0.5
    assert caught.value.message == f"cannot lock '{folder}/.lock': another process holds it"
    assert "fuser" in caught.value.hint
    assert box.count_unsent("mail") == {"mail": 2}


def test_what_is_no_file_hides_no_message_and_no_run(folder: Path) -> None:
    box = FileOutbox(folder)
    box.add(message(1))
    with box.running(BEGUN):
        (path,) = (folder / "running").iterdir()
        left = path.read_bytes()
    path.write_bytes(left)
    for room in ("waiting", "running"):
        (folder / room / "0-folder.json").mkdir()
        (folder / room / "0-link.json").symlink_to("/etc/passwd")
        os.mkfifo(folder / room / "0-pipe.json")
    assert box.waiting() == [message(1)]
    assert box.never_ended() == [BEGUN]
    assert Path("/etc/passwd").is_file()


def test_of_too_many_messages_the_oldest_are_not_even_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = FileOutbox(folder)
    for number in range(4):
        box.add(message(number))
    monkeypatch.setattr(outboxes, "MOST_MESSAGES", 2)
    assert box.waiting() == [message(2), message(3)]
    assert len([*(folder / "waiting").iterdir()]) == 2


def test_a_record_of_an_older_version_has_no_invocation(folder: Path) -> None:
    box = FileOutbox(folder)
    with box.running(BEGUN):
        (path,) = (folder / "running").iterdir()
    older = {"job": "shop", "command": "backup", "run_id": "ab" * 16, "at": AT.isoformat()}
    path.write_text(json.dumps(older))
    assert box.never_ended() == [replace(BEGUN, command="backup")]
