"""A cluster is drilled by its own major version alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.model.backup import Server
from holdfast.ports.drill import DrillRoom
from holdfast.sources.postgres.drill.physical import PhysicalDrillServer, WalSupply
from holdfast.sources.postgres.server import client_programs
from holdfast.sources.postgres.server.client_programs import Tool
from tests.support.manifests import manifest

CLUSTER = Server(kind="postgres-cluster", version="17.6 (Debian 17.6-1)", database="main")


def test_files_of_another_major_version_are_a_finding_with_the_package_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = Tool(path=tmp_path / "postgres", version="18.1", major=18)
    monkeypatch.setattr(client_programs, "find", lambda *_: newer)
    room = DrillRoom(folder=str(tmp_path), sockets=str(tmp_path))
    supply = WalSupply(plan=lambda _: None, fetching=lambda _: lambda *_: False)
    drill = PhysicalDrillServer(replace(manifest(), server=CLUSTER), room, supply)
    (found,) = drill.problems(None)
    assert (found.subject, found.blocks) == ("PostgreSQL 17", True)
    assert found.problem == "cannot start a server of version 17: only postgres 18.1 is here"
    assert found.hint == "install it, on Debian: apt install postgresql-17"
