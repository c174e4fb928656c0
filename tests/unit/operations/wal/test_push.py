"""Archiving files of the WAL."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest
import zstandard

from holdfast.catalog.wal_archive import WalArchive
from holdfast.model.backup import Buffer
from holdfast.model.errors import (
    AlreadyStored,
    HoldfastError,
    Interrupted,
    RepositoryFull,
    RepositoryReadOnly,
    RepositoryUnreachable,
    TasksRefused,
    WalConflict,
    WalUnfit,
)
from holdfast.operations.context import RunRules
from holdfast.operations.wal.push import push
from holdfast.ports.repository import Stored
from tests.fakes.repository import MemoryRepository
from tests.support.memory_cluster import CLUSTER, DataDirectory, archiving
from tests.support.waiting import until
from tests.support.wal_writer import WalWriter

ONE, TWO, THREE, FOUR = (f"00000001000000000000000{number}" for number in "1234")


@pytest.fixture
def server(tmp_path: Path) -> DataDirectory:
    return DataDirectory(tmp_path / "data")


def names(repository: MemoryRepository) -> list[str]:
    return [each.name.text for each in WalArchive(repository, "shop").held() if each.is_archived]


def only_what_is_recorded(repository: MemoryRepository) -> bool:
    """Whether each object is a record, or the file of one."""
    archive = WalArchive(repository, "shop")
    held = [each for each in archive.held() if each.is_archived]
    known = {archive.find(each.cluster, each.name.text).part.key for each in held}
    return {key for key in repository.objects if not key.endswith("manifest.json")} == known


def test_a_segment_is_stored_where_stock_tools_read_it(server: DataDirectory) -> None:
    store = MemoryRepository()
    path = server.finish(ONE, text=b"rows")
    pushed = push(archiving(store), path)
    assert (pushed.was_there, pushed.cluster, pushed.plain_bytes) == (False, "77", 1 << 20)
    folder = f"shop.wal/77/00000001/{ONE}"
    assert sorted(store.objects) == [
        f"{folder}/0000000000000001.zst",
        f"{folder}/manifest.json",
    ]
    content = store.objects[f"{folder}/0000000000000001.zst"]
    assert zstandard.ZstdDecompressor().decompressobj().decompress(content) == path.read_bytes()


def test_the_same_file_again_is_no_error_and_stores_nothing(server: DataDirectory) -> None:
    store = MemoryRepository()
    context = archiving(store)
    path = server.finish(ONE)
    push(context, path)
    before = dict(store.objects)
    assert push(context, path).was_there
    assert store.objects == before


def test_another_file_under_its_name_is_refused_and_the_first_one_stays(
    server: DataDirectory,
) -> None:
    store = MemoryRepository()
    context = archiving(store)
    push(context, server.finish(ONE, text=b"one"))
    before = dict(store.objects)
    with pytest.raises(WalConflict, match="holds another file of that name, from host 'db1'"):
        push(context, server.finish(ONE, text=b"other"))
    assert store.objects == before


class Racing(MemoryRepository):
    """Another process stores the same segment while ours is being uploaded."""

    def __init__(self, theirs: dict[str, bytes]) -> None:
        super().__init__()
        self._theirs = theirs

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        stored = super().put(key, chunks)
        if not key.endswith("manifest.json"):
            self.objects |= self._theirs
        return stored


@pytest.mark.parametrize(("text", "is_same"), [(b"one", True), (b"other", False)])
def test_who_comes_second_takes_only_his_own_away(
    server: DataDirectory, text: bytes, is_same: bool
) -> None:
    theirs = MemoryRepository()
    elsewhere = archiving(theirs)
    elsewhere.new_token()
    push(elsewhere, server.finish(ONE, text=b"one"))
    ours = Racing(theirs.objects)
    path = server.finish(ONE, text=text)
    if is_same:
        assert push(archiving(ours), path).was_there
    else:
        with pytest.raises(WalConflict):
            push(archiving(ours), path)
    assert ours.objects == theirs.objects


def test_who_comes_second_and_may_remove_nothing_is_content_with_what_is_there(
    server: DataDirectory,
) -> None:
    theirs = MemoryRepository()
    elsewhere = archiving(theirs)
    elsewhere.new_token()
    push(elsewhere, server.finish(ONE))
    ours = Racing(theirs.objects)
    ours.refuse_deletes_with = RepositoryReadOnly("cannot delete it: AccessDenied")
    assert push(archiving(ours), server.finish(ONE)).was_there
    assert names(ours) == [ONE]
    assert len(ours.objects) == len(theirs.objects) + 1


class Deaf(MemoryRepository):
    """Stores a record, and then reports a failure."""

    def __init__(self, error: HoldfastError) -> None:
        super().__init__()
        self.error: HoldfastError | None = error

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        stored = super().put(key, chunks)
        if key.endswith("manifest.json") and self.error is not None:
            error, self.error = self.error, None
            raise error
        return stored


@pytest.mark.parametrize(
    "error",
    [
        RepositoryUnreachable("cannot store: the line is dead"),
        # As a store answers a repeated request that it has already carried out.
        AlreadyStored("cannot store: it is there"),
    ],
)
def test_a_record_whose_receipt_was_lost_keeps_what_it_speaks_of(
    server: DataDirectory, error: HoldfastError
) -> None:
    store = Deaf(error)
    path = server.finish(ONE)
    with suppress(RepositoryUnreachable):
        push(archiving(store), path)
    push(archiving(store), path)
    assert names(store) == [ONE]
    assert only_what_is_recorded(store)
    assert len(store.objects) == 2


class Interrupting(MemoryRepository):
    """Stores an object whose key contains `word`, and then interrupts the push."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self._word = word

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        stored = super().put(key, chunks)
        if self._word in key:
            raise Interrupted("cannot continue: interrupted by SIGTERM")
        return stored


