"""The collection with each supported ansible-core, on hosts that are their own control nodes."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import command, fleet, hosts
from lab.state import PROJECT
from tests.support.depth import full

# Each release with a Debian whose Python it supports: 3.11 or 3.13.
RELEASES = {
    "2.16": "deb12",
    "2.17": "deb12",
    "2.18": "deb12",
    "2.19": "deb12",
    "2.20": "deb13",
    "2.21": "deb13",
}
PYTHONS: Mapping[str, str] = {"deb12": "3.11", "deb13": "3.13"}
INVENTORY = """\
databases:
  hosts:
    here:
      ansible_connection: local
      ansible_python_interpreter: /usr/bin/python3
  vars:
    # Some containers have no sudo, and everything runs as root.
    ansible_become: false
"""
ROOT = "/opt/control"
COUNT = re.compile(r"(\w+)=(\d+)")

pytestmark = pytest.mark.skipif(
    not full(), reason="a control node for each release takes minutes: `full` makes them"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlNode:
    """A container with one release of ansible-core and the collection."""

    container: str

    def run(self, program: str, *words: str) -> tuple[int, str]:
        variables = (
            f"PYTHONPATH={ROOT}/lib",
            f"ANSIBLE_COLLECTIONS_PATH={ROOT}/collections",
            f"ANSIBLE_HOME={ROOT}/home",
            "LC_ALL=C.UTF-8",
        )
        argv = ("env", *variables, "/usr/bin/python3", "-m", "ansible", program, *words)
        done = subprocess.run(
            ["podman", "exec", f"--workdir={ROOT}", self.container, *argv],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, done.stdout + done.stderr

    def counts(self, *words: str) -> dict[str, int]:
        """The counts of a run of `tune.yml` that succeeds."""
        code, told = self.run("playbook", "-i", "hosts.yml", "holdfast.holdfast.tune", *words)
        assert code == 0, told
        (line,) = re.findall(r"^here +: (.+)$", told, re.MULTILINE)
        return {name: int(number) for name, number in COUNT.findall(line)}


def libraries(release: str, *, python: str, into: Path) -> None:
    """The release and what it needs, for the Python of another machine.

    Unpacked by hand: pip installs no release for a Python that is not its own.
    """
    platforms = [f"--platform=manylinux{each}_x86_64" for each in ("2014", "_2_28")]
    wheels = into.with_name("wheels")
    command.run(
        [
            *(sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:"),
            *(f"--python-version={python}", "--implementation=cp", *platforms),
            *(f"--dest={wheels}", f"ansible-core=={release}.*"),
        ]
    )
    for wheel in wheels.iterdir():
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(into)


@pytest.fixture(scope="module", params=RELEASES)
def node(
    request: pytest.FixtureRequest, dist: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlNode]:
    name = RELEASES[request.param]
    folder = tmp_path_factory.mktemp("control")
    (file,) = dist.glob("holdfast-holdfast-*.tar.gz")
    libraries(request.param, python=PYTHONS[name], into=folder / "lib")
    (folder / "hosts.yml").write_text(INVENTORY)
    (folder / "collection.tar.gz").write_bytes(file.read_bytes())
    machines = fleet.read(PROJECT / "tests/packages/inventory")
    hosts.down(machines, limit=[name])
    hosts.up(machines, limit=[name])
    try:
        found = ControlNode(container=machines.host(name).container(machines.network))
        command.run(["podman", "cp", f"{folder}/.", f"{found.container}:{ROOT}"])
        words = ("install", "--offline", "collection.tar.gz", "-p", "collections")
        code, told = found.run("galaxy", "collection", *words)
        assert code == 0, told
        yield found
    finally:
        hosts.down(machines, limit=[name])


def test_it_tunes_once(node: ControlNode) -> None:
    """Check mode predicts the changes, healthy servers stay healthy, then nothing differs."""
    predicted = node.counts("--check")
    done = node.counts()
    assert 0 < done["changed"] == predicted["changed"]
    assert node.counts()["changed"] == 0
