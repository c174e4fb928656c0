"""Hooks before and after a run, with real processes: which failures stop it, which warn."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.model.errors import (
    DatabaseUnreachable,
    HookRefused,
    Interrupted,
    RunInFlight,
    TasksRefused,
)
from holdfast.operations.backup import hooks
from holdfast.operations.backup.job import RunReport, backup
from holdfast.operations.context import Hook, Hooks
from holdfast.operations.status import check
from holdfast.runtime.bounded_call import Called, call
from tests.fakes.source import FakeSource, table
from tests.support.memory_job import MemoryJob

WRITES = "import json, os, sys; open(sys.argv[1], 'a').write(json.dumps(dict(os.environ)) + '\\n')"
DOWN = DatabaseUnreachable("cannot reach 'shop': connection refused")
FAILS = "import sys; print('the application does not stop'); sys.exit(4)"


class Hooked:
    """A job in memory whose hooks write their environment into a file."""

    def __init__(self, folder: Path) -> None:
        self.job = MemoryJob()
        self.file = folder / "called"
        self.hooks = Hooks(before=(self.writes(),), after=(self.writes(),), failed=(self.writes(),))

    def writes(self) -> Hook:
        return hook(WRITES, str(self.file))

    @property
    def stages(self) -> list[str]:
        return [each["HOLDFAST_HOOK"] for each in self.called]

    @property
    def called(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def backup(self) -> RunReport:
        self.job.hooks = self.hooks
        return backup(self.job.context)


@pytest.fixture
def hooked(tmp_path: Path) -> Hooked:
    found = Hooked(tmp_path)
    found.file.touch()
    return found


def hook(program: str, *arguments: str, seconds: float = 60) -> Hook:
    argv = (sys.executable, "-c", program, *arguments)
    return Hook(argv=argv, timeout=timedelta(seconds=seconds))


def test_a_good_run_calls_before_and_after_and_tells_them_about_itself(hooked: Hooked) -> None:
    report = hooked.backup()
    before, after = hooked.called
    assert hooked.stages == ["before", "after"]
    assert before["HOLDFAST_JOB"] == after["HOLDFAST_JOB"] == "shop"
    assert before["HOLDFAST_RUN_ID"] == after["HOLDFAST_RUN_ID"] == report.run_id
    assert "HOLDFAST_BACKUP_ID" not in before
    assert after["HOLDFAST_BACKUP_ID"] == report.manifest.backup_id
    assert (after["HOLDFAST_OUTCOME"], after["HOLDFAST_EXIT_CODE"]) == ("ok", "0")
    assert after["HOLDFAST_ERROR"] == ""


def test_nothing_else_of_our_environment_is_handed_on(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/hunter2")
    hooked.backup()
    assert "hunter2" not in hooked.file.read_text()


def test_a_failed_run_calls_failed_with_its_error_and_not_after(hooked: Hooked) -> None:
    hooked.job.source.refuse_with = DOWN
    with pytest.raises(DatabaseUnreachable) as caught:
        hooked.backup()
    assert hooked.stages == ["before", "failed"]
    failed = hooked.called[-1]
    assert failed["HOLDFAST_OUTCOME"] == "failed"
    assert failed["HOLDFAST_EXIT_CODE"] == str(DatabaseUnreachable.exit_code)
    assert failed["HOLDFAST_ERROR"] == caught.value.message
    assert failed["HOLDFAST_BACKUP_ID"] == ""


def test_before_that_fails_refuses_the_run_and_lets_failed_undo_it(hooked: Hooked) -> None:
    hooked.hooks = Hooks(before=(hook(FAILS), hooked.writes()), failed=(hooked.writes(),))
    with pytest.raises(HookRefused, match="ended with status 4") as caught:
        hooked.backup()
    assert "'shop'" in caught.value.message
    assert hooked.stages == ["failed"]
    assert hooked.job.stored_names() == []
    (run,) = hooked.job.history.last("shop", count=5)
    assert (run.outcome, run.exit_code) == ("failed", HookRefused.exit_code)


def test_before_that_hangs_refuses_the_run(hooked: Hooked) -> None:
    hooked.hooks = Hooks(before=(hook("import time; time.sleep(600)", seconds=0.2),))
    with pytest.raises(HookRefused, match=r"was ended after 0\.2 s"):
        hooked.backup()


def test_a_hook_after_the_run_that_the_kernel_refuses_is_a_warning(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> Called:
        raise TasksRefused("cannot start 'tell': the kernel refused another process or thread")

    hooked.hooks = Hooks(after=(hooked.writes(),))
    monkeypatch.setattr(hooks, "call", refused)
    report = hooked.backup()
    assert "the kernel refused" in report.warnings[0]
    (run,) = hooked.job.history.last("shop", count=5)
    assert (run.outcome, run.backup) == ("ok", report.manifest.backup_id)


def test_a_run_interrupted_in_its_after_hook_names_its_backups_to_failed(
    hooked: Hooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(
        argv: Sequence[str], *, env: Mapping[str, str], timeout_seconds: float
    ) -> Called:
        if env["HOLDFAST_HOOK"] == "after":
            raise Interrupted("cannot continue: interrupted by SIGTERM")
        return call(argv, env=env, timeout_seconds=timeout_seconds)

    monkeypatch.setattr(hooks, "call", interrupted)
    with pytest.raises(Interrupted):
        hooked.backup()
    assert hooked.stages == ["before", "failed"]
    (run,) = hooked.job.history.last("shop", count=5)
    assert hooked.called[-1]["HOLDFAST_BACKUP_ID"] == run.backup != ""
    assert hooked.called[-1]["HOLDFAST_EXIT_CODE"] == "130"


@pytest.mark.parametrize("stage", ["after", "failed"])
def test_a_hook_after_the_run_that_fails_is_a_warning(hooked: Hooked, stage: str) -> None:
    hooked.hooks = Hooks(**{stage: (hook(FAILS), hooked.writes())})
    if stage == "failed":
        hooked.job.source.refuse_with = DOWN
        with pytest.raises(DatabaseUnreachable):
            hooked.backup()
        expected = "failed"
    else:
        report = hooked.backup()
        assert "ended with status 4" in report.warnings[0]
        assert report.error is None
        expected = "ok"
    assert hooked.stages == [stage], "the second one runs although the first failed"
    (run,) = hooked.job.history.last("shop", count=5)
    assert run.outcome == expected
    assert "ended with status 4" in run.facts["warnings"]


def test_a_skipped_run_calls_no_hook(hooked: Hooked) -> None:
    with hooked.job.guard.hold("shop", deadline=None), pytest.raises(RunInFlight):
        hooked.backup()
    assert hooked.stages == []


def test_hooks_run_while_the_job_is_locked(hooked: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    owned: list[bool] = []

    def called(*_: object, **__: object) -> Called:
        owned.append(hooked.job.guard.owner("shop") is not None)
        return Called(status=0, in_time=True, seconds=0, output="")

    monkeypatch.setattr("holdfast.operations.backup.hooks.call", called)
    hooked.backup()
    assert owned == [True, True]


def test_one_of_several_databases_that_fails_calls_failed(hooked: Hooked) -> None:
    good = FakeSource(table("a", "1"), name="shop")
    hooked.job.source.others = [good, FakeSource(name="wiki", refuse_with=DOWN)]
    report = hooked.backup()
    assert report.error is not None
    assert hooked.stages == ["before", "failed"]
    assert hooked.called[-1]["HOLDFAST_BACKUP_ID"] == report.manifests[0].backup_id


def test_check_names_a_program_that_cannot_be_run(hooked: Hooked, tmp_path: Path) -> None:
    plain = tmp_path / "hook"
    plain.write_text("#!/bin/sh\n")
    lasting = timedelta(seconds=1)
    hooked.job.hooks = Hooks(
        before=(hooked.writes(),), after=(Hook(argv=(str(plain),), timeout=lasting),)
    )
    report = check(hooked.job.check_context)
    (found,) = [each for each in report.findings if each.subject == "hooks"]
    assert str(plain) in found.problem
    plain.chmod(0o755)
    (found,) = [
        each for each in check(hooked.job.check_context).findings if each.subject == "hooks"
    ]
    assert found.detail == "2 can be run"


def test_a_program_is_told_the_newest_of_thousands_of_backups() -> None:
    names = tuple(f"farm/20261130T020000Z-{number:08x}" for number in range(10_000))
    told = hooks.Ending(backups=names).variables
    called = call([sys.executable, "-c", ""], env=told, timeout_seconds=60)
    assert called.status == 0
    newest = told["HOLDFAST_BACKUP_IDS"].split()
    assert len(newest) > 1000
    assert tuple(newest) == names[-len(newest) :]
