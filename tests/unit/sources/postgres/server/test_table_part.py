from __future__ import annotations

import pytest

from holdfast.model.backup import Relation
from holdfast.sources.postgres.server.table_part import (
    METHOD,
    Pages,
    TablePart,
    checksum,
    digest_of,
    piece,
    question,
)
from tests.support.kept_parts import kept

ORDERS = Relation(schema="public", name="orders")


def test_a_table_is_copied_column_by_column_in_its_own_encoding() -> None:
    part = TablePart(relation=ORDERS, columns=("id", 'odd "name"'), encoding="LATIN1")
    assert part.copy_out("STDOUT") == (
        'COPY "public"."orders" ("id", "odd ""name""") TO STDOUT (FORMAT text, ENCODING \'LATIN1\')'
    )
    assert part.copy_in(freeze=True) == (
        'COPY "public"."orders" ("id", "odd ""name""")'
        " FROM STDIN (FORMAT text, ENCODING 'LATIN1', FREEZE)"
    )


def test_a_table_without_columns_is_copied_without_a_list() -> None:
    part = TablePart(relation=ORDERS, columns=(), encoding="UTF8")
    assert part.copy_out("STDOUT") == (
        'COPY "public"."orders" TO STDOUT (FORMAT text, ENCODING \'UTF8\')'
    )


def test_only_the_users_rows_of_an_extension_table_are_copied() -> None:
    part = TablePart(
        relation=ORDERS, columns=("id",), encoding="UTF8", condition="WHERE NOT builtin"
    )
    assert part.copy_out("STDOUT") == (
        'COPY (SELECT "id" FROM ONLY "public"."orders" WHERE NOT builtin)'
        " TO STDOUT (FORMAT text, ENCODING 'UTF8')"
    )
    assert not part.owns_every_row


def test_rows_that_need_new_routing_go_through_the_root() -> None:
    root = Relation(schema="public", name="root")
    part = TablePart(relation=ORDERS, columns=("id",), encoding="UTF8", load_through=root)
    assert part.copy_in(freeze=False).startswith('COPY "public"."root" ("id") FROM STDIN')
    assert not part.owns_every_row


@pytest.mark.parametrize(
    "part",
    [
        TablePart(relation=ORDERS, columns=(), encoding="UTF8"),
        TablePart(
            relation=ORDERS,
            columns=("a", "ä\n"),
            encoding="SQL_ASCII",
            condition="WHERE x",
            ancestors=(Relation(schema="s", name="n"), Relation(schema="s.", name='"')),
            load_through=Relation(schema="s.", name='"'),
        ),
    ],
)
def test_what_the_manifest_keeps_is_enough_to_read_the_part(part: TablePart) -> None:
    assert TablePart.of(kept(part)) == part


OTHER = 'CASE num_nulls("a") WHEN 0 THEN hashtextextended(concat("a") COLLATE "C", 0) END'


def table(*columns: str, pages: Pages | None = None) -> TablePart:
    return TablePart(
        relation=Relation(schema="s", name="t"),
        columns=columns,
        encoding="UTF8",
        pages=pages,
    )


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("integer", '"a"'),
        ("numeric(10,-2)", '"a"'),
        ("timestamp(3) with time zone", '"a"'),
        ("text", 'hashtextextended("a" COLLATE "C", 0)'),
        ("character varying(9)", 'hashtextextended("a" COLLATE "C", 0)'),
        ("bytea", 'sha256("a")'),
        # What may hold a comma, or be empty, or be anybody's.
        *(
            (kind, OTHER)
            for kind in ("character(3)", "money", "integer[]", "public.integer", "xml")
        ),
    ],
)
def test_a_value_is_text_without_a_comma_and_empty_for_null_alone(kind: str, text: str) -> None:
    assert piece("a", kind) == text


def test_rows_are_summed_up_in_one_question_whatever_the_order_of_columns() -> None:
    types = {"a": "integer", "b": "date"}
    expected = (
        "SELECT 7, count(*), coalesce(sum(hashtextextended("
        'concat("a", \',\', "b") COLLATE "C", 0)), 0) FROM ONLY "s"."t"'
    )
    assert question(table("a", "b"), types, label=7) == expected
    assert question(table("b", "a"), types, label=7) == expected


def test_a_range_is_asked_for_alone() -> None:
    types = {"a": "integer"}
    ranged = question(table("a", pages=Pages(first=3, after=9)), types)
    assert ranged.endswith("FROM ONLY \"s\".\"t\" WHERE ctid >= '(3,0)' AND ctid < '(9,0)'")


def test_more_columns_than_a_function_takes_are_put_together_by_groups() -> None:
    columns = tuple(f"c{number:04d}" for number in range(1600))
    asked = question(table(*columns), dict.fromkeys(columns, "integer"))
    assert asked.count("concat(") == 35
    assert all(f'"{column}"' in asked for column in columns)
    assert "hashtextextended('' COLLATE" in question(table(), {})


def test_a_checksum_is_never_negative_and_counts_its_rows() -> None:
    assert checksum(0, 0) == f"{METHOD}:0"
    assert checksum(1, -(1 << 63)) == f"{METHOD}:0"
    assert checksum(2, 5) == f"{METHOD}:{5 + (1 << 64)}"


def test_a_digest_of_columns_depends_on_their_types_and_not_on_their_order() -> None:
    assert digest_of({"a": "integer", "b": "text"}) == digest_of({"b": "text", "a": "integer"})
    assert digest_of({"a": "integer"}) != digest_of({"a": "bigint"})
    assert len(digest_of({})) == 16
