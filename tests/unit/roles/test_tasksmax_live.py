"""The verdict on one service's ceiling."""

from pathlib import Path

import pytest
from ansible.module_utils.mount_table import Mount
from ansible.module_utils.systemd_units import Unit

from plugins.modules.tasksmax_live import rows_for

NOTHING: frozenset[str] = frozenset()


def unit(tasks_max: str, *, active: bool = True) -> Unit:
    group = "/system.slice/cron.service" if active else ""
    return Unit(
        name="cron.service",
        active=active,
        main_pid=7 if active else 0,
        control_group=group,
        properties={"TasksMax": tasks_max},
    )


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    (tmp_path / "system.slice/cron.service").mkdir(parents=True)
    return Mount(
        root="/", point=str(tmp_path), kind="cgroup2", options=NOTHING, super_options=NOTHING
    )


def limit(mount: Mount, group: str, value: str) -> None:
    (Path(mount.point) / group / "pids.max").write_text(f"{value}\n")


def verdict(unit_: Unit, mount_: Mount | None) -> tuple[str, str, str]:
    (row,) = rows_for("cron.service", [unit_], wanted="4096", mount=mount_)
    return row.state, row.live, row.reason


def test_the_live_group_is_the_proof(mount: Mount) -> None:
    limit(mount, "system.slice/cron.service", "4096")
    assert verdict(unit("4096"), mount) == ("ok", "4096", "")


def test_a_value_that_only_the_manager_believes_in_is_a_difference(mount: Mount) -> None:
    limit(mount, "system.slice/cron.service", "307")
    assert verdict(unit("4096"), mount) == ("differs", "307", "")


def test_a_missing_controller_is_told_as_what_it_is(mount: Mount) -> None:
    reason = "'/system.slice/cron.service' has no pids.max: nothing enforces it"
    assert verdict(unit("4096"), mount) == ("differs", "", reason)
    assert verdict(unit("4096"), None) == ("differs", "", reason)


def test_an_ancestors_group_is_not_taken_for_the_services(mount: Mount) -> None:
    limit(mount, "system.slice", "4096")
    assert verdict(unit("4096"), mount)[0] == "differs"


def test_a_tighter_ancestor_is_named(mount: Mount) -> None:
    limit(mount, "system.slice/cron.service", "4096")
    limit(mount, "system.slice", "2048")
    reason = "its ancestor '/system.slice' allows no more than 2048"
    assert verdict(unit("4096"), mount) == ("ok", "4096", reason)


def test_a_service_that_rests_has_it_from_its_next_start(mount: Mount) -> None:
    assert verdict(unit("4096", active=False), mount) == (
        "ok",
        "4096",
        "not running: holds from its next start",
    )


def test_a_prefix_waits_and_a_missing_service_is_left_alone() -> None:
    (prefix,) = rows_for("holdfast-backup-.service", [], wanted="4096", mount=None)
    (absent,) = rows_for("cron.service", [], wanted="4096", mount=None)
    assert (prefix.state, absent.state) == ("pending", "skipped")
