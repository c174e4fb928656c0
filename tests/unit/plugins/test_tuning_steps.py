"""The steps of a tuning role, with a role that keeps one value in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugins.action.tuning_role import chosen_steps
from plugins.module_utils.original_state import Original
from plugins.module_utils.tuning_report import Row
from plugins.module_utils.tuning_steps import Changes, CommandFailed, Seen, TuningRole, carry_out

STEPS = ["preflight", "configure", "verify"]


class Failed(Exception):
    """The module has ended with an error."""


class Module:
    """What a role needs of an Ansible module."""

    def __init__(self, *, check_mode: bool = False, code: int = 0, **params: Any) -> None:
        self.check_mode, self.code = check_mode, code
        self.params = {"steps": STEPS, "report": False, "may_change": True} | params
        self.commands: list[list[str]] = []

    def run_command(self, argv: list[str]) -> tuple[int, str, str]:
        self.commands.append(argv)
        return self.code, "", "no such unit"

    def fail_json(self, **told: Any) -> None:
        raise Failed(told["msg"])


class Value(TuningRole):
    """A role whose live value is the content of a file."""

    name = "sysctl"

    def __init__(self, path: Path, *, wanted: str = "10") -> None:
        self.path, self.wanted, self.looks = path, wanted, 0

    def look(self) -> Seen:
        self.looks += 1
        live = self.path.read_text()
        state: Any = "ok" if live == self.wanted else "differs"
        row = Row(role="sysctl", key="k", wanted=self.wanted, live=live, state=state)
        found = [Original(kind="kernel_key", name="k", before={"write": ["k", live]})]
        return Seen(rows=[row], originals=found, told={"lines": ["k"]})

    def apply(self, seen: Seen, changes: Changes) -> None:
        if seen.rows[0].state != "differs":
            return
        if not changes.trial:
            self.path.write_text(self.wanted)
        changes.text("old", "new", header="live")
        changes.run(["reload"], counts=False)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def role(tmp_path: Path) -> Value:
    (tmp_path / "value").write_text("60")
    return Value(tmp_path / "value")


def test_nothing_changes_before_the_original_is_saved_and_the_control_node_agrees(
    role: Value, kept: Path
) -> None:
    module = Module(may_change=False)
    answer = carry_out(module, role, folder=kept)
    assert (answer["waiting"], answer["changed"]) == (True, True)
    assert role.path.read_text() == "60"
    assert module.commands == []
    saved = json.loads((kept / "sysctl.json").read_text())
    assert saved == json.loads(json.dumps(answer["snapshot"]))
    assert saved["originals"][0]["before"] == {"write": ["k", "60"]}
    # The control node could not write its copy: the next run brings it before anything changes.
    assert carry_out(module, role, folder=kept)["snapshot"] == answer["snapshot"]
    agreed = carry_out(Module(), role, folder=kept)
    assert (role.path.read_text(), agreed["rows"][0]["state"]) == ("10", "changed")
    assert "snapshot" not in agreed


def test_an_unchanged_host_is_read_once_and_needs_nobody_to_agree(role: Value, kept: Path) -> None:
    carry_out(Module(), role, folder=kept)
    module, looks = Module(may_change=False), role.looks
    answer = carry_out(module, role, folder=kept)
    assert (answer["waiting"], answer["changed"], answer["diff"]) == (False, False, [])
    assert (role.looks - looks, module.commands) == (1, [])
    assert answer["rows"][0]["state"] == "ok"


def test_a_change_is_verified_by_a_second_look_that_may_still_fail(
    role: Value, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(role, "apply", lambda _, changes: changes.run(["x"], counts=True))
    with pytest.raises(Failed, match="cannot keep 'k' at '10': the live value is '60'"):
        carry_out(Module(), role, folder=kept)
    assert role.looks == 2


def test_check_mode_foretells_the_change_and_makes_none(role: Value, kept: Path) -> None:
    module = Module(check_mode=True, may_change=False)
    answer = carry_out(module, role, folder=kept)
    assert (answer["waiting"], answer["changed"]) == (False, True)
    assert answer["diff"][0]["before_header"] == "live"
    assert answer["rows"][0]["reason"] == "would change from '60'"
    assert (role.path.read_text(), module.commands, kept.exists()) == ("60", [], False)


def test_a_report_neither_changes_nor_saves_nor_fails(role: Value, kept: Path) -> None:
    answer = carry_out(Module(report=True), role, folder=kept)
    assert (answer["changed"], answer["rows"][0]["state"]) == (False, "differs")
    assert (role.path.read_text(), kept.exists()) == ("60", False)


def test_verify_alone_changes_nothing_and_fails_where_the_host_differs(
    role: Value, kept: Path
) -> None:
    with pytest.raises(Failed, match="cannot keep 'k'"):
        carry_out(Module(steps=["verify"]), role, folder=kept)
    assert carry_out(Module(steps=["preflight"]), role, folder=kept)["lines"] == ["k"]
    assert (role.path.read_text(), kept.exists()) == ("60", False)


def test_a_command_that_fails_is_named_with_its_error(role: Value, kept: Path) -> None:
    with pytest.raises(CommandFailed, match="cannot run 'reload': no such unit"):
        carry_out(Module(code=1), role, folder=kept)


@pytest.mark.parametrize(
    ("selected", "steps"),
    [
        (["all"], STEPS),
        (["sysctl"], STEPS),
        (["site", "sysctl_verify"], STEPS),
        (["sysctl_preflight"], ["preflight"]),
        (["sysctl_verify"], ["verify"]),
        (["sysctl_configure"], ["configure", "verify"]),
        (["sysctl_preflight", "sysctl_verify"], ["preflight", "verify"]),
    ],
)
def test_tags_that_only_name_steps_choose_them(selected: list[str], steps: list[str]) -> None:
    tags = ["site", "sysctl", "sysctl_preflight", "sysctl_configure", "sysctl_verify"]
    assert chosen_steps("sysctl", selected=selected, of_task=tags) == steps
