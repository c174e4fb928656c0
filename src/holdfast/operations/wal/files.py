"""WAL files in a server's own folder: parse their names, and check content against name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.model.errors import WalUnfit
from holdfast.model.fingerprints import algorithm_of, digest, told
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.wal import HEADER_BYTES, SegmentHeader, WalKind, WalName
from holdfast.model.wal_archive import Switch, switches_in
from holdfast.runtime.tablespaces import segment_at

if TYPE_CHECKING:
    from holdfast.model.wal_records import TablespaceMade

CHUNK_BYTES = 1 << 20
STATUS, READY, DONE = "archive_status", ".ready", ".done"
# A history file has one line for each promotion of the cluster.
MOST_HISTORY_BYTES = 1 << 18
CONTROL_FILE = "global/pg_control"


@dataclass(frozen=True, slots=True, kw_only=True)
class WalFile:
    """A WAL file in a server's folder, and the system identifier of its cluster."""

    path: Path
    name: WalName
    cluster: str

    def chunks(self) -> Iterator[bytes]:
        try:
            yield from chunks_of(self.path)
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def has(self, fingerprint: str) -> bool:
        """Whether the file's content has this fingerprint."""
        return is_of(self.chunks(), fingerprint)

    def switches(self) -> tuple[Switch, ...]:
        """The timeline switches in a history file; empty for other files."""
        if self.name.kind is not WalKind.HISTORY:
            return ()
        text = b""
        for chunk in self.chunks():
            text += chunk
            if len(text) > MOST_HISTORY_BYTES:
                raise WalUnfit(
                    f"cannot archive '{self.path}': it is too long for a timeline history"
                )
        return switches_in(text.decode(errors="replace"))

    def tablespaces(self) -> tuple[TablespaceMade, ...] | None:
        """The tablespaces that a segment makes.

        None if the last record continues in the next segment, if a path cannot be recorded, or for
        other files.
        """
        if self.name.kind is not WalKind.SEGMENT:
            return None
        try:
            with segment_at(self.path) as segment:
                made = tuple(each.made for each in segment.tablespaces())
                is_told = not segment.is_cut and all(_is_text(each.location) for each in made)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return made if is_told else None


def chunks_of(path: Path) -> Iterator[bytes]:
    """The content of the file at `path`; raises `OSError`."""
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def is_of(chunks: Iterable[bytes], fingerprint: str) -> bool:
    """Whether `chunks` have this fingerprint, by its own algorithm."""
    algorithm = algorithm_of(fingerprint)
    found = digest(algorithm)
    for chunk in chunks:
        found.update(chunk)
    return told(algorithm, found) == fingerprint


def _is_text(location: str) -> bool:
    """Whether a record can hold the path; for another one a restore reads the segment again."""
    return location.isascii() or location.encode(errors="ignore").decode() == location


def wal_file(path: Path, cluster: str) -> WalFile:
    """The WAL file at `path` of `cluster`; raises `WalUnfit` if it is none."""
    name = WalName.parse(path.name)
    if name is None:
        raise WalUnfit(
            f"cannot archive '{path}': this is not the name of a WAL file",
            hint="archive_command = 'holdfast wal push JOB %p'",
        )
    file = WalFile(path=path, name=name, cluster=cluster)
    if name.kind is WalKind.SEGMENT:
        _require_segment(file)
    elif not path.is_file():
        raise WalUnfit(f"cannot archive '{path}': there is no such file")
    return file


def require_finished(file: WalFile) -> None:
    """Raises `WalUnfit` for a segment that its server still writes to.

    Otherwise the unfinished content would be archived in place of the final one. A server marks
    finished segments in `archive_status`; without a mark, the segment's content decides.
    """
    if file.name.kind is not WalKind.SEGMENT or _is_marked(file):
        return
    with segment_at(file.path) as segment:
        if not segment.is_written_through:
            raise WalUnfit(
                f"cannot archive '{file.path}': its server has not finished it",
                hint="the server archives each segment when it is full; SELECT pg_switch_wal()"
                " finishes the current one",
            )


def _is_marked(file: WalFile) -> bool:
    status = file.path.parent / STATUS
    return any((status / f"{file.name.text}{mark}").exists() for mark in (READY, DONE))


def cluster_beside(path: Path) -> str:
    """The system identifier of the data directory whose `pg_wal` holds `path`."""
    # Not resolved: pg_wal may be a link, and the server names it from its data directory.
    return cluster_in(path.parent.parent)


def cluster_in(data: Path) -> str:
    """The system identifier of the cluster in the folder `data`; raises `WalUnfit`."""
    control = data / CONTROL_FILE
    try:
        with control.open("rb") as file:
            found = file.read(8)
    except OSError as error:
        raise WalUnfit(
            f"cannot tell which cluster this is: cannot read '{control}':"
            f" {os.strerror(error.errno or 0)}",
            hint="run it in the server's data directory, as archive_command does, or name the"
            " cluster's system identifier with --cluster",
        ) from error
    return str(int.from_bytes(found, "little"))


def history_beside(file: WalFile) -> list[WalFile]:
    """The history file of a segment's timeline, if it exists beside the segment.

    A server that did not archive when it was promoted never archives that file by itself.
    """
    if file.name.kind is not WalKind.SEGMENT or file.name.timeline == 1:
        return []
    path = file.path.with_name(f"{file.name.timeline:08X}.history")
    return [wal_file(path, file.cluster)] if path.is_file() else []


def ready_after(file: WalFile, count: int) -> list[WalFile]:
    """The next files, at most `count`, that the server has marked as ready, in order of names."""
    if count < 1 or file.name.kind is not WalKind.SEGMENT:
        return []
    names = sorted(_marked(file.path.parent / STATUS))
    found: list[WalFile] = []
    for name in [each for each in names if each > file.path.name][:count]:
        try:
            found.append(wal_file(file.path.parent / name, file.cluster))
        except WalUnfit:
            # The server will push it itself, and get the error then.
            break
    return found


def _marked(folder: Path) -> Iterable[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(READY):
                    yield entry.name.removesuffix(READY)
    except OSError:
        # The folder does not exist if a file is pushed by hand.
        return


def _require_segment(file: WalFile) -> None:
    try:
        with file.path.open("rb") as opened:
            header = SegmentHeader.parse(opened.read(HEADER_BYTES))
            size_bytes = os.fstat(opened.fileno()).st_size
    except OSError as error:
        raise _unreadable(file.path, error) from error
    problem = (
        header.problem(file.path.name, size_bytes=size_bytes, system_identifier=file.cluster)
        if header
        else "it is too short for a segment"
    )
    if problem:
        raise WalUnfit(
            f"cannot archive '{file.path}': {problem}",
            hint="check that the file belongs to the server that runs archive_command",
        )


def _unreadable(path: Path, error: OSError) -> WalUnfit:
    return WalUnfit(
        f"cannot archive '{path}': {os.strerror(error.errno or 0)}",
        hint="run it as the server's own user",
    )
