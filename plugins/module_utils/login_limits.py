"""Which line of limits.conf and limits.d has the last word on a login's limit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAIN = "etc/security/limits.conf"
FOLDER = "etc/security/limits.d"
# pam_limits lets an entry for everybody never beat one for the user, wherever it stands.
EVERYBODY = "*"
BOTH = ("soft", "hard")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One `domain type item value` line; the type `-` is told as both."""

    domain: str
    kind: str
    item: str
    value: str
    path: str
    line: int


def entries(root: Path = Path("/")) -> list[Entry]:
    """Every entry in the order in which pam_limits reads them."""
    files = [root / MAIN, *sorted((root / FOLDER).glob("*.conf"))]
    return [entry for path in files if path.is_file() for entry in _parsed(path)]


def last_words(known: list[Entry], *, user: str, item: str) -> dict[str, Entry]:
    """The soft and the hard entry that count for a user."""
    found: dict[str, Entry] = {}
    for entry in known:
        if entry.item != item or entry.domain not in (user, EVERYBODY):
            continue
        earlier = found.get(entry.kind)
        if earlier is None or entry.domain == user or earlier.domain == EVERYBODY:
            found[entry.kind] = entry
    return found


def told(words: dict[str, Entry]) -> str:
    """Soft and hard as one word, as limits of processes are told."""
    values = [words[kind].value for kind in BOTH if kind in words]
    return ":".join(dict.fromkeys(values))


def outvoted(words: dict[str, Entry], *, file: str, wanted: str) -> str:
    """Who is read after our file and says otherwise; empty where ours is the last word."""
    for entry in words.values():
        later = Path(entry.path).name > Path(file).name and entry.domain != EVERYBODY
        if later and entry.value != wanted:
            return f"{entry.path}:{entry.line} is read after {file} and sets '{entry.value}'"
    return ""


def _parsed(path: Path) -> Iterator[Entry]:
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        words = line.partition("#")[0].split()
        if len(words) != 4:
            continue
        domain, kind, item, value = words
        for one in BOTH if kind == "-" else (kind,):
            yield Entry(
                domain=domain, kind=one, item=item, value=value, path=str(path), line=number
            )
