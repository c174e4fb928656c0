"""Which backups are suspicious beside those before them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.model.backup import Server, Summary
from holdfast.model.suspicion import Suspicion
from tests.support.manifests import manifest

MIB = 1 << 20
RULE = Suspicion()


def backup(mib: int, rows: int = 1000, *, database: str = "shop", parent: str = "") -> Summary:
    made = manifest().summary
    return replace(
        made,
        name=f"{made.name[:-8]}{mib % 10**8:08d}",
        plain_bytes=mib * MIB,
        rows=rows,
        server=Server(kind="postgres", version="17", database=database),
        parent=parent,
    )


USUAL = [backup(100 + number) for number in range(7)]


@pytest.mark.parametrize(
    ("found", "earlier", "why"),
    [
        (backup(100), USUAL, ""),
        (backup(52), USUAL, ""),
        (backup(51), USUAL, "it has 51.0 MiB, and the median of the 7 backups before it is 103.0"),
        (backup(154), USUAL, ""),
        (backup(155), USUAL, "it has 155.0 MiB"),
        (backup(100, 499), USUAL, "it has 499 rows, and the median of the 7 backups before it"),
        (backup(100, 0), USUAL, "it has 0 rows"),
        (backup(100, 1501), USUAL, "it has 1501 rows"),
        (backup(50), USUAL[:2], ""),
        (backup(50), USUAL[:3], "median of the 3 backups"),
        (backup(1, 1), [backup(15)] * 7, ""),
        (backup(1, 1), [backup(16)] * 7, "it has 1 row,"),
        (backup(51, database="other"), USUAL, ""),
        (backup(1, 1, parent="shop/1"), USUAL, ""),
        # Rows are not counted in a physical backup.
        (backup(100, 0), [backup(100, 0)] * 7, ""),
        # Only the last seven count.
        (backup(51), [backup(50)] * 7 + [backup(500)] * 20, ""),
    ],
)
def test_a_backup_is_compared_with_the_median_of_those_before_it(
    found: Summary, earlier: list[Summary], why: str
) -> None:
    told = RULE.of(found, earlier)
    assert (why in told) if why else (told == "")


def test_every_suspicious_backup_of_a_list_and_the_newest_of_each_database_are_found() -> None:
    small, tiny = backup(10), backup(2, database="other")
    others = [backup(200 + number, database="other") for number in range(3)]
    newest_first = [USUAL[0], small, tiny, *others, *USUAL[1:]]
    assert list(RULE.all_of(newest_first)) == [small.backup_id, tiny.backup_id][::-1]
    assert list(RULE.newest_of_each(newest_first)) == [tiny.backup_id]
