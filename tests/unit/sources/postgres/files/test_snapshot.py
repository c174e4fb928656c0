"""How a base backup ends, with a server in memory and its files on disk."""

from __future__ import annotations

import hashlib
import json
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from crc32c import crc32c

from holdfast.model.backup import Codec, Part, PartKind, PartPlan
from holdfast.model.errors import BackupFailed, SessionCorrupt, SnapshotLost
from holdfast.model.fingerprints import of_sha256
from holdfast.model.wal import Position
from holdfast.ports.sessions import HeldKind
from holdfast.sources.postgres.files.checksum_results import ChecksumResults
from holdfast.sources.postgres.files.cluster import ClusterFacts
from holdfast.sources.postgres.files.kept_plan import KeptPlan
from holdfast.sources.postgres.files.part_plan import PACK_FILES, lay_out
from holdfast.sources.postgres.files.snapshot import PhysicalSnapshot
from holdfast.sources.postgres.files.tree import Seen
from tests.fakes.holder import FakeHolder, FakeHolding
from tests.support.segments import MIB, header
from tests.support.waiting import until

SEGMENT = "000000010000000000000030"
IDENTIFIER = "7300000000000000001"


def snapshot(folder: Path, *, with_wal: bool = True) -> tuple[PhysicalSnapshot, FakeHolding]:
    data = folder / "data"
    for name, content in (("global/pg_control", b"control"), ("base/5/1259", b"rows")):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)
    (data / "pg_wal").mkdir()
    (data / "pg_tblspc").mkdir()
    if with_wal:
        whole = header(SEGMENT, identifier=int(IDENTIFIER)).ljust(MIB, b"\0")
        (data / "pg_wal" / SEGMENT).write_bytes(whole)
    facts = ClusterFacts(
        version="17.0",
        version_number=170000,
        data=data,
        wal_segment_bytes=MIB,
        has_checksums=False,
        system_identifier=IDENTIFIER,
        catalog_version=202406281,
        is_standby=False,
        tablespaces={"16400": "/srv/space"},
    )
    holding = FakeHolder().begin(HeldKind.BACKUP, label="", fast=True)
    layout = lay_out(facts.tree.entries())
    seen = Seen(tablespaces={"16400": "/srv/space"})
    made = PhysicalSnapshot(found=facts, holding=holding, layout=layout, name="x", seen=seen)
    return made, holding


def stored(given: PhysicalSnapshot, part: PartPlan) -> Part:
    """`part` as a run keeps it."""
    with given.read(part) as stream:
        content = b"".join(bytes(chunk) for chunk in stream)
    return Part(
        name=part.name,
        key=part.name,
        kind=part.kind,
        relation=None,
        rows=None,
        plain_bytes=len(content),
        plain_fingerprint=of_sha256(hashlib.sha256(content).hexdigest()),
        stored_bytes=len(content),
        stored_fingerprint="",
        codec=Codec.NONE,
        encryption="none",
        seconds=0.0,
        details=part.details,
        memo=stream.memo,
    )


def test_what_comes_last_is_wal_control_labels_and_a_manifest_of_all_files(tmp_path: Path) -> None:
    given, holding = snapshot(tmp_path)
    closing = given.closing_parts([stored(given, part) for part in given.parts])
    assert given.ended is not None
    assert holding.is_open
    kinds = [part.kind for part in closing]
    assert kinds == [PartKind.WAL, *[PartKind.CLOSING] * 3]
    texts = {}
    for part in closing:
        with given.read(part) as stream:
            texts[part.details.texts()["path"]] = b"".join(bytes(chunk) for chunk in stream)
    assert texts["global/pg_control"] == b"control"
    assert texts["backup_label"].startswith(b"START WAL LOCATION")
    assert len(texts[f"pg_wal/{SEGMENT}"]) == MIB
    manifest = json.loads(texts["backup_manifest"])
    paths = [each["Path"] for each in manifest["Files"]]
    assert sorted(paths) == ["backup_label", "base/5/1259", "global/pg_control"]
    (label,) = [part for part in closing if part.details.texts()["path"] == "backup_label"]
    assert json.loads(label.details.texts()["tablespaces"]) == {"16400": "/srv/space"}
    assert label.details.texts()["mode"] == f"{stat.S_IMODE((tmp_path / 'data').stat().st_mode):o}"


