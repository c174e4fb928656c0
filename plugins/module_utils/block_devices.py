"""Block devices: which are real disks, how to identify them, and how to set their queues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .systemd_units import Run

# Best first: the serial number follows the disk to another slot, the path follows the slot.
STABLE_IDENTITIES = ("ID_SERIAL", "ID_PATH")
# Scheduler names from before the multi-queue layer, and their current names.
ALIASES = {"deadline": "mq-deadline", "noop": "none", "cfq": "bfq"}
DRY_MODPROBE = ("modprobe", "--dry-run", "--quiet")
# The kernel accepts these itself and refuses the others.
ACCEPTED_ALIASES = frozenset({"deadline"})


class QueueRefused(Exception):
    """The kernel refused a queue setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One whole block device; `unfit` says why it has to be left alone."""

    name: str
    schedulers: tuple[str, ...] = ()
    scheduler: str = ""
    add_random: str = ""
    read_ahead_kb: str = ""
    rotational: str = ""
    identity: Mapping[str, str] = field(default_factory=dict)
    unfit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTree:
    """The kernel's block devices in /sys, with udev's data about each."""

    sysfs: Path = Path("/sys/block")
    udev: Path = Path("/run/udev/data")
    # Schedulers that the kernel lists only once their module is loaded; setting one loads it.
    loadable: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """Every whole device with a medium; empty loop and ram devices are left out."""
        return sorted(
            path.name for path in self.sysfs.iterdir() if _text(path / "size") not in ("", "0")
        )

    def disk(self, name: str) -> Disk:
        """The state of one device."""
        folder = self.sysfs / name
        offered, active = parse_schedulers(_text(folder / "queue/scheduler"))
        return Disk(
            name=name,
            schedulers=tuple(dict.fromkeys(offered + self.loadable)) if offered else (),
            scheduler=active,
            add_random=_text(folder / "queue/add_random"),
            read_ahead_kb=_text(folder / "queue/read_ahead_kb"),
            rotational=_text(folder / "queue/rotational"),
            identity=self._identity(_text(folder / "dev")),
            unfit=self._unfit(folder),
        )

    def set(self, name: str, setting: str, value: str) -> None:
        """Write one queue setting; raises `QueueRefused` with the kernel's own reason."""
        try:
            (self.sysfs / name / "queue" / setting).write_text(f"{value}\n")
        except OSError as error:
            raise QueueRefused(
                f"cannot set '{name} {setting}' to '{value}': {error.strerror}"
            ) from error

    def _identity(self, numbers: str) -> dict[str, str]:
        lines = _text(self.udev / f"b{numbers}").splitlines()
        entries = dict(
            line[2:].split("=", 1) for line in lines if line.startswith("E:") and "=" in line
        )
        return {name: entries[name] for name in STABLE_IDENTITIES if entries.get(name)}

    def _unfit(self, folder: Path) -> str:
        members = [_text(holder / "dm/uuid") for holder in sorted(folder.glob("holders/*"))]
        if folder.name.startswith("dm-"):
            return "device mapper: the disks below it have the queue"
        if folder.name.startswith("md"):
            return "software RAID: the disks below it have the queue"
        if not (folder / "device").exists():
            return "virtual: no disk of its own behind it"
        if _text(folder / "removable") == "1":
            return "removable"
        if _text(folder / "queue/zoned") not in ("", "none"):
            return "zoned: its writes must stay in order"
        if any(uuid.startswith("mpath-") for uuid in members):
            return "path of a multipath device: multipathd decides"
        return ""


def parse_schedulers(text: str) -> tuple[tuple[str, ...], str]:
    """All schedulers on offer, and the active one (in brackets, unless it is the only one)."""
    words = text.split()
    offered = tuple(word.strip("[]") for word in words)
    active = next((word.strip("[]") for word in words if word.startswith("[")), "")
    return offered, active or (offered[0] if len(offered) == 1 else "")


def loadable_schedulers(run: Run, names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names` that this kernel has as a module, loaded or not."""
    wanted = dict.fromkeys(map(todays_name, names))
    return tuple(name for name in wanted if run([*DRY_MODPROBE, f"{name}-iosched"])[0] == 0)


def todays_name(scheduler: str) -> str:
    """The name under which the kernel shows the scheduler."""
    return ALIASES.get(scheduler, scheduler)


def chosen_scheduler(disk: Disk, preferences: Sequence[str]) -> str | None:
    """The first preferred scheduler that the device offers; None if it offers none of them."""
    return next((name for name in map(todays_name, preferences) if name in disk.schedulers), None)


def known_to_udev(disk: Disk) -> dict[str, str]:
    """The known values of the properties that udev rules may match on."""
    properties = {f"ENV{{{name}}}": value for name, value in disk.identity.items()}
    return {
        "KERNEL": disk.name,
        "SUBSYSTEM": "block",
        "ACTION": "add",
        "ENV{DEVTYPE}": "disk",
        "ATTR{queue/rotational}": disk.rotational,
        **properties,
    }


def stable_match(disk: Disk, others: Sequence[Disk]) -> tuple[str, str] | None:
    """The udev property and value that identify this device alone, or None."""
    for name, value in disk.identity.items():
        # udev matches by pattern and quotes with "; some USB bridges give every disk one serial.
        shared = any(
            other.identity.get(name) == value for other in others if other.name != disk.name
        )
        if not shared and not set(value) & set('*?[]|"\\'):
            return name, value
    return None


def _text(path: Path) -> str:
    # Many files exist only for some kinds of device; absent means not applicable.
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
