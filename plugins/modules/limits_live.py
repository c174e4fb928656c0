"""Ansible module: probe and verify the resource limits of logins and of running services."""

from __future__ import annotations

import pwd
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host_kind import container_kind
from ansible.module_utils.process_limits import Limit, limits_of, login_limits, ungranted
from ansible.module_utils.systemd_units import (
    Run,
    SystemdSilent,
    Unit,
    installed_units,
    instances_of,
    loaded_units,
)
from ansible.module_utils.tuning_report import Row, as_dicts, refusals, settled

DOCUMENTATION = r"""
module: limits_live
short_description: Probe and verify limits of logins and of running services
description:
- Opens a PAM session for each user and reads C(/proc/PID/limits) of each service's main process.
- Finds out first what the host can grant, because a limit it cannot grant locks logins out and
  leaves services with less than they were promised.
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
    description: Services; C(x@.service) and C(x-.service) stand for all that begin so.
    type: list
    elements: str
    required: true
  nofile:
    description: Wanted number of open files.
    type: int
    required: true
  nproc:
    description: Wanted number of processes.
    type: int
    required: true
  action:
    description: What to do.
    type: str
    choices:
    - probe
    - verify
    required: true
  before:
    description: Rows of the probe; verify tells from them what changed.
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
    nofile: 65536
    nproc: 32768
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
refused:
  description: Limits that a host with its own kernel does not grant.
  returned: always
  type: list
  elements: str
"""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "users": {"type": "list", "elements": "str", "required": True},
    "runner_user": {"type": "str", "required": True},
    "services": {"type": "list", "elements": "str", "required": True},
    "nofile": {"type": "int", "required": True},
    "nproc": {"type": "int", "required": True},
    "action": {"type": "str", "choices": ["probe", "verify"], "required": True},
    "before": {"type": "list", "elements": "dict", "default": []},
}


def login_row(user: str, kind: str, *, wanted: int, live: dict[str, Limit]) -> Row:
    """What a login has of one limit, soft and hard."""
    row = Row(role="limits", key=f"{user} {kind}", wanted=str(wanted), live="", state="differs")
    if not live:
        return replace(row, reason=f"no session could be opened for '{user}'")
    right = live[kind] == Limit(str(wanted), str(wanted))
    return replace(row, live=str(live[kind]), state="ok" if right else "differs")


def service_row(unit: Unit, *, wanted: int, live: dict[str, Limit]) -> Row:
    """What a service has: as systemd would start it next, and as its main process runs now."""
    row = Row(
        role="limits", key=f"{unit.name} LimitNOFILE", wanted=str(wanted), live="", state="ok"
    )
    promised = Limit(unit.properties["LimitNOFILESoft"], unit.properties["LimitNOFILE"])
    if promised != Limit(str(wanted), str(wanted)):
        return replace(row, live=str(live.get("nofile", promised)), state="differs")
    if not live:
        return replace(row, live=str(promised), reason="not running: holds from its next start")
    if live["nofile"] != promised:
        return replace(
            row, live=str(live["nofile"]), state="pending", reason="needs a restart of the service"
        )
    return replace(row, live=str(live["nofile"]))


def main() -> None:
    """Answer with rows and with what there is to write; when verifying, fail for what differs."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    wanted = {kind: int(module.params[kind]) for kind in ("nofile", "nproc")}
    try:
        refused = ungranted(module.run_command, wanted)
        rows, installed, restarts = _look(
            module.run_command, module.params, wanted=wanted, refused=refused
        )
    except SystemdSilent as error:
        module.fail_json(msg=str(error))
    if module.params["action"] == "verify":
        rows = settled(rows, before=module.params["before"], check_mode=module.check_mode)
        if failed := refusals(rows):
            module.fail_json(msg="; ".join(failed), rows=as_dicts(rows))
    module.exit_json(
        changed=False,
        rows=as_dicts(rows),
        entries=_entries(_logins(module.params), wanted=wanted, refused=refused),
        services=[] if "nofile" in refused else installed,
        restarts=restarts,
        refused=_refused_on_own_kernel(wanted, refused),
    )


def _look(
    run: Run, params: dict[str, Any], *, wanted: dict[str, int], refused: dict[str, str]
) -> tuple[list[Row], list[str], list[str]]:
    rows = _login_rows(run, params, wanted=wanted)
    installed = [name for name in params["services"] if name.endswith("-.service")]
    installed += installed_units(
        run, [name for name in params["services"] if name not in installed]
    )
    units = loaded_units(run, [instances_of(name) for name in installed])
    live = {unit.name: limits_of(unit.main_pid) if unit.main_pid else {} for unit in units}
    rows += [service_row(unit, wanted=wanted["nofile"], live=live[unit.name]) for unit in units]
    restarts = [
        name
        for name, limits in live.items()
        if limits and "nofile" not in refused and str(limits["nofile"]) != str(wanted["nofile"])
    ]
    return [_skipped_if_refused(row, refused) for row in rows], installed, restarts


def _login_rows(run: Run, params: dict[str, Any], *, wanted: dict[str, int]) -> list[Row]:
    rows = []
    for user in _logins(params):
        if not _exists(user):
            reason = "no such account yet; its line waits for it"
            rows += [
                Row(
                    role="limits",
                    key=f"{user} {kind}",
                    wanted=str(limit),
                    live="",
                    state="pending",
                    reason=reason,
                )
                for kind, limit in wanted.items()
            ]
            continue
        live = login_limits(run, user)
        rows += [login_row(user, kind, wanted=limit, live=live) for kind, limit in wanted.items()]
    return rows


def _logins(params: dict[str, Any]) -> list[str]:
    others = [user for user in params["users"] if user != params["runner_user"] and _exists(user)]
    return [*others, params["runner_user"]]


def _entries(
    users: list[str], *, wanted: dict[str, int], refused: dict[str, str]
) -> list[dict[str, Any]]:
    # A line that PAM cannot carry out closes the account: it refuses every session of that user.
    return [
        {"user": user, "item": kind, "value": limit}
        for user in users
        for kind, limit in wanted.items()
        if kind not in refused
    ]


def _skipped_if_refused(row: Row, refused: dict[str, str]) -> Row:
    kind = "nproc" if row.key.endswith(" nproc") else "nofile"
    if kind not in refused:
        return row
    return replace(row, state="skipped", reason=f"this host grants no more than {refused[kind]}")


def _refused_on_own_kernel(wanted: dict[str, int], refused: dict[str, str]) -> list[str]:
    # In a container the ceiling belongs to whoever started it; elsewhere it is ours to mend.
    if container_kind():
        return []
    return [
        f"cannot raise '{kind}' to '{wanted[kind]}': this host grants no more than {granted}"
        for kind, granted in refused.items()
    ]


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


if __name__ == "__main__":
    main()
