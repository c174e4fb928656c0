from __future__ import annotations

import pytest

from holdfast.model.backup import Relation
from holdfast.sources.postgres.server.table_part import TablePart
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
