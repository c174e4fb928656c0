"""Packs that another process reads: the same bytes and records, and every way to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.model.errors import BackupFailed, SnapshotLost, TasksRefused
from holdfast.sources.postgres.files import pack_process as room
from holdfast.sources.postgres.files.entries import Entries, Entry
from holdfast.sources.postgres.files.file_reader import Reader
from holdfast.sources.postgres.files.pack_process import (
    WORTHWHILE_FILES,
    PackProcess,
    pack_process,
)
from holdfast.sources.postgres.files.pack_reader import ARENA_BYTES, packed
from tests.unit.sources.postgres.files.test_file_reader import reader, whole
from tests.unit.sources.postgres.files.test_pack_reader import made
from tests.unit.sources.postgres.files.test_page_checksums import page


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


@pytest.fixture
def process() -> Iterator[PackProcess]:
    with pack_process(workers=2, checks_pages=True) as found:
        found.begin()
        yield found
    assert children() == ""


def children() -> str:
    tasks = Path("/proc/self/task")
    return "".join((each / "children").read_text() for each in tasks.iterdir())


def cluster(data: Path) -> Entries:
    """Good pages, a bad one, files larger than a buffer, a vanished one and an empty known one."""
    pages = b"".join(bytes(page(number, seed=number)) for number in range(3))
    bad = bytearray(pages)
    bad[8192 + 100] ^= 4
    files = {f"base__5__{16384 + number}": pages for number in range(300)}
    entries = made(
        data, **files, base__5__1=bytes(bad), base__5__2=os.urandom(ARENA_BYTES + 1), PG_VERSION=b""
    )
    known = Entry("base/5/3", mode=0o600, modified=1_700_000_000)
    return Entries([Entry("base/5", is_folder=True), *entries, Entry("base/5/4"), known])


def nothing() -> None:
    """Read on."""


def read(
    process: PackProcess, by: Reader, entries: Entries, *, then: Callable[[], None] = nothing
) -> tuple[bytes, str]:
    """The pack and its memo; `then` is called after each buffer."""
    found = []
    with process.reading(by, entries) as stream:
        assert stream is not None
        for chunk in stream:
            found.append(bytes(chunk))
            then()
        return b"".join(found), stream.memo


def test_bytes_and_records_are_those_of_a_thread(process: PackProcess, tmp_path: Path) -> None:
    entries = cluster(tmp_path)
    by = replace(reader(tmp_path, checks=True), start=1 << 40)
    expected = whole(packed(by, entries))
    assert by.findings.bad == {"base/5/1": [1]}
    assert by.findings.vanished == {"base/5/4"}
    for _ in range(3):
        told = read(process, replace(reader(tmp_path, checks=True), start=1 << 40), entries)
        assert told == (expected, by.findings.encode())


def test_a_link_to_another_file_is_refused_there_too(process: PackProcess, tmp_path: Path) -> None:
    data = tmp_path / "data"
    entries = made(data, base__5__1=b"rows")
    (tmp_path / "secret").write_bytes(b"secret")
    (data / "base/5/2").symlink_to(tmp_path / "secret")
    with pytest.raises(BackupFailed, match=r"cannot read '.*base/5/2'"):
        read(process, reader(data), Entries([*entries, Entry("base/5/2")]))
    # It is not of our owner, for who is to be believed.
    with pytest.raises(BackupFailed, match="a link leads there") as caught:
        read(
            process,
            replace(reader(data), owner=os.getuid() + 1, links={"base/5/2"}),
            Entries([Entry("base/5/2")]),
        )
    assert "chown it" in caught.value.hint
    # An error of a pack is none of the process.
    assert read(process, reader(data), Entries(entries))[0] == whole(
        packed(reader(data), Entries(entries))
    )


def test_it_reads_one_pack_at_a_time(process: PackProcess, tmp_path: Path) -> None:
    entries = cluster(tmp_path)
    with process.reading(reader(tmp_path), entries) as first:
        assert first is not None
        with process.reading(reader(tmp_path), entries) as second:
            assert second is None
        whole(iter(first))
    with process.reading(reader(tmp_path), entries) as third:
        assert third is not None
        whole(iter(third))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_is_an_error_of_its_part(
    process: PackProcess, tmp_path: Path, number: signal.Signals
) -> None:
    entries = cluster(tmp_path)
    with pytest.raises(BackupFailed, match=f"failed: .* ended with {number.name}") as caught:
        read(process, reader(tmp_path), entries, then=lambda: os.kill(int(children()), number))
    assert "MemoryMax" in caught.value.hint
    with process.reading(reader(tmp_path), entries) as again:
        assert again is None


def test_a_pack_that_is_given_up_ends_the_process(process: PackProcess, tmp_path: Path) -> None:
    entries = cluster(tmp_path)
    with process.reading(reader(tmp_path), entries) as stream:
        assert stream is not None
        next(iter(stream))
    assert children() == ""
    with process.reading(reader(tmp_path), entries) as again:
        assert again is None


def test_an_abort_ends_a_read_with_the_cause_of_the_abort(
    process: PackProcess, tmp_path: Path
) -> None:
    alive = True

    def look() -> None:
        if not alive:
            raise SnapshotLost("the backup was ended")

    def end() -> None:
        nonlocal alive
        alive = False
        process.end()

    with pytest.raises(SnapshotLost, match="the backup was ended"):
        read(process, reader(tmp_path, look), cluster(tmp_path), then=end)


@pytest.mark.parametrize(("workers", "cores"), [(1, 2), (2, 1)])
def test_one_worker_or_one_core_has_no_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workers: int, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(cores)})
    with pack_process(workers=workers, checks_pages=False) as process:
        process.begin()
        assert children() == ""
        with process.reading(reader(tmp_path), Entries([Entry("x")])) as stream:
            assert stream is None


@pytest.mark.parametrize(("files", "is_begun"), [(WORTHWHILE_FILES, 0), (WORTHWHILE_FILES + 1, 1)])
def test_it_begins_while_many_files_are_listed(files: int, is_begun: int) -> None:
    entries = [Entry("base/5/1")] * files
    with pack_process(workers=2, checks_pages=False) as process:
        assert [*process.counting(entries)] == entries
        assert len(children().split()) == is_begun
    assert children() == ""


def test_where_the_kernel_refuses_it_threads_read_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise TasksRefused("cannot start 'python': the kernel refused another process or thread")

    monkeypatch.setattr(room, "running", refused)
    with pack_process(workers=2, checks_pages=False) as process:
        process.begin()
        with process.reading(reader(tmp_path), Entries([Entry("x")])) as stream:
            assert stream is None


def test_the_process_loads_neither_the_driver_nor_what_starts_processes() -> None:
    program = "holdfast.sources.postgres.files.pack_program"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {program}; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = {*done.stdout.split()}
    assert program in loaded
    assert not loaded & {"psycopg", "subprocess", "numpy", "asyncio", "ssl", "dataclasses_json"}
