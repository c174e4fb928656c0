"""A command of the runner runs in a unit like the job's own, which is removed afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from plugins.module_utils import job_units as module

PREFIX = "holdfast-backup-"


class Manager:
    """Replaces systemctl and journalctl, and acts as the started unit would."""

    def __init__(self, fragment: Path, *, result: str, status: int, said: str = "") -> None:
        self._fragment, self._result, self._status, self._said = fragment, result, status, said
        self.started = ""

    def __call__(self, argv: Sequence[str]) -> tuple[int, str, str]:
        if argv[0] == "journalctl":
            return 0, self._said, ""
        if argv[1] == "start":
            (unit,) = module.MOMENT.iterdir()
            self.started = unit.read_text()
            (module.OUTPUT / f"{unit.name}.out").write_text("the answer")
        if "FragmentPath" in argv[2]:
            return 0, f"FragmentPath={self._fragment}\nDropInPaths=\n", ""
        return 0, f"Result={self._result}\nExecMainStatus={self._status}\n", ""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "MOMENT", tmp_path / "moment")
    monkeypatch.setattr(module, "OUTPUT", tmp_path / "output")
    path = tmp_path / f"{PREFIX}shop.service"
    path.write_text("[Service]\nUser=holdfast\nExecStart=/bin/backup\n")
    return path


def test_the_command_has_the_unit_of_the_job_and_its_answer_is_told(service: Path) -> None:
    manager = Manager(service, result="success", status=0)
    ended = module.run_as(manager, service.name, ["/bin/holdfast", "status"], as_root=False)
    assert (ended.rc, ended.stdout, ended.reason) == (0, "the answer", "")
    assert "User=holdfast" in manager.started
    assert "ExecStart=/bin/holdfast status" in manager.started
    assert list(module.MOMENT.iterdir()) == list(module.OUTPUT.iterdir()) == []


def test_the_exit_code_of_the_command_is_returned_unchanged(service: Path) -> None:
    manager = Manager(service, result="exit-code", status=44)
    ended = module.run_as(manager, service.name, ["/bin/holdfast", "status"], as_root=False)
    assert (ended.rc, ended.reason) == (44, "")


@pytest.mark.parametrize(("result", "status"), [("exit-code", 226), ("resources", 0)])
def test_a_unit_that_systemd_cannot_start_is_told_with_its_words(
    service: Path, result: str, status: int
) -> None:
    manager = Manager(service, result=result, status=status, said="Failed at step NAMESPACE\n")
    ended = module.run_as(manager, service.name, ["/bin/holdfast", "check"], as_root=False)
    assert ended.rc != 0
    assert "NAMESPACE" in ended.reason


def test_a_job_that_the_host_does_not_have_is_told_with_those_it_has(service: Path) -> None:
    found = module.service_of("", prefix=PREFIX, folder=service.parent)
    assert found == service.name
    with pytest.raises(module.NotRun, match="this host has services of shop"):
        module.service_of("shpo", prefix=PREFIX, folder=service.parent)
