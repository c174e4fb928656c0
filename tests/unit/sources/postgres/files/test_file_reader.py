"""Files that grow, shrink and vanish while they are read."""

from __future__ import annotations

import io
import itertools
import os
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from crc32c import crc32c

from holdfast.model.backup import Buffer, PartKind
from holdfast.model.errors import BackupFailed, SessionCorrupt
from holdfast.model.part_details import ClusterFile
from holdfast.model.values import Span
from holdfast.sources.postgres.files.checksum_results import ChecksumResults, whole_files
from holdfast.sources.postgres.files.entries import Entries, Entry
from holdfast.sources.postgres.files.file_reader import (
    CHUNK_BYTES,
    SAMPLED_FILE_BYTES,
    Reader,
    Turn,
    is_worth_compressing,
)
from holdfast.sources.postgres.files.pack_reader import packed
from holdfast.sources.postgres.files.part_plan import cut
from tests.support.manifests import bare_part

BIG = 2 * CHUNK_BYTES


def nothing() -> None:
    """The backup is alive."""


def reader(data: Path, look: Callable[[], None] = nothing, *, checks: bool = False) -> Reader:
    return Reader(
        data=data,
        start=1 << 32,
        checks_pages=checks,
        findings=ChecksumResults(),
        look=look,
        owner=os.getuid(),
    )


def in_database(data: Path, name: str) -> Path:
    path = data / "base/5" / name
    path.parent.mkdir(parents=True)
    return path


def whole(chunks: Iterator[Buffer]) -> bytes:
    return b"".join(bytes(chunk) for chunk in chunks)


def seen(found: Reader, path: str) -> tuple[int, int]:
    """Size and sum of a file, all pieces of it."""
    memo = found.findings.encode()
    part = replace(
        bare_part("piece", PartKind.FILE),
        details=ClusterFile(path=path, piece=Span(first=0)),
        memo=memo,
    )
    ((_, size_bytes, _, crc),) = (each for each in whole_files([part], set()) if each[0] == path)
    return size_bytes, crc


def test_a_file_is_read_unchanged(tmp_path: Path) -> None:
    content = os.urandom(BIG + 5)
    (tmp_path / "1259").write_bytes(content)
    found = reader(tmp_path)
    assert whole(found.file(Entry(path="1259", size_bytes=len(content)))) == content
    assert seen(found, "1259") == (len(content), crc32c(content))


def test_a_file_that_has_vanished_is_noted_and_leaves_no_trace_in_a_pack(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"x")
    found = reader(tmp_path)
    assert whole(found.file(Entry(path="gone", size_bytes=10))) == b""
    entries = [Entry(path="lost", size_bytes=10), Entry(path="there", size_bytes=1)]
    with tarfile.open(fileobj=io.BytesIO(whole(packed(found, Entries(entries))))) as pack:
        assert pack.getnames() == ["there"]
    assert found.findings.vanished == {"gone", "lost"}


@pytest.mark.parametrize("change", [-1000, 1000, -BIG])
def test_a_member_that_changes_its_size_under_the_reader_leaves_a_sound_tar(
    tmp_path: Path, change: int
) -> None:
    path = tmp_path / "1259"
    path.write_bytes(b"a" * BIG)
    (tmp_path / "next").write_bytes(b"next")
    found = reader(tmp_path)
    entries = [Entry(path="1259", size_bytes=BIG), Entry(path="next", size_bytes=4)]
    chunks, taken = packed(found, Entries(entries)), bytearray()
    for chunk in chunks:
        if not taken:
            os.truncate(path, BIG + change)
        taken += chunk
    with tarfile.open(fileobj=io.BytesIO(bytes(taken))) as pack:
        member = pack.extractfile("1259")
        assert member is not None
        content = member.read()
        assert pack.getnames() == ["1259", "next"]
    assert len(content) == BIG
    assert content.rstrip(b"\0") == b"a" * min(BIG, BIG + change)
    assert seen(found, "1259") == (BIG, crc32c(content))


