"""The units of the Debian package, from the role's own templates: one text, two ways to a host.

The role writes units for each job; the package has templates, whose instance is the job:
`holdfast-backup@shop.timer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import or_
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lab.state import PROJECT
from plugins.filter.holdfast_jobs import FilterModule as Jobs
from plugins.filter.holdfast_units import FilterModule as Units
from release.packages import ROLE
from release.source import Source

FOLDER = "/usr/lib/holdfast"
CONFIG = "/etc/holdfast/holdfast.yaml"
STATE, BACKUPS = "/var/lib/holdfast-state", "/var/lib/holdfast"
JOB = "JOB"
# A configuration of any shape has to run: hours for a job, a network, receivers that are told.
JOB_SETTINGS: Mapping[str, Any] = {
    "repository": "main",
    "timeout": "1d",
    "retention": {},
    "verify": {"budget": "6h"},
    "drill": {"budget": "12h"},
    "notify": {},
}
SCHEDULES = {"backup": "*-*-* 02:00:00", "verify": "*-*-* 05:00:00", "drill": "Sun 06:00:00"}
SESSIONS = ("holdfast-sessiond.service", "holdfast-sessiond.socket")
NOTIFY = ("holdfast-notify.service", "holdfast-notify.timer")
HEAD = "# Of the package holdfast. Change it with: systemctl edit UNIT"


def units(source: Source) -> dict[str, str]:
    """The text of each unit by its file name."""
    found = {name: _rendered(source, name) for name in (*SESSIONS, *NOTIFY)}
    for purpose, schedule in SCHEDULES.items():
        found[f"holdfast-{purpose}@.service"] = _instance(_rendered(source, f"{purpose}.service"))
        timer = _rendered(source, "job.timer", purpose=purpose, schedule=schedule)
        found[f"holdfast-{purpose}@.timer"] = _instance(timer)
    return found


def _instance(text: str) -> str:
    """The unit of one job as a template: its name is that of the instance."""
    # The whole name of a unit is a folder of its own; %p is the same for all instances.
    whole = text.replace("RuntimeDirectory=holdfast/%p", "RuntimeDirectory=holdfast/%N")
    return whole.replace(JOB, "%i")


def _rendered(source: Source, name: str, **more: str) -> str:
    templates = source.folder / "roles/backup_runner/templates"
    environment = Environment(  # noqa: S701 - units are no pages
        loader=FileSystemLoader(templates), undefined=StrictUndefined, trim_blocks=True
    )
    own = {**Jobs().filters(), **Units().filters()}
    environment.filters |= {f"holdfast.holdfast.{name}": each for name, each in own.items()}
    environment.filters |= {"comment": str, "select": _chosen, "combine": or_, "extract": _extract}
    text = environment.get_template(f"{name}.j2").render(_variables() | more)
    # The package has one release, and no link to it.
    return text.replace(f"{FOLDER}/current/", f"{FOLDER}/") + "\n"


def _extract(key: str, container: Mapping[str, Any]) -> Any:
    return container[key]


def _chosen(values: list[str]) -> list[str]:
    """As Ansible's `select`: a list, where Jinja has a generator."""
    return [each for each in values if each]


def _variables() -> dict[str, Any]:
    """The variables of the role as the package has them."""
    return {
        **yaml.safe_load((PROJECT / "roles/backup_runner/defaults/main.yml").read_text()),
        **ROLE,
        "backup_runner_folder": FOLDER,
        # Remote ones wait for the network after a boot; so do all of the package.
        "backup_runner_repositories": {"main": {"kind": "s3"}},
        "ansible_managed": HEAD,
        "name": JOB,
        "job": JOB_SETTINGS,
        # A package knows no jobs and no secrets: their drop-ins name both.
        "__backup_runner_jobs": {},
        "__backup_runner_sealed": [],
        "__backup_runner_program": [f"{FOLDER}/current/bin/holdfast", "--config", CONFIG],
        "__backup_runner_writable": [STATE, BACKUPS],
        "__backup_runner_session_settings": {
            "socket": "/run/holdfast-sessiond/socket",
            "group": "holdfast",
        },
    }
