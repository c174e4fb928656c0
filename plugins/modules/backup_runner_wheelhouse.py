"""Ansible module: build the bundles that hosts install the runner from, on the control node."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_runner_wheelhouse
short_description: Build the bundles that hosts install the runner from
description:
- Builds the project's wheel, downloads the locked wheels for each kind of host, and packs both
  into one file per kind. A bundle of the same content is used again.
- In check mode it only computes the name of the release.
options:
  project:
    description: Folder of the project.
    type: path
    required: true
  cache:
    description: Cache folder on the control node, for bundles and downloads.
    type: path
    required: true
  targets:
    description: Kinds of hosts, each with C(python) (such as 3.13), C(machine) (such as x86_64) and
      C(extra), the extra of the runner that their jobs need (C(clusters), or empty).
    type: list
    elements: dict
    required: true
  platforms:
    description: Platform tags of wheels that these hosts can use, without the machine.
    type: list
    elements: str
    required: true
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Build the bundles
  holdfast.holdfast.backup_runner_wheelhouse:
    project: "{{ playbook_dir }}/.."
    cache: ~/.cache/holdfast/wheelhouse
    targets: [{python: "3.13", machine: x86_64, extra: ""}]
    platforms: [manylinux_2_17]
  delegate_to: localhost
"""
RETURN = r"""
releases:
  description: Version and content of what is installed, such as 0.1.0-3f2a9c41d0be, by the extra.
  returned: always
  type: dict
bundles:
  description: Path of the bundle of each kind of host, by its release and C(PYTHON-MACHINE).
  returned: always
  type: dict
"""

import hashlib
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS: dict[str, dict[str, Any]] = {
    "project": {"type": "path", "required": True},
    "cache": {"type": "path", "required": True},
    "targets": {"type": "list", "elements": "dict", "required": True},
    "platforms": {"type": "list", "elements": "str", "required": True},
}
# The inputs of the wheel; the same inputs always give the same wheel.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "src/holdfast")
# Two for each version, with and without the extra.
RELEASES_KEPT = 10
# None, and those of the wheel.
EXTRAS = ("", "clusters")


class BuildFailed(Exception):
    """A tool on the control node failed."""


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One kind of host: wheels differ by Python, by machine and by what its jobs need."""

    python: str
    machine: str
    extra: str = ""

    def __str__(self) -> str:
        return f"{self.python}-{self.machine}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheelhouse:
    """The cache on the control node; everything in it appears atomically."""

    module: AnsibleModule
    project: Path
    cache: Path
    platforms: Sequence[str]

    def locks(self, extra: str) -> tuple[Path, ...]:
        """The lock files of the installer, of the runner's dependencies, and of its extra."""
        names = ("installer", "runner", *((extra,) if extra else ()))
        return tuple(self.project / "requirements" / f"{name}.txt" for name in names)

    def wheel(self) -> Path:
        """The project's own wheel: that of an installed collection, or built from the source.

        It is built again only if a source has changed.
        """
        released = sorted((self.project / "wheels").glob("holdfast-*.whl"))
        if released:
            return released[-1]
        folder = self.cache / "wheels" / fingerprint(source_files(self.project), self.project)
        if not folder.exists():
            with whole_folder(folder) as unfinished:
                self._run(
                    "build",
                    "--wheel",
                    "--no-isolation",
                    f"--outdir={unfinished}",
                    str(self.project),
                )
        return next(folder.glob("*.whl"))

    def downloads(self, target: Target, lock: Path) -> Path:
        """The wheels that a lock file names, checked against its hashes."""
        folder = self.cache / "downloads" / f"{lock.stem}-{digest(lock)[:12]}-{target}"
        if not folder.exists():
            tags = [f"--platform={name}_{target.machine}" for name in self.platforms]
            with whole_folder(folder) as unfinished:
                # The lock is complete; pip would read markers for its own Python, not the host's.
                self._run(
                    *("pip", "download", "--quiet", "--no-deps", "--require-hashes"),
                    *("--only-binary=:all:", "--implementation=cp"),
                    *(f"--python-version={target.python}", *tags),
                    *(f"--dest={unfinished}", f"--requirement={lock}"),
                )
        return folder

    def bundle(self, target: Target, *, release: str, wheel: Path) -> Path:
        """One file with all wheels and the list, hashes included, that pip installs from."""
        path = self.cache / "bundles" / release / f"{target}.tar"
        if path.exists():
            return path
        installer_lock, *locks = self.locks(target.extra)
        installer = next(self.downloads(target, installer_lock).glob("pip-*.whl"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.cache) as folder:
            requirements, packed = Path(folder, "requirements.txt"), Path(folder, "packed.tar")
            locked = "".join(lock.read_text() for lock in locks)
            requirements.write_text(locked + requirement(wheel))
            downloads = [file for lock in locks for file in self.downloads(target, lock).iterdir()]
            with tarfile.open(packed, "w") as archive:
                for file in (wheel, requirements, *downloads):
                    archive.add(file, arcname=file.name)
                # Under a fixed name: pip runs directly from its wheel.
                archive.add(installer, arcname="installer/pip.whl")
            packed.replace(path)
        return path

    def forget_old(self) -> None:
        """Keep the newest bundles only; each is as large as all wheels together."""
        releases = sorted((self.cache / "bundles").iterdir(), key=lambda path: path.stat().st_mtime)
        for folder in releases[:-RELEASES_KEPT]:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, tool: str, *arguments: str) -> None:
        code, output, errors = self.module.run_command([sys.executable, "-m", tool, *arguments])
        if code != 0:
            last = "\n".join((errors or output).strip().splitlines()[-5:])
            raise BuildFailed(f"cannot run '{tool} {arguments[0]}' on the control node: {last}")


