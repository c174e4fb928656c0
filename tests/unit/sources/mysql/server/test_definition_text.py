from __future__ import annotations

import pytest

from holdfast.sources.mysql.server.definition_text import (
    built,
    in_order,
    of_tables,
    own_libraries,
    replacing,
    split,
    tables_read,
    trigger_here,
    with_row_format,
    without_database,
    without_definer,
)


@pytest.mark.parametrize(
    ("printed", "neutral"),
    [
        (b"`id` int DEFAULT nextval(`shop`.`s`)", b"`id` int DEFAULT nextval(`s`)"),
        (b"COMMENT 'nextval(`shop`.`s`)'", b"COMMENT 'nextval(`shop`.`s`)'"),
        (b"COMMENT 'it''s \\' nextval(`shop`.`s`)'", b"COMMENT 'it''s \\' nextval(`shop`.`s`)'"),
        (
            b"select `shop`.`t`.`id` AS `id` from (`shop`.`t` join `far`.`u`)",
            b"select `t`.`id` AS `id` from (`t` join `far`.`u`)",
        ),
        # A table's alias may be called like the database: two names are alias and column.
        (
            b"select `shop`.`id` AS `id` from `t` `shop`",
            b"select `shop`.`id` AS `id` from `t` `shop`",
        ),
        (b"select ' from `shop`.`t`'", b"select ' from `shop`.`t`'"),
    ],
)
def test_a_definition_loses_its_own_database_and_nothing_else(
    printed: bytes, neutral: bytes
) -> None:
    assert without_database(printed, "shop") == neutral


JAVASCRIPT = (
    b"CREATE FUNCTION `f`(n int) RETURNS int\n    LANGUAGE JAVASCRIPT\n    USING (%b)\nAS $$ %b $$"
)


def test_a_routine_finds_its_libraries_in_whatever_database_it_is_restored_to() -> None:
    body = b"x.f(n) // USING (`shop`.`l`)"
    printed = JAVASCRIPT % (b"`shop`.`l` AS `a ``shop`, `far`.`l`, `shop`.`shop`", body)
    assert own_libraries(printed, "shop") == (
        JAVASCRIPT % (b"`l` AS `a ``shop`, `far`.`l`, `shop`", body)
    )


def test_a_routine_without_libraries_stays_unchanged() -> None:
    printed = b"CREATE PROCEDURE `p`() SELECT * FROM a JOIN b USING (`shop`)"
    assert own_libraries(printed, "shop") == printed


@pytest.mark.parametrize(
    "head",
    [
        b"trigger shop.tr before insert on shop.t\nfor each row",
        b"TRIGGER `shop`.`tr` BEFORE INSERT ON `shop` . `t` FOR EACH ROW",
        b"TRIGGER IF NOT EXISTS `tr` BEFORE INSERT ON t FOR  EACH ROW",
    ],
)
def test_a_trigger_is_put_into_whatever_database_it_is_restored_to(head: bytes) -> None:
    made = trigger_here(b"CREATE DEFINER=`a b`@`%` " + head + b" SET NEW.a = 'shop.t'")
    assert b"shop." not in made.replace(b"'shop.t'", b"")
    assert made.startswith(b"CREATE DEFINER=`a b`@`%` TRIGGER ")
    assert made.endswith(b" FOR EACH ROW SET NEW.a = 'shop.t'")


def test_a_view_comes_after_the_views_that_it_reads() -> None:
    views = {
        "a": b"select `m`.`x` AS `z` from (`m` join `t`)",
        "m": b"select (select count(0) from `z`) AS `a` from (`t` left join `z` on(1))",
        "z": b"select `t`.`m` AS `m`,' from `a`' AS `text` from `t`",
    }
    assert in_order(views) == ["z", "m", "a"]
    assert tables_read(views["z"]) == {"t"}


def test_views_that_seem_to_read_each_other_still_come_once_each() -> None:
    assert in_order({"a": b"select 1 from `b`", "b": b"select 1 from `a`"}) == ["b", "a"]


def test_a_view_is_read_after_every_kind_of_join_and_never_in_another_database() -> None:
    view = b"select straight_join `b`.`a` AS `a` from (`other` `b` straight_join `z` on(1))"
    assert tables_read(view) == {"other", "z"}
    assert tables_read(b"select `z`.`a` AS `a` from `z`.`t` join `y`") == {"y"}


def test_a_view_loses_and_replaces_what_it_is_asked_to() -> None:
    view = b"CREATE ALGORITHM=UNDEFINED DEFINER=`a b`@`%` SQL SECURITY DEFINER VIEW `v` AS select 1"
    assert without_definer(view) == (
        b"CREATE ALGORITHM=UNDEFINED SQL SECURITY DEFINER VIEW `v` AS select 1"
    )
    assert replacing(view).startswith(b"CREATE OR REPLACE ALGORITHM=UNDEFINED DEFINER=`a b`@`%` ")


