"""Which udev rule has the last word on a disk's queue: rules.d read in the order of udev."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

# Of two files with the same name the one in the earlier folder hides the other.
FOLDERS = (
    "etc/udev/rules.d",
    "run/udev/rules.d",
    "usr/local/lib/udev/rules.d",
    "usr/lib/udev/rules.d",
    "lib/udev/rules.d",
)
TOKEN = re.compile(r'([A-Z]+(?:\{[^}]*\})?)\s*(==|!=|\+=|-=|:=|=)\s*"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRule:
    """One rule that writes a queue setting, with what it asks of the device."""

    setting: str
    value: str
    conditions: tuple[tuple[str, str, str], ...]
    path: str
    line: int

    def may_match(self, known: Mapping[str, str]) -> bool:
        """Whether it holds for a device; a condition that we know nothing about counts as met."""
        for name, operator, pattern in self.conditions:
            if name not in known:
                continue
            matches = any(fnmatchcase(known[name], part) for part in pattern.split("|"))
            if matches is not (operator == "=="):
                return False
        return True


def queue_rules(*, root: Path = Path("/")) -> list[QueueRule]:
    """Every rule that writes below `queue/`, in reading order."""
    by_name: dict[str, Path] = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).glob("*.rules")):
            by_name.setdefault(path.name, path)
    return [
        rule
        for name in sorted(by_name)
        # A link to /dev/null switches a file off.
        if by_name[name].is_file()
        for rule in _parsed(by_name[name])
    ]


def last_rule(
    rules: list[QueueRule], *, setting: str, known: Mapping[str, str]
) -> QueueRule | None:
    """The rule that is carried out last for a device's setting; None where there is none."""
    fitting = [rule for rule in rules if rule.setting == setting and rule.may_match(known)]
    return fitting[-1] if fitting else None


def outvoted(rule: QueueRule | None, *, file: Path, wanted: str) -> str:
    """Who is read after our rules and says otherwise; empty where ours are the last word."""
    if rule is None or Path(rule.path).name <= file.name or rule.value == wanted:
        return ""
    return f"{rule.path}:{rule.line} is read after {file} and sets '{rule.value}'"


def _parsed(path: Path) -> Iterator[QueueRule]:
    for number, line in _logical_lines(path.read_text(errors="replace")):
        tokens = TOKEN.findall(line)
        conditions = tuple(token for token in tokens if token[1] in ("==", "!="))
        for name, operator, value in tokens:
            if name.startswith("ATTR{queue/") and operator in ("=", ":="):
                yield QueueRule(
                    setting=name.removeprefix("ATTR{queue/").rstrip("}"),
                    value=value,
                    conditions=conditions,
                    path=str(path),
                    line=number,
                )


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    whole, first = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        first = first or number
        whole += line.rstrip("\\")
        if line.endswith("\\"):
            continue
        if not whole.lstrip().startswith("#"):
            yield first, whole
        whole, first = "", 0
