"""The parent of the next incremental backup, or the reason for none."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.model.backup import Manifest
from holdfast.model.errors import Unsupported
from holdfast.model.proof import BaseBackupProof
from holdfast.sources.postgres.files.incremental_stream import (
    FileList,
    cannot_follow,
    parent_among,
    require_summaries,
)
from holdfast.sources.postgres.files.stream_facts import StreamFacts
from holdfast.sources.postgres.files.stream_watchers import TarStream
from tests.support.manifests import manifest, part

FOUND = StreamFacts(
    version="17.5",
    version_number=170005,
    tablespaces=0,
    senders_free=9,
    size_bytes=1,
    may_replicate=True,
    system_identifier="700",
    timeline=2,
    summarizes=True,
    has_checksums=True,
    lsn="0/3000000",
)


def backup(
    number: int, *, parent: str = "", cluster: str = "700", timeline: int = 2, listed: bool = True
) -> Manifest:
    made = manifest(f"2026112{number}T020000Z-0a0b0c0d", age=timedelta(days=9 - number))
    names = ["basebackup.tar", *(["backup_manifest"] if listed else [])]
    return replace(
        made,
        proof=BaseBackupProof(system_identifier=cluster, timeline=timeline, parent=parent),
        parts=tuple(part(name) for name in names),
    )


def test_the_newest_of_the_same_cluster_and_timeline_is_the_parent() -> None:
    newest_first = [backup(4, cluster="1"), backup(3, timeline=1), backup(2), backup(1)]
    parent, why = parent_among(newest_first, FOUND, most=6)
    assert parent is not None
    assert (parent.backup_id, why) == (backup(2).backup_id, "")
    assert parent.part.name == "backup_manifest"


@pytest.mark.parametrize(
    ("manifests", "because"),
    [
        ([], "no earlier backup"),
        ([backup(1, cluster="1")], "the earlier backups are of another cluster"),
        ([backup(1, timeline=1)], "the earlier backups are not of timeline 2"),
        ([backup(1, listed=False)], "the earlier backups were taken without 'incremental'"),
    ],
)
def test_without_one_all_is_copied_and_the_reason_told(
    manifests: list[Manifest], because: str
) -> None:
    assert parent_among(manifests, FOUND, most=6) == (None, because)


def test_a_chain_that_is_long_enough_begins_again() -> None:
    full = backup(1)
    chain = [backup(2, parent=full.backup_id), full]
    assert parent_among(chain, FOUND, most=2)[0] is not None
    assert parent_among(chain, FOUND, most=1) == (None, "incrementals since the last full one: 1")


def test_a_server_that_does_not_know_what_changed_is_refused_with_the_remedy() -> None:
    require_summaries(FOUND)
    with pytest.raises(Unsupported, match=r"server 15\.3 is older than 17") as old:
        require_summaries(replace(FOUND, version="15.3", version_number=150003, summarizes=None))
    assert "remove 'incremental'" in old.value.hint
    with pytest.raises(Unsupported, match="does not summarize its WAL") as off:
        require_summaries(replace(FOUND, summarizes=False))
    assert "summarize_wal = on" in off.value.hint


@pytest.mark.parametrize(
    "said",
    [
        "ERROR:  WAL summaries are required on timeline 1 from 0/2000028 to 0/4000060, but",
        "ERROR:  timeline 2 found in manifest, but not in this server's history",
        "ERROR:  system identifier in backup manifest is 1, but database system identifier is 2",
        "ERROR:  incremental backups cannot be taken unless WAL summarization is enabled",
    ],
)
def test_a_refused_parent_is_told_from_a_refused_backup(said: str) -> None:
    assert cannot_follow(f"pg_basebackup: error: could not initiate base backup: {said}")
    assert not cannot_follow("pg_basebackup: error: connection to server failed: no room")


LISTED = b'{ "Files": [' + b"x" * 700 + b"] }\n"


def tar_with(*members: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        folder = tarfile.TarInfo("base")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    return packed.getvalue()


def fed(content: bytes, *, step: int) -> FileList:
    found = FileList(io.BytesIO())
    stream = TarStream(found)
    for at in range(0, len(content), step):
        stream.feed(content[at : at + step])
    return found


@pytest.mark.parametrize("step", [1, 100, 512, 513, 1 << 20])
def test_the_list_is_found_between_other_files(step: int) -> None:
    content = tar_with(("PG_VERSION", b"17\n"), ("backup_manifest", LISTED), ("last", b""))
    found = fed(content, step=step)
    assert found.size_bytes == len(LISTED)
    assert b"".join(bytes(chunk) for chunk in found) == LISTED


def test_a_stream_that_breaks_off_or_holds_none_or_is_no_tar_has_no_list() -> None:
    whole = tar_with(("backup_manifest", LISTED))
    assert fed(whole[:900], step=512).size_bytes == 0
    assert fed(tar_with(("PG_VERSION", b"17\n")), step=512).size_bytes == 0
    assert fed(b"no tar at all" * 100, step=512).size_bytes == 0