def main() -> None:
    """Name the release, and outside check mode build a bundle for each kind of host."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    house = Wheelhouse(
        module=module,
        project=Path(module.params["project"]).resolve(),
        cache=Path(module.params["cache"]),
        platforms=module.params["platforms"],
    )
    targets = sorted({Target(**target) for target in module.params["targets"]})
    changed, bundles = False, {}
    try:
        wheel = house.wheel()
        releases = {extra: release_name(wheel, house.locks(extra)) for extra in EXTRAS}
        for target in targets if not module.check_mode else ():
            release = releases[target.extra]
            changed |= not (house.cache / "bundles" / release / f"{target}.tar").exists()
            path = house.bundle(target, release=release, wheel=wheel)
            bundles[f"{release}/{target}"] = str(path)
    except (BuildFailed, OSError) as error:
        module.fail_json(msg=str(error))
    if changed:
        house.forget_old()
    module.exit_json(changed=changed, releases=releases, bundles=bundles)


def requirement(wheel: Path) -> str:
    """The requirement line with which pip installs exactly this wheel."""
    name, version = wheel.name.split("-")[:2]
    return f"{name}=={version} --hash=sha256:{digest(wheel)}\n"


def release_name(wheel: Path, locks: Sequence[Path]) -> str:
    """The version, and a digest of everything that will be installed."""
    whole = hashlib.sha256("".join(digest(path) for path in (wheel, *locks)).encode()).hexdigest()
    return f"{wheel.name.split('-')[1]}-{whole[:12]}"


def source_files(project: Path) -> Iterator[Path]:
    """Every file that the wheel is made of, in a fixed order."""
    for name in SOURCES:
        path = project / name
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in inside if file.is_file() and file.suffix != ".pyc")


def fingerprint(files: Iterator[Path], project: Path) -> str:
    """A digest over the names and contents of the files."""
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.relative_to(project)}\0{digest(file)}\n".encode())
    return whole.hexdigest()[:32]


def digest(path: Path) -> str:
    """SHA-256 of one file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears at its path only when the block succeeds."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unfinished-") as name:
        unfinished = Path(name, "contents")
        unfinished.mkdir()
        yield unfinished
        try:
            unfinished.rename(folder)
        except OSError:
            # Another run was quicker, such as that of another slice: its content is the same.
            if not folder.is_dir():
                raise


if __name__ == "__main__":
    main()
