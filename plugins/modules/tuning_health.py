"""Ansible module: check whether the database servers and the runner of a host are healthy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.job_units import PREFIX, NotRun, run_as, service_of
from ansible.module_utils.server_health import Check, checks_for, sick

DOCUMENTATION = r"""
module: tuning_health
short_description: Check whether the database servers and the runner of a host are healthy
description:
- Checks every server that has a socket, and runs C(holdfast check) if the runner is installed.
- Fails for a check that passed before and does not pass now.
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
author: holdfast
"""
EXAMPLES = r"""
- name: Check the host
  tuning_health:
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
ARGUMENTS: dict[str, dict[str, Any]] = {
    "commands": {"type": "list", "elements": "list", "default": []},
    "well_before": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Run all checks, and compare with those that passed before."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    checks = checks_for(Path("/"), own=module.params["commands"])
    well, unwell = [], []
    for check in checks:
        code, output, errors = _asked(module, check)
        if code == 0:
            well.append(check.name)
        else:
            unwell.append(f"{check.name}: {_last_words(errors or output) or f'exit status {code}'}")
    if failed := sick(module.params["well_before"], well=well, unwell=unwell):
        module.fail_json(msg="; ".join(failed), well=well, unwell=unwell)
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
