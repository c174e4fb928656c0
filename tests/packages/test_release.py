"""A release has the same bytes from every machine, and lists what it holds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from lab.state import PROJECT
from tests.packages.conftest import DEBIAN


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same commit, built elsewhere by somebody with another umask, time zone and language."""
    folder = tmp_path_factory.mktemp("again")
    other = {"TZ": "Pacific/Chatham", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    program = f"umask 077; exec '{sys.executable}' -m release --dirty --into '{folder}' --debian"
    line = f"{program} {' '.join(map(str, DEBIAN))}"
    subprocess.run(["sh", "-c", line], check=True, cwd=PROJECT, env={**os.environ, **other})
    return folder


def test_the_same_commit_gives_the_same_bytes(dist: Path, again: Path) -> None:
    assert (again / "SHA256SUMS").read_text() == (dist / "SHA256SUMS").read_text()


def test_the_sums_are_those_of_all_files(dist: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], check=True, cwd=dist)
    told = {line.split("  ")[1] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    assert told | {"SHA256SUMS"} == {path.name for path in dist.iterdir()}


def test_the_wheel_has_numpy_as_an_extra(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        name = next(each for each in archive.namelist() if each.endswith("/METADATA"))
        metadata = message_from_bytes(archive.read(name))
    assert metadata.get_all("Provides-Extra") == ["clusters"]
    needed = metadata.get_all("Requires-Dist") or []
    assert [each for each in needed if "numpy" in each] == ["numpy<2.5,>=2.3; extra == 'clusters'"]


def test_a_bill_of_materials_lists_what_a_package_bundles(dist: Path) -> None:
    locked = {
        line
        for lock in ("runner", "clusters")
        for line in re.findall(
            r"^[a-z0-9._-]+==[^ ;]+",
            (PROJECT / f"requirements/{lock}.txt").read_text(),
            re.MULTILINE,
        )
    }
    bills = sorted(dist.glob("*.cdx.json"))
    assert len(bills) == len(DEBIAN)
    for bill in bills:
        text = bill.read_text()
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
        purls = [each["purl"] for each in json.loads(text)["components"]]
        told = {
            purl.removeprefix("pkg:pypi/").replace("@", "==").replace("_", "-") for purl in purls
        }
        # Some lines of a lock are for other systems or other versions of Python.
        assert told <= {line.replace("_", "-") for line in locked}
        assert {each.partition("==")[0] for each in told} >= {"psycopg", "numpy", "obstore"}
        assert all(each["licenses"] for each in json.loads(text)["components"])
