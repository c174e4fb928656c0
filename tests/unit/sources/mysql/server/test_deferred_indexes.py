"""Which indexes wait for the rows, and what a table is without them."""

from __future__ import annotations

import pytest

from holdfast.sources.mysql.server.deferred_indexes import built, split


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
