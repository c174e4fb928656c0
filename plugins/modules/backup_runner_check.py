"""Ansible module: ask the runner whether each job could run now, all jobs in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_runner_check
short_description: Ask the runner whether each job could run now
description:
- Runs C(holdfast check JOB --json) for each job in a transient unit with the settings of the job's
  own service, as C(backup_runner_run) does for one command.
options:
  jobs:
    description: The names of the jobs.
    type: list
    elements: str
    required: true
  program:
    description: The program and its C(--config).
    type: list
    elements: str
    required: true
  prefix:
    description: Prefix of the names of all job services.
    type: str
    default: holdfast-backup-
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Check all jobs
  holdfast.holdfast.backup_runner_check:
    program: [/usr/local/bin/holdfast, --config, /etc/holdfast/holdfast.yaml]
    jobs: [shop, stock]
"""
RETURN = r"""
results:
  description: >-
    For each job its name as C(item), and C(rc), C(stdout), C(stderr) and C(reason) as
    C(backup_runner_run) returns them.
  returned: always
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.job_units import PREFIX, NotRun, run_as, service_of

ARGUMENTS: dict[str, dict[str, Any]] = {
    "jobs": {"type": "list", "elements": "str", "required": True},
    "program": {"type": "list", "elements": "str", "required": True},
    "prefix": {"type": "str", "default": PREFIX},
}


def main() -> None:
    """Check every job; one that cannot be asked keeps no other from being asked."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=False)
    module.exit_json(changed=False, results=[_asked(module, job) for job in module.params["jobs"]])


def _asked(module: AnsibleModule, job: str) -> dict[str, Any]:
    argv = [*module.params["program"], "check", job, "--json"]
    try:
        unit = service_of(job, prefix=module.params["prefix"])
        ended = run_as(module.run_command, unit, argv, as_root=False)
    except (NotRun, OSError) as error:
        return {"item": job, "rc": None, "stdout": "", "stderr": str(error), "reason": ""}
    return {
        "item": job,
        "rc": ended.rc,
        "stdout": ended.stdout,
        "stderr": ended.stderr,
        "reason": ended.reason,
    }


if __name__ == "__main__":
    main()