@pytest.mark.parametrize("now", [BIG + 5, BIG - 7, 2 * BIG, 100, 0])
def test_pieces_of_a_file_that_grows_or_shrinks_follow_each_other(tmp_path: Path, now: int) -> None:
    content = os.urandom(2 * BIG)
    (tmp_path / "1259").write_bytes(content[: BIG + 5])
    entry = Entry(path="1259", size_bytes=BIG + 5)
    found, pieces = reader(tmp_path), cut(BIG + 5, range_bytes=CHUNK_BYTES + 8192)
    (tmp_path / "1259").write_bytes(content[:now])
    whole_file = b"".join(whole(found.file(entry, piece)) for piece in pieces)
    bounded = pieces[-1].first
    assert len(whole_file) == max(now, bounded)
    assert whole_file[:now] == content[:now]
    assert not whole_file[now:].strip(b"\0")
    assert seen(found, "1259") == (len(whole_file), crc32c(whole_file))


def test_a_bad_page_in_a_piece_is_told_by_its_block_in_the_relation(tmp_path: Path) -> None:
    page = bytearray(os.urandom(8192))
    page[0:8] = bytes(8)
    page[12:16] = b"\x18\x00\x00\x20"
    in_database(tmp_path, "1259.1").write_bytes(bytes(3 * 8192) + page)
    found = reader(tmp_path, checks=True)
    entry = Entry(path="base/5/1259.1", size_bytes=4 * 8192)
    for piece in cut(4 * 8192, range_bytes=2 * 8192):
        whole(found.file(entry, piece))
    assert (found.findings.bad, found.findings.pages) == ({"base/5/1259.1": [131072 + 3]}, 4)


def test_a_pack_says_the_rights_of_its_folders_and_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "log").mkdir()
    (tmp_path / "log").chmod(0o755)
    entries = [
        Entry(path="gone", is_folder=True),
        Entry(path="log", is_folder=True),
        Entry(path="file", size_bytes=1),
    ]
    with tarfile.open(
        fileobj=io.BytesIO(whole(packed(reader(tmp_path), Entries(entries))))
    ) as pack:
        found = [(each.isdir(), each.mode) for each in pack]
    assert found == [(True, 0o700), (True, 0o755), (False, 0o640)]


