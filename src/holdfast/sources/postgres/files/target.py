"""Restore a cluster into a folder: `file:///DIRECTORY?tablespaces=DIRECTORY`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from holdfast.model.backup import Part
from holdfast.model.errors import RestoreFailed, ToolMissing, Unsupported, VerifyFailed
from holdfast.model.part_details import ClusterLabel, SecondCopy
from holdfast.model.part_gaps import incomplete_files, label_of, path_of
from holdfast.model.restore import Restored, StoredParts
from holdfast.model.stored_json import as_text
from holdfast.model.wal import WalKind, WalName
from holdfast.model.wal_records import PAGE_BYTES
from holdfast.ports.run import Progress
from holdfast.ports.target import RestoreRequest, Target, Way
from holdfast.runtime.cleanup import afterwards, noted_on
from holdfast.runtime.files import PASSABLE_FOLDER, make_folder
from holdfast.runtime.process import output_of
from holdfast.runtime.tablespaces import NewTablespaces
from holdfast.sources.postgres.files.file_restore import FileRestore
from holdfast.sources.postgres.files.restore_folders import (
    RestoreFolders,
    empty,
    require_empty,
    require_oid,
    restore_failed,
)
from holdfast.sources.postgres.files.restored_settings import notes_on, write_settings
from holdfast.sources.postgres.files.snapshot import MAP_FILE, NOTES_TOLD
from holdfast.sources.postgres.files.tree import CONTROL_FILE
from holdfast.sources.postgres.server import client_programs
from holdfast.sources.postgres.server.client_programs import Tool


def tablespaces_to_bring(data: Path, new: NewTablespaces) -> list[int]:
    """The OIDs of the tablespaces that were created during the backup, read from the WAL in `data`.

    `new` removes their creation from that WAL: a replay must not write to the original folders.
    The caller then makes each of them with `new.make`.
    """
    found = sorted(path for path in (data / "pg_wal").glob("*") if _is_segment(path))
    return [
        oid
        for path, after in zip_longest(found, found[1:])
        for oid in new.admit(path, partial(_beginning, after))
    ]


def _is_segment(path: Path) -> bool:
    name = WalName.parse(path.name)
    return name is not None and name.kind is WalKind.SEGMENT and path.is_file()


def _beginning(path: Path | None) -> bytes:
    if path is None:
        return b""
    with path.open("rb") as file:
        return file.read(PAGE_BYTES)


PROGRAM = "pg_combinebackup"


def combiner(server_version: str) -> Tool:
    """Find pg_combinebackup of the server's own release: another release refuses its files.

    Raises `ToolMissing`, so it is called before anything is fetched.
    """
    major = int(server_version.partition(".")[0])
    found = client_programs.find(PROGRAM, major, server_version)
    if found.major != major:
        raise ToolMissing(
            f"cannot use '{found.path}' for server {server_version}: it is version {found.version}",
            hint=f"install the client package, on Debian: apt install postgresql-client-{major}",
        )
    return found


@contextmanager
def room_beside(folder: Path) -> Iterator[Path]:
    """A private folder beside `folder`, on the same disk, removed with its contents at the end.

    Raises `Unsupported` if `folder` is a mount point, and `RestoreFailed`.
    """
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
            f"cannot make a folder beside '{folder}': {os.strerror(error.errno or 0)}",
            hint="holdfast unpacks the backups to combine there: name a folder whose"
            " parent you may write to",
        ) from error
    with afterwards(shutil.rmtree, room, True):  # noqa: FBT003 - it may be half gone already
        yield room


def combine(tool: Tool, folders: Sequence[Path], into: Path) -> None:
    """Combine a chain; its full backup is first in `folders`, and `into` must not exist.

    Raises `RestoreFailed`.
    """
    output_of(
        [str(tool.path), f"--output={into}", *map(str, folders)],
        translate=lambda error: RestoreFailed(
            f"cannot combine the backups into '{into}': {error.message}",
            hint="the disk needs space for all of them and for the result",
        ),
    )


def put_in_place(whole: Path, folder: Path) -> None:
    """Rename `whole` to `folder`, which may exist if it is empty; atomic.

    Raises `RestoreFailed`.
    """
    try:
        whole.rename(folder)
    except OSError as error:
        raise RestoreFailed(
            f"cannot restore '{folder}': {os.strerror(error.errno or 0)}",
            hint="check that you own the folder and that it is empty",
        ) from error


_READ_BY_GROUP = 0o040


class DirectoryTarget(Target):
    """Restores a data directory that a server can be started on.

    The data directory is `folder`; each tablespace goes to `OID` below `tablespaces` of the URL,
    or below `FOLDER-tablespaces`. Folders must be empty or missing. `pg_control` is written last,
    so that no server can start on the remains of a failed restore; they are removed too.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.folder = Path(unquote(parts.path))
        if parts.netloc or not parts.path.startswith("/") or self.folder == Path("/"):
            raise Unsupported(
                f"cannot restore into '{url}': it does not name a folder of this host",
                hint="write file:///var/lib/postgresql/restored",
            )
        asked = parse_qs(parts.query).get("tablespaces", [])
        beside = self.folder.with_name(f"{self.folder.name}-tablespaces")
        self.tablespaces = Path(asked[0]) if asked else None
        self._spaces = self.tablespaces or beside
        if not self._spaces.is_absolute():
            raise Unsupported(
                f"cannot restore tablespaces into '{self._spaces}': it is not an absolute path",
                hint=f"write file://{self.folder}?tablespaces=/srv/spaces",
            )

    @property
    def name(self) -> str:
        return f"file://{self.folder}"

    def restore(self, request: RestoreRequest, stored: StoredParts, progress: Progress) -> Restored:
        request.require_obeyed(Way.CLUSTER, into=self.name)
        if request.earlier:
            self._combine(request, stored, progress)
        else:
            self._restore(request, stored, progress)
        return Restored(notes=(*notes_of(label_of(request.parts)), *notes_on(self.folder)))

    def _folders(self, told: ClusterLabel) -> RestoreFolders:
        spaces = {oid: self._spaces / require_oid(oid) for oid in told.tablespaces}
        is_for_group = bool(told.mode & _READ_BY_GROUP)
        return RestoreFolders(data=self.folder, spaces=spaces, is_for_group=is_for_group)

    def _new_tablespaces(self, data: Path) -> NewTablespaces:
        return NewTablespaces(data=data, below=self._spaces)

    def _restore(
        self,
        request: RestoreRequest,
        stored: StoredParts,
        progress: Progress,
        *,
        is_link_of_chain: bool = False,
    ) -> None:
        """Restore one backup, whole or not at all.

        With `is_link_of_chain` its WAL is never replayed, so its new tablespaces are not made.
        """
        parts, told = request.parts, label_of(request.parts)
        _require_all_pieces(parts)
        folders = self._folders(told)
        folders.require_apart()
        there, made = require_empty(folders.all), list[Path]()
        work = FileRestore(folders, stored, progress)
        try:
            self._prepare(folders)
            work.bring_all(_before_control(parts, told.vanished), workers=request.workers)
            new = self._new_tablespaces(self.folder)
            brought = [] if is_link_of_chain else tablespaces_to_bring(self.folder, new)
            self._write_settings(self.folder, request)
            # All files and links must be on disk before pg_control makes this a cluster. One sync
            # of everything: an fsync of each of 20,000 files would take minutes.
            os.sync()
            for part in _control(parts):
                work.bring(part)
            made += map(new.make, brought)
            os.sync()
        except BaseException as error:
            with noted_on(error):
                for folder, existed in zip(folders.all, there, strict=True):
                    empty(folder, remove=not existed)
                for folder in made:
                    empty(folder, remove=True)
            raise

    def _combine(self, request: RestoreRequest, stored: StoredParts, progress: Progress) -> None:
        """Restore each backup of a chain into a folder of its own, and combine them.

        The result appears whole or not at all.
        """
        require_empty([self.folder])
        tool = combiner(request.server_version)
        with room_beside(self.folder) as room:
            folders = []
            for number, parts in enumerate((*request.earlier, request.parts)):
                folders.append(room / str(number))
                one = replace(request, parts=parts, earlier=(), settings=None)
                target = DirectoryTarget(folders[-1].as_uri())
                target._restore(one, stored, progress, is_link_of_chain=True)
            whole = room / "whole"
            combine(tool, folders, whole)
            self._write_settings(whole, request)
            new = self._new_tablespaces(whole)
            for oid in tablespaces_to_bring(whole, new):
                new.make(oid)
            os.sync()
            put_in_place(whole, self.folder)

    def _prepare(self, folders: RestoreFolders) -> None:
        try:
            folders.prepare()
        except OSError as error:
            raise restore_failed(self.folder, error) from error

    def _write_settings(self, data: Path, request: RestoreRequest) -> None:
        if request.settings is not None:
            write_settings(data, request.settings)


def notes_of(told: ClusterLabel) -> tuple[str, ...]:
    """Notes about links that were restored as folders or files."""
    return tuple(
        as_text(f"'{path}' was a link to '{to}': it came back as a folder or file of its own")
        for path, to in sorted(told.links.items())[:NOTES_TOLD]
    )


def _control(parts: Sequence[Part]) -> list[Part]:
    return [part for part in parts if path_of(part) == CONTROL_FILE]


def _before_control(parts: Sequence[Part], vanished: Collection[str]) -> list[Part]:
    """The parts to restore before `pg_control`: no second copies, no vanished files, no map."""
    left_out = {CONTROL_FILE, MAP_FILE, *vanished}
    return [
        part
        for part in parts
        if not isinstance(part.details, SecondCopy) and path_of(part) not in left_out
    ]


def _require_all_pieces(parts: Sequence[Part]) -> None:
    """Raises `VerifyFailed` if a piece of a file is missing."""
    for torn in incomplete_files(parts):
        raise VerifyFailed(torn.problem, hint="this backup is damaged: restore from another one")
