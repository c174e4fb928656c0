"""Ansible module: run a command of the runner as a job of this host would run it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_runner_run
short_description: Run a command of the runner as a job of this host would run it
description:
- Derives a transient unit from the service of a job, drop-ins included, so that the command has the
  same user, sandbox, limits and credentials as the job at night.
- The unit is removed afterwards in any case.
options:
  arguments:
    description: The arguments of C(holdfast), without C(--config).
    type: list
    elements: str
    required: true
  job:
    description: The job; empty takes the first with a service, as all share credentials.
    type: str
    default: ""
  program:
    description: The program and its C(--config).
    type: list
    elements: str
    required: true
  prefix:
    description: Prefix of the names of all job services.
    type: str
    default: holdfast-backup-
  as_root:
    description: Run as root and outside the sandbox, with the credentials of the job.
    type: bool
    default: false
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Ask the runner whether the job could run now
  holdfast.holdfast.backup_runner_run:
    program: [/usr/local/bin/holdfast, --config, /etc/holdfast/holdfast.yaml]
    job: shop
    arguments: [check, shop, --json]
"""
RETURN = r"""
rc:
  description: The exit code of the command; systemd's own if the command could not be started.
  returned: always
  type: int
stdout:
  description: The output of the command.
  returned: always
  type: str
stderr:
  description: Its messages.
  returned: always
  type: str
reason:
  description: Why systemd could not start it, from the journal; else empty.
  returned: always
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.job_units import PREFIX, NotRun, run_as, service_of

ARGUMENTS: dict[str, dict[str, Any]] = {
    "arguments": {"type": "list", "elements": "str", "required": True},
    "job": {"type": "str", "default": ""},
    "program": {"type": "list", "elements": "str", "required": True},
    "prefix": {"type": "str", "default": PREFIX},
    "as_root": {"type": "bool", "default": False},
}


def main() -> None:
    """Run the command and return its result; the module fails only if it could not run."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=False)
    asked = module.params
    try:
        unit = service_of(asked["job"], prefix=asked["prefix"])
        argv = [*asked["program"], *asked["arguments"]]
        ended = run_as(module.run_command, unit, argv, as_root=asked["as_root"])
    except (NotRun, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=True,
        rc=ended.rc,
        stdout=ended.stdout,
        stderr=ended.stderr,
        reason=ended.reason,
    )


if __name__ == "__main__":
    main()