def test_a_table_gets_the_format_of_long_keys_unless_it_names_one() -> None:
    table = b"CREATE TABLE `t` (\n  `a` int COMMENT ') ENGINE=InnoDB'\n) ENGINE=InnoDB COMMENT='x'"
    assert with_row_format(table) == table.replace(
        b"InnoDB COMMENT", b"InnoDB ROW_FORMAT=DYNAMIC COMMENT"
    )
    for other in (
        table.replace(b" COMMENT='x'", b" ROW_FORMAT=COMPRESSED"),
        table.replace(b"\n) ENGINE=InnoDB", b"\n) ENGINE=MyISAM"),
    ):
        assert with_row_format(other) == other


def table(*lines: str, options: str = ") ENGINE=InnoDB") -> bytes:
    body = ",\n".join(f"  {line}" for line in lines)
    return f"CREATE TABLE `t` (\n{body}\n{options}".encode()


ID = "`id` int NOT NULL"
K = "`k` int DEFAULT NULL"


def test_plain_indexes_are_taken_out_and_everything_else_stays() -> None:
    whole = table(
        *(ID, K, "PRIMARY KEY (`id`)", "UNIQUE KEY `u` (`k`,`id`)"),
        *("KEY `k` (`k`)", "KEY `a``b` (`id`,`k`) COMMENT 'x, y'", "FULLTEXT KEY `f` (`c`)"),
        "CONSTRAINT `c` CHECK (`k` > 0)",
    )
    left, keys = split(whole)
    assert left == table(
        *(ID, K, "PRIMARY KEY (`id`)", "UNIQUE KEY `u` (`k`,`id`)"),
        *("FULLTEXT KEY `f` (`c`)", "CONSTRAINT `c` CHECK (`k` > 0)"),
    )
    assert keys == (b"KEY `k` (`k`)", b"KEY `a``b` (`id`,`k`) COMMENT 'x, y'")
    assert built("t", keys).sql == (
        b"ALTER TABLE `t`\n  ADD KEY `k` (`k`),\n  ADD KEY `a``b` (`id`,`k`) COMMENT 'x, y';\n"
    )


def test_no_comma_is_left_where_the_last_line_was_an_index() -> None:
    partitions = ") ENGINE=InnoDB\n PARTITION BY HASH (`id`)\nPARTITIONS 4"
    left, keys = split(table(ID, K, "PRIMARY KEY (`id`)", "KEY `k` (`k`)", options=partitions))
    assert left == table(ID, K, "PRIMARY KEY (`id`)", options=partitions)
    assert keys == (b"KEY `k` (`k`)",)


@pytest.mark.parametrize(
    "lines",
    [
        (ID, "PRIMARY KEY (`id`)"),
        (ID, K, "KEY `k` (`k`)", "CONSTRAINT `f` FOREIGN KEY (`k`) REFERENCES `p` (`id`)"),
        (ID, K, "KEY `k` (`k`)", "SPATIAL KEY `s` (`g`)"),
        ("`id` int NOT NULL AUTO_INCREMENT", K, "PRIMARY KEY (`k`)", "KEY `id` (`id`)"),
        ("`a\n  KEY `k` (`b`)", K, "KEY `k` (`k`)"),
        (ID, "`c` text COMMENT 'a\n  KEY `k` (`b`),'", "KEY `k` (`c`(9))"),
    ],
    ids=["none", "foreign key", "spatial", "counted", "a name of two lines", "a text of two"],
)
def test_a_table_that_needs_one_of_its_indexes_keeps_all(lines: tuple[str, ...]) -> None:
    assert split(table(*lines)) == (table(*lines), ())


def test_a_number_that_counts_up_needs_only_the_index_that_begins_with_it() -> None:
    counted = "`id` int NOT NULL AUTO_INCREMENT"
    left, keys = split(table(counted, K, "PRIMARY KEY (`id`)", "KEY `k` (`k`)"))
    assert (left, keys) == (table(counted, K, "PRIMARY KEY (`id`)"), (b"KEY `k` (`k`)",))


@pytest.mark.parametrize("text", ["'FOREIGN KEY ('", "'AUTO_INCREMENT'"])
def test_what_a_comment_says_is_not_taken_for_a_definition(text: str) -> None:
    commented = f"`c` int DEFAULT NULL COMMENT {text}"
    left, keys = split(table(ID, commented, "PRIMARY KEY (`id`)", "KEY `c` (`c`)"))
    assert keys == (b"KEY `c` (`c`)",)
    assert left == table(ID, commented, "PRIMARY KEY (`id`)")


class CountedName(str):
    """A name that counts how often it is looked up."""

    __slots__ = ()
    lookups = 0

    def __hash__(self) -> int:
        CountedName.lookups += 1
        return super().__hash__()


def test_finding_the_definitions_of_many_tables_takes_a_few_lookups_each() -> None:
    names = [CountedName(f"small{number}") for number in range(300)]
    shown: dict[str, bytes] = {str(name): name.encode() for name in names[:200]}
    shown["dropped"] = b""

    CountedName.lookups = 0
    found = of_tables(shown, names)

    assert [*found.items()] == [(str(name), name.encode()) for name in names[:200]]
    assert CountedName.lookups <= 3 * len(names)
