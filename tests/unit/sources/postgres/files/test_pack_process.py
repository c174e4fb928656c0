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

import holdfast
from holdfast.model.errors import BackupFailed, SnapshotLost, TasksRefused
from holdfast.sources.postgres.files import pack_process as room
from holdfast.sources.postgres.files.entries import Entries, Entry
from holdfast.sources.postgres.files.file_reader import CHUNK_BYTES, Reader
from holdfast.sources.postgres.files.pack_process import (
    WORTHWHILE_FILES,
    PackProcess,
    pack_process,
)
from holdfast.sources.postgres.files.pack_program import CONTENT
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


@pytest.mark.parametrize("program", ["/nowhere/python", ""])
def test_where_its_program_cannot_be_run_threads_read_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str
) -> None:
    # An upgrade may have removed it since this process was started.
    monkeypatch.setattr(sys, "executable", program)
    with pack_process(workers=2, checks_pages=False) as process:
        process.begin()
        with process.reading(reader(tmp_path), Entries([Entry("x")])) as stream:
            assert stream is None


def instead(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Let `script` run in place of the program."""
    program = folder / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))


NONSENSE = {
    "an unknown letter": r"x\001\000\000\000x",
    "zeros": r"\000\000\000\000\000",
    "more content than a buffer has": r"C\001\000\040\000",
    "four GiB of a memo": r"M\377\377\377\377",
    "a long error": r"F\377\377\377\000",
}


@pytest.mark.parametrize("told", NONSENSE.values(), ids=NONSENSE)
def test_a_frame_that_is_none_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: str
) -> None:
    instead(monkeypatch, tmp_path, f"read request; printf '{told}'; exec sleep 600")
    with pack_process(workers=2, checks_pages=False) as process:
        process.begin()
        with process.reading(reader(tmp_path), Entries([Entry("x")])) as stream:
            assert stream is None
        assert children() == ""


def test_a_frame_has_room_for_what_a_pack_is_read_into() -> None:
    assert room._MOST_BYTES[CONTENT] == ARENA_BYTES == CHUNK_BYTES


def test_nonsense_in_the_middle_of_a_pack_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = r"C\001\000\000\000xC\377\377\377\377"
    instead(monkeypatch, tmp_path, f"read request; printf '{told}'; exec sleep 600")
    with pack_process(workers=2, checks_pages=False) as process:
        process.begin()
        with pytest.raises(BackupFailed, match="tells nonsense"):
            read(process, reader(tmp_path), Entries([Entry("x")]))


def test_a_pack_whose_process_ends_before_its_first_answer_is_read_by_a_thread(
    process: PackProcess, tmp_path: Path
) -> None:
    os.kill(int(children()), signal.SIGKILL)
    with process.reading(reader(tmp_path), cluster(tmp_path)) as stream:
        assert stream is None


def test_an_abort_before_the_first_answer_is_told_as_an_abort(
    process: PackProcess, tmp_path: Path
) -> None:
    def lost() -> None:
        raise SnapshotLost("the backup was ended")

    process.end()
    with (
        pytest.raises(SnapshotLost, match="the backup was ended"),
        process.reading(reader(tmp_path, lost), cluster(tmp_path)),
    ):
        pytest.fail("it was read")


def test_names_that_end_with_a_line_are_read_there_too(
    process: PackProcess, tmp_path: Path
) -> None:
    entries = Entries([*made(tmp_path, base__5__1=b"rows"), Entry("base/5/..\n")])
    (tmp_path / "base/5/..\n").write_bytes(b"more")
    assert read(process, reader(tmp_path), entries)[0] == whole(packed(reader(tmp_path), entries))


def test_modules_are_looked_for_in_the_order_of_this_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Libraries lie beside ours; one of them may have the name of a standard module.
    asked: list[str] = []

    def refused(argv: list[str], **_: object) -> None:
        asked.extend(argv)
        raise TasksRefused("cannot start 'python'")

    above = str(Path(holdfast.__file__).parents[1])
    monkeypatch.setattr(room, "running", refused)
    monkeypatch.setattr(sys, "path", ["", "/usr/lib/python3", above, "/srv"])
    with pack_process(workers=2, checks_pages=False) as process:
        process.begin()
    assert asked[asked.index("") + 1 :] == ["/usr/lib/python3", above, "/srv"]
    asked.clear()
    monkeypatch.setattr(sys, "path", ["/usr/lib/python3"])
    with pack_process(workers=2, checks_pages=False) as process:
        process.begin()
    assert asked[asked.index("") + 1 :] == [above, "/usr/lib/python3"]


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
