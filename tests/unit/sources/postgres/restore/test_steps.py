from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from holdfast.model.backup import Relation
from holdfast.sources.postgres.restore.steps import Step, steps
from holdfast.sources.postgres.server.sql_text import statements

NO_SIZES: Mapping[str, int] = {}


def entry(kind: str, *statements: str) -> str:
    heading = f"--\n-- Name: x; Type: {kind}; Schema: public; Owner: y\n--\n\n"
    return heading + "\n".join(statements) + "\n\n"


def constraint(table: str, name: str, kind: str = "PRIMARY KEY (id)") -> str:
    return entry("CONSTRAINT", f"ALTER TABLE ONLY {table}\n    ADD CONSTRAINT {name} {kind};")


def foreign_key(table: str, other: str, only: str = "ONLY ") -> str:
    text = (
        f"ADD CONSTRAINT fk FOREIGN KEY (a, b) REFERENCES public.{other}(id, b) ON DELETE CASCADE;"
    )
    return entry("FK CONSTRAINT", f"ALTER TABLE {only}public.{table}\n    {text}")


def index(table: str, name: str, on: str = "(a, b)", *more: str) -> str:
    return entry("INDEX", f"CREATE INDEX {name} ON {table} USING btree {on};", *more)


def found(
    *entries: str,
    small: Sequence[str] = (),
    packs: int = 1,
    large: Sequence[str] = (),
    sizes: Mapping[str, int] = NO_SIZES,
) -> list[Step]:
    named = {
        Relation(schema="public", name=name): f"pack-{number % packs}"
        for number, name in enumerate(small)
    }
    names = {Relation(schema="public", name=name) for name in large}
    by_relation = {Relation(schema="public", name=name): size for name, size in sizes.items()}
    every = statements("".join(entries))
    return list(steps(every, small=named, large=names, sizes=by_relation))


def first_words(step: Step) -> list[str]:
    return [work.statements[0].text.split("\n")[0][:28] for work in step.works]


def test_whatever_is_no_index_parts_those_before_it_from_those_after_it() -> None:
    view = entry("MATERIALIZED VIEW", "CREATE MATERIALIZED VIEW public.mv AS SELECT 1;")
    made = found(constraint("public.t", "t_pkey"), view, index("public.mv", "mv_i"))
    assert [step.alone for step in made] == [False, True, False]


def test_constraints_of_one_table_wait_for_each_other_and_plain_indexes_for_their_tables() -> None:
    (step,) = found(
        constraint("public.a", "a_pkey"),
        constraint("public.b", "b_pkey"),
        constraint("public.a", "a_key", "UNIQUE (b)"),
        index("public.a", "a_i"),
        index('public."b; (c"', "other_i"),
    )
    assert [(work.number, work.needs) for work in step.works] == [
        (0, frozenset()),
        (1, frozenset()),
        (2, {0}),
        (3, {2}),
        (4, frozenset()),
    ]


def test_an_index_that_may_call_a_function_waits_for_every_constraint() -> None:
    (step,) = found(
        index("public.a", "expression_i", "(public.f(a))"),
        index("public.a", "partial_i", "(a) WHERE (public.f(a) > 0)"),
        index("public.a", "plain_i", "(a) INCLUDE (b) WITH (fillfactor='70')"),
        constraint("public.b", "b_pkey"),
        constraint("public.c", "c_excl", "EXCLUDE USING gist (public.f(a) WITH =)"),
    )
    needs = {work.number: work.needs for work in step.works}
    assert needs == {0: {3}, 1: {3}, 2: frozenset(), 3: frozenset(), 4: {3}}


def test_what_belongs_to_an_index_stays_with_it() -> None:
    cluster = "ALTER TABLE public.a CLUSTER ON a_i;"
    statistics = "ALTER INDEX public.a_i ALTER COLUMN 1 SET STATISTICS 500;"
    (step,) = found(index("public.a", "a_i", "(a)", cluster, statistics), index("public.a", "i"))
    assert [len(work.statements) for work in step.works] == [3, 1]


def test_something_unknown_in_the_entry_of_an_index_keeps_it_in_its_place() -> None:
    made = found(index("public.a", "a_i", "(a)", "SELECT public.f();"), index("public.a", "i"))
    assert [step.alone for step in made] == [True, False]


