"""Compares the options of a mounted file system, live and in fstab, with those that are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ansible.module_utils.mount_table import Mount, unescaped

# Of the access-time options one replaces the other; nodiratime says less than noatime does.
ACCESS_TIME = frozenset({"atime", "noatime", "relatime", "strictatime"})
IMPLIED_BY = {"nodiratime": "noatime"}
# The kernel takes a data mode only from a fresh mount, and only these file systems have one.
DATA_MODE = "data="
HAVE_DATA_MODE = frozenset({"ext3", "ext4"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FstabLine:
    """The line of one mount point, as it stands and with our options put in."""

    number: int
    text: str
    options: tuple[str, ...]

    def with_options(self, wanted: Sequence[str]) -> str:
        """The same line, every other option and every blank kept as it is."""
        merged = ",".join(merged_options(self.options, wanted))
        options = self.text.split()[3] if len(self.text.split()) > 3 else None
        if options is None:
            return f"{self.text.rstrip()} {merged}"
        # The options are the fourth field; the three before may hold the same text.
        head, position = self.text, 0
        for field in self.text.split()[:3]:
            position = head.index(field, position) + len(field)
        start = head.index(options, position)
        return head[:start] + merged + head[start + len(options) :]


def fstab_line(text: str, *, point: str) -> FstabLine | None:
    """The line that mounts `point`; the last one where there are several, as for mount."""
    found = None
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith("#") or unescaped(fields[1]) != point:
            continue
        options = tuple(fields[3].split(",")) if len(fields) > 3 else ("defaults",)
        found = FstabLine(number=number, text=line, options=options)
    return found


def merged_options(present: Iterable[str], wanted: Sequence[str]) -> list[str]:
    """`present` with `wanted` put in, contradictions taken out, order kept."""
    kept = [
        option for option in present if option not in wanted and not _contradicts(option, wanted)
    ]
    return kept + list(wanted)


def is_live(option: str, mount: Mount) -> bool:
    """Whether the mounted file system works as `option` asks."""
    if option.startswith(DATA_MODE):
        return option in mount.super_options
    return option in mount.options or IMPLIED_BY.get(option) in mount.options


def remount_options(mount: Mount, wanted: Sequence[str]) -> str:
    """What to remount with: this mount point's flags with ours put in.

    `bind` keeps the remount from the file system itself: only flags of the mount point change.
    """
    flags = [option for option in wanted if not option.startswith(DATA_MODE)]
    return ",".join(["remount", "bind", *sorted(merged_options(mount.options, flags))])


def undoing_options(before: Sequence[str]) -> str:
    """What to remount with in order to have exactly the flags of before.

    A flag that is only left out of a remount stays: it has to be taken away by name.
    """
    taken = [] if "nodiratime" in before else ["diratime"]
    taken += [] if ACCESS_TIME & set(before) else ["strictatime"]
    return ",".join(["remount", "bind", *sorted(before), *taken])


def unsafe(options: Sequence[str], mount: Mount, *, acknowledged: bool) -> str:
    """Why the options must not be set on this file system; empty when they may."""
    modes = [option for option in options if option.startswith(DATA_MODE)]
    if not modes:
        return ""
    if mount.point == "/":
        return "the root file system takes it from the kernel's command line, not from fstab"
    if mount.kind not in HAVE_DATA_MODE:
        return f"{mount.kind} has no data mode"
    if not acknowledged:
        return (
            "after a crash, files may show old blocks of other files; "
            "set mount_options_acknowledge_data_writeback if that is acceptable"
        )
    return ""


def _contradicts(option: str, wanted: Sequence[str]) -> bool:
    if option in ACCESS_TIME:
        return any(other in ACCESS_TIME for other in wanted)
    return option.startswith(DATA_MODE) and any(other.startswith(DATA_MODE) for other in wanted)
