"""The list of files is taken out of a tar while it passes by, however it is cut."""

from __future__ import annotations

import io
import tarfile

import pytest

from holdfast.sources.postgres.files.file_list import FileList
from holdfast.sources.postgres.files.tar_stream import TarStream

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
