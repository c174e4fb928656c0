"""An empty directory into which a physical backup is unpacked, ready for a server to start on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from holdfast.model.backup import Part
from holdfast.model.errors import (
    ConfigInvalid,
    Reported,
    RestoreFailed,
    TargetNotEmpty,
    Unsupported,
)
from holdfast.model.part_details import MysqlServerFiles
from holdfast.model.restore import Restored, StoredParts
from holdfast.model.units import size
from holdfast.ports.run import Progress
from holdfast.ports.target import RestoreRequest, Target, Way
from holdfast.runtime.cleanup import noted_on
from holdfast.runtime.files import make_folder
from holdfast.runtime.process import ChildFailed, running
from holdfast.sources.mysql.dump.programs import Program, find_unpacking
from holdfast.sources.mysql.files.source import SUCCESS
from holdfast.sources.mysql.files.xbstream import NotUnderstood, kept_beneath

# InnoDB Symbolic Link.
LINK_SUFFIX = ".isl"


class DatadirTarget(Target):
    """A directory to unpack a physical backup into, named as `file:///ABSOLUTE/PATH`.

    Existing files are never removed, `overwrite` or not: they may be a server's only data.
    """

    def __init__(self, url: str) -> None:
        split = urlsplit(url)
        self._folder = Path(unquote(split.path))
        if split.netloc or split.query or not self._folder.is_absolute():
            raise ConfigInvalid(
                f"cannot restore into '{url}': it is not a directory of this host",
                hint="file:///srv/mysql-again",
            )

    @property
    def name(self) -> str:
        return str(self._folder)

    def restore(self, request: RestoreRequest, stored: StoredParts, progress: Progress) -> Restored:
        part, details = _only_part(request, self.name)
        program, unpacker = find_unpacking(details.server_version)
        with self._own_folder(part):
            self._unpack(unpacker, part, stored)
            self._forget_elsewhere()
            self._prepare(program)
            self._hand_over()
        progress.part_done(part.name)
        return Restored()

    @contextmanager
    def _own_folder(self, part: Part) -> Iterator[None]:
        """Provide the empty directory; if the block fails, clear it, or remove it if it was new."""
        made = self._made()
        free = shutil.disk_usage(self._folder).free
        try:
            if free < part.plain_bytes:
                raise RestoreFailed(
                    f"cannot restore into '{self.name}': {size(free)} are free, "
                    f"{size(part.plain_bytes)} are needed",
                    hint="name a directory on a larger file system",
                )
            yield
        except BaseException as error:
            with noted_on(error):
                self._clear(made=made)
                if isinstance(error, Reported):
                    note = "the unpacked files were removed again"
                    error.hint = f"{error.hint}; {note}" if error.hint else note
            raise

    def _made(self) -> bool:
        try:
            made = make_folder(self._folder)
        except OSError as error:
            raise RestoreFailed(
                f"cannot make directory '{self.name}': {error.strerror}",
                hint="its parent has to exist and be writable",
            ) from error
        if not made:
            self._require_empty()
        return made

    def _require_empty(self) -> None:
        try:
            found = sorted(os.listdir(self._folder))
        except OSError as error:
            raise RestoreFailed(f"cannot look into '{self.name}': {error.strerror}") from error
        if found:
            raise TargetNotEmpty(
                f"cannot restore into '{self.name}': it holds '{found[0]}'",
                hint="name an empty directory; even --overwrite removes no files",
            )

    def _clear(self, *, made: bool) -> None:
        for path in self._folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        if made:
            self._folder.rmdir()

    def _unpack(self, unpacker: str, part: Part, stored: StoredParts) -> None:
        argv = [unpacker, "-x", "-C", str(self._folder)]
        try:
            with (
                stored.proven(part) as proven,
                running(argv, stdin=True, stdout=False) as child,
            ):
                child.feed(proven.derived(kept_beneath))
                child.finish()
        except ChildFailed as error:
            raise RestoreFailed(f"cannot unpack '{part.name}': {error.message}") from error
        except NotUnderstood as error:
            raise RestoreFailed(
                f"cannot unpack '{part.name}': {error}",
                hint="it is damaged or was altered: restore from another backup",
            ) from error

    def _forget_elsewhere(self) -> None:
        """Remove the links of tables with a DATA DIRECTORY.

        The copy holds such a table like all others. Its link file names the original folder, which
        the source server may still use.
        """
        for place, _, files in os.walk(self._folder):
            for name in files:
                if name.lower().endswith(LINK_SUFFIX):
                    (Path(place) / name).unlink()

    def _prepare(self, program: Program) -> None:
        """Make the copied files consistent by applying InnoDB's log."""
        argv = [program.path, "--no-defaults", "--prepare", f"--target-dir={self._folder}"]
        try:
            with running(argv, stdout=False) as child:
                child.finish()
                said = child.stderr
        except ChildFailed as error:
            raise RestoreFailed(f"cannot prepare '{self.name}': {error.message}") from error
        if SUCCESS not in said:
            raise RestoreFailed(
                f"cannot prepare '{self.name}': {program.name} did not say '{SUCCESS}': {said}"
            )

    def _hand_over(self) -> None:
        """Give all files to the owner of the directory; only root can do that."""
        owner = self._folder.stat()
        if os.geteuid() != 0 or owner.st_uid == 0:
            return
        for place, folders, files in os.walk(self._folder):
            for name in (*folders, *files):
                os.chown(Path(place) / name, owner.st_uid, owner.st_gid, follow_symlinks=False)


def holds_files(parts: Sequence[Part]) -> bool:
    """Whether the backup is one of a server's files."""
    return any(isinstance(part.details, MysqlServerFiles) for part in parts)


def _only_part(request: RestoreRequest, folder: str) -> tuple[Part, MysqlServerFiles]:
    """The physical part; raises `Unsupported` where there is none, or for a refused option."""
    for part in request.parts:
        if isinstance(part.details, MysqlServerFiles):
            request.require_obeyed(Way.DATADIR, into=f"'{folder}'")
            return part, part.details
    raise Unsupported(
        f"cannot restore into '{folder}': the backup holds SQL, not a server's files",
        hint="--to mysql://USER@HOST/DATABASE",
    )