def test_without_its_wal_there_is_no_backup(tmp_path: Path) -> None:
    given, _ = snapshot(tmp_path, with_wal=False)
    wal = given.closing_parts([])[0]
    with (
        given.read(wal) as stream,
        pytest.raises(BackupFailed, match="cannot collect WAL segment"),
    ):
        list(stream)


def test_wal_that_is_recycled_while_it_is_read_is_found(tmp_path: Path) -> None:
    given, _ = snapshot(tmp_path)
    wal = given.closing_parts([])[0]
    other = header("000000010000000000000050", identifier=int(IDENTIFIER)).ljust(MIB, b"\0")
    (given.found.data / "pg_wal" / SEGMENT).write_bytes(other)
    with given.read(wal) as stream, pytest.raises(BackupFailed, match="it holds the WAL of"):
        list(stream)


def test_a_session_that_dies_is_noticed_while_files_are_read(tmp_path: Path) -> None:
    given, holding = snapshot(tmp_path)
    holding.problem = SessionCorrupt("cannot use the session on 'x': it was restarted")
    with given.keepalive.at_work(seconds=0.001):
        until(lambda: holding.looks > 0)
    with given.read(given.parts[0]) as stream, pytest.raises(SessionCorrupt):
        list(stream)
    with pytest.raises(SessionCorrupt):
        given.closing_parts([])


def test_an_abort_ends_all_reads(tmp_path: Path) -> None:
    given, _ = snapshot(tmp_path)
    given.abort()
    with given.read(given.parts[0]) as stream, pytest.raises(SnapshotLost):
        list(stream)


def test_a_later_run_leaves_packs_as_they_are_and_takes_only_what_is_new(tmp_path: Path) -> None:
    first, holding = snapshot(tmp_path)
    done = [stored(first, part) for part in first.parts]
    (first.found.data / "base/5/2000").write_bytes(b"new")
    (first.found.data / "base/5/1259").write_bytes(b"other rows")
    again = PhysicalSnapshot(
        found=first.found, holding=holding, layout=lay_out(first.found.tree.entries()), name="x"
    )
    again.go_on_from(done)
    fresh = [part for part in again.parts if part.name not in {each.name for each in done}]
    assert [entry.path for part in fresh for entry in again.layout.contents[part.name]] == [
        "base/5/2000"
    ]
    closing = again.closing_parts([*done, *(stored(again, part) for part in fresh)])
    (last,) = [part for part in closing if part.name == "end/backup_manifest"]
    with again.read(last) as stream:
        files = json.loads(b"".join(bytes(chunk) for chunk in stream))["Files"]
    sums = {each["Path"]: each["Checksum"] for each in files}
    assert {path: sums[path] for path in ("base/5/1259", "base/5/2000")} == {
        path: crc32c(content).to_bytes(4, sys.byteorder).hex()
        for path, content in (("base/5/1259", b"rows"), ("base/5/2000", b"new"))
    }


def kept(first: PhysicalSnapshot, holding: FakeHolding) -> PhysicalSnapshot:
    """The same base backup in a later run, which has read the plan of the first one."""
    holding.session_id = "a" * 32
    plan = KeptPlan.decode(first.memo)
    assert plan is not None
    return PhysicalSnapshot(
        found=first.found,
        holding=holding,
        layout=plan.layout,
        name="x",
        seen=plan.seen,
        is_kept=True,
    )


def test_a_later_run_that_has_the_plan_reads_the_parts_that_are_missing_and_lists_no_folder(
    tmp_path: Path,
) -> None:
    first, holding = snapshot(tmp_path)
    folder = first.found.data / "base/5"
    for number in range(2 * PACK_FILES):
        (folder / str(16384 + number)).write_bytes(b"rows")
    first.layout = lay_out(first.found.tree.entries())
    done = [stored(first, part) for part in first.parts[:1]]
    # The WAL creates it.
    (folder / "2000").write_bytes(b"new")
    again = kept(first, holding)
    again.go_on_from(done)
    assert again.parts == first.parts
    rest = [stored(again, part) for part in again.parts[1:]]
    closing = again.closing_parts([*done, *rest])
    (last,) = [part for part in closing if part.name == "end/backup_manifest"]
    with again.read(last) as stream:
        files = json.loads(b"".join(bytes(chunk) for chunk in stream))["Files"]
    paths = [each["Path"] for each in files]
    assert len(paths) == len({*paths}) == 2 * PACK_FILES + 3
    assert "base/5/2000" not in paths
    assert again.memo == first.memo


