"""Reads the kernel's mount table (`/proc/self/mountinfo`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

MOUNT_TABLE = "/proc/self/mountinfo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of the table; `root` is the folder of the file system that shows at `point`."""

    root: str
    point: str
    kind: str
    options: frozenset[str]
    super_options: frozenset[str]


def parse_mounts(text: str) -> list[Mount]:
    """All mounts, in the order in which they were made."""
    return [_parse_line(line) for line in text.splitlines() if line.strip()]


def covering(mounts: Iterable[Mount], path: str) -> Mount | None:
    """The mount that holds `path`: the deepest one, and of equals the latest."""
    wanted = PurePosixPath(path)
    found: Mount | None = None
    for mount in mounts:
        if wanted.is_relative_to(mount.point) and (
            found is None or len(mount.point) >= len(found.point)
        ):
            found = mount
    return found


def unescaped(field: str) -> str:
    r"""A field without the escapes of the kernel and of fstab, such as \040 for a blank."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _parse_line(line: str) -> Mount:
    # The separator follows a varying number of optional fields.
    mounted, _unused, system = line.partition(" - ")
    fields, (kind, _source, super_options) = mounted.split(), system.split(maxsplit=2)
    return Mount(
        root=unescaped(fields[3]),
        point=unescaped(fields[4]),
        kind=kind,
        options=frozenset(fields[5].split(",")),
        super_options=frozenset(super_options.strip().split(",")),
    )
