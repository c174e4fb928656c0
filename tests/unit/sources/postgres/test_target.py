"""Both engines refuse what a backup cannot restore before they connect to a server."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import pytest

from holdfast.model.backup import Part, PartKind, Relation
from holdfast.model.errors import DatabaseUnreachable, HoldfastError, RestoreFailed, Unsupported
from holdfast.model.part_details import PostgresDump
from holdfast.ports.target import RestoreRequest
from holdfast.sources.postgres.dump.pg_dump_archive import CUSTOM, PLAIN
from holdfast.sources.postgres.server.table_part import TablePart
from holdfast.sources.postgres.target import PostgresTarget
from tests.fakes.progress import FakeProgress
from tests.fakes.stored import FakeStored
from tests.support.kept_parts import kept
from tests.support.manifests import bare_part

ORDERS = Relation(schema="public", name="orders")
GONE = Relation(schema="public", name="gone")
ROWS = kept(TablePart(relation=ORDERS, columns=("id",), encoding="UTF8"))


def dump(form: str) -> Part:
    details = PostgresDump(
        format=form, creation={}, pg_dump_major=17, tables='[[1,"public","orders",[]]]'
    )
    return replace(bare_part("shop.dump", PartKind.ARCHIVE), details=details)


def restored(part: Part, *tables: Relation) -> None:
    target = PostgresTarget(url="host=/nonexistent dbname=shop user=holdfast")
    request = RestoreRequest(parts=(part,), tables=tables)
    target.restore(request, FakeStored(never), FakeProgress())


def never(part: Part) -> NoReturn:
    pytest.fail(f"'{part.name}' was read")


@pytest.mark.parametrize(
    ("part", "table", "error", "said"),
    [
        (ROWS, GONE, RestoreFailed, "the backup does not hold its rows"),
        (dump(CUSTOM), GONE, RestoreFailed, "the backup has no rows of it"),
        (dump(PLAIN), ORDERS, Unsupported, "a dump in plain SQL can only be restored as a whole"),
    ],
    ids=["built-in", "custom", "plain"],
)
def test_what_a_backup_cannot_bring_back_is_refused_before_the_server_is_asked(
    part: Part, table: Relation, error: type[HoldfastError], said: str
) -> None:
    with pytest.raises(error, match=said):
        restored(part, table)


@pytest.mark.parametrize("part", [ROWS, dump(CUSTOM)], ids=["built-in", "custom"])
def test_what_it_can_bring_back_is_asked_of_the_server(part: Part) -> None:
    with pytest.raises(DatabaseUnreachable):
        restored(part, ORDERS)
