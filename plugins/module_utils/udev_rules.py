"""The udev rule that decides a disk's queue: rules.d read in udev's order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

# Of two files with the same name the one in the earlier folder hides the other.
FOLDERS = (
    "etc/udev/rules.d",
    "run/udev/rules.d",
    "usr/local/lib/udev/rules.d",
    "usr/lib/udev/rules.d",
    "lib/udev/rules.d",
)
TOKEN = re.compile(r'([A-Z]+(?:\{[^}]*\})?)\s*(==|!=|\+=|-=|:=|=)\s*([ei]*)"((?:[^"\\]|\\.)*)"')
QUEUE = "ATTR{queue/"
# Conditions whatever their operator: the rule ends if one is false.
QUESTIONS = ("PROGRAM", "IMPORT{", "RESULT", "TEST")
# Patterns that show that a vendor's rule runs a program which writes to the queue. An operator's
# rule may run a script whose name shows nothing.
WRITERS = {
    "scheduler": re.compile(r"scheduler|elevator|queue/\*"),
    "add_random": re.compile(r"add_random|queue/\*"),
    "read_ahead_kb": re.compile(r"read_ahead|queue/\*|--setra|\bhdparm\b.*-a"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRule:
    """One rule that writes a queue setting or jumps over others, with its conditions.

    `setting` is empty for a jump; `value` is empty if a program decides it.
    """

    setting: str
    value: str
    conditions: tuple[tuple[str, str, str], ...]
    path: str
    line: int
    goto: str = ""
    label: str = ""
    program: str = ""

    def matches(self, known: Mapping[str, str]) -> bool | None:
        """Whether it matches a device; None if that depends on unknown properties."""
        answers = [_answer(condition, known) for condition in self.conditions]
        if False in answers:
            return False
        return None if None in answers else True


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The last rule that certainly applies, and the rules that may override it."""

    rule: QueueRule | None
    undecided: tuple[QueueRule, ...] = ()

    def doubt(self, *, wanted: str) -> str:
        """The rules that may set another value than `wanted`, and why it is undecided."""
        doubtful = [rule for rule in self.undecided if rule.value != wanted]
        return "; ".join(f"undecided: {_may(rule)}" for rule in doubtful)


def queue_rules(*, root: Path = Path("/")) -> list[QueueRule]:
    """Every rule that writes below `queue/`, jumps or is jumped to, in reading order."""
    by_name: dict[str, Path] = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).glob("*.rules")):
            if not path.name.startswith("."):
                by_name.setdefault(path.name, path)
    return [
        rule
        for name in sorted(by_name)
        # A link to /dev/null disables a file.
        if by_name[name].is_file()
        for rule in _parsed(by_name[name])
    ]


def last_rule(rules: Iterable[QueueRule], *, setting: str, known: Mapping[str, str]) -> Outcome:
    """The rule that udev applies last to a device's setting."""
    last: QueueRule | None = None
    undecided: list[QueueRule] = []
    programs: list[QueueRule] = []
    for rule, certain in _carried_out(rules, known):
        if rule.setting != setting:
            continue
        if rule.program:
            # Programs run after all rules, whatever their position.
            programs.append(rule)
        elif certain:
            last, undecided = rule, []
        else:
            undecided.append(rule)
    return Outcome(rule=last, undecided=(*undecided, *programs))


def outvoted(rule: QueueRule | None, *, file: Path, wanted: str) -> str:
    """The rule that overrides ours with another value, in words; empty if there is none."""
    if rule is None or Path(rule.path).name <= file.name or rule.value == wanted:
        return ""
    return f"{rule.path}:{rule.line} is read after {file} and sets '{rule.value}'"


def _carried_out(
    rules: Iterable[QueueRule], known: Mapping[str, str]
) -> Iterator[tuple[QueueRule, bool]]:
    """The rules that are reached and may match, each with whether that is certain."""
    path, skipping_to, perhaps_to = "", "", set[str]()
    for rule in rules:
        if rule.path != path:
            # A jump never leaves its file.
            path, skipping_to, perhaps_to = rule.path, "", set()
        if rule.label:
            skipping_to = "" if rule.label == skipping_to else skipping_to
            perhaps_to.discard(rule.label)
        answer = False if skipping_to else rule.matches(known)
        if answer is False:
            continue
        certain = bool(answer) and not perhaps_to
        if rule.goto and certain:
            skipping_to = rule.goto
        elif rule.goto:
            perhaps_to.add(rule.goto)
        if rule.setting:
            yield rule, certain


def _may(rule: QueueRule) -> str:
    where = f"{rule.path}:{rule.line}"
    if rule.program:
        return f"{where} runs '{rule.program}', which may set it"
    return f"{where} may match this disk and sets '{rule.value}'"


def _answer(condition: tuple[str, str, str], known: Mapping[str, str]) -> bool | None:
    name, operator, pattern = condition
    if name not in known or operator not in ("==", "!=") or "$" in pattern or "%" in pattern:
        return None
    matches = any(fnmatchcase(known[name], part) for part in pattern.split("|"))
    return matches is (operator == "==")


def _parsed(path: Path) -> Iterator[QueueRule]:
    for number, line in _logical_lines(path.read_text(errors="replace")):
        tokens = [(name, sign, value) for name, sign, _unused, value in TOKEN.findall(line)]
        conditions = _conditions(TOKEN.findall(line))
        place: dict[str, Any] = {"conditions": conditions, "path": str(path), "line": number}
        jump = {name: value for name, _unused, value in tokens if name in ("GOTO", "LABEL")}
        if jump.get("LABEL"):
            yield QueueRule(setting="", value="", label=jump["LABEL"], **place)
        for name, sign, value in tokens:
            if name.startswith(QUEUE) and sign in ("=", ":="):
                setting = name.removeprefix(QUEUE).rstrip("}")
                yield QueueRule(setting=setting, value=value, **place)
            if name.startswith("RUN") and sign in ("=", ":=", "+="):
                for setting, writer in WRITERS.items():
                    if writer.search(value) or not (_is_vendors(path) or "{builtin}" in name):
                        yield QueueRule(setting=setting, value="", program=value, **place)
        if jump.get("GOTO"):
            yield QueueRule(setting="", value="", goto=jump["GOTO"], **place)


def _is_vendors(path: Path) -> bool:
    return any(str(path.parent).endswith(folder) for folder in FOLDERS[3:]) and not any(
        str(path.parent).endswith(folder) for folder in FOLDERS[:3]
    )


def _conditions(tokens: Iterable[tuple[str, str, str, str]]) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        # Case-insensitive matches (`i"..."`) stay undecided: their operator is none that we know.
        (name, f"i{sign}" if "i" in prefix else sign, value)
        for name, sign, prefix, value in tokens
        if sign in ("==", "!=") or name.startswith(QUESTIONS)
    )


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    whole, first = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        # A comment between two halves of a rule is not part of it.
        if line.lstrip().startswith("#"):
            continue
        first = first or number
        whole += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        yield first, whole
        whole, first = "", 0
