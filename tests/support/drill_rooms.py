"""A drill as its core runs one, step by step, in a private folder of this host."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.catalog.catalog import Catalog
from holdfast.model.backup import Manifest
from holdfast.model.drill import DrillFinding, ProofRow
from holdfast.model.restore import RestoredTable
from holdfast.operations.drill.room_folders import begin_room, fill_room
from holdfast.operations.parts.proof import RepositoryParts
from holdfast.operations.restore.backup import restore
from holdfast.ports.drill import DrillRoom, DrillServer
from holdfast.repositories.local import LocalRepository
from holdfast.runtime.files import PASSABLE_FOLDER
from tests.fakes.progress import FakeProgress
from tests.support.processes import PROC

MEMORY_BYTES = 512 << 20


@contextmanager
def room(user: str = "", *, memory_bytes: int = MEMORY_BYTES) -> Iterator[DrillRoom]:
    """A room for one server; what it holds is removed afterwards."""
    above = Path(tempfile.mkdtemp(prefix="hf-drill-"))
    above.chmod(PASSABLE_FOLDER)
    folder = str(above / "room")
    made = DrillRoom(folder=folder, sockets=folder, user=user, memory_bytes=memory_bytes)
    try:
        begin_room(made)
        fill_room(made)
        yield made
    finally:
        shutil.rmtree(above)


def is_unused(room: DrillRoom) -> bool:
    """Whether nothing was made in the room."""
    own = {Path(room.home), Path(room.listening)}
    return set(Path(room.folder).rglob("*")) == own


@dataclass(kw_only=True)
class Drilled:
    """What a drill found."""

    findings: list[DrillFinding] = field(default_factory=list)
    tables: Sequence[RestoredTable] = ()
    rows: list[ProofRow] = field(default_factory=list)

    def row(self, name: str) -> ProofRow:
        (found,) = (each for each in self.rows if each.name == name)
        return found

    @property
    def bad(self) -> list[str]:
        return [f"{each.name}: {each.found}" for each in self.rows if each.is_bad]


def stored(repository: Path, backup_id: str = "shop/latest") -> tuple[Manifest, RepositoryParts]:
    """A backup in the local repository in that folder, and its parts."""
    opened = LocalRepository(repository)
    return Catalog(opened).find(backup_id), RepositoryParts(repository=opened)


def restored(
    server: DrillServer,
    manifest: Manifest,
    parts: RepositoryParts,
    *,
    before_start: Callable[[DrillServer], object] = lambda _: None,
) -> Drilled:
    """Everything that a drill does before the proofs; stops at a finding that blocks."""
    drilled = Drilled(findings=list(server.problems(parts)))
    if any(each.blocks for each in drilled.findings):
        return drilled
    server.prepare()
    report = restore(
        parts.repository,
        server.target(manifest.server.database),
        manifest.backup_id,
        progress=FakeProgress(),
        options=server.options,
        workers=2,
        settings=server.settings,
    )
    drilled.tables = report.tables
    before_start(server)
    server.recover()
    return drilled


def proven(server: DrillServer, manifest: Manifest, parts: RepositoryParts) -> Drilled:
    """A whole drill but its end."""
    drilled = restored(server, manifest, parts)
    if not any(each.blocks for each in drilled.findings):
        drilled.rows = list(server.prove())
    return drilled


def processes_in(folder: str) -> list[int]:
    """The processes that work below `folder`, or name it in their arguments."""
    found = []
    for each in PROC.iterdir():
        if not each.name.isdigit() or int(each.name) == os.getpid():
            continue
        try:
            told = (each / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if folder in told or _works_in(each, folder):
            found.append(int(each.name))
    return found


def _works_in(process: Path, folder: str) -> bool:
    try:
        return (process / "cwd").readlink().is_relative_to(folder)
    except OSError:
        return False
