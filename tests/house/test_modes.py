"""Files and folders are created only where their mode is explicit.

That is in `holdfast.runtime.files` and `beneath`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.house.project import calls_in, modules

MAKERS = {"runtime/files.py", "runtime/beneath.py"}
# Calls that create something with a mode from the umask.
MAKING = {"mkdir", "makedirs", "touch", "write_text", "write_bytes", "copyfile"}
ALLOWED = {
    # On another host, where the protocol states the mode; its files are in our folders.
    "session.mkdir(step, FOLDER_MODE)",
    "session.open(path, 'wx')",
    # In a file system in memory that only a throw-away server sees.
    "each.mkdir(mode=448)",
}


def test_no_mode_is_left_to_the_umask() -> None:
    left = [
        (name, making)
        for name, tree in modules().items()
        if name not in MAKERS
        for making in made_by_umask(tree)
        if making not in ALLOWED
    ]
    assert left == []


def made_by_umask(tree: ast.AST) -> Iterator[str]:
    for call in calls_in(tree):
        said = ast.unparse(call)
        called = ast.unparse(call.func)
        last = called.rpartition(".")[2]
        if (
            (last in MAKING and "." in called)
            or is_writing_open(call, last)
            or (called == "os.open" and "O_CREAT" in said)
        ):
            yield said


def is_writing_open(node: ast.Call, called: str) -> bool:
    """Whether it is `open(path, "wb")` or `path.open("w")`.

    Opening a descriptor creates no file.
    """
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
