"""How we read systemd's answers."""

from collections.abc import Sequence

import pytest

from plugins.module_utils.systemd_units import (
    Run,
    SystemdSilent,
    installed_units,
    instances_of,
    loaded_units,
)

SHOWN = """Id=mariadb.service
LoadState=loaded
ActiveState=active
MainPID=120
ControlGroup=/system.slice/mariadb.service
TasksMax=4915
LimitNOFILE=32768
LimitNOFILESoft=32768

Id=mariadb.service
LoadState=loaded
ActiveState=active
MainPID=120
ControlGroup=/system.slice/mariadb.service
TasksMax=4915
LimitNOFILE=32768
LimitNOFILESoft=32768

Id=absent.service
LoadState=not-found
ActiveState=inactive
MainPID=0
ControlGroup=
TasksMax=4915
LimitNOFILE=524288
LimitNOFILESoft=1024
"""


def answering(output: str = "", *, code: int = 0, errors: str = "") -> Run:
    def run(_: Sequence[str]) -> tuple[int, str, str]:
        return code, output, errors

    return run


def test_an_alias_and_its_service_are_one_and_absent_units_are_none() -> None:
    (unit,) = loaded_units(answering(SHOWN), ["mariadb.service", "mysql.service", "absent.service"])
    assert (unit.name, unit.active, unit.main_pid) == ("mariadb.service", True, 120)


def test_no_patterns_ask_nothing() -> None:
    assert loaded_units(answering(code=1), []) == []


def test_a_manager_that_does_not_answer_is_said_so() -> None:
    with pytest.raises(SystemdSilent, match=r"cannot ask systemd \(systemctl show\): no bus"):
        loaded_units(answering(code=1, errors="no bus\n"), ["cron.service"])


def test_installed_units_leave_aliases_out() -> None:
    listed = "mariadb.service enabled enabled\nmysql.service alias -\n"
    assert installed_units(answering(listed), ["mariadb.service", "mysql.service"]) == [
        "mariadb.service"
    ]


def test_none_installed_is_no_error() -> None:
    assert installed_units(answering(code=1), ["mariadb.service"]) == []


@pytest.mark.parametrize(
    ("unit", "pattern"),
    [
        ("postgresql@.service", "postgresql@*.service"),
        ("holdfast-backup-.service", "holdfast-backup-*.service"),
        ("cron.service", "cron.service"),
    ],
)
def test_templates_and_prefixes_stand_for_all_that_begin_so(unit: str, pattern: str) -> None:
    assert instances_of(unit) == pattern
