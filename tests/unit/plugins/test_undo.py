"""Undo of all changes, on folders in place of a host's files, kernel and disks."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from plugins.module_utils.block_devices import BlockTree
from plugins.module_utils.kernel_keys import Kernel
from plugins.module_utils.mount_options import undoing_options
from plugins.module_utils.original_state import Original, original_file
from plugins.module_utils.undo import Undo

UNIT = """Id=cron.service
LoadState=loaded
ActiveState=inactive
MainPID=0
ControlGroup=
TasksMax={tasks}
LimitNOFILE=1024
LimitNOFILESoft=1024
FragmentPath=
DropInPaths=
"""


class Programs:
    """Records commands, and answers as a host whose units follow their files."""

    def __init__(self, *, tasks: str = "9") -> None:
        self.ran: list[str] = []
        self.tasks = tasks

    def __call__(self, argv: Sequence[str]) -> tuple[int, str, str]:
        self.ran.append(" ".join(argv))
        return 0, UNIT.format(tasks=self.tasks) if "show" in argv else "", ""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sys/vm").mkdir(parents=True)
    (tmp_path / "sys/vm/swappiness").write_text("10\n")
    (tmp_path / "block/sda/queue").mkdir(parents=True)
    (tmp_path / "block/sda/size").write_text("8\n")
    (tmp_path / "block/sda/queue/read_ahead_kb").write_text("4096\n")
    (tmp_path / "fstab").write_text("/dev/a / ext4 defaults\n/dev/b /srv ext4 noatime 0 2\n# end\n")
    return tmp_path


def undo(root: Path, run: Programs, *, check_mode: bool = False) -> Undo:
    return Undo(
        run=run,
        kernel=Kernel(folder=root / "sys", container=None, mounts=()),
        disks=BlockTree(sysfs=root / "block", udev=root / "udev"),
        check_mode=check_mode,
        fstab=root / "fstab",
        mounts=list,
    )


def states(role: Undo, *originals: Original) -> list[str]:
    return [row.state for row in role.put_back("role", originals)]


def test_a_file_that_was_absent_goes_and_so_does_the_folder_made_for_it(root: Path) -> None:
    path = root / "etc/systemd/cron.service.d/50.conf"
    originals = original_file(path)
    path.parent.mkdir(parents=True)
    path.write_text("[Service]\n")
    run = Programs()
    assert states(undo(root, run), *originals) == ["changed", "changed"]
    assert not path.parent.exists()
    assert run.ran[0] == "systemctl daemon-reload"
    assert states(undo(root, Programs()), *originals) == ["ok"]


def test_a_folder_that_somebody_else_uses_stays(root: Path) -> None:
    path = root / "etc/x.d/50.conf"
    originals = original_file(path)
    path.parent.mkdir(parents=True)
    path.write_text("ours")
    (path.parent / "60.conf").write_text("theirs")
    states(undo(root, Programs()), *originals)
    assert [left.name for left in path.parent.iterdir()] == ["60.conf"]


def test_a_file_comes_back_byte_for_byte_with_its_rights(root: Path) -> None:
    path = root / "file"
    path.write_bytes(b"\x00old\n")
    path.chmod(0o640)
    originals = original_file(path)
    path.write_bytes(b"new")
    path.chmod(0o644)
    assert states(undo(root, Programs()), *originals) == ["changed"]
    assert path.read_bytes() == b"\x00old\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_only_our_line_of_fstab_goes_back(root: Path) -> None:
    before = "/dev/b  /srv ext4 defaults 0 2"
    original = Original(kind="fstab_line", name="/srv", before={"text": before})
    assert states(undo(root, Programs()), original) == ["changed"]
    assert (root / "fstab").read_text() == f"/dev/a / ext4 defaults\n{before}\n# end\n"
    assert states(undo(root, Programs()), original) == ["ok"]


def test_kernel_keys_and_queues_go_back_and_a_second_time_nothing_happens(root: Path) -> None:
    originals = (
        Original(
            kind="kernel_key", name="vm.swappiness", before={"write": ["vm.swappiness", "60"]}
        ),
        Original(
            kind="queue",
            name="KERNEL=sda read_ahead_kb",
            before={"by": ["KERNEL", "sda"], "setting": "read_ahead_kb", "value": "128"},
        ),
    )
    assert states(undo(root, Programs()), *originals) == ["changed", "changed"]
    assert (root / "sys/vm/swappiness").read_text() == "60\n"
    assert (root / "block/sda/queue/read_ahead_kb").read_text() == "128\n"
    assert states(undo(root, Programs()), *originals) == ["ok", "ok"]


def test_what_is_gone_is_left_alone_with_the_reason(root: Path) -> None:
    gone = (
        Original(kind="fstab_line", name="/gone", before={"text": "x"}),
        Original(
            kind="queue",
            name="x",
            before={"by": ["ID_SERIAL", "?"], "setting": "scheduler", "value": "none"},
        ),
        Original(kind="mount", name="/gone", before={"options": "rw"}),
    )
    assert states(undo(root, Programs()), *gone) == ["skipped", "skipped", "skipped"]


def test_a_unit_that_did_not_follow_its_files_is_told(root: Path) -> None:
    before = {"unit": "cron.service", "property": "TasksMax", "value": "9"}
    original = Original(kind="unit", name="cron.service TasksMax", before=before)
    assert states(undo(root, Programs(tasks="9")), original) == ["ok"]
    assert states(undo(root, Programs(tasks="4096")), original) == ["differs"]


def test_check_mode_tells_what_it_would_do_and_does_nothing(root: Path) -> None:
    original = Original(
        kind="kernel_key", name="vm.swappiness", before={"write": ["vm.swappiness", "60"]}
    )
    (row,) = undo(root, Programs(), check_mode=True).put_back("role", [original])
    assert (row.state, row.reason) == ("changed", "would change from '10'")
    assert (root / "sys/vm/swappiness").read_text() == "10\n"


@pytest.mark.parametrize(
    ("before", "options"),
    [
        (["rw", "relatime"], "remount,bind,relatime,rw,diratime"),
        (["rw"], "remount,bind,rw,diratime,strictatime"),
        (["rw", "noatime", "nodiratime"], "remount,bind,noatime,nodiratime,rw"),
    ],
)
def test_flags_that_we_set_are_taken_away_by_name(before: list[str], options: str) -> None:
    assert undoing_options(before) == options
