"""Definitions go to the server many in a message, except those that others must not wait for."""

from __future__ import annotations

from holdfast.sources.postgres.restore.definitions import together
from holdfast.sources.postgres.server.sql_text import statements


def test_what_locks_a_table_more_than_an_index_of_it_is_no_part_of_its_transaction() -> None:
    cluster = 'ALTER TABLE public."T" CLUSTER ON a;'
    identity = "ALTER TABLE ONLY public.t REPLICA IDENTITY USING INDEX b;"
    indexes = [f"CREATE INDEX {name} ON public.t USING btree (id);" for name in "abc"]
    found = statements(
        "\n".join([indexes[0], cluster, indexes[1], identity, indexes[2], indexes[0]])
    )
    assert [[each.text for each in group] for group in together(found)] == [
        [indexes[0]],
        [cluster],
        [indexes[1]],
        [identity],
        [indexes[2], indexes[0]],
    ]
