"""Disks for qemu: one per recipe, never booted itself; each machine boots its own copy."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lab import command, images, machine
from lab.errors import LabError, attempting
from lab.locks import only_one
from lab.progress import say
from lab.recipes import Recipe
from lab.state import LOGS, STATE

ROOT_SIZE = "4G"
NEEDED_MEBIBYTES = 3072
SCRIPTS = ("prepare", "prepare-disk")
READABLE_BY_ALL = {"/etc/fstab", "/etc/hostname", "/etc/hosts", "/etc/ssh/ssh_host_ed25519_key.pub"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """What qemu boots: a root file system, and copies of its kernel and initrd."""

    folder: Path

    @property
    def root(self) -> Path:
        """The root file system, as one sparse file."""
        return self.folder / "root.raw"

    @property
    def kernel(self) -> Path:
        """The kernel outside the file system, where qemu needs it."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The initrd that belongs to the kernel."""
        return self.folder / "initrd.img"


def build(recipe: Recipe) -> Disk:
    """Build the disk of a recipe unless it exists."""
    disks = STATE / "vm" / "disks"
    finished = disks / f"{recipe.name}-{recipe.digest(scripts=SCRIPTS)}"
    with only_one(disks / "lock"):
        if not finished.exists():
            machine.require_space(disks, mebibytes=NEEDED_MEBIBYTES)
            say(f"disk {recipe.name}: building ({len(recipe.packages)} packages)")
            began = time.monotonic()
            with attempting("build disk", recipe.name):
                make(recipe, finished)
            say(f"disk {recipe.name}: built in {time.monotonic() - began:.0f} s")
    return Disk(folder=finished)


def make(recipe: Recipe, finished: Path) -> None:
    """Unpack Debian packages into a file system; the folder gets its name once it is complete."""
    unfinished = finished.with_suffix(".new")
    tree = unfinished / "tree"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    command.run_logged(
        images.mmdebstrap_arguments(recipe, scripts=SCRIPTS, target=tree),
        log=LOGS / f"disk-{recipe.name}.log",
    )
    disk = Disk(folder=unfinished)
    shutil.copyfile(tree / "vmlinuz", disk.kernel)
    shutil.copyfile(tree / "initrd.img", disk.initrd)
    making = [
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-L",
        "root",
        "-d",
        str(tree),
        str(disk.root),
        ROOT_SIZE,
    ]
    command.run(making)
    shutil.rmtree(tree)
    unfinished.rename(finished)


def copy_as(disk: Disk, target: Path, *, files: Mapping[str, bytes]) -> None:
    """Copy a disk and write files into the copy, without mounting it."""
    command.run(["cp", "--reflink=auto", "--sparse=always", str(disk.root), str(target)])
    with TemporaryDirectory(dir=target.parent) as folder:
        script = Path(folder) / "script"
        script.write_text("\n".join(write_commands(files, staged=Path(folder))))
        for number, content in enumerate(files.values()):
            (Path(folder) / str(number)).write_bytes(content)
        command.run(["debugfs", "-w", "-f", str(script), str(target)])
    # debugfs exits with 0 even after errors.
    for path, content in files.items():
        if command.run(["debugfs", "-R", f"cat {path}", str(target)]).encode() != content:
            raise LabError(f"cannot write '{path}' into disk '{target}': debugfs failed")


def write_commands(files: Mapping[str, bytes], *, staged: Path) -> list[str]:
    """The debugfs script that writes staged file N to the Nth path."""
    commands = []
    for number, path in enumerate(files):
        mode = "0100644" if path in READABLE_BY_ALL else "0100600"
        commands += [
            f"rm {path}",
            f"write {staged / str(number)} {path}",
            f"set_inode_field {path} mode {mode}",
        ]
    return commands


def make_blank(target: Path, *, mebibytes: int) -> None:
    """Create an empty sparse disk."""
    with target.open("wb") as file:
        file.truncate(mebibytes * 2**20)


def make_volume(target: Path, *, mebibytes: int, label: str) -> None:
    """Create a sparse disk with an empty ext4 on it."""
    command.run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", label, str(target), f"{mebibytes}M"])
