"""Stored JSON is parsed in one place, and a store's chunks are never joined without a bound."""

from __future__ import annotations

import ast

from tests.house.project import called, calls_in, modules

READER = "model/stored_json.py"
# Modules that parse text into values.
MODULES = {"json", "yaml", "pickle", "marshal", "shelve", "plistlib", "pydantic_core"}
METHODS = {"from_json", "raw_decode", "validate_json", "validate_python", "validate_strings"}
# The operator's own file.
CONFIGURATION = "config/"
WHOLE = {"list", "sorted", "tuple", "set"}
# The joined bytes in each module, and why they always fit into memory.
JOINED = {
    "config/credentials.py": "what systemd-creds opens is a file of root's on this host",
    "model/wal_records.py": "pages of one window of a segment, or one record",
    "catalog/signed_manifests.py": "a manifest of ours on its way out",
    "cli/fleet_page/state.py": "a page or a document on its way out",
    "runtime/process.py": "what a program says of itself",
    "model/restore.py": "counted before each piece",
    "repositories/object_store.py": "the head of a put, no longer than the store's smallest part",
    "host_state/runs.py": "lines of ours on their way out, or as many as are kept, each bounded",
    "sources/packing.py": "a length that whoever asks for it has bounded",
    "sources/mysql/server/definitions.py": "what a server defines",
    "sources/mysql/rows/insert_text.py": "a row of a server",
    "sources/mysql/server/definition_text.py": "a statement of a text that is in memory",
    "sources/mysql/server/sql.py": "a text that is in memory",
    "sources/mysql/dump/programs.py": "what a program says of itself",
    "sources/postgres/restore/long_values.py": "counted before each piece",
    "sources/postgres/server/catalog_queries.py": "a sample of a server",
    "sources/postgres/rows/transport.py": "one row of a server",
    "sources/postgres/files/file_reader.py": "a sample of a file",
    "sources/postgres/files/unpacking.py": "a block of a tar",
    READER: "pieces of one chunk",
}


def parses(call: ast.Call) -> bool:
    on = getattr(call.func, "value", None)
    of_module = isinstance(on, ast.Name) and on.id in MODULES and "load" in called(call)
    return of_module or called(call) in METHODS


def joins(call: ast.Call) -> bool:
    """Whether it is `b"".join(...)`."""
    on = getattr(call.func, "value", None)
    return called(call) == "join" and isinstance(on, ast.Constant) and on.value == b""


def names_in(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def test_json_that_was_stored_is_parsed_by_its_reader_alone() -> None:
    found = {
        path
        for path, tree in modules().items()
        if not path.startswith(CONFIGURATION) and any(map(parses, calls_in(tree)))
    }
    assert found == {READER}


def test_code_that_joins_pieces_says_why_they_are_few() -> None:
    found = {
        path for path, tree in modules().items() if any(joins(call) for call in calls_in(tree))
    }
    assert found == JOINED.keys()


def test_what_a_store_gives_is_read_whole_by_the_reader_alone() -> None:
    """`.open(key)` of a repository yields chunks: only the reader joins them."""
    for path, tree in modules().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.With):
                continue
            chunks = {
                name
                for item in node.items
                if isinstance(item.context_expr, ast.Call)
                and called(item.context_expr) in ("open", "streamed")
                and item.optional_vars is not None
                for name in names_in(item.optional_vars)
            }
            whole = [each for each in calls_in(node) if joins(each) or called(each) in WHOLE]
            assert not any(chunks & names_in(each) for each in whole), path