def test_a_link_is_read_only_where_it_is_known_and_leads_to_what_the_owner_owns(
    tmp_path: Path,
) -> None:
    (tmp_path / "elsewhere").write_bytes(b"content")
    for name in ("known", "unknown"):
        (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    found = replace(reader(tmp_path), links={"known"})
    assert whole(found.file(Entry(path="known"))) == b"content"
    with pytest.raises(BackupFailed, match=r"cannot read '.*/unknown'"):
        whole(found.file(Entry(path="unknown")))
    stranger = replace(found, owner=os.getuid() + 1)
    with pytest.raises(BackupFailed, match=r"'.*/known': a link leads there"):
        whole(stranger.file(Entry(path="known")))
    # Without a link in its path it is a foreign file in the server's own folder.
    assert whole(stranger.file(Entry(path="elsewhere"))) == b"content"


def test_a_folder_that_became_a_link_to_what_is_not_the_owners_is_not_followed(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/1259").write_bytes(b"secret")
    data.mkdir()
    (data / "base").symlink_to(tmp_path / "secret")
    found = replace(reader(data), owner=os.getuid() + 1)
    with pytest.raises(BackupFailed, match="a link leads there"):
        whole(found.file(Entry(path="base/1259")))


def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1259")
    with pytest.raises(BackupFailed, match="cannot read"):
        whole(reader(tmp_path).file(Entry(path="1259")))


def with_page(data: Path, lsn: int) -> Reader:
    page = bytearray(os.urandom(8192))
    page[0:8] = (lsn >> 32).to_bytes(4, "little") + (lsn & 0xFFFFFFFF).to_bytes(4, "little")
    page[12:16] = b"\x18\x00\x00\x20"
    in_database(data, "1259").write_bytes(bytes(8192) + page)
    return reader(data, checks=True)


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_page_that_wal_may_repair_is_doubtful_until_the_end_is_known(
    tmp_path: Path, *, is_packed: bool
) -> None:
    lsn = (1 << 32) + 5
    found, entry = with_page(tmp_path, lsn), Entry(path="base/5/1259", size_bytes=16384)
    whole(packed(found, Entries([entry])) if is_packed else found.file(entry))
    assert (found.findings.bad, found.findings.doubtful) == ({}, {"base/5/1259": [(1, lsn)]})


def test_reading_stops_where_the_backup_is_worth_nothing_any_more(tmp_path: Path) -> None:
    (tmp_path / "1259").write_bytes(b"a" * BIG)

    def dead() -> None:
        raise SessionCorrupt("cannot use the session on 'x': it was restarted")

    with pytest.raises(SessionCorrupt):
        whole(reader(tmp_path, dead).file(Entry(path="1259", size_bytes=BIG)))


def test_what_cannot_be_read_is_named_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "1259").symlink_to("/etc/hostname")
    with pytest.raises(BackupFailed, match=r"cannot read .*1259") as caught:
        whole(reader(tmp_path).file(Entry(path="1259", size_bytes=1)))
    assert "initdb -g" in caught.value.hint


def test_a_bad_page_is_counted_once_and_its_block_is_that_of_the_relation(tmp_path: Path) -> None:
    page = bytearray(os.urandom(8192))
    page[0:8] = bytes(8)
    page[12:16] = b"\x18\x00\x00\x20"
    in_database(tmp_path, "1259.2").write_bytes(bytes(8192) + page)
    found = reader(tmp_path, checks=True)
    whole(found.file(Entry(path="base/5/1259.2", size_bytes=16384)))
    assert found.findings.bad == {"base/5/1259.2": [2 * 131072 + 1]}
    assert found.findings.pages == 2


NOISE = os.urandom(SAMPLED_FILE_BYTES)


@pytest.mark.parametrize(
    ("piece", "size_bytes", "worth"),
    [
        (NOISE, SAMPLED_FILE_BYTES, False),
        (b"row " * (1 << 14), SAMPLED_FILE_BYTES, True),
        (NOISE, SAMPLED_FILE_BYTES - 1, True),
    ],
)
def test_only_big_files_of_noise_are_stored_as_they_are(
    tmp_path: Path, piece: bytes, size_bytes: int, worth: bool
) -> None:
    (tmp_path / "1259").write_bytes(
        (piece * 257)[:size_bytes] if len(piece) < size_bytes else piece[:size_bytes]
    )
    assert is_worth_compressing(tmp_path, Entry(path="1259", size_bytes=size_bytes)) is worth


def test_a_file_that_has_vanished_is_not_asked(tmp_path: Path) -> None:
    assert is_worth_compressing(tmp_path, Entry(path="gone", size_bytes=SAMPLED_FILE_BYTES))


def test_small_files_are_read_by_one_worker_at_a_time() -> None:
    turn, entered, leave = Turn(seconds=60.0), threading.Event(), threading.Event()
    order = list[str]()

    def first() -> None:
        with turn.taken():
            entered.set()
            leave.wait()
            order.append("first")

    def second() -> None:
        leave_soon.set()
        with turn.taken():
            order.append("second")

    leave_soon = threading.Event()
    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    entered.wait()
    threads[1].start()
    leave_soon.wait()
    leave.set()
    for thread in threads:
        thread.join()
    assert order == ["first", "second"]
    with turn.taken():
        order.append("again")
    assert order[-1] == "again"


def test_a_worker_that_hangs_does_not_hold_up_the_others_for_long() -> None:
    turn = Turn(seconds=0.001)
    with turn.taken(), turn.taken():
        pass
    # The one that did not wait for the end has not given away the turn of the other.
    with turn.taken(), pytest.raises(BackupFailed), turn.taken():
        raise BackupFailed("cannot read")
    with turn.taken(), turn.taken():
        pass


def test_nobody_waits_where_files_come_from_a_disk() -> None:
    blocks = itertools.count()
    turn = Turn(seconds=60.0, blocks_read=lambda: next(blocks))
    with turn.taken():
        pass
    began = time.monotonic()
    with turn.taken(), turn.taken():
        assert time.monotonic() - began < 30
