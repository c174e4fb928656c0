"""Samples of our texts are repeatable, and each finds its older version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.house.samples import KINDS, Sample, draw, earlier, samples_of

MODULE = '''"""What the module is good for, in one sentence."""


class Shop:
    def open(self) -> None:
        """Open the shop for all of its customers."""
        raise ValueError(f"cannot open '{self}': the door is locked")
'''
PAGE = """# Opening

The shop opens for its customers at nine.

```sh
this is no paragraph at all
```

| neither is | this row of a table |
"""


@pytest.fixture
def drawn_from(tmp_path: Path) -> list[Sample]:
    for name, text in (("src/shop.py", MODULE), ("docs/shop.md", PAGE)):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    return list(samples_of(tmp_path, [tmp_path / "src/shop.py", tmp_path / "docs/shop.md"]))


def test_texts_are_found_with_the_function_or_heading_around_them(drawn_from: list[Sample]) -> None:
    assert [(each.kind, each.line, each.place) for each in drawn_from] == [
        ("docstring", 1, ""),
        ("docstring", 6, "Shop.open"),
        ("message", 7, "Shop.open"),
        ("paragraph", 3, "Opening"),
    ]


def test_a_seed_draws_the_same_texts_again() -> None:
    texts = [Sample(kind, "f", line, "", "text") for kind in KINDS for line in range(50)]
    drawn = draw(texts, seed=16, count=40)
    assert drawn == draw(texts, seed=16, count=40) != draw(texts, seed=17, count=40)
    assert sorted(sum(each.kind == kind for each in drawn) for kind in KINDS) == [13, 13, 14]


@pytest.mark.parametrize(
    ("changed", "file", "found"),
    [
        ("Let every customer in, whatever the hour.", "old.py", True),
        ("Open the shop for all customers.", "elsewhere.py", True),
        ("Nothing that was ever said before.", "elsewhere.py", False),
    ],
)
def test_the_older_text_is_that_of_the_same_place_or_a_similar_one(
    changed: str, file: str, found: bool, drawn_from: list[Sample]
) -> None:
    """A docstring of the same function in the renamed file needs no similar words."""
    now = replace(drawn_from[1], text=changed)
    old = [replace(each, file="old.py") for each in drawn_from]
    assert earlier(now, old, old_file=file) == (old[1] if found else None)
