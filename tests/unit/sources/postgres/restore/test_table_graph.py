"""An index is built as soon as all rows of its table are there, and never before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from holdfast.model.backup import Member, Part, PartKind, Relation
from holdfast.ports.target import RestoreRequest
from holdfast.sources.postgres.restore.load import Batch
from holdfast.sources.postgres.restore.steps import Work, steps
from holdfast.sources.postgres.restore.table_graph import Postponed, Task, tasks
from holdfast.sources.postgres.server.sql_text import statements
from holdfast.sources.postgres.server.table_part import TablePart
from tests.support.kept_parts import kept
from tests.support.manifests import bare_part


def public(name: str) -> Relation:
    return Relation(schema="public", name=name)


def table(name: str, *ancestors: str, through: str = "") -> TablePart:
    return TablePart(
        relation=public(name),
        columns=("id",),
        encoding="UTF8",
        ancestors=tuple(public(each) for each in ancestors),
        load_through=public(through) if through else None,
    )


def part(of: TablePart, *, plain_bytes: int = 10, number: int = 0) -> Part:
    return replace(kept(of, name=f"data/{of.relation.name}-{number}.copy"), plain_bytes=plain_bytes)


def pack(*names: str) -> Part:
    members = tuple(
        Member(
            relation=public(name),
            offset=0,
            plain_bytes=1,
            rows=0,
            details=table(name).member_details(),
        )
        for name in names
    )
    return replace(bare_part("data/pack.sql", PartKind.DATA), members=members)


def works(*found: str) -> Sequence[Work]:
    heading = "-- Name: x; Type: INDEX; Schema: public; Owner: y\n\n"
    (step,) = steps(statements("".join(f"{heading}{each}\n\n" for each in found)))
    return step.works


def key(name: str, kind: str = "PRIMARY KEY") -> str:
    return f"ALTER TABLE ONLY public.{name} ADD CONSTRAINT {name}_key {kind} (id);"


def index(name: str, on: str = "(a)") -> str:
    return f"CREATE INDEX {name}_a ON public.{name} USING btree {on};"


def graph(parts: Iterable[Part], found: Sequence[Work]) -> list[Task]:
    every = tuple(parts)
    return tasks(RestoreRequest(parts=every), [Batch(parts=(each,)) for each in every], found)


def needs(found: Sequence[Task]) -> list[set[str]]:
    """The parts of rows that each piece of work waits for."""
    parts = {each.key: each.batch.parts[0].name for each in found if each.batch}
    return [{parts[need] for need in each.needs if need in parts} for each in found if each.work]


def test_an_index_waits_for_all_rows_of_its_table_and_for_no_others() -> None:
    ranges = [part(table("a"), number=number) for number in (1, 2)]
    found = graph([*ranges, part(table("b"))], works(key("a"), index("b")))
    assert needs(found) == [{"data/a-1.copy", "data/a-2.copy"}, {"data/b-0.copy"}]


def test_an_index_that_may_call_a_function_waits_for_the_rows_of_every_table() -> None:
    found = graph([part(table("a")), part(table("b"))], works(index("a", "(public.f(a))")))
    assert needs(found) == [{"data/a-0.copy", "data/b-0.copy"}]


def test_an_index_of_a_table_in_a_pack_waits_for_the_pack() -> None:
    found = graph([pack("a", "b"), part(table("c"))], works(index("b")))
    assert needs(found) == [{"data/pack.sql"}]


def test_an_index_of_a_partitioned_table_waits_for_the_rows_of_all_its_partitions() -> None:
    parts = [part(table("p1", "p", "root")), part(table("p2", "root")), part(table("c"))]
    assert needs(graph(parts, works(key("root")))) == [{"data/p1-0.copy", "data/p2-0.copy"}]


def test_an_index_of_a_partition_waits_for_all_rows_that_the_server_may_route_to_it() -> None:
    routed = [part(table(name, "root", through="root")) for name in ("p1", "p2")]
    found = graph([*routed, part(table("c"))], works(index("p1"), index("unknown"), index("c")))
    both = {"data/p1-0.copy", "data/p2-0.copy"}
    assert sorted(needs(found), key=len) == [{"data/c-0.copy"}, both, both]


def test_what_is_ready_on_the_largest_table_is_begun_first_and_rows_after_it() -> None:
    parts = [part(table("big"), plain_bytes=900), part(table("small"))]
    found = graph(parts, works(index("small"), key("big"), index("big")))
    assert [next(iter(each.work.tables)).name if each.work else "rows" for each in found] == [
        *("big", "big", "small"),
        *("rows", "rows"),
    ]


def test_every_task_can_be_done_after_those_that_it_needs() -> None:
    names = [f"t{number}" for number in range(9)]
    found = graph(
        [part(table(name)) for name in names],
        works(
            *(key(name) for name in names),
            *(index(name) for name in names),
            *(index(name, "(public.f(a))") for name in names),
        ),
    )
    done: set[object] = set()
    while ready := [each for each in found if each.key not in done and each.needs <= done]:
        done.update(each.key for each in ready)
    assert len(done) == len(found) == 36


def test_work_on_tables_that_lack_rows_waits_and_so_does_what_needs_it() -> None:
    primary, unique, other, calling = works(
        key("a"), key("a", "UNIQUE"), key("b"), index("c", "(public.f(a))")
    )
    postponed, lacking = Postponed(), {public("a")}
    assert not postponed.takes(other, lacking=lacking)
    assert postponed.takes(primary, lacking=lacking)
    assert postponed.takes(unique, lacking=set())
    assert postponed.takes(calling, lacking=lacking)
    assert [each.number for each in postponed.works] == [0, 1, 3]
    # What was done before is not among the work for later, which would wait for it for ever.
    assert [each.needs for each in postponed.works] == [set(), {0}, {0, 1}]
