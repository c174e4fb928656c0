"""Which file has the last word on a kernel key at boot: the order of sysctl.d."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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


def parse_assignments(text: str, *, path: str) -> Iterator[Assignment]:
    """The assignments of one file; patterns are left out, for they never beat a key spelt out."""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        name, equals, value = line.partition("=")
        name = name.strip().removeprefix("-").strip()
        if not equals or line[0] in "#;" or any(character in name for character in "*?["):
            continue
        yield Assignment(key=key_path(name), value=normalised(value), path=path, line=number)


def later_assignments(own_file: Path, *, root: Path = Path("/")) -> list[Assignment]:
    """Every assignment that is read after `own_file`, in reading order; it need not exist yet."""
    later = [path for path in _reading_order(root) if path.name > own_file.name]
    trailing = root / TRAILING_FILE
    # Debian 12 links it into sysctl.d: then it stands in the list already.
    if trailing.is_file() and trailing.resolve() not in {path.resolve() for path in later}:
        later.append(trailing)
    return [
        assignment
        for path in later
        for assignment in parse_assignments(path.read_text(errors="replace"), path=str(path))
    ]


def overrides(settings: Mapping[str, str], later: Iterable[Assignment]) -> list[Assignment]:
    """The last later assignment of each key, where it is not the value we want."""
    last = {assignment.key: assignment for assignment in later}
    found = ((value, last.get(key_path(key))) for key, value in settings.items())
    return [
        assignment
        for value, assignment in found
        if assignment is not None and assignment.value != normalised(value)
    ]


def _reading_order(root: Path) -> list[Path]:
    by_name: dict[str, Path] = {}
    for folder in FOLDERS:
        for path in (root / folder).glob("*.conf"):
            by_name.setdefault(path.name, path)
    return [by_name[name] for name in sorted(by_name) if by_name[name].is_file()]
