"""Archive the WAL that a server streams: each finished segment is pushed to the repositories."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.model.errors import ConfigInvalid
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.wal import WalKind, WalName
from holdfast.operations.wal.list import require_cluster_of_wal
from holdfast.operations.wal.push import push
from holdfast.runtime import events, garbage
from holdfast.runtime.files import PRIVATE_FOLDER, make_folder

if TYPE_CHECKING:
    from holdfast.model.wal_archive import WalStream
    from holdfast.operations.context import ArchiveContext

LOOK_SECONDS = 0.5


@dataclass(kw_only=True)
class Received:
    """The progress so far; `here` names files that are archived and still in the folder."""

    cluster: str
    files: int = 0
    newest: str = ""
    here: set[str] = field(default_factory=set)


def receive(
    context: ArchiveContext,
    stream: WalStream,
    folder: Path,
    *,
    received: Callable[[Received], None],
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Receive WAL until the stream ends, then raise the cause; calls `received` at the beginning.

    Segments lie in `folder` until they are archived. The newest one stays, as it tells the next
    call where to continue. Segments that an earlier call left are archived first: nothing is
    received while the repository is unusable. WAL of another cluster than the job's is refused.
    Raises what `WalStream` and `push` raise.
    """
    garbage.look_as_usual()
    so_far = Received(cluster=stream.cluster())
    require_cluster_of_wal(context, so_far.cluster)
    folder = _made(folder / so_far.cluster)
    received(so_far)
    _archive(context, folder, so_far)
    with stream.receiving(str(folder)) as receiving:
        while True:
            # Asked before archiving, so that segments finished just before the end are archived.
            goes_on = receiving.is_running
            _archive(context, folder, so_far)
            if not goes_on:
                receiving.finish()
                return
            pause(LOOK_SECONDS)


def _archive(context: ArchiveContext, folder: Path, so_far: Received) -> None:
    found = [name for each in folder.iterdir() if (name := _finished(each.name)) is not None]
    found.sort(key=lambda name: (name.high, name.low, name.timeline))
    for name in found:
        if name.text not in so_far.here:
            # A file has this name only once it is complete.
            pushed = push(context, folder / name.text, cluster=so_far.cluster, is_finished=True)
            so_far.here.add(name.text)
            so_far.files += not pushed.was_there
            so_far.newest = name.text if name.kind is WalKind.SEGMENT else so_far.newest
            events.info("wal_archived", file=name.text, seconds=pushed.seconds)
    for name in [name for name in found if name.kind is WalKind.SEGMENT][:-1]:
        (folder / name.text).unlink()
        so_far.here.discard(name.text)


def _finished(name: str) -> WalName | None:
    found = WalName.parse(name)
    return found if found and found.kind in (WalKind.SEGMENT, WalKind.HISTORY) else None


def _made(folder: Path) -> Path:
    try:
        make_folder(folder, above=PRIVATE_FOLDER)
    except OSError as error:
        raise ConfigInvalid(
            f"cannot use '{folder}': {os.strerror(error.errno or 0)}",
            hint="the state_directory must exist and belong to the user who runs holdfast",
        ) from error
    return folder
