"""Filters over the jobs of a host, which several groups and the host itself may define."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

# The runner's own default: `holdfast.config.hooks`.
HOOK_TIMEOUT = "1m"
Jobs = Mapping[str, Mapping[str, Any]]


def merged_jobs(by_variable: Mapping[str, Jobs]) -> dict[str, Mapping[str, Any]]:
    """The jobs of all variables together, in the order of the variables' names.

    Raises `AnsibleFilterError` if two variables define the same job, since neither may be dropped.
    """
    found: dict[str, Mapping[str, Any]] = {}
    named_in: dict[str, str] = {}
    for variable, jobs in sorted(by_variable.items()):
        if not isinstance(jobs, Mapping):
            raise AnsibleFilterError(
                f"cannot use '{variable}': it must be a dictionary of jobs by name"
            )
        for name, job in jobs.items():
            if name in found:
                raise AnsibleFilterError(
                    f"cannot tell which job '{name}' is meant: both {named_in[name]} and"
                    f" {variable} name one; rename or remove one of them"
                )
            found[name], named_in[name] = job, variable
    return found


def kinds_without_job(jobs: Jobs, groups: list[str]) -> list[str]:
    """The host's groups of database servers whose kind is backed up by none of its jobs."""
    kinds = {"postgres": "postgres", "mariadb": "mysql", "mysql": "mysql"}
    backed_up = {job.get("source", {}).get("kind") for job in jobs.values()}
    return [group for group in kinds if group in groups and kinds[group] not in backed_up]


def problems_of_checks(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The problems that prevent jobs from running, from `holdfast check --json`."""
    return [
        f"{result['item']}: {problem}" for result in results for problem in _problems_of(result)
    ]


def _problems_of(result: Mapping[str, Any]) -> list[str]:
    if result.get("reason"):
        return [f"systemd cannot start its service: {result['reason']}"]
    try:
        answer = json.loads(result["stdout"])
        findings = [found for job in answer["jobs"] for found in job["findings"]]
    except (ValueError, KeyError, TypeError):
        said = result.get("stderr", "").strip().splitlines()[-3:] or ["nothing"]
        return [f"the runner ended with {result.get('rc')} and said {' '.join(said)}"]
    problems = [found for found in findings if found["problem"]]
    told = [f"{found['problem']}: {found['hint']}" for found in problems]
    return list(dict.fromkeys(told)) or _unexplained(result)


def _unexplained(result: Mapping[str, Any]) -> list[str]:
    return [f"the check ended with {result['rc']}"] if result["rc"] else []


def times_of_hooks(job: Mapping[str, Any]) -> str:
    """How long the hooks of a job may run, as systemd adds time spans up: `1m 5m`."""
    stages = job.get("hooks") or {}
    hooks = [each for stage in stages.values() for each in stage or []]
    return " ".join(
        each.get("timeout", HOOK_TIMEOUT) if isinstance(each, Mapping) else HOOK_TIMEOUT
        for each in hooks
    )


def schedules_of(job: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What timers do for a job, each with its schedule: `backup`, `verify`, `drill`."""
    schedules = {
        "backup": job.get("schedule"),
        "verify": (job.get("verify") or {}).get("schedule"),
        "drill": (job.get("drill") or {}).get("schedule"),
    }
    return [(purpose, schedule) for purpose, schedule in schedules.items() if schedule]


IDENTITY = ("holdfast-identity", "holdfast-identity-passphrase")


def credentials_in(settings: object, kept: Sequence[str], *, opens: bool = False) -> list[str]:
    """Those of the `kept` secrets that these settings name as `{credential: NAME}`.

    `opens` adds the identity, for what reads the content of encrypted backups.
    """
    named = {*_credentials(settings), *(IDENTITY if opens else ())}
    return [name for name in kept if name in named]


def _credentials(settings: object) -> Iterator[str]:
    if isinstance(settings, Mapping):
        name = settings.get("credential")
        if isinstance(name, str) and len(settings) == 1:
            yield name
        else:
            for each in settings.values():
                yield from _credentials(each)
    elif isinstance(settings, Sequence) and not isinstance(settings, str):
        for each in settings:
            yield from _credentials(each)


class FilterModule:
    """The class in which Ansible finds the filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "credentials_in": credentials_in,
            "kinds_without_job": kinds_without_job,
            "merged_jobs": merged_jobs,
            "problems_of_checks": problems_of_checks,
            "schedules_of": schedules_of,
            "times_of_hooks": times_of_hooks,
        }
