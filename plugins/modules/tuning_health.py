"""Ansible module: check whether the database servers and the runner of a host are healthy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.job_units import PREFIX, NotRun, run_as, service_of
from ansible.module_utils.server_health import Check, checks_for, sick

DOCUMENTATION = r"""
module: tuning_health
short_description: Ask the database servers and the runner of a host whether they are well
description:
- Asks every server that has a socket, and C(holdfast check) where the runner is installed.
- Fails for what was well before and is not any more.
options:
  commands:
    description: Questions of the operator's own, each a list of arguments.
    type: list
    elements: list
    default: []
  well_before:
    description: What was well before the change; an earlier answer's C(well).
    type: list
    elements: str
    default: []
author: holdfast
"""
EXAMPLES = r"""
- name: Ask
  tuning_health:
"""
RETURN = r"""
well:
  description: What answers as it should.
  returned: always
  type: list
  elements: str
unwell:
  description: What does not, with its last words.
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
