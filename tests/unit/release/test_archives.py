"""Archives that depend on their content alone."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from lab.errors import LabError
from release.archives import read_tar, unpack_wheel, write_tar


def test_a_tar_depends_on_names_contents_and_one_time(tmp_path: Path) -> None:
    one, other = tmp_path / "one.tar.gz", tmp_path / "other.tar.gz"
    write_tar(one, {"b/two": b"2", "a": b"1"}, epoch=1000, programs={"a"})
    write_tar(other, {"a": b"1", "b/two": b"2"}, epoch=1000, programs={"a"})
    assert one.read_bytes() == other.read_bytes()
    with tarfile.open(one) as archive:
        told = {each.name: (each.mtime, each.mode, each.uid) for each in archive}
    assert told == {"b": (1000, 0o755, 0), "a": (1000, 0o755, 0), "b/two": (1000, 0o644, 0)}
    assert read_tar(one) == {"a": b"1", "b/two": b"2"}


def wheel(folder: Path, *names: str) -> Path:
    path = folder / "one-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return path


def test_a_wheel_gives_its_modules_and_none_of_its_programs(tmp_path: Path) -> None:
    into = tmp_path / "into"
    unpack_wheel(wheel(tmp_path, "one/a.py", "one-1.data/scripts/one"), into)
    assert [path.name for path in into.rglob("*") if path.is_file()] == ["a.py"]


def test_a_wheel_with_modules_outside_its_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="it holds 'purelib' outside its root"):
        unpack_wheel(wheel(tmp_path, "one-1.data/purelib/one/a.py"), tmp_path / "into")
