"""The collection as one file: with the runner's wheel, so that a control node builds nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lab import command
from release.archives import read_tar, write_tar
from release.changelog import changelog
from release.source import Source

WHEELS = "wheels"
MANIFEST, FILES = "MANIFEST.json", "FILES.json"


def build(source: Source, *, wheel: Path, into: Path) -> Path:
    """Build the collection; returns its file."""
    with TemporaryDirectory(prefix="holdfast-collection-") as name:
        staged = Path(name, "staged")
        shutil.copytree(source.folder, staged, symlinks=True)
        _prepare(staged, source, wheel)
        argv = [_program("ansible-galaxy"), "collection", "build", str(staged)]
        command.run([*argv, "--output-path", name], environment=dict(source.environment))
        built = next(Path(name).glob("*.tar.gz"))
        path = into / built.name
        _write_again(built, path, source)
    return path


def _program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _prepare(staged: Path, source: Source, wheel: Path) -> None:
    """The wheel instead of the source, and the changes as Ansible's users read them."""
    shutil.rmtree(staged / "src")
    (staged / "pyproject.toml").unlink()
    (staged / WHEELS).mkdir()
    shutil.copyfile(wheel, staged / WHEELS / wheel.name)
    text = changelog((staged / "CHANGELOG.md").read_text(), epoch=source.epoch)
    (staged / "changelogs/changelog.yaml").write_text(text)


def _write_again(built: Path, path: Path, source: Source) -> None:
    """The same content with lists in order and one time; ansible-galaxy writes those of the run."""
    files = read_tar(built)
    listed = _document(files, FILES)
    listed["files"].sort(key=lambda each: each["name"])
    files[FILES] = _as_bytes(listed)
    manifest = _document(files, MANIFEST)
    digest = hashlib.sha256(_as_bytes(listed)).hexdigest()
    manifest["file_manifest_file"]["chksum_sha256"] = digest
    files[MANIFEST] = _as_bytes(manifest)
    write_tar(path, files, epoch=source.epoch, programs=set())


def _document(files: dict[str, Any], name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(files[name])
    return document


def _as_bytes(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()
