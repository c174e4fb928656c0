"""Action plugin: run all steps of a tuning role, on an unchanged host in one round trip."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

STEPS = ("preflight", "configure", "verify")
ROLES = ("sysctl", "limits", "tasksmax", "io_scheduler", "mount_options")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "role": {"type": "str", "choices": list(ROLES), "required": True},
    "arguments": {"type": "dict", "required": True},
    "verify": {"type": "str", "choices": ["repair", "report"], "default": "repair"},
    "snapshots": {"type": "path", "default": "~/.holdfast/snapshots"},
    "health": {"type": "bool", "default": False},
    "well_before": {"type": "list", "elements": "str"},
}
Vars = Mapping[str, Any]


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """The class that Ansible calls."""

    _supports_check_mode = True

    def run(self, tmp: object = None, task_vars: Vars | None = None) -> dict[str, Any]:
        """Call the role's module, and once more if something is to be changed."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        known = task_vars or {}
        _unused, asked = self.validate_argument_spec(argument_spec=ARGUMENTS)
        tags = {"selected": known.get("ansible_run_tags", ["all"]), "of_task": self._task.tags}
        module, arguments = f"{asked['role']}_live", {
            **asked["arguments"],
            "steps": chosen_steps(asked["role"], **tags),
            "report": asked["verify"] == "report",
        }  # fmt: skip
        answer = self._call(module, {**arguments, "may_change": False}, known)
        well, diff = asked["well_before"], answer.get("diff", [])
        if answer.get("waiting"):
            self._keep_copy(asked, answer, known)
            if asked["health"] and well is None:
                health = self._call("tuning_health", {}, known)
                if health.get("failed"):
                    return {**result, **health}
                well = health["well"]
            answer = {**self._call(module, arguments, known), "changed": True, "diff": diff}
        return {**result, **answer, "well_before": well}

    def _call(self, name: str, arguments: Mapping[str, Any], known: Vars) -> dict[str, Any]:
        # In a collection the modules have the same full name as this plugin.
        place = str(self._task.resolved_action or "").rpartition(".")[0]
        full = name if place in ("", "ansible.legacy") else f"{place}.{name}"
        answer: dict[str, Any] = self._execute_module(
            module_name=full, module_args=dict(arguments), task_vars=dict(known)
        )
        return answer

    def _keep_copy(self, asked: Vars, answer: Vars, known: Vars) -> None:
        """Keep the second copy of the snapshot, which survives the loss of the host itself."""
        if "snapshot" not in answer:
            return
        name = f"{known['inventory_hostname']}-{answer['machine']}"
        folder = Path(asked["snapshots"]) / name
        text = json.dumps(answer["snapshot"], indent=4, sort_keys=True) + "\n"
        try:
            write_private(folder / f"{asked['role']}.json", text)
        except OSError as error:
            raise AnsibleActionFail(
                f"cannot keep a copy of the original state in '{folder}': {error.strerror};"
                " nothing was changed"
            ) from error


def chosen_steps(role: str, *, selected: Iterable[str], of_task: Iterable[str]) -> list[str]:
    """The steps that the tags of the run ask for: all of them, unless only steps are named."""
    names = {f"{role}_{step}": step for step in STEPS}
    reasons = set(selected) & set(of_task)
    if not reasons or reasons - set(names):
        return list(STEPS)
    asked = {names[tag] for tag in reasons}
    # What was applied is always verified.
    return [step for step in STEPS if step in asked or (step == "verify" and "configure" in asked)]


def write_private(path: Path, text: str) -> None:
    """Write the file atomically, for this user alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(text)
    temporary.rename(path)
