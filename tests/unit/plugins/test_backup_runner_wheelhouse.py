"""The name of a release changes with its content, and with nothing else."""

import hashlib
from pathlib import Path

import pytest

from plugins.modules.backup_runner_wheelhouse import (
    Wheelhouse,
    fingerprint,
    release_name,
    requirement,
    source_files,
    whole_folder,
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    package = tmp_path / "src/holdfast"
    package.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", "src/holdfast/__init__.py"):
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "holdfast-0.1.0-py3-none-any.whl"
    path.write_bytes(b"wheel")
    return path


def test_compiled_modules_do_not_make_another_release(project: Path) -> None:
    before = fingerprint(source_files(project), project)
    cache = project / "src/holdfast/__pycache__"
    cache.mkdir()
    (cache / "__init__.cpython-311.pyc").write_bytes(b"compiled")
    assert fingerprint(source_files(project), project) == before


def test_a_renamed_module_makes_another_release(project: Path) -> None:
    before = fingerprint(source_files(project), project)
    (project / "src/holdfast/__init__.py").rename(project / "src/holdfast/other.py")
    assert fingerprint(source_files(project), project) != before


def test_a_release_is_named_after_its_version_and_the_lock_too(tmp_path: Path, wheel: Path) -> None:
    lock = tmp_path / "runner.txt"
    lock.write_text("one==1")
    first = release_name(wheel, [lock])
    lock.write_text("one==2")
    assert first.startswith("0.1.0-")
    assert release_name(wheel, [lock]) != first


def test_an_extra_is_a_lock_more_and_so_another_release(tmp_path: Path, wheel: Path) -> None:
    folder = tmp_path / "requirements"
    folder.mkdir()
    for name in ("installer", "runner", "clusters"):
        (folder / f"{name}.txt").write_text(name)
    house = Wheelhouse(module=None, project=tmp_path, cache=tmp_path, platforms=[])
    assert [lock.stem for lock in house.locks("")] == ["installer", "runner"]
    assert [lock.stem for lock in house.locks("clusters")] == ["installer", "runner", "clusters"]
    assert release_name(wheel, house.locks("")) != release_name(wheel, house.locks("clusters"))


def test_pip_is_told_the_hash_of_our_own_wheel(wheel: Path) -> None:
    digest = hashlib.sha256(b"wheel").hexdigest()
    assert requirement(wheel) == f"holdfast==0.1.0 --hash=sha256:{digest}\n"


def test_a_folder_that_could_not_be_filled_is_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "cache/wheels"

    def fill() -> None:
        with whole_folder(folder) as unfinished:
            (unfinished / "half").touch()
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        fill()
    assert list(folder.parent.iterdir()) == []


def test_a_run_that_was_quicker_keeps_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    with whole_folder(folder) as unfinished:
        folder.mkdir()
        (folder / "theirs").touch()
        (unfinished / "ours").touch()
    assert [path.name for path in folder.iterdir()] == ["theirs"]
