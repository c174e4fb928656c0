"""Definitions of tables are divided among sessions so that no session waits for another one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from holdfast.sources.postgres.restore import table_definitions
from holdfast.sources.postgres.restore.table_definitions import LEAST_STATEMENTS, Stretch
from holdfast.sources.postgres.server.sql_text import Statement, statements


def entry(kind: str, *found: str) -> str:
    heading = f"--\n-- Name: x; Type: {kind}; Schema: public; Owner: y\n--\n\n"
    return heading + "\n".join(found) + "\n\n"


def table(name: str, columns: str = "id integer") -> str:
    made = f"CREATE TABLE public.{name} (\n    {columns}\n);"
    return entry("TABLE", made, f"ALTER TABLE public.{name} OWNER TO y;")


def many(prefix: str) -> list[str]:
    """As many tables as make a run: each has two statements."""
    return [table(f"{prefix}{number}") for number in range(LEAST_STATEMENTS // 2)]


def stretches(*entries: str) -> list[Stretch]:
    return list(table_definitions.stretches(statements("".join(entries))))


def groups(*entries: str) -> list[list[Statement]]:
    return table_definitions.groups(list(statements("".join(entries))))


def together(found: Sequence[Sequence[Statement]], *words: str) -> bool:
    """Whether exactly one group names any of `words`."""
    return sum(any(word in each.text for each in group for word in words) for group in found) == 1


def test_whatever_is_no_table_parts_the_runs_before_and_after_it() -> None:
    function = entry("FUNCTION", "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'x';")
    found = stretches("SET x = 1;\n", function, *many("a"), function, *many("b"), table("c"))
    assert [each.is_run for each in found] == [False, True, False, True]
    assert sum(len(each.statements) for each in found) == 2 * LEAST_STATEMENTS + 4


def test_few_tables_are_no_run() -> None:
    assert [each.is_run for each in stretches(*many("a")[1:])] == [False]


def test_tables_with_other_settings_are_another_run() -> None:
    fast = "SET default_tablespace = fast;\n"
    found = stretches(*many("a"), fast, *many("b"))
    assert [list(each.settings.values()) for each in found] == [[], [fast.strip()]]
    assert all(each.is_run for each in found)


def test_a_run_is_divided_into_messages_and_every_statement_is_in_one_of_them() -> None:
    entries = many("t")
    found = groups(*entries)
    assert [len(group) for group in found] == [50] * (LEAST_STATEMENTS // 50)
    texts = [statement.text for group in found for statement in group]
    assert texts == [each.text for each in statements("".join(entries))]


def test_what_names_an_object_of_the_run_is_created_after_it_by_the_same_session() -> None:
    default = "ALTER TABLE ONLY public.own ALTER COLUMN id SET DEFAULT nextval('{}'::regclass);"
    found = groups(
        table("own"),
        *many("a"),
        entry("SEQUENCE", 'CREATE SEQUENCE public."it\'s";'),
        *many("b"),
        entry("SEQUENCE OWNED BY", 'ALTER SEQUENCE public."it\'s" OWNED BY public.own.id;'),
        entry("DEFAULT", default.format("public.\"it''s\"")),
        table("literal", "id integer DEFAULT nextval('public.\"it''s\"'::regclass)"),
        table("child", "CONSTRAINT c CHECK (true)\n)\nINHERITS (public.own"),
        entry("COMMENT", "COMMENT ON COLUMN public.child.id IS 'x';"),
    )
    assert together(found, "public.own", '"it\'s"', "public.literal", "public.child")
    (group,) = [each for each in found if any("public.own" in one.text for one in each)]
    bound = [each.text for each in group if re.search(r"own|child|literal|it's", each.text)]
    assert [text.split()[0] for text in bound if "OWNER TO" not in text] == [
        *("CREATE", "CREATE", "ALTER", "ALTER", "CREATE", "CREATE", "COMMENT"),
    ]


def test_what_all_tables_name_outside_of_the_run_binds_none_of_them() -> None:
    found = groups(*(table(f"t{number}", "kind public.mood") for number in range(100)))
    assert len(found) == 4
