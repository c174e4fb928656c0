from __future__ import annotations

import pytest

from holdfast.model.backup import Selection

NAMES = ["shop", "shop_archive", "stock", "odd*name", "Größe"]


@pytest.mark.parametrize(
    ("include", "exclude", "chosen"),
    [
        (("*",), (), NAMES),
        (("*",), ("shop*",), ["stock", "odd*name", "Größe"]),
        (("shop", "Gr*"), (), ["shop", "Größe"]),
        (("SHOP",), (), ["SHOP"]),
        (("wiki", "stock"), (), ["stock", "wiki"]),
        (("wiki", "w*"), ("wiki",), []),
        (("odd[*]name",), (), ["odd*name"]),
    ],
)
def test_names_are_chosen_by_pattern_and_a_plain_one_is_never_lost(
    include: tuple[str, ...], exclude: tuple[str, ...], chosen: list[str]
) -> None:
    assert Selection(include=include, exclude=exclude).of(NAMES) == chosen
