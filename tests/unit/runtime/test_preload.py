"""Modules that are loaded in a thread, beside a wait."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import holdfast
from holdfast.runtime.preload import LIBRARIES, begin_loading, load_now


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path of modules, whose modules are forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("slowly_loaded", "cannot_be_loaded"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_a_module_is_loaded_by_the_thread(folder: Path) -> None:
    (folder / "slowly_loaded.py").write_text("import threading\nBY = threading.current_thread()\n")
    thread = begin_loading("slowly_loaded")
    thread.join()
    assert sys.modules.pop("slowly_loaded").BY is thread


def test_an_error_of_a_module_is_raised_where_it_is_needed(folder: Path) -> None:
    (folder / "cannot_be_loaded.py").write_text("raise ImportError('a part is missing')\n")
    begin_loading("cannot_be_loaded").join()
    with pytest.raises(ImportError, match="a part is missing"):
        import cannot_be_loaded  # type: ignore[import-not-found]  # noqa: F401


def test_what_can_be_loaded_now_is(folder: Path) -> None:
    (folder / "cannot_be_loaded.py").write_text("raise ImportError('a part is missing')\n")
    (folder / "slowly_loaded.py").write_text("")
    load_now("cannot_be_loaded", "slowly_loaded")
    assert sys.modules.pop("slowly_loaded")
    assert "cannot_be_loaded" not in sys.modules


def imported_late(path: Path) -> Iterator[str]:
    """The libraries that functions of this module import."""
    for each in ast.walk(ast.parse(path.read_text())):
        if isinstance(each, ast.FunctionDef):
            for line in ast.walk(each):
                names = [part.name for part in line.names] if isinstance(line, ast.Import) else []
                names += [line.module or ""] if isinstance(line, ast.ImportFrom) else []
                yield from (name.partition(".")[0] for name in names)


def test_each_library_that_functions_import_is_known() -> None:
    root = Path(holdfast.__file__).parent
    files = [
        each for room in ("model", "pipeline", "runtime") for each in root.glob(f"{room}/*.py")
    ]
    late = {name for each in files for name in imported_late(each)}
    late -= sys.stdlib_module_names | {"holdfast", *sys.builtin_module_names}
    assert late == set(LIBRARIES)
