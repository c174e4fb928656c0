"""Which tables a job covers."""

from __future__ import annotations

import pytest

from holdfast.model.backup import Relation, Selection
from holdfast.sources.mysql.server.options import Options


@pytest.mark.parametrize(
    ("include", "exclude", "chosen"),
    [
        (("*",), (), ["orders", "log_1", "log_2"]),
        (("*",), ("log_*",), ["orders"]),
        (("log_*",), ("shop.log_2",), ["log_1"]),
        (("shop.orders",), (), ["orders"]),
        (("other.*",), (), []),
        (("orders", "absent"), (), ["orders"]),
    ],
)
def test_patterns_are_of_a_name_or_of_database_and_name(
    include: tuple[str, ...], exclude: tuple[str, ...], chosen: list[str]
) -> None:
    options = Options(tables=Selection(include=include, exclude=exclude))
    names = ["orders", "log_1", "log_2"]
    assert [n for n in names if options.wants(Relation(schema="shop", name=n))] == chosen


def test_a_table_that_was_named_and_is_not_there_is_missed() -> None:
    tables = Selection(include=("orders", "shop.items", "log_*"))
    assert Options(tables=tables).missing("shop", {"items"}) == ["orders"]
    assert Options().missing("shop", set()) == []


def test_of_several_databases_only_the_one_that_was_named_must_have_the_table() -> None:
    options = Options(
        databases=Selection(include=("*",)), tables=Selection(include=("orders", "shop.items"))
    )
    assert options.missing("wiki", set()) == []
    assert options.missing("shop", set()) == ["shop.items"]


def test_views_and_routines_come_only_where_no_tables_were_named() -> None:
    assert Options().takes_all_objects
    assert Options(tables=Selection(include=("*",), exclude=("log",))).takes_all_objects
    assert not Options(tables=Selection(include=("orders",))).takes_all_objects
