"""Where files may be unpacked, and which backups hold files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.model.backup import Codec, Part, PartKind, Relation
from holdfast.model.errors import ConfigInvalid, Unsupported
from holdfast.model.part_details import Details, MysqlDump, MysqlServerFiles
from holdfast.model.restore import OpenPart
from holdfast.ports.target import RestoreRequest
from holdfast.sources.mysql.files.datadir import DatadirTarget
from tests.fakes.progress import FakeProgress
from tests.support.manifests import bare_part

DUMP = MysqlDump(character_set="utf8mb4", collation="utf8mb4_bin", method="mariadb-dump")
FILES = MysqlServerFiles(server_version="11.8.6")


def part(details: Details) -> Part:
    stream = bare_part("server.xbstream", PartKind.ARCHIVE)
    return replace(stream, codec=Codec.ZSTD, details=details)


def never(_: Part) -> OpenPart:
    raise AssertionError("nothing was to be read")


@pytest.mark.parametrize("url", ["file://host/srv/x", "file:srv/x", "file:///srv/x?a=b"])
def test_only_a_directory_of_this_host_is_a_target(url: str) -> None:
    with pytest.raises(ConfigInvalid, match="not a directory of this host"):
        DatadirTarget(url)


def test_a_path_may_hold_anything() -> None:
    assert DatadirTarget("file:///srv/my%20sql%3F").name == "/srv/my sql?"


@pytest.mark.parametrize(
    ("request_", "cause"),
    [
        (RestoreRequest(parts=(part(DUMP),)), "holds SQL"),
        (
            RestoreRequest(parts=(part(FILES),), tables=(Relation(schema="s", name="t"),)),
            "single tables",
        ),
    ],
)
def test_what_is_no_whole_copy_of_files_is_refused_before_anything_is_made(
    request_: RestoreRequest, cause: str, tmp_path: Path
) -> None:
    target = DatadirTarget((tmp_path / "again").as_uri())
    with pytest.raises(Unsupported, match=cause):
        target.restore(request_, never, FakeProgress())  # type: ignore[arg-type]  # never called
    assert list(tmp_path.iterdir()) == []
