"""Compares a kernel key's value as an operator writes it with the value as the kernel shows it."""

from __future__ import annotations

import re

# As the kernel's own strtoul with base 0: a leading zero means octal, 0x hexadecimal.
NUMBER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
# Sets of numbers: ports, processors. The kernel sorts them and joins neighbours.
NUMBER_SET = re.compile(r"[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*")
MASK = re.compile(r"[0-9a-fA-F]{1,8}(?:,[0-9a-fA-F]{8})+")
LONGEST_RANGE = 65536


def normalised(value: object) -> str:
    """The value with every run of blanks and tabs replaced by one blank."""
    return " ".join(str(value).split())


def same_value(wanted: str, shown: str) -> bool:
    """Whether the kernel may show `shown` for `wanted`: the same words, numbers and sets."""
    ours, theirs = wanted.split(), shown.split()
    return len(ours) == len(theirs) and all(map(_same_word, ours, theirs))


def is_zero(value: str) -> bool:
    """Whether the kernel reads the value as 0."""
    return number(value) == 0


def number(word: str) -> int | None:
    """The number as the kernel reads it; None for other words."""
    if not NUMBER.fullmatch(word):
        return None
    digits = word.lstrip("-")
    base = 16 if digits[:2].lower() == "0x" else 8 if digits.startswith("0") else 10
    return int(digits, base) * (-1 if word.startswith("-") else 1)


def _same_word(wanted: str, shown: str) -> bool:
    if wanted == shown:
        return True
    if (ours := number(wanted)) is not None and (theirs := number(shown)) is not None:
        return ours == theirs
    # The kernel shows a mask in groups of eight digits; an operator may omit leading zeros.
    if MASK.fullmatch(shown) and re.fullmatch(r"[0-9a-fA-F,]+", wanted):
        return int(shown.replace(",", ""), 16) == int(wanted.replace(",", "") or "0", 16)
    ours_set, theirs_set = _set(wanted), _set(shown)
    return ours_set is not None and ours_set == theirs_set


def _set(word: str) -> frozenset[int] | None:
    if not NUMBER_SET.fullmatch(word):
        return None
    found: set[int] = set()
    for part in word.split(","):
        first, _unused, last = part.partition("-")
        low, high = int(first), int(last or first)
        if high < low or high - low > LONGEST_RANGE:
            return None
        found.update(range(low, high + 1))
    return frozenset(found)
