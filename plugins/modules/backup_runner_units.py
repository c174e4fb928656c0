"""Ansible module: keep exactly the systemd units of the wanted jobs, all of them in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_runner_units
short_description: Install exactly the systemd units of the wanted jobs
description:
- Lets systemd check all of them before the first is written. Any message about one of them is an
  error, as systemd ignores directives that it does not understand.
- Writes units that differ, stops and removes the units of removed jobs, reloads systemd, then
  enables and starts the timers. A running service is never stopped.
options:
  folder:
    description: Folder of the units.
    type: path
    default: /etc/systemd/system
  prefixes:
    description: Prefixes of the names of all managed units; other units are left alone.
    type: list
    elements: str
    required: true
  units:
    description: Text of each wanted unit, by name.
    type: dict
    required: true
  timers_enabled:
    description: Whether timers run; otherwise they are installed and stopped.
    type: bool
    default: true
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Install one service and one timer
  holdfast.holdfast.backup_runner_units:
    prefixes: [holdfast-backup-]
    units:
      holdfast-backup-shop.service: "..."
      holdfast-backup-shop.timer: "..."
"""
RETURN = r"""
written:
  description: Units that were written.
  returned: always
  type: list
  elements: str
removed:
  description: Units that were removed.
  returned: always
  type: list
  elements: str
switched:
  description: Timers that were started or stopped.
  returned: always
  type: list
  elements: str
"""

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

MISSING = "is not executable"
ARGUMENTS: dict[str, dict[str, Any]] = {
    "folder": {"type": "path", "default": "/etc/systemd/system"},
    "prefixes": {"type": "list", "elements": "str", "required": True},
    "units": {"type": "dict", "required": True},
    "timers_enabled": {"type": "bool", "default": True},
}


# Where systemd records when a timer last fired.
STAMPS = Path("/var/lib/systemd/timers")


class SystemdRefused(Exception):
    """systemctl failed, or systemd does not accept a unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFolder:
    """The units in a folder whose names begin with one of our prefixes."""

    folder: Path
    prefixes: Sequence[str]

    def present(self) -> dict[str, str]:
        """The text of each of our units, without drop-in folders and other units."""
        beginnings = "|".join(map(re.escape, self.prefixes))
        ours = re.compile(rf"({beginnings})[a-z0-9][a-z0-9_-]*\.(service|timer)")
        return {
            path.name: path.read_text(errors="replace")
            for path in sorted(self.folder.iterdir())
            if ours.fullmatch(path.name) and path.is_file() and not path.is_symlink()
        }

    def write(self, name: str, text: str) -> None:
        """Write the unit atomically."""
        with tempfile.NamedTemporaryFile("w", dir=self.folder, prefix=".", delete=False) as file:
            file.write(text)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(self.folder / name)


@dataclass(frozen=True, slots=True)
class Systemd:
    """The service manager, used through systemctl."""

    run: Callable[[Sequence[str]], tuple[int, str, str]]

    def judge(self, units: Mapping[str, str], *, is_installed: bool) -> None:
        """Raise `SystemdRefused` with everything that systemd reports about one of `units`.

        It reports on standard error and may exit with 0. If the program is not installed yet
        (`is_installed` is False), its absence is ignored.
        """
        with tempfile.TemporaryDirectory(prefix="holdfast-units-") as name:
            for unit, text in units.items():
                (Path(name) / unit).write_text(text)
            paths = [str(Path(name) / unit) for unit in sorted(units)]
            code, output, errors = self.run(["systemd-analyze", "--man=no", "verify", *paths])
            said = [line.replace(f"{name}/", "") for line in f"{errors}\n{output}".splitlines()]
        about_ours = [
            line
            for line in said
            if any(unit in line for unit in units) and (is_installed or MISSING not in line)
        ]
        if about_ours or (code and is_installed):
            told = "; ".join(about_ours or said)
            raise SystemdRefused(f"cannot use the units of the jobs: systemd reports: {told}")

    def tell(self, *words: str) -> str:
        """Run one systemctl command; raises `SystemdRefused` with its error."""
        code, output, errors = self.run(["systemctl", *words])
        if code != 0:
            raise SystemdRefused(f"cannot run 'systemctl {' '.join(words)}': {errors.strip()}")
        return str(output)

    def running(self, timers: Iterable[str]) -> set[str]:
        """The timers that are both enabled and started."""
        names = list(timers)
        if not names:
            return set()
        told = self.tell("show", "--property=Id,ActiveState,UnitFileState", "--", *names)
        units = [
            dict(line.split("=", 1) for line in block.splitlines()) for block in told.split("\n\n")
        ]
        return {
            unit["Id"]
            for unit in units
            if unit.get("ActiveState") == "active" and unit.get("UnitFileState") == "enabled"
        }


def differing(present: Mapping[str, str], wanted: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Names of units to write, and of units to remove."""
    write = [name for name in sorted(wanted) if present.get(name) != wanted[name]]
    return write, sorted(present.keys() - wanted.keys())


def timers_of(names: Iterable[str]) -> list[str]:
    """The timers among the names."""
    return sorted(name for name in names if name.endswith(".timer"))


def main() -> None:
    """Find what differs; outside check mode fix it."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    units = UnitFolder(folder=Path(module.params["folder"]), prefixes=module.params["prefixes"])
    systemd = Systemd(module.run_command)
    present, wanted = units.present(), module.params["units"]
    write, remove = differing(present, wanted)
    timers = timers_of(wanted)
    try:
        if wanted:
            systemd.judge(wanted, is_installed=not module.check_mode)
        running = systemd.running(timers)
        switch = [name for name in timers if (name in running) != module.params["timers_enabled"]]
        if not module.check_mode:
            bring_about(units, systemd, wanted=wanted, write=write, remove=remove)
            if switch:
                order = "enable" if module.params["timers_enabled"] else "disable"
                systemd.tell(order, "--now", "--", *switch)
    except (SystemdRefused, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(write or remove or switch),
        written=write,
        removed=remove,
        switched=switch,
        diff=[
            {"before": present.get(name, ""), "after": wanted.get(name, ""), "before_header": name,
             "after_header": name} for name in (*write, *remove)
        ],
    )  # fmt: skip


def bring_about(
    units: UnitFolder,
    systemd: Systemd,
    *,
    wanted: Mapping[str, str],
    write: Sequence[str],
    remove: Sequence[str],
    stamps: Path = STAMPS,
) -> None:
    """Write and remove units until the folder is as wanted, and reload systemd."""
    gone = timers_of(remove)
    if gone:
        systemd.tell("disable", "--now", "--", *gone)
    for name in gone:
        # A later job of the same name must not inherit the last run of this one.
        (stamps / f"stamp-{name}").unlink(missing_ok=True)
    for name in remove:
        # As a pattern: then a unit that systemd has already unloaded is no error.
        systemd.tell("reset-failed", f"{name}*")
        (units.folder / name).unlink()
    for name in write:
        units.write(name, wanted[name])
    if write or remove:
        systemd.tell("daemon-reload")


if __name__ == "__main__":
    main()
