"""Files and folders are made where their mode is stated: in `holdfast.runtime.files` and
`beneath`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "src/holdfast"
MAKERS = {"files.py", "beneath.py"}
# Calls that make something whose mode comes from the umask.
MAKING = {"mkdir", "makedirs", "touch", "write_text", "write_bytes", "copyfile"}
ALLOWED = {
    # Of another host, where its protocol states the mode; its files are in folders of ours.
    "session.mkdir(step, FOLDER_MODE)",
    "session.open(path, 'wx')",
}


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(SOURCES.rglob("*.py")) if path.name not in MAKERS],
    ids=lambda path: str(path.relative_to(SOURCES)),
)
def test_no_mode_is_left_to_the_umask(path: Path) -> None:
    assert set(made_by_umask(ast.parse(path.read_text()))) <= ALLOWED


def made_by_umask(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            said = ast.unparse(node)
            called = ast.unparse(node.func)
            last = called.rpartition(".")[2]
            if (
                (last in MAKING and "." in called)
                or is_writing_open(node, last)
                or (called == "os.open" and "O_CREAT" in said)
            ):
                yield said


def is_writing_open(node: ast.Call, called: str) -> bool:
    """`open(path, "wb")` and `path.open("w")`; an open of a descriptor is somebody else's file."""
    if called != "open":
        return False
    words = [each.value for each in node.args if isinstance(each, ast.Constant)]
    words += [each.value.value for each in node.keywords if isinstance(each.value, ast.Constant)]
    return any(isinstance(each, str) and set(each) & set("wax") and len(each) < 4 for each in words)


@pytest.mark.parametrize(
    "code",
    [
        "folder.mkdir(mode=0o700)",
        "path.write_text(text)",
        "open(path, 'wb')",
        "path.open(mode='w')",
        "os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)",
        "shutil.copyfile(one, other)",
    ],
)
def test_every_way_to_inherit_a_mode_is_seen(code: str) -> None:
    assert list(made_by_umask(ast.parse(code))) != []
