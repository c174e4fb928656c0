"""Engine tests: each database host runs its own, beside its own server."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from platform import machine

from tests.runner.steps import LOGS, PROJECT, Outcome, Step, run, say, show

INVENTORY = "tests/engine/inventory"
NETWORK = "holdfast-engine"
# One place beside the project where real data may lie; hosts get a copy of it.
DATA = PROJECT.parent / "shared" / "data"
LOCK = PROJECT / "requirements" / "engine.txt"
SCRATCH = "/run/holdfast-tests"
PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
WHEELS = PROJECT / ".lab" / "wheels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A host with a server, and the tests that belong there."""

    host: str
    python: str
    user: str
    tests: str
    variable: str
    address: str

    @property
    def container(self) -> str:
        return f"{NETWORK}-{self.host}"


def _postgres(host: str, python: str) -> Bench:
    return Bench(
        host=host,
        python=python,
        user="postgres",
        tests="tests/engine/postgres",
        variable="HOLDFAST_TEST_POSTGRES",
        address="host=/run/postgresql user=postgres",
    )


def _mariadb(host: str, python: str) -> Bench:
    return Bench(
        host=host,
        python=python,
        user="root",
        tests="tests/engine/mysql",
        variable="HOLDFAST_TEST_MYSQL",
        address="mysql://root@localhost/?unix_socket=/run/mysqld/mysqld.sock",
    )


BENCHES = (
    _postgres("pg12", "3.11"),
    _mariadb("maria12", "3.11"),
    _postgres("pg13", "3.13"),
    _mariadb("maria13", "3.13"),
)


def outcomes() -> list[Outcome]:
    """Bring the hosts up, test them two at a time, take them away again."""
    lab = [sys.executable, "-m", "lab"]
    ready = run(Step(name="engine hosts up", argv=[*lab, "up", INVENTORY]))
    show(ready)
    results = [ready]
    try:
        if not ready.failed:
            for python in sorted({bench.python for bench in BENCHES}):
                _wheels(python)
            with ThreadPoolExecutor(max_workers=2) as benches:
                for result in benches.map(_tested, BENCHES):
                    show(result)
                    results.append(result)
    finally:
        gone = run(Step(name="engine hosts down", argv=[*lab, "down", INVENTORY]))
        show(gone)
        results.append(gone)
    return results


def _tested(bench: Bench) -> Outcome:
    try:
        prepare(bench)
    except subprocess.CalledProcessError as error:
        log = LOGS / f"engine-{bench.host}-prepare.log"
        log.write_bytes((error.stdout or b"") + (error.stderr or b""))
        return Outcome(name=f"engine {bench.host}", passed=0, failed=1, seconds=0.0, log=log)
    report = f"{SCRATCH}/{bench.host}.xml"
    junit = LOGS / f"engine-{bench.host}.xml"
    environment = (
        f"HOME={SCRATCH}",
        "PATH=/opt/engine/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH=/project/src:/project",
        "PYTHONDONTWRITEBYTECODE=1",
        f"{bench.variable}={bench.address}",
    )
    argv = [
        *("podman", "exec", "--workdir", "/project", bench.container),
        *("runuser", "-u", bench.user, "--", "env", *environment),
        *("python", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *(f"--junit-xml={report}", bench.tests),
    ]
    collect = ["podman", "cp", f"{bench.container}:{report}", str(junit)]
    return run(Step(name=f"engine {bench.host}", argv=argv, junit=junit, collect=collect))


def prepare(bench: Bench) -> None:
    """Give a host the project as it is now and an environment filled without any network."""
    _send(bench, "/project", _files_of_the_project())
    if DATA.is_dir():
        _send(bench, "/data", [(path, path.name) for path in sorted(DATA.iterdir())])
    wheels = _wheels(bench.python)
    _send(bench, "/opt/wheels", [(path, path.name) for path in sorted(wheels.iterdir())])
    script = (
        f"set -e; install -d -m 0700 -o {bench.user} {SCRATCH}; "
        "[ -x /opt/engine/bin/pytest ] && exit 0; python3 -m venv /opt/engine; "
        "/opt/engine/bin/pip install --quiet --no-index --find-links /opt/wheels "
        "--require-hashes -r /project/requirements/engine.txt"
    )
    subprocess.run(
        ["podman", "exec", bench.container, "sh", "-c", script], check=True, capture_output=True
    )


def _files_of_the_project() -> list[tuple[Path, str]]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    names = [name for name in listed.split("\0") if name]
    return [(PROJECT / name, name) for name in names if (PROJECT / name).is_file()]


def _send(bench: Bench, folder: str, files: Iterable[tuple[Path, str]]) -> None:
    """Replace a folder of the host by these files, readable for everybody there."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, name in files:
            entry = archive.gettarinfo(path, arcname=name)
            entry.uid = entry.gid = 0
            entry.mode |= 0o444
            with path.open("rb") as content:
                archive.addfile(entry, content)
    unpack = f"rm -rf {folder} && mkdir -p {folder} && tar -x -C {folder}"
    subprocess.run(
        ["podman", "exec", "-i", bench.container, "sh", "-c", unpack],
        input=packed.getvalue(),
        check=True,
        capture_output=True,
    )


def _wheels(python: str) -> Path:
    """The locked wheels for one version of Python, downloaded once per lock."""
    folder = WHEELS / f"{python}-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    say(f"     downloading wheels for Python {python}")
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    platforms = [f"--platform={name}_{machine()}" for name in PLATFORMS]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"),
            *("--only-binary=:all:", "--implementation=cp", f"--python-version={python}"),
            *(*platforms, f"--dest={unfinished}", f"--requirement={LOCK}"),
        ],
        check=True,
        capture_output=True,
    )
    unfinished.rename(folder)
    return folder