def test_a_backup_that_ends_with_its_process_keeps_no_plan(tmp_path: Path) -> None:
    assert snapshot(tmp_path)[0].memo == ""


def test_stored_parts_that_are_not_in_the_plan_are_kept_and_the_others_planned_around_them(
    tmp_path: Path,
) -> None:
    first, holding = snapshot(tmp_path)
    (part,) = [stored(first, part) for part in first.parts]
    again = kept(first, holding)
    again.go_on_from([replace(part, name="packs/00007.tar")])
    assert [each.name for each in again.parts] == ["packs/00007.tar"]


def test_a_run_that_comes_after_the_end_copies_nothing_that_would_be_too_new(
    tmp_path: Path,
) -> None:
    first, holding = snapshot(tmp_path)
    done = [stored(first, part) for part in first.parts]
    holding.ended = holding.end()
    (first.found.data / "base/5/2000").write_bytes(b"new")
    again = PhysicalSnapshot(
        found=first.found, holding=holding, layout=lay_out(first.found.tree.entries()), name="x"
    )
    again.go_on_from(done)
    assert [part.name for part in again.parts] == [part.name for part in done]
    with pytest.raises(SnapshotLost, match="the base backup has ended"), again.read(again.parts[0]):
        pass
    with again.keepalive.at_work(seconds=0.001):
        closing = again.closing_parts(done)
    assert holding.ended == again.ended
    assert {part.kind for part in closing} == {PartKind.WAL, PartKind.CLOSING}


def test_what_an_earlier_run_saw_of_damage_is_told_by_the_one_that_ends(tmp_path: Path) -> None:
    given, _ = snapshot(tmp_path)
    (part,) = [stored(given, part) for part in given.parts]
    seen = ChecksumResults.decode(part.memo)
    seen.add_pages("base/5/1259", checked=4, bad=[3])
    given.closing_parts([replace(part, memo=seen.encode())])
    assert given.proof.texts()["bad_pages"] == "base/5/1259: 3"


def test_a_page_of_wal_that_never_was_is_told_once_the_end_is_known(tmp_path: Path) -> None:
    given, _ = snapshot(tmp_path)
    (part,) = [stored(given, part) for part in given.parts]
    noted = ChecksumResults.decode(part.memo)
    end = Position.parse("0/3000100").byte
    noted.add_pages("base/5/1259", checked=2, doubtful=[(6, end), (7, end + 1)])
    given.closing_parts([replace(part, memo=noted.encode())])
    assert given.proof.texts()["bad_pages"] == "base/5/1259: 7"


def test_what_is_left_out_or_comes_back_as_something_else_is_noted(tmp_path: Path) -> None:
    given, _ = snapshot(tmp_path)
    given.seen.skipped["dump"] = "a pipe, not a file"
    given.seen.links["pg_wal"] = "/wal"
    given.unproven = ["files of database 'x' are not compared"]
    assert given.notes == [
        "left out: 'dump': a pipe, not a file",
        "'pg_wal' is a link to '/wal': it comes back as a folder or file of its own",
        "files of database 'x' are not compared",
    ]
    given.seen.skipped.update({f"odd-{number:03}": "a pipe" for number in range(200)})
    assert given.notes[-2] == "and 152 more"


def test_a_tablespace_that_only_an_earlier_run_has_seen_is_known_to_a_restore(
    tmp_path: Path,
) -> None:
    given, _ = snapshot(tmp_path)
    (part,) = [stored(given, part) for part in given.parts]
    noted = ChecksumResults.decode(part.memo)
    noted.folders.append("pg_tblspc/16500/PG_17_202406281")
    closing = given.closing_parts([replace(part, memo=noted.encode())])
    (label,) = [part for part in closing if part.details.texts()["path"] == "backup_label"]
    assert json.loads(label.details.texts()["tablespaces"]) == {"16400": "/srv/space", "16500": ""}
