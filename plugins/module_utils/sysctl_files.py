"""Which file has the last word on a kernel key at boot: the order of sysctl.d."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

# Of two files with the same name the one in the earlier folder hides the other.
FOLDERS = (
    "etc/sysctl.d",
    "run/sysctl.d",
    "usr/local/lib/sysctl.d",
    "usr/lib/sysctl.d",
    "lib/sysctl.d",
)
# Not part of sysctl.d, but `sysctl --system` reads it after everything else.
TRAILING_FILE = "etc/sysctl.conf"
# Writing one of a pair zeroes the other, so going back means writing the one that was not zero.
COUNTERPARTS = {
    "vm/dirty_ratio": "vm/dirty_bytes",
    "vm/dirty_bytes": "vm/dirty_ratio",
    "vm/dirty_background_ratio": "vm/dirty_background_bytes",
    "vm/dirty_background_bytes": "vm/dirty_background_ratio",
    "vm/overcommit_ratio": "vm/overcommit_kbytes",
    "vm/overcommit_kbytes": "vm/overcommit_ratio",
}
SWAPPED = str.maketrans("./", "/.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One `key = value` line and where it stands."""

    key: str
    value: str
    path: str
    line: int


def normalised(value: object) -> str:
    """A value as the kernel would show it, with tabs and runs of blanks made one blank."""
    return " ".join(str(value).split())


def key_path(key: str) -> str:
    """The path of a key below /proc/sys; a slash in a key stands for a dot in a name, and back."""
    separator = next((character for character in key if character in "./"), ".")
    return key.translate(SWAPPED) if separator == "." else key


def key_name(path: str) -> str:
    """The name of the key that lies at `path` below /proc/sys."""
    return path.translate(SWAPPED)


def one_name(key: str) -> str:
    """The one spelling of a key that rows and snapshots use."""
    return key_name(key_path(key))


def parse_assignments(text: str, *, path: str) -> Iterator[Assignment]:
    """The assignments of one file; patterns are left out, for they never beat a key spelt out."""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        name, equals, value = line.partition("=")
        name = name.strip().removeprefix("-").strip()
        if not equals or line[0] in "#;" or any(character in name for character in "*?["):
            continue
        yield Assignment(key=key_path(name), value=normalised(value), path=path, line=number)


def boot_assignments(
    own_file: Path, *, own: Mapping[str, str] | None = None, root: Path = Path("/")
) -> dict[str, Assignment]:
    """The last assignment of each key over all files, in the order in which they are carried out.

    With `own`, our file counts as if it held just that, whatever is in it now.
    """
    last: dict[str, Assignment] = {}
    for assignment in _all_assignments(own_file, own, root):
        earlier = last.get(assignment.key)
        # systemd-sysctl keeps the place of an assignment that is only said again.
        if earlier is None or earlier.value != assignment.value:
            last.pop(assignment.key, None)
            last[assignment.key] = assignment
    return last


def boot_value(key: str, assigned: Mapping[str, Assignment]) -> Assignment | None:
    """What the next boot makes of a key, and who says so; None where no file speaks of it."""
    path = key_path(key)
    own, order = assigned.get(path), list(assigned)
    other = assigned.get(COUNTERPARTS.get(path, ""))
    if other is None or other.value == "0":
        return own
    # Carried out after ours, the counterpart zeroes it.
    if own is None or order.index(other.key) > order.index(path):
        return replace(other, key=path, value="0")
    return own


def own_values(file: Path) -> dict[str, str]:
    """What our file says now, by the keys' paths; empty where there is none."""
    if not file.is_file():
        return {}
    text = file.read_text(errors="replace")
    return {found.key: found.value for found in parse_assignments(text, path=str(file))}


def _all_assignments(
    own_file: Path, own: Mapping[str, str] | None, root: Path
) -> Iterator[Assignment]:
    ours = root / str(own_file).lstrip("/")
    paths = {path.name: path for path in _reading_order(root)}
    if own is not None:
        paths[ours.name] = ours
    ordered = [paths[name] for name in sorted(paths)]
    trailing = root / TRAILING_FILE
    # Debian 12 links it into sysctl.d: then it stands in the list already.
    if trailing.is_file() and trailing.resolve() not in {path.resolve() for path in ordered}:
        ordered.append(trailing)
    for path in ordered:
        if own is not None and path == ours:
            for key, value in own.items():
                yield Assignment(key=key_path(key), value=value, path=str(path), line=0)
        else:
            yield from parse_assignments(path.read_text(errors="replace"), path=str(path))


def _reading_order(root: Path) -> list[Path]:
    by_name: dict[str, Path] = {}
    for folder in FOLDERS:
        for path in (root / folder).glob("*.conf"):
            by_name.setdefault(path.name, path)
    return [by_name[name] for name in sorted(by_name) if by_name[name].is_file()]
