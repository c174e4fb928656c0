"""Kernel keys in three layers, on folders that stand for /proc/sys and /etc."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.kernel_keys import Kernel
from plugins.module_utils.kernel_profiles import KernelPlan
from plugins.module_utils.kernel_rows import (
    Looker,
    lines_for,
    originals_of,
    purged_since,
    values_to_write,
)
from plugins.module_utils.original_state import Original
from plugins.module_utils.tuning_report import Choice, Row, as_dicts

OURS = Path("/etc/sysctl.d/99-dbbackup.conf")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    keys = {
        "swappiness": 60,
        "dirty_ratio": 20,
        "dirty_bytes": 0,
        "dirty_background_ratio": 0,
        "dirty_background_bytes": 4096,
    }
    (tmp_path / "sys/vm").mkdir(parents=True)
    for name, value in keys.items():
        (tmp_path / "sys/vm" / name).write_text(f"{value}\n")
    return tmp_path


def looker(root: Path) -> Looker:
    kernel = Kernel(folder=root / "sys", container=None, mounts=())
    return Looker(kernel=kernel, file=OURS, root=root)


def plan(**values: str) -> KernelPlan:
    return KernelPlan(
        choices={key.replace("__", "."): Choice(value=value) for key, value in values.items()}
    )


def put(root: Path, name: str, text: str) -> None:
    path = root / "etc/sysctl.d" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def one(root: Path, value: str, **changes: Any) -> Row:
    (row,) = replace(looker(root), **changes).rows(plan(vm__swappiness=value))
    return row


def test_a_key_is_right_only_when_file_boot_and_kernel_agree(root: Path) -> None:
    assert one(root, "60").state == "differs"
    put(root, OURS.name, "vm.swappiness = 60\n")
    row = one(root, "60")
    assert (row.state, row.file, row.boot, row.live) == ("ok", "60", "60", "60")


def test_one_is_not_eleven_and_sixty_is_not_six(root: Path) -> None:
    put(root, OURS.name, "vm.swappiness = 6\n")
    assert one(root, "6").state == "differs"


def test_a_later_file_is_named_before_and_after_ours_is_written(root: Path) -> None:
    put(root, "zz-site.conf", "\nvm.swappiness = 1\n")
    for text in ("", "vm.swappiness = 60\n"):
        put(root, OURS.name, text)
        row = one(root, "60")
        assert row.state == "differs"
        assert row.reason == f"{root}/etc/sysctl.d/zz-site.conf:2 is read after {OURS} and sets '1'"


def test_what_is_skipped_says_why_and_stays_out_of_the_file(root: Path) -> None:
    assert one(root, "1", skip=("vm.swappiness",)).reason == "named in sysctl_skip"
    higher = one(root, "10", raise_only=("vm.swappiness",))
    assert higher.reason == "raise only: the live value is higher already"
    assert lines_for([higher]) == [
        "# vm.swappiness: left alone, raise only: the live value is higher already"
    ]
    assert one(root, "70", raise_only=("vm.swappiness",)).state == "differs"


def test_an_absent_key_is_skipped_with_the_reason(root: Path) -> None:
    (row,) = looker(root).rows(plan(vm__zone_reclaim_mode="0"))
    assert (row.state, row.reason) == ("skipped", "this kernel has no such key")


def test_a_key_that_left_the_plan_goes_back_to_what_it_was(root: Path) -> None:
    put(root, OURS.name, "vm.swappiness = 60\n")
    before = Original(kind="kernel_key", name="vm.swappiness",
                      before={"write": ["vm.swappiness", "33"]})  # fmt: skip
    (row,) = looker(root).purged(plan(), [before])
    assert (row.wanted, row.live, row.state) == ("33", "60", "differs")
    assert values_to_write([row], [before]) == {"vm.swappiness": "33"}
    (told,) = purged_since(as_dicts([row]), [])
    assert (told.state, told.live, told.reason) == ("changed", "33", "was '60'")


def test_a_ratio_is_not_put_back_over_the_bytes_that_replace_it(root: Path) -> None:
    put(root, OURS.name, "vm.dirty_ratio = 10\n")
    assert looker(root).purged(plan(vm__dirty_bytes="4096"), []) == []


def test_a_pair_has_one_original_whichever_of_them_is_wanted(root: Path) -> None:
    kernel, wanted = looker(root).kernel, plan(vm__dirty_ratio="10", vm__dirty_background_ratio="5")
    rows = looker(root).rows(wanted)
    kept = {
        entry.name: entry.before["write"]
        for entry in originals_of(kernel, rows, root / "etc/sysctl.d/ours.conf")
        if entry.kind == "kernel_key"
    }
    assert kept == {
        "vm.dirty_bytes": ["vm.dirty_ratio", "20"],
        # The kernel refuses a ratio of 0, so the counterpart is restored.
        "vm.dirty_background_bytes": ["vm.dirty_background_bytes", "4096"],
    }


def test_a_value_that_the_kernel_writes_otherwise_settles(root: Path) -> None:
    (root / "sys/vm/swappiness").write_text("60\n")
    for said in ("0x3c", "60", "074"):
        put(root, OURS.name, f"vm.swappiness = {said}\n")
        assert one(root, "0x3c").state == "ok"
    assert one(root, "0x3d").state == "differs"


def test_a_later_line_that_takes_the_key_out_is_named(root: Path) -> None:
    put(root, OURS.name, "vm.swappiness = 60\n")
    put(root, "zz-site.conf", "-vm.swappiness\n")
    reason = f"{root}/etc/sysctl.d/zz-site.conf:1 is read after {OURS} and takes the key out"
    assert one(root, "60").reason == reason
