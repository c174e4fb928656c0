"""Ansible module: check whether the database servers and the runner of a host are healthy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tuning_health
short_description: Check whether the database servers and the runner of a host are healthy
description:
- Checks every server that has a socket, and runs C(holdfast check) if the runner is installed.
- Fails for a check that passed before and does not pass now. Otherwise it can leave the verdict of
  the tuning in C(/var/lib/holdfast-tuning/verdict.json).
options:
  commands:
    description: The operator's own checks, each a list of arguments.
    type: list
    elements: list
    default: []
  well_before:
    description: The checks that passed before the change, from C(well) of an earlier result.
    type: list
    elements: str
    default: []
  servers:
    description: Whether servers and runner are checked, besides C(commands).
    type: bool
    default: true
  verdict_rows:
    description: The rows of all roles, for the verdict; without them none is left.
    type: list
    elements: dict
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Check the host
  holdfast.holdfast.tuning_health:
"""
RETURN = r"""
well:
  description: The checks that passed.
  returned: always
  type: list
  elements: str
unwell:
  description: The failed checks, each with its last line of output.
  returned: always
  type: list
  elements: str
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.job_units import PREFIX, NotRun, run_as, service_of
from ..module_utils.server_health import Check, checks_for, sick
from ..module_utils.tuning_verdict import leave, verdict

ARGUMENTS: dict[str, dict[str, Any]] = {
    "commands": {"type": "list", "elements": "list", "default": []},
    "well_before": {"type": "list", "elements": "str", "default": []},
    "servers": {"type": "bool", "default": True},
    "verdict_rows": {"type": "list", "elements": "dict"},
}


def main() -> None:
    """Run all checks, and compare with those that passed before."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    asked = module.params
    checks = checks_for(Path("/"), own=asked["commands"], servers=asked["servers"])
    well, unwell = [], []
    for check in checks:
        code, output, errors = _asked(module, check)
        if code == 0:
            well.append(check.name)
        else:
            unwell.append(f"{check.name}: {_last_words(errors or output) or f'exit status {code}'}")
    if failed := sick(asked["well_before"], well=well, unwell=unwell):
        module.fail_json(msg="; ".join(failed), well=well, unwell=unwell)
    if asked["verdict_rows"] is not None and not module.check_mode:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        leave(verdict(asked["verdict_rows"], at=now))
    module.exit_json(changed=False, well=well, unwell=unwell)


def _asked(module: AnsibleModule, check: Check) -> tuple[int, str, str]:
    if not check.in_unit:
        code, output, errors = module.run_command(list(check.argv), cwd="/")
        return code, output, errors
    try:
        unit = service_of("", prefix=PREFIX)
        ended = run_as(module.run_command, unit, check.argv, as_root=False)
    except (NotRun, OSError) as error:
        return 1, "", str(error)
    return ended.rc, ended.stdout, ended.reason or ended.stderr


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


if __name__ == "__main__":
    main()
