"""Restoring files: never over others, never outside the folder, never incomplete."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.model.backup import Part, PartKind, Relation
from holdfast.model.errors import (
    HoldfastError,
    RestoreFailed,
    TargetNotEmpty,
    Unsupported,
    VerifyFailed,
)
from holdfast.model.part_details import ClusterLabel, details_of_schema_1
from holdfast.model.restore import Restored
from holdfast.model.stored_json import Unreadable
from holdfast.ports.target import RestoreOptions, RestoreRequest
from holdfast.sources.postgres.files.target import DirectoryTarget
from tests.fakes.progress import FakeProgress
from tests.fakes.stored import FakeStored
from tests.support.manifests import bare_part

LABEL = {"path": "backup_label", "tablespaces": '{"16400": "/srv/space"}', "vanished": '["gone"]'}


def part(name: str, kind: PartKind, **details: str) -> Part:
    return replace(bare_part(name, kind), details=details_of_schema_1(details))


def tar_of(*names: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"rows"))
    return packed.getvalue()


class Store:
    """The bytes of a repository; an error is raised after the first byte."""

    def __init__(self) -> None:
        self.parts = [
            part("pack", PartKind.FILE_PACK),
            part("big", PartKind.FILE, path="base/5/3"),
            part("gone", PartKind.FILE, path="gone"),
            part("wal", PartKind.WAL, path="pg_wal/000000010000000000000001"),
            part("map", PartKind.CLOSING, path="tablespace_map"),
            part("control", PartKind.CLOSING, path="global/pg_control"),
            part("label", PartKind.CLOSING, **LABEL),
        ]
        self.contents: dict[str, bytes | HoldfastError] = {
            each.name: each.name.encode() for each in self.parts
        }
        self.contents["pack"] = tar_of("base/5/1", "pg_tblspc/16400/PG_17_1/5/2")
        self.read: list[str] = []

    def restore(self, url: str) -> Restored:
        request = RestoreRequest(parts=tuple(self.parts), workers=2)
        return DirectoryTarget(url).restore(request, FakeStored(self._open), FakeProgress())

    @contextmanager
    def _open(self, wanted: Part) -> Iterator[Iterator[bytes]]:
        self.read.append(wanted.name)
        yield self._chunks(self.contents[wanted.name])

    def _chunks(self, content: bytes | HoldfastError) -> Iterator[bytes]:
        if isinstance(content, HoldfastError):
            yield b"x"
            raise content
        yield content[:5]
        yield content[5:]


def files_below(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_files_links_and_labels_come_back_and_control_comes_last(tmp_path: Path) -> None:
    store, data = Store(), tmp_path / "data"
    store.restore(f"file://{data}")
    assert files_below(data) | {"tablespaces": ""} == {
        "backup_label": "label",
        "base/5/1": "rows",
        "base/5/3": "big",
        "global/pg_control": "control",
        "pg_wal/000000010000000000000001": "wal",
        "tablespaces": "",
    }
    assert store.read[-1] == "control"
    link = data / "pg_tblspc/16400"
    assert link.readlink() == tmp_path / "data-tablespaces/16400"
    assert (link / "PG_17_1/5/2").read_text() == "rows"
    assert data.stat().st_mode & 0o777 == 0o700


def test_tablespaces_go_where_the_url_says(tmp_path: Path) -> None:
    Store().restore(f"file://{tmp_path}/my%20data?tablespaces={tmp_path}/spaces")
    assert (tmp_path / "my data/backup_label").exists()
    assert (tmp_path / "spaces/16400/PG_17_1/5/2").exists()


@pytest.mark.parametrize("taken", ["data", "data-tablespaces/16400"])
def test_nothing_is_written_where_something_is(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).mkdir(parents=True)
    (tmp_path / taken / "precious").write_text("mine")
    with pytest.raises(TargetNotEmpty, match="contains files"):
        Store().restore(f"file://{tmp_path}/data")
    assert files_below(tmp_path) == {f"{taken}/precious": "mine"}


@pytest.mark.parametrize("stands_already", [False, True])
@pytest.mark.parametrize("broken", ["big", "wal", "control"])
def test_a_part_that_is_not_right_leaves_nothing_behind(
    tmp_path: Path, broken: str, *, stands_already: bool
) -> None:
    store, data = Store(), tmp_path / "data"
    if stands_already:
        data.mkdir()
    store.contents[broken] = VerifyFailed(f"cannot trust part '{broken}'")
    with pytest.raises(VerifyFailed, match=broken):
        store.restore(f"file://{data}")
    assert files_below(tmp_path) == {}
    assert data.exists() == stands_already


def test_a_file_comes_back_from_its_pieces_in_whatever_order(tmp_path: Path) -> None:
    store = Store()
    for number, span in enumerate(("5-10", "0-5", "10-")):
        content = (b"56789", b"01234", b"rest")[number]
        piece = part(f"piece-{number}", PartKind.FILE, path="base/5/9", bytes=span)
        store.parts.append(replace(piece, plain_bytes=len(content)))
        store.contents[piece.name] = content
    store.restore(f"file://{tmp_path}/data")
    assert (tmp_path / "data/base/5/9").read_text() == "0123456789rest"


def tar_with_modes(**modes: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, mode in modes.items():
            member = tarfile.TarInfo(name)
            member.mode = mode
            member.type = tarfile.DIRTYPE if name.startswith("d") else tarfile.REGTYPE
            archive.addfile(member)
    return packed.getvalue()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_rights_come_back_but_for_those_that_nobody_may_have(tmp_path: Path) -> None:
    store, data = Store(), tmp_path / "data"
    store.parts.append(part("modes", PartKind.FILE_PACK))
    wanted = {"d1": 0o755, "d2": 0o7777, "d3": 0o100, "f1": 0o640, "f2": 0o4777, "f3": 0o400}
    store.contents["modes"] = tar_with_modes(**wanted)
    store.parts.append(part("alone", PartKind.FILE, path="alone", mode="7644"))
    store.contents["alone"] = b"content"
    store.restore(f"file://{data}")
    found = {name: mode_of(data / name) for name in (*wanted, "alone", "base/5/3", ".")}
    assert found == {
        "d1": 0o755,
        "d2": 0o755,
        "d3": 0o700,
        "f1": 0o640,
        "f2": 0o755,
        "f3": 0o600,
        "alone": 0o644,
        "base/5/3": 0o600,
        ".": 0o700,
    }


def test_a_cluster_that_its_group_may_read_comes_back_as_one(tmp_path: Path) -> None:
    store, data = Store(), tmp_path / "data"
    store.parts[-1] = part("label", PartKind.CLOSING, **LABEL, mode="750", links='{"pg_wal": "/w"}')
    told = store.restore(f"file://{data}")
    assert told.notes == (
        "'pg_wal' was a link to '/w': it came back as a folder or file of its own",
    )
    folders = (".", "base", "pg_wal", "../data-tablespaces/16400")
    assert {mode_of(data / name) for name in folders} == {0o750}
    assert mode_of(data / "global/pg_control") == mode_of(data / "base/5/3") == 0o640


@pytest.mark.parametrize("mode", ["x", "0o755", "99999", ""])
def test_rights_that_are_none_are_damage(mode: str) -> None:
    with pytest.raises(Unreadable, match="'mode' has the invalid value"):
        part("alone", PartKind.FILE, path="alone", mode=mode)


def test_a_file_with_holes_gets_them_back_whatever_its_pieces(tmp_path: Path) -> None:
    store, mib = Store(), 1 << 20
    whole = bytes(mib) + b"middle".ljust(mib, b"\0") + bytes(mib)
    for number, (span, first, after) in enumerate(
        ((f"0-{mib}", 0, mib), (f"{mib}-{2 * mib}", mib, 2 * mib), (f"{2 * mib}-", 2 * mib, None))
    ):
        content = whole[first:after]
        piece = part(f"piece-{number}", PartKind.FILE, path="holes", bytes=span, sparse="yes")
        store.parts.append(replace(piece, plain_bytes=len(content)))
        store.contents[piece.name] = content
    store.restore(f"file://{tmp_path}/data")
    path = tmp_path / "data/holes"
    assert path.read_bytes() == whole
    assert path.stat().st_blocks * 512 < mib


def test_a_piece_of_another_size_than_it_stands_for_is_refused(tmp_path: Path) -> None:
    store = Store()
    for span in ("0-5", "5-"):
        store.parts.append(part(span, PartKind.FILE, path="base/5/9", bytes=span))
    with pytest.raises(VerifyFailed, match="part '0-5' has 1 bytes, but covers bytes 0-5"):
        store.restore(f"file://{tmp_path}/data")
    assert files_below(tmp_path) == {}


def test_a_file_with_a_piece_missing_is_not_brought_back_with_a_hole(tmp_path: Path) -> None:
    store = Store()
    for span in ("0-5", "10-"):
        store.parts.append(part(span, PartKind.FILE, path="base/5/9", bytes=span))
    with pytest.raises(VerifyFailed, match="'base/5/9': the bytes after its first 5 "):
        store.restore(f"file://{tmp_path}/data")
    assert files_below(tmp_path) == {}


OUTSIDE = [
    "/etc/evil",
    "base/../../evil",
    "pg_tblspc/16400/../../evil",
    "pg_tblspc/16400/..",
    "pg_tblspc/16400",
    "pg_tblspc/../../evil",
    "././evil",
    "base//evil",
    "..",
]


@pytest.mark.parametrize("path", [*OUTSIDE, "backup_label"])
def test_a_pack_cannot_lead_out_of_the_folder_nor_replace_a_file(tmp_path: Path, path: str) -> None:
    store = Store()
    store.contents["pack"] = tar_of("backup_label", path)
    store.parts = [each for each in store.parts if each.name != "wal"]
    with pytest.raises(RestoreFailed):
        store.restore(f"file://{tmp_path}/data")
    assert files_below(tmp_path) == {}


@pytest.mark.parametrize("bytes_of", [None, "0-5", "5-"])
@pytest.mark.parametrize("path", OUTSIDE)
def test_a_file_cannot_lead_out_of_the_folder(
    tmp_path: Path, path: str, bytes_of: str | None
) -> None:
    store = Store()
    spans = {"bytes": bytes_of} if bytes_of else {}
    store.parts[1] = part("big", PartKind.FILE, path=path, **spans)
    with pytest.raises((RestoreFailed, VerifyFailed)):
        store.restore(f"file://{tmp_path}/data")
    assert files_below(tmp_path) == {}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_pack_cannot_bring_links_that_later_files_go_through(tmp_path: Path, kind: bytes) -> None:
    store, packed = Store(), io.BytesIO()
    outside = tmp_path / "outside"
    outside.mkdir()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        link = tarfile.TarInfo("base/link")
        link.type, link.linkname = kind, str(outside)
        archive.addfile(link)
        inside = tarfile.TarInfo("base/link/evil")
        inside.size = 4
        archive.addfile(inside, io.BytesIO(b"evil"))
    store.contents["pack"] = packed.getvalue()
    with pytest.raises(RestoreFailed, match="neither file nor folder"):
        store.restore(f"file://{tmp_path}/data")
    assert files_below(tmp_path) == {}


@pytest.mark.parametrize(
    "oid",
    ["../OUTSIDE", "/srv/space", "..", ".", "", "16400/x", "-1", "0", "4294967296", "٣", "1e3"],
)
def test_a_tablespace_is_a_number_and_nothing_else(tmp_path: Path, oid: str) -> None:
    with pytest.raises(Unreadable, match="'tablespaces' has the invalid value"):
        part("label", PartKind.CLOSING, **(LABEL | {"tablespaces": json.dumps({oid: "/srv"})}))
    # Nor by somebody who comes past the door.
    store, label = Store(), ClusterLabel(tablespaces={oid: "/srv/space"})
    store.parts[-1] = replace(store.parts[-1], details=label)
    with pytest.raises(VerifyFailed, match="is not the OID of a tablespace"):
        store.restore(f"file://{tmp_path}/data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("told", ["", "[", "[]", "7", "[" * 100_000])
def test_impossible_facts_about_tablespaces_are_damage(told: str) -> None:
    with pytest.raises(Unreadable, match="'tablespaces' has the invalid value"):
        part("label", PartKind.CLOSING, **(LABEL | {"tablespaces": told}))


def test_a_pack_of_pg_basebackup_calls_one_folder_by_where_it_was(tmp_path: Path) -> None:
    store = Store()
    store.contents["pack"] = tar_of("./pg_wal/archive_status/x")
    store.restore(f"file://{tmp_path}/data")
    assert (tmp_path / "data/pg_wal/archive_status/x").read_text() == "rows"


def test_a_part_that_does_not_name_its_file_is_damage(tmp_path: Path) -> None:
    store = Store()
    store.parts[1] = part("big", PartKind.FILE)
    with pytest.raises(VerifyFailed, match="does not name its file"):
        store.restore(f"file://{tmp_path}/data")
    assert files_below(tmp_path) == {}


def test_a_map_of_tablespaces_that_a_server_would_follow_is_not_brought_back(
    tmp_path: Path,
) -> None:
    store = Store()
    store.contents["pack"] = tar_of("tablespace_map")
    with pytest.raises(RestoreFailed, match="places outside"):
        store.restore(f"file://{tmp_path}/data")
    assert files_below(tmp_path) == {}


def test_what_a_running_server_wrote_of_itself_does_not_come_back(tmp_path: Path) -> None:
    store = Store()
    names = ("postmaster.pid", "postmaster.opts", "standby.signal", "recovery.signal")
    store.contents["pack"] = tar_of(*names, "base/5/1")
    store.restore(f"file://{tmp_path}/data")
    found = files_below(tmp_path / "data")
    assert not set(names) & set(found)
    assert found["base/5/1"] == "rows"


@pytest.mark.parametrize(
    ("data", "spaces"),
    [
        ("data", "data"),
        ("data", "data/pg_tblspc"),
        ("data/16400", "data"),
        ("data/16400/inside", "data"),
        ("link/here", "real/here"),
    ],
)
def test_tablespaces_and_data_never_share_a_folder(tmp_path: Path, data: str, spaces: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(Unsupported, match="one is inside the other"):
        Store().restore(f"file://{tmp_path}/{data}?tablespaces={tmp_path}/{spaces}")
    assert files_below(tmp_path) == {}


def test_tablespaces_are_not_brought_to_where_we_happen_to_be(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="not an absolute path"):
        DirectoryTarget(f"file://{tmp_path}/data?tablespaces=spaces")


def test_a_part_of_a_cluster_is_never_restored(tmp_path: Path) -> None:
    store = Store()
    goods = Relation(schema="public", name="goods")
    for request in (
        RestoreRequest(parts=tuple(store.parts), tables=(goods,)),
        RestoreRequest(parts=tuple(store.parts), options=RestoreOptions(overwrite=True)),
        RestoreRequest(parts=tuple(store.parts), options=RestoreOptions(data_only=True)),
    ):
        with pytest.raises(Unsupported, match="the files of a cluster belong together"):
            DirectoryTarget(f"file://{tmp_path}/data").restore(
                request, FakeStored(store._open), FakeProgress()
            )


@pytest.mark.parametrize("url", ["file:relative", "file:///", "file://host/path"])
def test_a_url_that_names_no_folder_of_this_host_is_refused(url: str) -> None:
    with pytest.raises(Unsupported, match="does not name a folder"):
        DirectoryTarget(url)
