"""WAL from a server's replication stream is archived as it arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.errors import ClusterChanged, DatabaseUnreachable, RepositoryFull
from holdfast.operations.wal.push import push
from holdfast.operations.wal.receive import Received, receive
from tests.fakes.repository import MemoryRepository
from tests.support.memory_cluster import DataDirectory, archiving
from tests.support.segments import segment

ONE, TWO, THREE = (f"00000001000000000000000{number}" for number in "123")


@dataclass
class FakeStream:
    """Writes one more file of `sends` at each pause, and then ends with an error."""

    sends: list[str]
    folder: Path = Path()
    fails: bool = True
    begun: int = 0
    sent: list[str] = field(default_factory=list)

    def cluster(self) -> str:
        return "77"

    @contextmanager
    def receiving(self, folder: str) -> Iterator[FakeStream]:
        self.folder, self.begun = Path(folder), self.begun + 1
        yield self

    @property
    def is_running(self) -> bool:
        return bool(self.sends)

    def finish(self) -> None:
        if self.fails:
            raise DatabaseUnreachable("cannot receive WAL: the server has gone")

    def pause(self, _seconds: float) -> None:
        name = self.sends.pop(0)
        is_history = name.endswith(".history")
        content = b"1\t0/3000000\n" if is_history else segment(name[:24])
        (self.folder / name).write_bytes(content)
        self.sent.append(name)


def names(store: MemoryRepository) -> list[str]:
    return [each.name.text for each in WalArchive(store, "shop").held()]


def received(
    stream: FakeStream, store: MemoryRepository, folder: Path, told: Callable[[Received], None]
) -> None:
    receive(archiving(store), stream, folder, received=told, pause=stream.pause)


def test_finished_files_are_archived_and_the_newest_segment_stays(tmp_path: Path) -> None:
    store, so_far = MemoryRepository(), list[Received]()
    stream = FakeStream([ONE, TWO, "00000002.history", f"{THREE}.partial"])
    with pytest.raises(DatabaseUnreachable):
        received(stream, store, tmp_path, so_far.append)
    assert names(store) == [ONE, TWO, "00000002.history"]
    left = {path.name for path in (tmp_path / "77").iterdir()}
    assert left == {TWO, f"{THREE}.partial", "00000002.history"}
    (told,) = so_far
    assert (told.files, told.newest) == (3, TWO)


def test_what_an_earlier_call_left_is_archived_before_anything_is_received(tmp_path: Path) -> None:
    store = MemoryRepository()
    store.refuse_puts_with = RepositoryFull("cannot store: no room")
    with pytest.raises(RepositoryFull):
        received(FakeStream([ONE, TWO]), store, tmp_path, lambda _: None)
    again = FakeStream([TWO])
    with pytest.raises(RepositoryFull):
        received(again, store, tmp_path, lambda _: None)
    assert again.begun == 0
    store.refuse_puts_with = None
    received(FakeStream([TWO], fails=False), store, tmp_path, lambda _: None)
    assert names(store) == [ONE, TWO]


def test_nothing_is_received_of_another_cluster_than_the_jobs(tmp_path: Path) -> None:
    store = MemoryRepository()
    other = DataDirectory(tmp_path / "other", cluster=88)
    push(archiving(store), other.finish(ONE))
    stream = FakeStream([ONE])
    with pytest.raises(ClusterChanged, match="cluster 77 answers"):
        received(stream, store, tmp_path / "received", lambda _told: None)
    assert stream.begun == 0
