"""docs/errors.md and errors.py agree."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from holdfast.model import errors
from holdfast.model.errors import HoldfastError, Reported

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/errors.md"


def error_classes() -> dict[str, int]:
    return {
        name: found.exit_code
        for name, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, Reported) and found not in (Reported, HoldfastError)
    }


def test_every_error_is_listed_with_its_code_and_no_other_is() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert {name: int(code) for code, name in rows} == error_classes()
    assert len(rows) == len(error_classes())


def test_every_class_owns_its_code() -> None:
    codes = list(error_classes().values())
    assert len(set(codes)) == len(codes)
    assert not {0, 1, 2} & set(codes)


def test_every_class_says_when_it_is_raised() -> None:
    assert all(getattr(errors, name).__doc__ for name in error_classes())