def test_an_interrupted_push_removes_what_it_put(server: DataDirectory) -> None:
    server.finish(TWO)
    first, second = MemoryRepository(), Interrupting(TWO.lower())
    with pytest.raises(Interrupted):
        push(archiving(first, second), server.finish(ONE), at_once=2)
    assert first.objects == {}
    # The store itself answers for a put that it did not finish.
    assert [key for key in second.objects if TWO.lower() not in key] == []


class Unreachable(MemoryRepository):
    """Interrupts the main thread at a put, and fails once that thread has ended the push."""

    def __init__(self) -> None:
        super().__init__()
        self.puts = 0

    def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
        self.puts += 1
        signal.raise_signal(signal.SIGTERM)
        until(lambda: {"wait_in_any_case", "wait_for"} <= set(functions_of_main_thread()))
        raise RepositoryUnreachable("cannot store: the line is dead")


def functions_of_main_thread() -> Iterator[str]:
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    while frame is not None:
        yield frame.f_code.co_name
        frame = frame.f_back  # type: ignore[assignment]  # None at the bottom


def test_an_interrupted_push_tries_no_put_again(server: DataDirectory) -> None:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted("cannot go on: interrupted by SIGTERM")

    store = Unreachable()
    context = archiving(store)
    context = replace(context, job=replace(context.job, rules=RunRules(attempts=2)))
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(Interrupted):
            push(context, server.finish(ONE))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert store.puts == 1


def test_an_interrupted_push_keeps_what_a_stored_record_may_refer_to(server: DataDirectory) -> None:
    server.finish(TWO)
    store, mirror = Interrupting("manifest.json"), MemoryRepository()
    with pytest.raises(Interrupted):
        push(archiving(store, mirror), server.finish(ONE), at_once=2)
    assert names(store) == [ONE]
    assert only_what_is_recorded(store)
    assert mirror.objects == {}


def test_a_file_for_which_the_kernel_refused_a_task_once_leaves_one_object(
    server: DataDirectory,
) -> None:
    class RefusedOnce(MemoryRepository):
        def put(self, key: str, chunks: Iterable[Buffer]) -> Stored:
            self.refuse_puts_with, refused = None, self.refuse_puts_with
            if refused is not None:
                raise refused
            return super().put(key, chunks)

    main, mirror = MemoryRepository(), RefusedOnce()
    mirror.refuse_puts_with = TasksRefused("cannot start: the kernel refused another thread")
    push(archiving(main, mirror), server.finish(ONE))
    assert names(main) == names(mirror) == [ONE]
    assert only_what_is_recorded(main)


def test_segments_that_wait_are_sent_along_in_their_order(server: DataDirectory) -> None:
    store = MemoryRepository()
    for name in (ONE, TWO, THREE, FOUR):
        server.finish(name)
    pushed = push(archiving(store), server.wal / TWO, at_once=2)
    assert pushed.ahead == (THREE,)
    assert names(store) == [TWO, THREE]


