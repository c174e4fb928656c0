"""Ansible module: probe and verify the resource limits of logins and of running services."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host_facts import gather
from ansible.module_utils.host_kind import container_kind
from ansible.module_utils.host_profiles import limit_choices
from ansible.module_utils.kernel_profiles import PROFILES
from ansible.module_utils.limit_rows import DROPINS, LimitLooker
from ansible.module_utils.original_state import original_file, original_units, unrecorded
from ansible.module_utils.process_limits import ungranted
from ansible.module_utils.systemd_units import SystemdSilent
from ansible.module_utils.tuning_report import Choice, as_dicts, concluded

DOCUMENTATION = r"""
module: limits_live
short_description: Probe and verify limits of logins and of running services
description:
- Compares our files, the values after the next boot from all files, and the live values.
- Opens a PAM session for each user, and reads C(/proc/PID/limits) of each service's main process.
- First finds the highest limits that the host can grant, because with a limit that it cannot grant
  logins fail and services get less than configured.
options:
  users:
    description: Logins that get the limits where the account exists.
    type: list
    elements: str
    required: true
  runner_user:
    description: Login that gets them even before the account exists.
    type: str
    required: true
  services:
    description: Services; C(x@.service) and C(x-.service) are all that begin with this.
    type: list
    elements: str
    required: true
  nofile:
    description: Wanted number of open files; C(auto) is the profile's.
    type: str
    required: true
  nproc:
    description: Wanted number of processes; C(auto) is the profile's.
    type: str
    required: true
  profile:
    description: The profile for values that are not given.
    type: str
    choices: [recipe, postgresql, mariadb, backup_throughput, none]
    default: none
  file:
    description: The path of our file in limits.d.
    type: path
    required: true
  dropin:
    description: Name of our drop-in.
    type: str
    required: true
  report:
    description: Only report differences; verify then never fails.
    type: bool
    default: false
  action:
    description: The step to run.
    type: str
    choices:
    - probe
    - verify
    required: true
  before:
    description: Rows of the probe, from which verify derives the changes.
    type: list
    elements: dict
    default: []
author: holdfast
"""
EXAMPLES = r"""
- name: Read the limits
  limits_live:
    action: probe
    users:
      - postgres
    runner_user: holdfast
    services:
      - postgresql@.service
    nofile: auto
    nproc: auto
    profile: recipe
    file: /etc/security/limits.d/dbbackup.conf
    dropin: 50-holdfast-limits.conf
"""
RETURN = r"""
rows:
  description: One row per login and limit and per service.
  returned: always
  type: list
  elements: dict
entries:
  description: Lines for limits.d, as C({user, item, value}).
  returned: always
  type: list
  elements: dict
services:
  description: Installed services that can have the limit.
  returned: always
  type: list
  elements: str
restarts:
  description: Running services that still have another limit.
  returned: always
  type: list
  elements: str
nofile:
  description: The limit for the drop-ins; empty if none is wanted.
  returned: always
  type: str
unrecorded:
  description: The original state that the snapshot does not hold yet.
  returned: always
  type: list
  elements: dict
refused:
  description: Limits that this host does not grant, though it has its own kernel.
  returned: always
  type: list
  elements: str
"""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "users": {"type": "list", "elements": "str", "required": True},
    "runner_user": {"type": "str", "required": True},
    "services": {"type": "list", "elements": "str", "required": True},
    "nofile": {"type": "str", "required": True},
    "nproc": {"type": "str", "required": True},
    "profile": {"type": "str", "choices": list(PROFILES), "default": "none"},
    "file": {"type": "path", "required": True},
    "dropin": {"type": "str", "required": True},
    "report": {"type": "bool", "default": False},
    "action": {"type": "str", "choices": ["probe", "verify"], "required": True},
    "before": {"type": "list", "elements": "dict", "default": []},
}


def main() -> None:
    """Answer with rows and with what to write; when verifying, fail if a row differs."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    given = {kind: module.params[kind] for kind in ("nofile", "nproc")}
    if wrong := [f"{kind} '{told}'" for kind, told in given.items() if not _is_count(told)]:
        module.fail_json(msg=f"cannot use {', '.join(wrong)}: a number, or auto")
    try:
        facts = gather(module.run_command)
        module.exit_json(**_answer(module, limit_choices(module.params["profile"], given, facts)))
    except SystemdSilent as error:
        module.fail_json(msg=str(error))


def _answer(module: AnsibleModule, choices: dict[str, Choice]) -> dict[str, Any]:
    wanted = {kind: int(choice.value) for kind, choice in choices.items()}
    refused = ungranted(module.run_command, wanted)
    looker = LimitLooker(
        run=module.run_command,
        choices=choices,
        refused=refused,
        file=Path(module.params["file"]),
        dropin=module.params["dropin"],
        own_kernel=container_kind() is None,
    )
    users = looker.logins(module.params["users"], runner=module.params["runner_user"])
    services, units = looker.services(module.params["services"])
    rows = looker.login_rows(users) + looker.service_rows(units)
    if module.params["action"] == "verify":
        rows = concluded(module, rows)
    served = services if "nofile" in choices and "nofile" not in refused else []
    originals = original_file(looker.file)
    for name in served:
        originals += original_file(DROPINS / f"{name}.d" / looker.dropin)
    if served:
        originals += original_units(units, "LimitNOFILE", dropin=looker.dropin)
    return {
        "changed": False,
        "rows": as_dicts(rows),
        "entries": looker.entries(users),
        "services": served,
        "nofile": choices["nofile"].value if "nofile" in choices else "",
        "restarts": looker.restarts(units),
        "refused": _refused_on_own_kernel(wanted, refused),
        "unrecorded": unrecorded("limits", originals),
    }


def _refused_on_own_kernel(wanted: dict[str, int], refused: dict[str, str]) -> list[str]:
    # In a container its creator sets the upper limit; elsewhere we can raise it.
    if container_kind():
        return []
    return [
        f"cannot raise '{kind}' to '{wanted[kind]}': this host grants no more than {granted}"
        for kind, granted in refused.items()
    ]


def _is_count(told: str) -> bool:
    return told == "auto" or told.isdigit()


if __name__ == "__main__":
    main()
