"""Programs that execute their input are fed with proven bytes only."""

from __future__ import annotations

import ast
from typing import get_type_hints

from holdfast.model.restore import Proven
from holdfast.runtime.process import Child
from holdfast.sources.mysql.restore.row_sessions import RowSessions
from tests.house.project import called, calls_in, modules

STARTER = "runtime/process.py"
# A program that the starter runs, and which becomes the one in its arguments.
BECOMES = "runtime/hide_others.py"
# Filters of backups change the bytes that pass and execute nothing.
FILTERS = {"sources/mysql/dump/pipe.py"}
STARTS_FILTERS = {"sources/mysql/dump/pipe.py"}
# Its program is our own: it reads requests for files, and executes nothing.
ASKS = {"sources/postgres/files/pack_process.py"}
# The modules that make proven bytes from stored ones, and that derive them from others.
PROVERS = {"operations/parts/proof.py", "model/restore.py"}
# psql, pg_restore, mariadb and mysql, mbstream.
FED = {
    "sources/postgres/server/client_programs.py",
    "sources/postgres/dump/pg_restore.py",
    "sources/mysql/server/connection.py",
    "sources/mysql/files/datadir.py",
}
# It waits for the end of its input, and nothing is written to it.
WAITS = {"runtime/named_pipes.py"}
# Every function of Python that starts a program.
STARTS = {"Popen", "system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp"}
STARTS |= {
    f"{verb}{how}" for verb in ("exec", "spawn") for how in ("l", "le", "lp", "v", "ve", "vp")
}


def calling(*names: str) -> set[str]:
    """The modules that call something with one of these names."""
    return {path for path, tree in modules().items() if set(map(called, calls_in(tree))) & {*names}}


def test_a_child_is_fed_with_proven_bytes_by_its_type() -> None:
    assert get_type_hints(Child.feed)["proven"] is Proven


def test_a_session_that_loads_rows_takes_proven_bytes_by_its_type() -> None:
    assert get_type_hints(RowSessions.load)["proven"] is Proven


def test_only_what_proves_a_part_makes_proven_bytes() -> None:
    assert calling("Proven") == PROVERS


def test_only_one_module_starts_programs() -> None:
    assert calling(*STARTS) == {STARTER, BECOMES}
    assert {path for path, tree in modules().items() if "subprocess" in imported(tree)} == {STARTER}


def test_only_filters_are_written_to_without_a_proof() -> None:
    writing = {
        path
        for path, tree in modules().items()
        if any(isinstance(node, ast.Attribute) and node.attr == "stdin" for node in ast.walk(tree))
    }
    assert writing <= FILTERS | ASKS | {STARTER}


def test_every_program_that_reads_what_we_write_is_fed_with_proven_bytes() -> None:
    reading = {
        path
        for path, tree in modules().items()
        for call in calls_in(tree)
        if any(keyword.arg == "stdin" for keyword in call.keywords)
    }
    assert reading == FED | STARTS_FILTERS | ASKS | WAITS | {STARTER}
    assert calling("feed") >= FED
    assert not calling("feed") & WAITS


def imported(tree: ast.AST) -> set[str]:
    nodes = list(ast.walk(tree))
    plain = {each.name for node in nodes if isinstance(node, ast.Import) for each in node.names}
    return plain | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
