"""Which disks are tuned, to what, and how udev knows them again; on trees that stand for /sys."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from ansible.module_utils.block_devices import (
    BlockTree,
    Disk,
    QueueRefused,
    chosen_scheduler,
    loadable_schedulers,
    parse_schedulers,
    stable_match,
)

from plugins.modules.io_scheduler_live import Wanted, disk_rows, named_disks, rules_for

WANTED = Wanted(preferences=("deadline",), nvme_preferences=("none",), add_random="0")


@pytest.fixture
def tree(tmp_path: Path) -> BlockTree:
    (tmp_path / "udev").mkdir()
    (tmp_path / "block").mkdir()
    return BlockTree(sysfs=tmp_path / "block", udev=tmp_path / "udev")


def add(tree: BlockTree, name: str, *, real: bool = True, identity: str = "", **files: str) -> None:
    settings = {
        "size": "2048",
        "dev": f"8:{len(list(tree.sysfs.iterdir()))}",
        "removable": "0",
        "queue/scheduler": "[none] mq-deadline",
        "queue/add_random": "1",
        "queue/zoned": "none",
    } | {key.replace("__", "/"): value for key, value in files.items()}
    for key, value in settings.items():
        path = tree.sysfs / name / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    if real:
        (tree.sysfs / name / "device").mkdir()
    (tree.udev / f"b{settings['dev']}").write_text(identity)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[none] mq-deadline kyber", (("none", "mq-deadline", "kyber"), "none")),
        ("none", (("none",), "none")),
        ("", ((), "")),
    ],
)
def test_the_kernels_list_of_schedulers_is_understood(
    text: str, expected: tuple[tuple[str, ...], str]
) -> None:
    assert parse_schedulers(text) == expected


def test_the_first_preference_that_the_disk_offers_wins_under_todays_name() -> None:
    disk = Disk(name="sda", schedulers=("none", "mq-deadline"))
    assert chosen_scheduler(disk, ["cfq", "deadline", "none"]) == "mq-deadline"


def test_a_disk_and_an_nvme_disk_want_different_things(tree: BlockTree) -> None:
    add(tree, "sda")
    add(tree, "nvme0n1")
    rows = {row.key: (row.wanted, row.live, row.state) for name in ("sda", "nvme0n1")
            for row in disk_rows(tree.disk(name), WANTED)}  # fmt: skip
    assert rows == {
        "sda scheduler": ("mq-deadline", "none", "differs"),
        "sda add_random": ("0", "1", "differs"),
        "nvme0n1 scheduler": ("none", "none", "ok"),
        "nvme0n1 add_random": ("0", "1", "differs"),
    }


@pytest.mark.parametrize(
    ("name", "real", "files", "reason"),
    [
        ("dm-0", False, {}, "device mapper: the disks below it have the queue"),
        ("md127", False, {}, "software RAID: the disks below it have the queue"),
        ("loop0", False, {}, "virtual: no disk of its own behind it"),
        ("zram0", False, {}, "virtual: no disk of its own behind it"),
        ("sdb", True, {"removable": "1"}, "removable"),
        ("sdb", True, {"queue__zoned": "host-managed"}, "zoned: its writes must stay in order"),
        (
            "sdb",
            True,
            {"holders__dm-3__dm__uuid": "mpath-3600a"},
            "path of a multipath device: multipathd decides",
        ),
    ],
)
def test_what_is_no_plain_disk_is_left_alone_with_the_reason(
    tree: BlockTree, name: str, real: bool, files: dict[str, str], reason: str
) -> None:
    add(tree, name, real=real, **files)
    (row,) = disk_rows(tree.disk(name), WANTED)
    assert (row.state, row.reason) == ("skipped", reason)
    assert rules_for([tree.disk(name)], WANTED) == []


def test_a_disk_that_offers_nothing_we_want_is_trouble_with_a_reason(tree: BlockTree) -> None:
    add(tree, "sda", queue__scheduler="[none]")
    scheduler, _ = disk_rows(tree.disk("sda"), WANTED)
    assert (scheduler.state, scheduler.reason) == ("differs", "the kernel offers only none")


def test_a_scheduler_whose_module_is_not_loaded_yet_is_on_offer(tree: BlockTree) -> None:
    def modprobe(argv: Sequence[str]) -> tuple[int, str, str]:
        return (0 if argv[-1] == "mq-deadline-iosched" else 1), "", ""

    add(tree, "sda", queue__scheduler="[none]")
    loadable = loadable_schedulers(modprobe, ["deadline", "bfq"])
    disk = replace(tree, loadable=loadable).disk("sda")
    assert (disk.schedulers, disk.scheduler) == (("none", "mq-deadline"), "none")


def test_a_kernel_without_the_entropy_setting_is_not_asked_for_it(tree: BlockTree) -> None:
    add(tree, "sda")
    (tree.sysfs / "sda/queue/add_random").unlink()
    _, add_random = disk_rows(tree.disk("sda"), WANTED)
    assert add_random.state == "skipped"
    assert rules_for([tree.disk("sda")], WANTED)[0]["add_random"] == ""


def test_devices_without_a_medium_are_no_news(tree: BlockTree) -> None:
    add(tree, "sda")
    add(tree, "loop7", real=False, size="0")
    assert [disk.name for disk in named_disks(tree, ["auto"])] == ["sda"]


def test_a_disk_that_was_named_and_is_not_there_is_said_so(tree: BlockTree) -> None:
    add(tree, "sda")
    with pytest.raises(
        QueueRefused, match=r"cannot tune 'sdz': no such whole disk \(there are: sda\)"
    ):
        named_disks(tree, ["sdz"])


def test_a_disk_is_known_by_its_serial_number(tree: BlockTree) -> None:
    add(tree, "sda", identity="S:disk/by-id/x\nE:ID_PATH=pci-0\nE:ID_SERIAL=WD_123\n")
    assert rules_for([tree.disk("sda")], WANTED) == [
        {
            "device": "sda",
            "match": 'ENV{ID_SERIAL}=="WD_123"',
            "scheduler": "mq-deadline",
            "add_random": "0",
        }
    ]


def test_a_serial_number_that_two_disks_share_is_no_name(tree: BlockTree) -> None:
    add(tree, "sda", identity="E:ID_SERIAL=SAME\nE:ID_PATH=usb-1\n")
    add(tree, "sdb", identity="E:ID_SERIAL=SAME\nE:ID_PATH=usb-2\n")
    disks = named_disks(tree, ["auto"])
    assert stable_match(disks[0], disks) == ("ID_PATH", "usb-1")


def test_a_serial_number_that_udev_would_take_for_a_pattern_is_no_name(tree: BlockTree) -> None:
    add(tree, "sda", identity="E:ID_SERIAL=A*\n")
    assert rules_for([tree.disk("sda")], WANTED)[0]["match"] == 'KERNEL=="sda"'


def test_a_queue_that_refuses_names_disk_setting_and_value(tree: BlockTree) -> None:
    with pytest.raises(QueueRefused, match="cannot set 'sdq scheduler' to 'bfq': No such file"):
        tree.set("sdq", "scheduler", "bfq")
