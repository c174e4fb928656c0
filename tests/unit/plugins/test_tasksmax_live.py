"""The verdict on the task limit of one service."""

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.limits import budget
from plugins.filter.holdfast_budget import slots_of_jobs, tasks_for_slots
from plugins.module_utils.host_profiles import task_choice, task_danger
from plugins.module_utils.mount_table import Mount
from plugins.module_utils.systemd_units import Unit
from plugins.module_utils.tuning_report import Choice
from plugins.modules.tasksmax_live import Ceiling

NOTHING: frozenset[str] = frozenset()


DROPIN = "50-holdfast-tasksmax.conf"


@pytest.fixture(autouse=True)
def dropin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The units below name it without a folder.
    monkeypatch.chdir(tmp_path)
    Path(DROPIN).write_text("[Service]\nTasksMax=4096\n")


def unit(tasks_max: str, *, active: bool = True) -> Unit:
    group = "/system.slice/cron.service" if active else ""
    return Unit(
        name="cron.service",
        active=active,
        main_pid=7 if active else 0,
        control_group=group,
        properties={"TasksMax": tasks_max, "DropInPaths": DROPIN},
    )


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    (tmp_path / "system.slice/cron.service").mkdir(parents=True)
    return Mount(
        root="/", point=str(tmp_path), kind="cgroup2", options=NOTHING, super_options=NOTHING
    )


def limit(mount: Mount, group: str, value: str) -> None:
    (Path(mount.point) / group / "pids.max").write_text(f"{value}\n")


def ceiling(mount_: Mount | None, *, tasks: int = 130) -> Ceiling:
    choice = Choice(value="4096")
    return Ceiling(choice=choice, slots=10, tasks=tasks, dropin=DROPIN, mount=mount_)


def verdict(unit_: Unit, mount_: Mount | None) -> tuple[str, str, str]:
    (row,) = ceiling(mount_).rows_for("cron.service", [unit_])
    return row.state, row.live, row.reason


def test_the_live_group_is_the_proof(mount: Mount) -> None:
    limit(mount, "system.slice/cron.service", "4096")
    assert verdict(unit("4096"), mount) == ("ok", "4096", "")


def test_a_value_that_only_the_manager_believes_in_is_a_difference(mount: Mount) -> None:
    limit(mount, "system.slice/cron.service", "307")
    assert verdict(unit("4096"), mount) == ("differs", "307", "")


def test_a_missing_controller_is_reported(mount: Mount) -> None:
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
        "not running: applies from its next start",
    )


def test_a_prefix_waits_and_a_missing_service_is_left_alone() -> None:
    (prefix,) = ceiling(None).rows_for("holdfast-backup-.service", [])
    (absent,) = ceiling(None).rows_for("cron.service", [])
    assert (prefix.state, prefix.reason) == ("skipped", "no such service yet; its drop-in waits")
    assert (absent.state, absent.reason) == ("skipped", "no such service on this host")


def test_an_ancestor_too_tight_for_the_slots_is_trouble(mount: Mount) -> None:
    limit(mount, "system.slice/cron.service", "4096")
    limit(mount, "system.slice", "120")
    (row,) = ceiling(mount).rows_for("cron.service", [unit("4096")])
    assert (row.state, row.reason) == (
        "differs",
        "its ancestor '/system.slice' allows no more than 120; 10 slots need 130",
    )


def test_a_later_drop_in_that_wins_is_named_with_its_line(mount: Mount) -> None:
    limit(mount, "system.slice/cron.service", "77")
    later = Path(mount.point) / "99-site.conf"
    later.write_text("[Service]\n# why\nTasksMax=77\n")
    properties = {"TasksMax": "77", "DropInPaths": f"{DROPIN} {later}"}
    (row,) = ceiling(mount).rows_for("cron.service", [replace(unit("77"), properties=properties)])
    assert (row.state, row.file) == ("differs", "4096")
    assert row.reason == f"{later}:3 is read after {DROPIN} and sets '77'"


def test_the_number_of_tasks_comes_from_the_runners_own_formula() -> None:
    assert tasks_for_slots(10) == budget.tasks_for(10)
    assert slots_of_jobs({}) == budget.AUTO_SLOTS
    jobs = {"a": {"max_concurrent_processes": 2}, "b": {"max_concurrent_processes": 2000}}
    assert slots_of_jobs(jobs) == 2000


def test_a_ceiling_is_never_below_what_the_slots_need() -> None:
    few = task_choice("recipe", "auto", slots=10, tasks=130)
    many = task_choice("recipe", "auto", slots=2000, tasks=6100)
    assert few is not None
    assert many is not None
    assert (few.value, many.value) == ("4096", "6100")
    assert task_choice("none", "auto", slots=10, tasks=130) is None
    assert task_danger(Choice(value="50"), slots=10, tasks=130) == (
        "cannot set TasksMax to 50: the runner's 10 slots need 130"
    )
    assert task_danger(Choice(value="infinity"), slots=10, tasks=130) == ""
