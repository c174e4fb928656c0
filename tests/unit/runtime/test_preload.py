"""Modules that are loaded in a thread, beside a wait."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from holdfast.runtime.preload import begin_loading


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
