"""Which disks are tuned, their values, and how udev identifies them, on copies of /sys."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from plugins.module_utils.block_devices import (
    BlockTree,
    Disk,
    QueueRefused,
    chosen_scheduler,
    loadable_schedulers,
    parse_schedulers,
    stable_match,
)
from plugins.module_utils.queue_rows import QueueLooker, queue_originals
from plugins.module_utils.tuning_report import Row
from plugins.module_utils.udev_rules import queue_rules
from plugins.modules.io_scheduler_live import named_disks

RECIPE = QueueLooker(profile="recipe")


def disk_rows(disk: Disk, looker: QueueLooker = RECIPE) -> list[Row]:
    rows: list[Row] = looker.rows(disk, [disk])
    return rows


def rules_for(disks: list[Disk]) -> list[dict[str, str]]:
    rules: list[dict[str, str]] = RECIPE.wanted_rules(disks)
    return rules


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
            for row in disk_rows(tree.disk(name))}  # fmt: skip
    assert rows == {
        "sda scheduler": ("mq-deadline", "none", "differs"),
        "sda add_random": ("0", "1", "differs"),
        # Correct now, but no rule sets it at boot.
        "nvme0n1 scheduler": ("none", "none", "differs"),
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
    (row,) = disk_rows(tree.disk(name))
    assert (row.state, row.reason) == ("skipped", reason)
    assert rules_for([tree.disk(name)]) == []


def test_a_disk_that_offers_nothing_we_want_is_trouble_with_a_reason(tree: BlockTree) -> None:
    add(tree, "sda", queue__scheduler="[none]")
    scheduler, _ = disk_rows(tree.disk("sda"))
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
    _, add_random = disk_rows(tree.disk("sda"))
    assert add_random.state == "skipped"
    assert rules_for([tree.disk("sda")])[0]["add_random"] == ""


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
    assert rules_for([tree.disk("sda")]) == [
        {
            "device": "sda",
            "match": 'ENV{ID_SERIAL}=="WD_123"',
            "scheduler": "mq-deadline",
            "add_random": "0",
            "read_ahead_kb": "",
        }
    ]


def test_a_serial_number_that_two_disks_share_is_no_name(tree: BlockTree) -> None:
    add(tree, "sda", identity="E:ID_SERIAL=SAME\nE:ID_PATH=usb-1\n")
    add(tree, "sdb", identity="E:ID_SERIAL=SAME\nE:ID_PATH=usb-2\n")
    disks = named_disks(tree, ["auto"])
    assert stable_match(disks[0], disks) == ("ID_PATH", "usb-1")


def test_a_serial_number_that_udev_would_take_for_a_pattern_is_no_name(tree: BlockTree) -> None:
    add(tree, "sda", identity="E:ID_SERIAL=A*\n")
    assert rules_for([tree.disk("sda")])[0]["match"] == 'KERNEL=="sda"'


def test_a_queue_that_refuses_names_disk_setting_and_value(tree: BlockTree) -> None:
    with pytest.raises(QueueRefused, match="cannot set 'sdq scheduler' to 'bfq': No such file"):
        tree.set("sdq", "scheduler", "bfq")


def ruled(tree: BlockTree, root: Path, **files: str) -> list[Row]:
    """The rows of sda, known by its serial number, under these rule files."""
    add(tree, "sda", identity="E:ID_SERIAL=WD_123\n", queue__scheduler="none [mq-deadline]",
        queue__add_random="0")  # fmt: skip
    for name, text in files.items():
        path = root / "etc/udev/rules.d" / f"{name.replace('_', '-')}.rules"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    file = root / "etc/udev/rules.d/61-holdfast.rules"
    looker = QueueLooker(profile="recipe", file=file, rules=tuple(queue_rules(root=root)))
    return disk_rows(tree.disk("sda"), looker)


MINE = (
    'ACTION=="add|change", ENV{ID_SERIAL}=="WD_123", ATTR{queue/scheduler}="mq-deadline"\n'
    'ACTION=="add|change", ENV{ID_SERIAL}=="WD_123", ATTR{queue/add_random}="0"\n'
)


def test_all_three_layers_right_is_ok(tree: BlockTree, tmp_path: Path) -> None:
    scheduler, add_random = ruled(tree, tmp_path, **{"61_holdfast": MINE})
    assert (scheduler.state, scheduler.file, scheduler.boot) == ("ok", "mq-deadline", "mq-deadline")
    assert add_random.state == "ok"


def test_a_later_rule_that_wins_is_named_with_its_line(tree: BlockTree, tmp_path: Path) -> None:
    later = '# why\nSUBSYSTEM=="block", KERNEL=="sd[a-z]", ATTR{queue/scheduler}="none"\n'
    scheduler, _ = ruled(tree, tmp_path, **{"61_holdfast": MINE, "99_site": later})
    assert scheduler.state == "differs"
    assert "99-site.rules:2 is read after" in scheduler.reason
    assert scheduler.reason.endswith("and sets 'none'")


def test_a_later_rule_for_other_disks_does_not_matter(tree: BlockTree, tmp_path: Path) -> None:
    later = (
        'KERNEL=="nvme*", ATTR{queue/scheduler}="none"\n'
        'KERNEL!="sda", ATTR{queue/scheduler}="bfq"\n'
        '# KERNEL=="sda", ATTR{queue/scheduler}="bfq"\n'
    )
    scheduler, _ = ruled(tree, tmp_path, **{"61_holdfast": MINE, "99_site": later})
    assert scheduler.state == "ok"


def test_a_rule_that_knows_the_disk_only_by_an_unstable_name_is_not_ours(
    tree: BlockTree, tmp_path: Path
) -> None:
    unstable = MINE.replace('ENV{ID_SERIAL}=="WD_123"', 'KERNEL=="sda"')
    scheduler, _ = ruled(tree, tmp_path, **{"61_holdfast": unstable})
    assert scheduler.state == "differs"


def test_a_rule_over_several_lines_counts_from_its_first(tree: BlockTree, tmp_path: Path) -> None:
    later = 'KERNEL=="sda", \\\n  ATTR{queue/scheduler}="bfq"\n'
    scheduler, _ = ruled(tree, tmp_path, **{"61_holdfast": MINE, "99_site": later})
    assert "99-site.rules:1 " in scheduler.reason


def test_the_profile_for_throughput_reads_far_ahead_and_none_wants_nothing() -> None:
    wished = QueueLooker(profile="backup_throughput").wishes(Disk(name="sda")).read_ahead_kb
    assert wished is not None
    assert wished.value == "4096"
    assert not QueueLooker(profile="none").wants_anything()
    assert QueueLooker(profile="none", read_ahead_kb="512").wants_anything()


def test_the_original_of_a_queue_is_kept_under_the_disks_stable_name(tree: BlockTree) -> None:
    add(tree, "sda", identity="E:ID_SERIAL=WD_123\n")
    disk = tree.disk("sda")
    kept = queue_originals([disk], disk_rows(disk))
    assert [(entry.name, entry.before["value"]) for entry in kept] == [
        ("ID_SERIAL=WD_123 scheduler", "none"),
        ("ID_SERIAL=WD_123 add_random", "1"),
    ]


OTHERWISE = 'ATTR{queue/scheduler}="none"\n'


@pytest.mark.parametrize(
    ("condition", "state", "said"),
    [
        ('ATTRS{vendor}=="ATA", ', "ok", "undecided: "),
        ('DRIVERS=="sd", ', "ok", "undecided: "),
        ('CONST{virt}=="kvm", ', "ok", "undecided: "),
        ('PROGRAM="/bin/probe %k", ', "ok", "undecided: "),
        ('IMPORT{program}="/bin/probe %k", ', "ok", "undecided: "),
        ('KERNEL==i"SDA", ', "ok", "undecided: "),
        ('KERNEL=="sdb", ATTRS{vendor}=="ATA", ', "ok", ""),
        ('KERNEL=="sda", ', "differs", "99-site.rules:1 is read after"),
        ('KERNEL!="sda", GOTO="end"\n', "differs", "99-site.rules:2 is read after"),
        ('KERNEL=="sda", GOTO="end"\n', "ok", ""),
        ('ATTRS{vendor}=="ATA", GOTO="end"\n', "ok", "undecided: "),
        ('ACTION=="change", KERNEL=="sda", ', "differs", "99-site.rules:1 is read after"),
        ('ACTION=="remove", KERNEL=="sda", ', "ok", ""),
    ],
)
def test_a_rule_counts_as_far_as_its_conditions_and_jumps_can_be_answered(
    tree: BlockTree, tmp_path: Path, condition: str, state: str, said: str
) -> None:
    later = f'{condition}{OTHERWISE}LABEL="end"\n'
    scheduler, _ = ruled(tree, tmp_path, **{"61_holdfast": MINE, "99_site": later})
    assert scheduler.state == state
    assert said in scheduler.reason if said else scheduler.reason == ""


def test_a_program_that_a_rule_starts_is_undecided_wherever_the_rule_stands(
    tree: BlockTree, tmp_path: Path
) -> None:
    earlier = 'KERNEL=="sd*", RUN+="/usr/local/sbin/tune-disk %k"\n'
    scheduler, _ = ruled(tree, tmp_path, **{"61_holdfast": MINE, "10_site": earlier})
    assert scheduler.state == "ok"
    assert scheduler.reason.endswith(
        "10-site.rules:1 runs '/usr/local/sbin/tune-disk %k', which may set it"
    )


def test_a_wrong_queue_is_set_though_a_rule_is_undecided_and_blamed_on_it_afterwards(
    tree: BlockTree, tmp_path: Path
) -> None:
    later = f'ATTRS{{vendor}}=="ATA", {OTHERWISE}'
    ruled(tree, tmp_path, **{"61_holdfast": MINE, "99_site": later})
    (tree.sysfs / "sda/queue/scheduler").write_text("[none] mq-deadline\n")
    disk = tree.disk("sda")
    file = tmp_path / "etc/udev/rules.d/61-holdfast.rules"
    rules = tuple(queue_rules(root=tmp_path))
    looker = QueueLooker(profile="recipe", file=file, rules=rules)
    rows = disk_rows(disk, looker)
    # Without a reason: the run sets it, and then has udev carry out all rules.
    assert (rows[0].state, rows[0].reason) == ("differs", "")
    assert looker.undecided([disk]) == ["sda"]
    (blamed, _) = looker.blamed(rows, [disk])
    assert blamed.reason.startswith("the live value is 'none'; undecided: ")
