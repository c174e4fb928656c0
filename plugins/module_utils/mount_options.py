"""Compares the options of a mounted file system, live and in fstab, with the wanted ones."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .mount_table import Mount, unescaped

# Access-time options replace each other; noatime implies nodiratime.
ACCESS_TIME = frozenset({"atime", "noatime", "relatime", "strictatime"})
IMPLIED_BY = {"nodiratime": "noatime"}
# The kernel takes a data mode only from a fresh mount, and only these file systems have one.
DATA_MODE = "data="
HAVE_DATA_MODE = frozenset({"ext3", "ext4"})
ESCAPED = re.compile(r"\\(?:040|011|012|134)")
UNIT_FOLDERS = ("etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system")


@dataclass(frozen=True, slots=True, kw_only=True)
class FstabLine:
    """The line of one mount point and its options."""

    number: int
    text: str
    options: tuple[str, ...]

    def with_options(self, wanted: Sequence[str]) -> str:
        """The line with the wanted options, every other option and every blank unchanged."""
        merged = ",".join(merged_options(self.options, wanted))
        options = self.text.split()[3] if len(self.text.split()) > 3 else None
        if options is None:
            return f"{self.text.rstrip()} {merged}"
        # The options are the fourth field; an earlier field may hold the same text.
        head, position = self.text, 0
        for field in self.text.split()[:3]:
            position = head.index(field, position) + len(field)
        start = head.index(options, position)
        return head[:start] + merged + head[start + len(options) :]


def same_point(field: str, point: str) -> bool:
    """Whether `field` of fstab is the mount point `point`, despite escapes and extra slashes."""
    # Only the escapes of getmntent(3): to systemd any other is a name with a backslash.
    written = ESCAPED.sub(lambda match: unescaped(match[0]), field)
    return written.startswith("/") and _simplified(written) == _simplified(point)


def fstab_lines(text: str, *, point: str) -> list[FstabLine]:
    """Every line for a mount point."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith("#") or not same_point(fields[1], point):
            continue
        options = tuple(fields[3].split(",")) if len(fields) > 3 else ("defaults",)
        found.append(FstabLine(number=number, text=line, options=options))
    return found


def fstab_line(text: str, *, point: str) -> FstabLine | None:
    """The line that mounts `point`: the first one, from which systemd makes its unit."""
    return next(iter(fstab_lines(text, point=point)), None)


def line_of_before(text: str, *, point: str, before: str) -> FstabLine | None:
    """The line that once read `before`.

    Preferred is a line with the same text, then one for the same file system, then the first.
    """
    lines = fstab_lines(text, point=point)
    as_it_was = [line for line in lines if line.text == before]
    alike = [line for line in lines if line.text.split()[:3] == before.split()[:3]]
    return next(iter([*as_it_was, *alike, *lines]), None)


def mount_unit_name(point: str) -> str:
    """The name of the unit that systemd mounts `point` with (systemd-escape --path)."""
    bare = _simplified(point).strip("/")
    if not bare:
        return "-.mount"
    escaped = "".join(
        chr(byte) if _plain(byte) and not (place == 0 and byte == ord("."))
        else "-" if byte == ord("/") else f"\\x{byte:02x}"
        for place, byte in enumerate(bare.encode(errors="surrogateescape"))
    )  # fmt: skip
    return f"{escaped}.mount"


def mount_unit(
    point: str, *, in_fstab: bool, root: Path = Path("/")
) -> tuple[Path, tuple[str, ...]] | None:
    """The systemd file that overrides fstab's line, and its options; None if there is none."""
    name = mount_unit_name(point)
    # Units that systemd generates from fstab rank between the operator's and the vendors' units.
    folders = UNIT_FOLDERS[:2] if in_fstab else UNIT_FOLDERS
    units = [root / folder / name for folder in folders]
    # Drop-ins also apply to generated units; of equal names the earlier folder's counts.
    dropins = {
        path.name: path
        for folder in reversed(UNIT_FOLDERS)
        for path in (root / folder / f"{name}.d").glob("*.conf")
    }
    unit = next((path for path in units if path.is_file()), None)
    found: tuple[Path, tuple[str, ...]] | None = (unit, ("defaults",)) if unit else None
    for path in [*([unit] if unit else []), *(dropins[name] for name in sorted(dropins))]:
        for options in _options_said(path):
            found = path, tuple(options.split(",")) if options else ("defaults",)
    return found


def new_complaints(before: str, after: str) -> list[str]:
    """Errors in the second output of `findmnt --verify` that are not in the first one."""
    known = _errors(before)
    return [error for error in _errors(after) if error not in known]


def merged_options(present: Iterable[str], wanted: Sequence[str]) -> list[str]:
    """`present` with `wanted` added and contradictions removed, in its order."""
    kept = [
        option for option in present if option not in wanted and not _contradicts(option, wanted)
    ]
    return kept + list(wanted)


def is_live(option: str, mount: Mount) -> bool:
    """Whether the mounted file system has `option` in effect."""
    if option.startswith(DATA_MODE):
        return option in mount.super_options
    return option in mount.options or IMPLIED_BY.get(option) in mount.options


def remount_options(mount: Mount, wanted: Sequence[str]) -> str:
    """The options for a remount: this mount point's flags with the wanted ones added.

    With `bind` only the flags of the mount point change, and not the file system.
    """
    flags = [option for option in wanted if not option.startswith(DATA_MODE)]
    return ",".join(["remount", "bind", *sorted(merged_options(mount.options, flags))])


def undoing_options(before: Sequence[str]) -> str:
    """The options for a remount that restores exactly the flags `before`.

    A remount keeps a flag that it does not mention, so each added flag is removed by name.
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


def _options_said(unit: Path) -> Iterator[str]:
    for line in unit.read_text(errors="replace").splitlines() if unit.is_file() else []:
        name, equals, value = line.strip().partition("=")
        if equals and name.strip() == "Options":
            yield value.strip()


def _errors(told: str) -> list[str]:
    target, found = "", []
    for line in told.splitlines():
        if not line.startswith(" "):
            target = line.strip()
            # Without the file's name and line number, which differ between the two tables.
            if match := re.search(r"parse error.*", line):
                found.append(match[0])
        elif line.strip().startswith("[E]"):
            found.append(f"{target}: {line.strip().removeprefix('[E]').strip()}")
    return found


def _simplified(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")


def _plain(byte: int) -> bool:
    return chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in ":_.")


def _contradicts(option: str, wanted: Sequence[str]) -> bool:
    if option in ACCESS_TIME:
        return any(other in ACCESS_TIME for other in wanted)
    return option.startswith(DATA_MODE) and any(other.startswith(DATA_MODE) for other in wanted)
