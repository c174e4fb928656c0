"""The working tree of the project inside a host, with dependencies installed without network."""

import hashlib
import io
import shutil
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from platform import machine

from lab import command
from lab.locks import only_one
from lab.progress import say
from lab.state import PROJECT, STATE

LOCK = PROJECT / "requirements" / "engine.txt"
# The current user may not own the clone, which git would refuse as unsafe.
GIT = ("git", "-c", f"safe.directory={PROJECT}", "-C", str(PROJECT))
PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
# Real data may lie here, beside the project; hosts get a copy of it.
DATA = PROJECT.parent / "shared" / "data"
INSTALL = """
set -e
python3 -m compileall -q /project/src
lock=$(sha256sum </project/requirements/engine.txt)
[ "$(cat /opt/engine/lock 2>/dev/null)" != "$lock" ] || exit 0
python3 -m venv --clear /opt/engine
/opt/engine/bin/pip install --quiet --no-index --find-links /opt/wheels \
  --require-hashes -r /project/requirements/engine.txt
echo "$lock" >/opt/engine/lock
"""


def install(container: str) -> None:
    """Copy the project to /project, compile it, and install its dependencies into /opt/engine."""
    send(container, "/project", project_files())
    if DATA.is_dir():
        send(container, "/data", [(path, path.name) for path in sorted(DATA.iterdir())])
    house = wheels(python_of(container))
    send(container, "/opt/wheels", [(path, path.name) for path in sorted(house.iterdir())])
    command.run(["podman", "exec", container, "sh", "-c", INSTALL])


def project_files() -> list[tuple[Path, str]]:
    """Every file that git tracks or would track, as it is in the working tree."""
    listed = command.run([*GIT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    names = [name for name in listed.split("\0") if name]
    # A link may lead to a folder, and a tracked file may be deleted.
    paths = [(PROJECT / name, name) for name in names]
    return [(path, name) for path, name in paths if path.is_file() or path.is_symlink()]


def send(container: str, folder: str, files: Iterable[tuple[Path, str]]) -> None:
    """Replace a folder of the host by these files, readable for everybody there."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, name in files:
            entry = archive.gettarinfo(path, arcname=name)
            entry.uid = entry.gid = 0
            entry.mode |= 0o444
            if not entry.isreg():
                archive.addfile(entry)
                continue
            with path.open("rb") as content:
                archive.addfile(entry, content)
    unpack = f"rm -rf {folder} && mkdir -p {folder} && tar -x -C {folder}"
    command.run(["podman", "exec", "-i", container, "sh", "-c", unpack], feed=packed.getvalue())


def python_of(container: str) -> str:
    """The version of a host's own Python; that of sid changes."""
    version = command.run(["podman", "exec", container, "python3", "--version"]).split()[1]
    return version.rpartition(".")[0]


def wheels(python: str) -> Path:
    """The locked wheels for a Python version, downloaded once per lock file."""
    folder = STATE / "wheels" / f"{python}-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    # Two hosts with the same Python may want them at the same time.
    with only_one(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():
            download(folder, python)
    return folder


def download(folder: Path, python: str) -> None:
    """Download the locked wheels into a folder, which gets its name once it is complete."""
    say(f"downloading wheels for Python {python}")
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    platforms = [f"--platform={name}_{machine()}" for name in PLATFORMS]
    command.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"),
            *("--only-binary=:all:", "--implementation=cp", f"--python-version={python}"),
            *(*platforms, f"--dest={unfinished}", f"--requirement={LOCK}"),
        ]
    )
    unfinished.rename(folder)