def test_comments_do_not_part_indexes_and_come_after_them() -> None:
    comment = entry("COMMENT", "COMMENT ON INDEX public.a_i IS 'x';")
    made = found(index("public.a", "a_i"), comment, index("public.a", "i"), comment)
    assert [step.alone for step in made] == [False, True]
    assert [len(step.works) for step in made] == [2, 2]


def test_each_is_made_with_what_was_set_for_it() -> None:
    fast = 'SET default_tablespace = "fast; disks";'
    (step,) = found(
        "SET client_encoding = 'UTF8';\n",
        entry("INDEX", fast, "CREATE INDEX i ON public.a USING btree (a);"),
        entry("INDEX", "CREATE INDEX j ON public.a USING btree (a);"),
        entry("INDEX", "SET default_tablespace = '';", "CREATE INDEX k ON public.a USING gin (a);"),
    )
    usual = {"client_encoding": "SET client_encoding = 'UTF8';"}
    assert [work.settings for work in step.works] == [
        usual | {"default_tablespace": fast},
        usual | {"default_tablespace": fast},
        usual | {"default_tablespace": "SET default_tablespace = '';"},
    ]


def test_work_on_small_tables_is_joined_and_constraints_stay_apart_from_indexes() -> None:
    (step,) = found(
        constraint("public.a", "a_pkey"),
        constraint('public."B"', "b_pkey"),
        constraint("public.big", "big_pkey"),
        index("public.a", "a_i"),
        index('public."B"', "b_i"),
        small=["a", "B"],
    )
    assert [(work.number, len(work.statements), work.needs) for work in step.works] == [
        (0, 2, frozenset()),
        (2, 1, frozenset()),
        (3, 2, {0}),
    ]


def test_only_work_on_tables_of_one_pack_is_joined() -> None:
    tables = ("a", "b", "c", "d")
    (step,) = found(
        *(constraint(f"public.{name}", f"{name}_pkey") for name in tables),
        *(index(f"public.{name}", f"{name}_i") for name in tables),
        small=tables,
        packs=2,
    )
    assert [(sorted(each.name for each in work.tables), work.needs) for work in step.works] == [
        (["a", "c"], frozenset()),
        (["b", "d"], frozenset()),
        (["a", "c"], {0}),
        (["b", "d"], {1}),
    ]


def test_work_that_may_call_functions_is_told_and_not_joined_with_other_work() -> None:
    (step,) = found(
        index("public.a", "plain_i"),
        index("public.b", "expression_i", "(public.f(a))"),
        small=["a", "b"],
    )
    assert [work.calls_functions for work in step.works] == [False, True]


def test_joined_constraints_in_two_tablespaces_never_wait_for_each_other() -> None:
    spaces = [f"SET default_tablespace = {name};\n\n" for name in ("''", "fast")]
    (step,) = found(
        *(spaces[0], constraint("public.a", "a_1"), constraint("public.c", "c_1")),
        *(spaces[1], constraint("public.a", "a_2", "UNIQUE (b)"), constraint("public.b", "b_1")),
        *(spaces[0], constraint("public.b", "b_2", "UNIQUE (b)"), constraint("public.d", "d_1")),
        small=["a", "b", "c", "d"],
    )
    done: set[int] = set()
    while ready := [each for each in step.works if each.number not in done and each.needs <= done]:
        done.update(each.number for each in ready)
    assert len(done) == len(step.works) == 5


@pytest.mark.parametrize("packs", [1, 3])
def test_no_joined_work_needs_what_comes_after_it(packs: int) -> None:
    tables = [f"t{number}" for number in range(120)]
    (step,) = found(
        *(constraint(f"public.{name}", f"{name}_pkey") for name in tables),
        *(constraint(f"public.{name}", f"{name}_key", "UNIQUE (b)") for name in tables),
        *(index(f"public.{name}", f"{name}_i", "(public.f(a))") for name in tables),
        constraint("public.t0", "t0_excl", "EXCLUDE USING gist (public.f(a) WITH =)"),
        small=tables,
        packs=packs,
    )
    assert sum(len(work.statements) for work in step.works) == 361
    assert len(step.works) <= 13
    done: set[int] = set()
    for work in step.works:
        assert work.needs <= done
        done.add(work.number)


