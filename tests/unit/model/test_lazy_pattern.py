"""Regular expressions that are compiled late are those that `re` would have made."""

from __future__ import annotations

import copy
import gc
import pkgutil
import re
from importlib import import_module

import pytest

import holdfast
from holdfast.model.lazy_pattern import _Late, regex


def test_a_pattern_is_compiled_at_its_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = list[object]()
    compile_ = re.compile

    def noted(text: str, flags: int = 0) -> re.Pattern[str]:
        compiled.append(text)
        return compile_(text, flags)

    monkeypatch.setattr(re, "compile", noted)
    made = regex("(a)(b)?")
    assert not compiled
    assert [each is not None for each in map(made.fullmatch, ("a", "ab", "b"))] == [
        True,
        True,
        False,
    ]
    assert made.fullmatch("ab") is not None
    assert compiled == ["(a)(b)?"]


def test_a_pattern_does_what_the_compiled_one_does() -> None:
    for text, flags in ((r"\s*(\w+)", 0), (r"[A-Z]+", re.IGNORECASE), (r"^b", re.MULTILINE)):
        made, known = regex(text, flags), re.compile(text, flags)
        subject = "a b\nbC  d"
        assert made.findall(subject) == known.findall(subject)
        assert made.sub("x", subject) == known.sub("x", subject)
        assert made.split(subject) == known.split(subject)
        assert [each.span() for each in made.finditer(subject)] == [
            each.span() for each in known.finditer(subject)
        ]
        assert (made.pattern, made.flags, made.groups) == (known.pattern, known.flags, known.groups)
        assert repr(made) == repr(known)
    assert regex(rb"\d").search(b"a1") is not None
    assert copy.copy(regex("a")).match("a")


def test_a_mistake_is_raised_at_the_first_use() -> None:
    with pytest.raises(re.error, match="unterminated"):
        regex("(").match("a")


def test_all_patterns_of_ours_can_be_compiled() -> None:
    for found in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        import_module(found.name)
    ours = [each for each in gc.get_objects() if type(each) is _Late]
    assert len(ours) > 50
    assert all(each.pattern == each._text for each in ours)