def test_what_cannot_be_sent_along_does_not_fail_what_was_asked_for(server: DataDirectory) -> None:
    store = MemoryRepository()
    context = archiving(store)
    push(context, server.finish(TWO, text=b"first"))
    server.finish(TWO, text=b"another")
    server.finish(THREE)
    pushed = push(context, server.finish(ONE), at_once=3)
    # The next segment is not archived either: that would leave a gap.
    assert pushed.ahead == ()
    assert names(store) == [ONE, TWO]
    assert only_what_is_recorded(store)


def test_every_mirror_has_it_before_the_server_forgets_it(server: DataDirectory) -> None:
    main, mirror = MemoryRepository(), MemoryRepository()
    mirror.refuse_puts_with = RepositoryFull("cannot store: no room")
    context = archiving(main, mirror)
    path = server.finish(ONE)
    with pytest.raises(RepositoryFull):
        push(context, path)
    # A server tries again every minute: refused files must not pile up.
    assert main.objects == {}
    mirror.refuse_puts_with = None
    push(context, path)
    assert names(main) == names(mirror) == [ONE]


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("passwd", b"root", "this is not the name of a WAL file"),
        (ONE, b"short", "too short"),
        (ONE, None, "No such file"),
    ],
)
def test_what_is_no_wal_is_refused(
    server: DataDirectory, name: str, content: bytes | None, cause: str
) -> None:
    path = server.wal / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WalUnfit, match=cause):
        push(archiving(MemoryRepository()), path)


def test_a_recycled_segment_under_a_new_name_is_refused(server: DataDirectory) -> None:
    path = server.finish(ONE).rename(server.wal / FOUR)
    with pytest.raises(WalUnfit, match=f"it holds the WAL of '{ONE}'"):
        push(archiving(MemoryRepository()), path)


def test_a_segment_of_another_cluster_is_refused(server: DataDirectory) -> None:
    path = server.finish(ONE)
    with pytest.raises(WalUnfit, match="belongs to another cluster"):
        push(archiving(MemoryRepository()), path, cluster="78")


def test_a_timeline_is_archived_with_its_history_and_another_one_of_its_number_is_refused(
    server: DataDirectory,
) -> None:
    store = MemoryRepository()
    context = archiving(store)
    name = "000000020000000000000004"
    server.branch(2, "1\t0/400000\tno target")
    push(context, server.finish(name))
    assert names(store) == ["00000002.history", name]
    server.branch(2, "1\t0/300000\tno target")
    with pytest.raises(WalConflict, match=r"00000002\.history"):
        push(context, server.finish("000000020000000000000005"))
    assert names(store) == ["00000002.history", name]
    assert only_what_is_recorded(store)


def test_a_history_file_tells_where_its_timeline_left_others(server: DataDirectory) -> None:
    store = MemoryRepository()
    push(archiving(store), server.branch(3, "1\t0/3000158\tno recovery target", "", "2\t0/5000000"))
    switches = WalArchive(store, "shop").find("77", "00000003.history").switches
    assert [(each.timeline, each.at) for each in switches] == [(1, "0/3000158"), (2, "0/5000000")]


def test_a_segment_that_its_server_still_writes_to_is_refused_and_the_true_one_archived(
    tmp_path: Path,
) -> None:
    server, store = DataDirectory(tmp_path / "data"), MemoryRepository()
    wal = WalWriter(identifier=CLUSTER)
    wal.filler(5000)
    path = server.wal / wal.name()
    path.write_bytes(wal.segments()[0])
    with pytest.raises(WalUnfit, match="its server has not finished it"):
        push(archiving(store), path)
    assert store.objects == {}
    wal.fill_to(0)
    path.write_bytes(wal.segments()[0])
    assert not push(archiving(store), path).was_there
    # The server has marked it as finished, which counts more than our own check.
    (server.wal / "archive_status" / f"{path.name}.ready").touch()
    assert push(archiving(store), path).was_there


def test_a_segment_says_which_tablespaces_it_makes(tmp_path: Path) -> None:
    server, store = DataDirectory(tmp_path / "data"), MemoryRepository()
    wal = WalWriter(identifier=CLUSTER)
    wal.tablespace(16500, "/srv/space")
    wal.switch()
    path = server.wal / wal.name()
    path.write_bytes(wal.segments()[0])
    push(archiving(store), path)
    found = WalArchive(store, "shop").find(str(CLUSTER), path.name)
    assert found.tablespaces is not None
    assert [(each.oid, each.location) for each in found.tablespaces] == [(16500, "/srv/space")]
