"""A cluster whose server has the tests' own extensions, without changes to the host."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.clusters import BINARIES, Cluster, folder_for_cluster

CONTROL = "default_version = '1'\nrelocatable = false\nschema = {schema}\n"


@contextmanager
def cluster_with(extensions: Mapping[str, str]) -> Iterator[Cluster]:
    """A server that also has `extensions`: one script for each, in a schema of the same name.

    A server looks for its files beside its own program, so a copy of the program has its own
    folder of extensions, and links to everything else.
    """
    with folder_for_cluster() as folder:
        program = _copied(folder / "usr", extensions)
        server = Cluster(folder)
        server.make()
        try:
            server.start("-p", str(program))
            yield server
        finally:
            server.stop("immediate")


def _copied(root: Path, extensions: Mapping[str, str]) -> Path:
    major = BINARIES.parent.name
    home, share = root / "lib/postgresql" / major, root / "share/postgresql" / major
    (home / "bin").mkdir(parents=True)
    (home / "lib").symlink_to(BINARIES.parent / "lib")
    program = Path(shutil.copy2(BINARIES / "postgres", home / "bin"))
    theirs = Path("/usr/share/postgresql") / major
    (share / "extension").mkdir(parents=True)
    for entry in theirs.iterdir():
        if entry.name != "extension":
            (share / entry.name).symlink_to(entry)
    for entry in (theirs / "extension").iterdir():
        (share / "extension" / entry.name).symlink_to(entry)
    for name, script in extensions.items():
        (share / "extension" / f"{name}.control").write_text(CONTROL.format(schema=name))
        (share / "extension" / f"{name}--1.sql").write_text(script)
    return program
