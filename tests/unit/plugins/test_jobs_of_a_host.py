"""Jobs of several groups and of the host add up, and none is lost silently."""

from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError

from holdfast.config.hooks import TIMEOUT
from holdfast.config.values import parse_duration
from plugins.filter.holdfast_jobs import (
    HOOK_TIMEOUT,
    kinds_without_job,
    merged_jobs,
    problems_of_checks,
    times_of_hooks,
)
from plugins.lookup.overruled_jobs import overruled

SHOP = {"source": {"kind": "postgres"}}
ORDERS = {"source": {"kind": "mysql"}}


def test_the_jobs_of_every_variable_are_the_jobs_of_the_host() -> None:
    merged = merged_jobs(
        {
            "backup_runner_jobs": {},
            "backup_runner_jobs_postgres": {"shop": SHOP},
            "backup_runner_jobs_mariadb": {"orders": ORDERS},
        }
    )
    assert merged == {"shop": SHOP, "orders": ORDERS}


def test_a_job_that_two_variables_name_is_refused_with_both() -> None:
    with pytest.raises(AnsibleFilterError) as refusal:
        merged_jobs({"backup_runner_jobs_a": {"shop": SHOP}, "backup_runner_jobs_b": {"shop": {}}})
    assert "both backup_runner_jobs_a and backup_runner_jobs_b" in str(refusal.value)


def test_a_list_where_jobs_are_wanted_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="must be a dictionary"):
        merged_jobs({"backup_runner_jobs": ["shop"]})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("groups", "jobs", "without"),
    [
        (["databases", "postgres", "mariadb"], {"orders": ORDERS}, ["postgres"]),
        (["postgres", "mariadb"], {"orders": ORDERS, "shop": SHOP}, []),
        (["mysql"], {}, ["mysql"]),
        (["web"], {}, []),
    ],
)
def test_a_group_whose_servers_no_job_backs_up_is_told(
    groups: list[str], jobs: dict[str, dict[str, dict[str, str]]], without: list[str]
) -> None:
    assert kinds_without_job(jobs, groups) == without


def test_one_variable_of_jobs_in_two_places_is_told_with_both() -> None:
    (line,) = overruled(
        {
            "postgres": ["backup_runner_jobs", "ansible_user"],
            "mariadb": ["backup_runner_jobs_mariadb"],
            "db1.example.net": ["backup_runner_jobs"],
        }
    )
    assert "set for postgres and for db1.example.net" in line
    assert "backup_runner_jobs_db1_example_net" in line


def answered(**changed: object) -> dict[str, object]:
    fine = {"subject": "source", "problem": "", "hint": ""}
    stdout = json.dumps({"schema": "holdfast.check/1", "jobs": [{"findings": [fine]}]})
    return {"item": "shop", "rc": 0, "stdout": stdout, "stderr": "", "reason": "", **changed}


def test_a_job_that_could_run_has_no_problem() -> None:
    assert problems_of_checks([answered()]) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"reason": "Failed at step NAMESPACE", "rc": 226, "stdout": ""}, "NAMESPACE"),
        ({"stdout": "", "rc": 1, "stderr": "Traceback\nboom"}, "boom"),
        ({"rc": 10}, "ended with 10"),
        (
            {"stdout": '{"jobs": [{"findings": [{"problem": "no", "hint": "do"}]}]}', "rc": 20},
            "no: do",
        ),
    ],
)
def test_whatever_keeps_a_job_from_running_is_told_with_its_name(
    changed: dict[str, object], told: str
) -> None:
    (problem,) = problems_of_checks([answered(**changed)])
    assert problem.startswith("shop: ")
    assert told in problem


def test_a_unit_waits_for_the_hooks_of_its_job_too() -> None:
    hooks = {"before": [["/bin/a"], {"run": ["/bin/b"], "timeout": "5m"}], "failed": [["/bin/c"]]}
    assert times_of_hooks({**SHOP, "hooks": hooks}) == "1m 5m 1m"
    assert times_of_hooks(SHOP) == ""
    assert parse_duration(HOOK_TIMEOUT) == TIMEOUT
