"""A misspelt variable is reported, and a site's own is ignored."""

from __future__ import annotations

import pytest

from plugins.lookup.unknown_variables import arguments, retired, roles, unknown


def told(*names: str) -> list[str]:
    return unknown(names, roles=roles(), arguments=arguments(), retired=retired())


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("sysctl_setings", "sysctl_settings"),
        ("sysctl_profil", "sysctl_profile"),
        ("limits_entrys", "limits_"),
        ("backup_runner_job", "backup_runner_jobs"),
        ("backup_runer_jobs", "backup_runner_jobs"),
        ("fleet_host", "fleet_hosts"),
        ("tuning_undo_on_failures", "tuning_undo_on_failure"),
    ],
)
def test_a_misspelt_variable_is_told_with_the_nearest_right_one(name: str, nearest: str) -> None:
    (line,) = told(name)
    assert line.startswith(f"{name} (did you mean {nearest}")


@pytest.mark.parametrize("name", ["tune_hosts", "tune_waves", "tune_unreachable_limit"])
def test_a_variable_of_an_earlier_release_is_told_with_its_name_of_today(name: str) -> None:
    (line,) = told(name)
    assert f"it is called {retired()[name]} now" in line


@pytest.mark.parametrize(
    "name",
    [
        "sysctl_settings",
        "backup_runner_jobs_mariadb",
        "backup_runner_jobs_db2",
        "site_retention",
        "ansible_user",
        "sysctl_report",
        "tuning_undo_report",
        "__sysctl_probe",
        "backups",
        "lab_network",
    ],
)
def test_a_known_variable_and_a_sites_own_are_left_alone(name: str) -> None:
    assert told(name) == []