def test_work_with_other_settings_is_not_joined() -> None:
    fast = 'SET default_tablespace = "fast";'
    (step,) = found(
        constraint("public.a", "a_pkey"),
        entry("CONSTRAINT", fast, "ALTER TABLE public.b ADD CONSTRAINT b_pkey PRIMARY KEY (id);"),
        small=["a", "b"],
    )
    assert [list(work.settings) for work in step.works] == [[], ["default_tablespace"]]


def test_all_indexes_of_a_large_table_are_built_side_by_side_before_its_keys_take_theirs() -> None:
    cluster = 'ALTER TABLE public."A" CLUSTER ON "A_pkey";'
    key = 'ALTER TABLE ONLY public."A"\n    ADD CONSTRAINT "A_pkey" PRIMARY KEY (id, "a (b");'
    (step,) = found(
        entry("CONSTRAINT", key, cluster),
        constraint('public."A"', "a_key", "UNIQUE (b)"),
        index('public."A"', "a_i"),
        index('public."A"', "expression_i", "(public.f(a))"),
        large=["A"],
    )
    made = {
        work.number: ([each.text for each in work.statements], work.needs) for work in step.works
    }
    assert made == {
        -1: (
            ['CREATE UNIQUE INDEX "A_pkey" ON public."A" USING btree (id, "a (b");'],
            frozenset(),
        ),
        -2: (['CREATE UNIQUE INDEX a_key ON public."A" USING btree (b);'], frozenset()),
        2: (['CREATE INDEX a_i ON public."A" USING btree (a, b);'], frozenset()),
        0: ([f'{key.partition("(id")[0]}USING INDEX "A_pkey";', cluster], {-1, -2, 2}),
        1: (
            [
                'ALTER TABLE ONLY public."A"\n    ADD CONSTRAINT a_key UNIQUE USING INDEX a_key;',
            ],
            {0},
        ),
        3: (['CREATE INDEX expression_i ON public."A" USING btree (public.f(a));'], {0, 1}),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "PRIMARY KEY (id) INCLUDE (a)",
        "PRIMARY KEY (id) DEFERRABLE",
        "UNIQUE NULLS NOT DISTINCT (a)",
        "PRIMARY KEY (id, during WITHOUT OVERLAPS)",
        "PRIMARY KEY (id) WITH (fillfactor='70')",
    ],
)
def test_a_key_with_options_is_made_as_it_is_written(kind: str) -> None:
    (step,) = found(constraint("public.a", "a_key", kind), index("public.a", "i"), large=["a"])
    assert [(work.number, work.needs) for work in step.works] == [(0, frozenset()), (1, {0})]


def test_the_key_of_a_large_table_that_is_its_only_index_is_made_as_it_is_written() -> None:
    (step,) = found(constraint("public.a", "a_pkey"), index("public.b", "i"), large=["a"])
    assert [work.number for work in step.works] == [0, 1]


def test_foreign_keys_are_created_in_parallel_those_of_large_tables_first() -> None:
    trigger = entry("TRIGGER", "CREATE TRIGGER t AFTER INSERT ON public.a EXECUTE FUNCTION f();")
    made = found(
        constraint("public.b", "b_pkey"),
        trigger,
        foreign_key("a", "b"),
        entry("COMMENT", "COMMENT ON CONSTRAINT fk ON public.a IS 'x';"),
        foreign_key("c", '"D"'),
        foreign_key("b", "b"),
        trigger,
        sizes={"a": 1, "b": 2, "c": 3, "D": 4},
    )
    assert [(step.alone, step.builds_indexes) for step in made] == [
        *((False, True), (True, False), (False, False), (True, False), (True, False)),
    ]
    assert [sorted(each.name for each in work.locks) for work in made[2].works] == [
        *(["D", "c"], ["a", "b"], ["b"]),
    ]


@pytest.mark.parametrize(
    "key",
    [
        foreign_key("a", "b", only=""),
        foreign_key("a", "partitioned"),
        foreign_key("partitioned", "a"),
    ],
)
def test_a_foreign_key_that_locks_partitions_stands_alone(key: str) -> None:
    assert [step.alone for step in found(key, sizes={"a": 1, "b": 2})] == [True]
