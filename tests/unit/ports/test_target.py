"""Each restore option is checked in one place; a target refuses unsupported ones by name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from holdfast.model.backup import Relation
from holdfast.model.errors import Unsupported
from holdfast.ports.target import WHOLE, RestoreOptions, RestoreRequest, Way

OPTIONS = {each.name: each for each in fields(RestoreOptions)}
ASKED: dict[str, Any] = {"tables": ("t",), "schemas": ("s",)}
ORDERS = Relation(schema="public", name="orders")


def request_with(name: str) -> RestoreRequest:
    """A request that asks for one option: the opposite of what it is by default."""
    asked: Any = ASKED[name] if name in ASKED else not OPTIONS[name].default
    tables = (ORDERS,) if name == "tables" else ()
    return RestoreRequest(parts=(), options=RestoreOptions(**{name: asked}), tables=tables)


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_obeyed_or_refused_by_every_way_of_restoring(name: str, way: Way) -> None:
    request, option = request_with(name), OPTIONS[name]
    if way in option.metadata["ways"]:
        request.require_obeyed(way, into="there")
        return
    with pytest.raises(Unsupported) as refused:
        request.require_obeyed(way, into="there")
    because, hint = way.value
    words = option.metadata["words"]
    assert refused.value.message == f"cannot restore {words} into there: {because}"
    assert refused.value.hint == hint


@pytest.mark.parametrize("way", Way)
def test_what_is_as_it_was_backed_up_is_never_refused(way: Way) -> None:
    RestoreRequest(parts=(), options=WHOLE).require_obeyed(way, into="there")


@pytest.mark.parametrize(
    ("way", "refused"),
    [
        (Way.SQL, {"data_only", "triggers", "owners", "privileges", "tablespaces"}),
        (Way.CLUSTER, set(OPTIONS)),
        (Way.DATADIR, set(OPTIONS) - {"overwrite", "globals"}),
        (Way.STANDING_TABLES, {"keep_going"}),
        (Way.ROWS_OF_DUMP, {"keep_going", "overwrite"}),
        (Way.PLAIN_DUMP, set(OPTIONS) - {"overwrite", "globals", "keep_going"}),
        (Way.DUMP, set()),
        (Way.ROWS, set()),
    ],
)
def test_which_options_a_way_of_restoring_refuses(way: Way, refused: set[str]) -> None:
    assert {each for each in OPTIONS if way not in OPTIONS[each].metadata["ways"]} == refused
