"""Ansible module: probe and verify the resource limits of logins and of running services."""

from __future__ import annotations

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
  restart_services:
    description: Whether running services that still have another limit are restarted.
    type: bool
    default: false
  file_head:
    description: The beginning of our file in limits.d.
    type: str
    default: ""
  dropin_head:
    description: The beginning of our drop-ins.
    type: str
    default: ""
extends_documentation_fragment: holdfast.holdfast.tuning_steps
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Read the limits
  holdfast.holdfast.limits_live:
    steps: [preflight]
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
waiting:
  description: Whether something is to be changed, and C(may_change) did not allow it.
  returned: always
  type: bool
snapshot:
  description: The whole snapshot of the role, for a copy on the control node.
  returned: when originals were added, or C(waiting)
  type: dict
machine:
  description: The identity of the host, independent of the inventory.
  returned: when originals were added, or C(waiting)
  type: str
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.host_facts import gather
from ..module_utils.host_kind import container_kind
from ..module_utils.host_profiles import limit_choices
from ..module_utils.kernel_profiles import PROFILES
from ..module_utils.limit_rows import DROPINS, LimitLooker
from ..module_utils.original_state import original_file, original_units
from ..module_utils.process_limits import ungranted
from ..module_utils.systemd_units import SystemdSilent
from ..module_utils.tuning_report import Choice
from ..module_utils.tuning_steps import (
    ARGUMENTS as STEP_ARGUMENTS,
    Changes,
    CommandFailed,
    Seen,
    TuningRole,
    carry_out,
)
from ..module_utils.wanted_files import WantedFile, WantedFolder, headed

ARGUMENTS: dict[str, dict[str, Any]] = {
    "users": {"type": "list", "elements": "str", "required": True},
    "runner_user": {"type": "str", "required": True},
    "services": {"type": "list", "elements": "str", "required": True},
    "nofile": {"type": "str", "required": True},
    "nproc": {"type": "str", "required": True},
    "profile": {"type": "str", "choices": list(PROFILES), "default": "none"},
    "file": {"type": "path", "required": True},
    "dropin": {"type": "str", "required": True},
    "restart_services": {"type": "bool", "default": False},
    "file_head": {"type": "str", "default": ""},
    "dropin_head": {"type": "str", "default": ""},
    **STEP_ARGUMENTS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(TuningRole):
    """The limits of logins and of services, in our files and of live processes."""

    looker: LimitLooker
    users: list[str]
    runner_user: str
    services: list[str]
    restart: bool
    file_head: str
    dropin_head: str
    name: ClassVar[str] = "limits"

    def look(self) -> Seen:
        """One row per login and limit, and per loaded service."""
        looker = self.looker
        users = looker.logins(self.users, runner=self.runner_user)
        installed, units = looker.services(self.services)
        nofile = looker.choices.get("nofile")
        served = installed if nofile and "nofile" not in looker.refused else []
        originals = original_file(looker.file)
        for name in served:
            originals += original_file(_dropin(name, looker.dropin))
        if served:
            originals += original_units(units, "LimitNOFILE", dropin=looker.dropin)
        told = {
            "entries": looker.entries(users),
            "services": served,
            "nofile": nofile.value if nofile else "",
            "restarts": looker.restarts(units),
        }
        rows = looker.login_rows(users) + looker.service_rows(units)
        return Seen(rows=rows, originals=originals, told=told)

    def apply(self, seen: Seen, changes: Changes) -> None:
        """Write our files, let systemd read them, and restart services where that is wanted."""
        changes.bring_about(WantedFile(path=self.looker.file, text=self._login_text(seen)))
        # limits.d does not reach services: the service manager starts them without PAM.
        written = [self._write_dropin(name, seen, changes) for name in seen.told["services"]]
        # They date from a time when the host could grant more; a limit that it cannot grant must
        # not stay.
        for name in self.services:
            if name not in seen.told["services"]:
                path = _dropin(name, self.looker.dropin)
                written.append(changes.bring_about(WantedFile(path=path, text=None)))
        # An interrupted run may have left a drop-in that systemd has not read.
        unread = [
            row for row in seen.rows if row.state == "differs" and row.key.endswith(" LimitNOFILE")
        ]
        if any(written) or unread:
            changes.run(["systemctl", "daemon-reload"], counts=False)
        for unit in seen.told["restarts"] if self.restart else ():
            changes.run(["systemctl", "restart", unit], counts=True)

    def _login_text(self, seen: Seen) -> str | None:
        if not seen.rows:
            return None
        lines = [
            f"{entry['user']} {kind} {entry['item']} {entry['value']}"
            for entry in seen.told["entries"]
            for kind in ("soft", "hard")
        ]
        return str(headed(self.file_head, lines))

    def _write_dropin(self, name: str, seen: Seen, changes: Changes) -> bool:
        path = _dropin(name, self.looker.dropin)
        changes.bring_about(WantedFolder(path=path.parent))
        text = headed(self.dropin_head, [f"LimitNOFILE={seen.told['nofile']}"])
        return bool(changes.bring_about(WantedFile(path=path, text=text)))


def main() -> None:
    """Carry out the steps, and answer with rows; when verifying, fail if a row differs."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    given = {kind: module.params[kind] for kind in ("nofile", "nproc")}
    if wrong := [f"{kind} '{told}'" for kind, told in given.items() if not _is_count(told)]:
        module.fail_json(msg=f"cannot use {', '.join(wrong)}: a number, or auto")
    try:
        facts = gather(module.run_command)
        choices = limit_choices(module.params["profile"], given, facts)
        wanted = {kind: int(choice.value) for kind, choice in choices.items()}
        refused = ungranted(module.run_command, wanted)
        # An audit reports the same as a failed row.
        if not module.params["report"] and (told := _refused_on_own_kernel(wanted, refused)):
            module.fail_json(msg=f"{'; '.join(told)} (is fs.nr_open lower?)")
        module.exit_json(**carry_out(module, _limits(module, choices, refused)))
    except (SystemdSilent, CommandFailed) as error:
        module.fail_json(msg=str(error))


def _limits(module: AnsibleModule, choices: dict[str, Choice], refused: dict[str, str]) -> Limits:
    looker = LimitLooker(
        run=module.run_command,
        choices=choices,
        refused=refused,
        file=Path(module.params["file"]),
        dropin=module.params["dropin"],
        own_kernel=container_kind() is None,
    )
    return Limits(
        looker=looker,
        users=module.params["users"],
        runner_user=module.params["runner_user"],
        services=module.params["services"],
        restart=module.params["restart_services"],
        file_head=module.params["file_head"],
        dropin_head=module.params["dropin_head"],
    )


def _dropin(service: str, name: str) -> Path:
    return Path(DROPINS, f"{service}.d", name)


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
