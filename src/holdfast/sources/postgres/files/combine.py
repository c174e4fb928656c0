"""An incremental backup and those below it into one data directory, by pg_combinebackup."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from holdfast.model.errors import RestoreFailed, ToolMissing, Unsupported
from holdfast.runtime.cleanup import afterwards
from holdfast.runtime.files import PASSABLE_FOLDER, make_folder
from holdfast.runtime.process import output_of
from holdfast.sources.postgres.server import client_programs
from holdfast.sources.postgres.server.client_programs import Tool

PROGRAM = "pg_combinebackup"


def combiner(server_version: str) -> Tool:
    """The program of the server's own release: another one refuses its files. Raises
    `ToolMissing`, before anything was fetched."""
    major = int(server_version.partition(".")[0])
    found = client_programs.find(PROGRAM, major, server_version, ())
    if found.major != major:
        raise ToolMissing(
            f"cannot use '{found.path}' for server {server_version}: it is version {found.version}",
            hint=f"install the client package, on Debian: apt install postgresql-client-{major}",
        )
    return found


@contextmanager
def room_beside(folder: Path) -> Iterator[Path]:
    """A private folder on the same disk, gone after the block with all that is in it."""
    if folder.is_mount():
        raise Unsupported(
            f"cannot restore an incremental backup into '{folder}': a disk is mounted there, and"
            " the backups to combine need a folder beside it",
            hint=f"name a folder on that disk: file://{folder}/data",
        )
    try:
        make_folder(folder.parent, mode=PASSABLE_FOLDER, above=PASSABLE_FOLDER)
        room = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise RestoreFailed(
            f"cannot restore '{folder}': no folder beside it: {os.strerror(error.errno or 0)}",
            hint="the backups to combine are unpacked beside the folder: name one whose parent"
            " is yours",
        ) from error
    with afterwards(shutil.rmtree, room, True):  # noqa: FBT003 - it may be half gone already
        yield room


def combine(tool: Tool, folders: Sequence[Path], into: Path) -> None:
    """`folders` are the full backup first; `into` is not there. Raises `RestoreFailed`."""
    output_of(
        [str(tool.path), f"--output={into}", *map(str, folders)],
        translate=lambda error: RestoreFailed(
            f"cannot combine the backups into '{into}': {error.message}",
            hint="is there room for all of them and for the result?",
        ),
    )


def put_in_place(whole: Path, folder: Path) -> None:
    """All at once, over the empty folder that may be there. Raises `RestoreFailed`."""
    try:
        whole.rename(folder)
    except OSError as error:
        raise RestoreFailed(
            f"cannot restore '{folder}': {os.strerror(error.errno or 0)}",
            hint="is the folder yours, and still empty?",
        ) from error
