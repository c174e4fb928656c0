"""The file that decides a kernel key at boot, by the rules of systemd-sysctl.

`/etc/sysctl.conf` is read only if a link in sysctl.d points to it, as on Debian 12.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from posixpath import normpath

from .kernel_values import is_zero, normalised, same_value

# Of two files with the same name the one in the earlier folder hides the other.
FOLDERS = (
    "etc/sysctl.d",
    "run/sysctl.d",
    "usr/local/lib/sysctl.d",
    "usr/lib/sysctl.d",
    "lib/sysctl.d",
)
# Writing one of a pair zeroes the other, so a restore writes the one that was not zero.
COUNTERPARTS = {
    "vm/dirty_ratio": "vm/dirty_bytes",
    "vm/dirty_bytes": "vm/dirty_ratio",
    "vm/dirty_background_ratio": "vm/dirty_background_bytes",
    "vm/dirty_background_bytes": "vm/dirty_background_ratio",
    "vm/overcommit_ratio": "vm/overcommit_kbytes",
    "vm/overcommit_kbytes": "vm/overcommit_ratio",
}
SWAPPED = str.maketrans("./", "/.")
PATTERN = "*?["
# The value of a line without one: for systemd-sysctl `-key` excludes the key.
TAKEN_OUT = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One `key = value` line and its place; `value` is None if the line excludes the key."""

    key: str
    value: str | None
    path: str
    line: int

    @property
    def is_pattern(self) -> bool:
        return any(character in self.key for character in PATTERN)


def key_path(key: str) -> str:
    """The path of a key below /proc/sys, where dots and slashes are swapped."""
    separator = next((character for character in key if character in "./"), ".")
    return normpath(key.translate(SWAPPED) if separator == "." else key).lstrip("/")


def key_name(path: str) -> str:
    """The name of the key at `path` below /proc/sys."""
    return path.translate(SWAPPED)


def one_name(key: str) -> str:
    """The canonical spelling of a key in rows and snapshots."""
    return key_name(key_path(key))


def parse_assignments(text: str, *, path: str) -> Iterator[Assignment]:
    """The lines of one file that systemd-sysctl acts on, patterns and exclusions among them."""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        name, equals, value = line.partition("=")
        excluding = line.startswith("-")
        if not line or line[0] in "#;" or not (equals or excluding):
            continue
        yield Assignment(
            key=key_path(name.removeprefix("-").strip()),
            value=normalised(value) if equals else TAKEN_OUT,
            path=path,
            line=number,
        )


def boot_assignments(
    own_file: Path, *, own: Mapping[str, str] | None = None, root: Path = Path("/")
) -> dict[str, Assignment]:
    """The last assignment of each key or pattern over all files, in the order of their writes.

    With `own`, our file is read as if it held exactly that.
    """
    last: dict[str, Assignment] = {}
    for assignment in _all_assignments(own_file, own, root):
        earlier = last.get(assignment.key)
        # systemd-sysctl keeps the position of an assignment that is repeated unchanged.
        if earlier is None or earlier.value != assignment.value:
            last.pop(assignment.key, None)
            last[assignment.key] = assignment
    return last


def boot_value(key: str, assigned: Mapping[str, Assignment]) -> Assignment | None:
    """The assignment that the next boot applies to a key; None if no file mentions it.

    An assignment without a value means that a line excludes the key: the boot leaves it alone.
    """
    path = key_path(key)
    other, found = COUNTERPARTS.get(path, ""), assigned.get(path)
    if found is not None and found.value is not TAKEN_OUT:
        found = None
    for assignment in assigned.values():
        if assignment.value is TAKEN_OUT:
            continue
        if _writes(assignment, path, assigned):
            found = assignment
        elif other and _writes(assignment, other, assigned) and _zeroes(other, assignment.value):
            # The counterpart is written after ours, which zeroes it.
            found = Assignment(key=path, value="0", path=assignment.path, line=assignment.line)
    return found


def outvoted(found: Assignment | None, *, file: Path, wanted: str) -> str:
    """The assignment that overrides our file, in words; empty if the next boot sets `wanted`."""
    if found is None or (found.value is not TAKEN_OUT and same_value(wanted, found.value)):
        return ""
    does = "takes the key out" if found.value is TAKEN_OUT else f"sets '{found.value}'"
    return f"{found.path}:{found.line} is read after {file} and {does}"


def own_values(file: Path) -> dict[str, str]:
    """The values in our file, by the keys' paths; empty if it does not exist."""
    if not file.is_file():
        return {}
    found = parse_assignments(file.read_text(errors="replace"), path=str(file))
    return {said.key: said.value for said in found if said.value is not TAKEN_OUT}


def _writes(assignment: Assignment, path: str, assigned: Mapping[str, Assignment]) -> bool:
    if not assignment.is_pattern:
        return assignment.key == path
    # Patterns skip a key that any file names literally, whatever the order.
    return path not in assigned and any(
        _matches(path, pattern) for pattern in _alternatives(assignment.key)
    )


def _matches(path: str, pattern: str) -> bool:
    # Like glob(3): a star never matches a slash, and `^` in brackets equals `!`.
    parts, wanted = path.split("/"), pattern.replace("[^", "[!").split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _alternatives(pattern: str) -> Iterable[str]:
    head, opened, rest = pattern.partition("{")
    body, closed, tail = rest.partition("}")
    if not opened or not closed:
        return [pattern]
    return [whole for part in body.split(",") for whole in _alternatives(head + part + tail)]


def _zeroes(path: str, value: str | None) -> bool:
    # The kernel refuses bytes of 0 for dirty pages; for the commit limit any write counts.
    return path.startswith("vm/overcommit_") or (value is not None and not is_zero(value))


def _all_assignments(
    own_file: Path, own: Mapping[str, str] | None, root: Path
) -> Iterator[Assignment]:
    ours = root / str(own_file).lstrip("/")
    paths = _by_name(root)
    if own is not None:
        paths[ours.name] = ours
    for name in sorted(paths):
        path = paths[name]
        if own is not None and path == ours:
            for key, value in own.items():
                yield Assignment(key=key_path(key), value=value, path=str(path), line=0)
        # A link to nothing, or to /dev/null, disables a file.
        elif path.is_file():
            yield from parse_assignments(path.read_text(errors="replace"), path=str(path))


def _by_name(root: Path) -> dict[str, Path]:
    by_name: dict[str, Path] = {}
    for folder in FOLDERS:
        for path in (root / folder).glob("*.conf"):
            if not path.name.startswith("."):
                by_name.setdefault(path.name, path)
    return by_name
