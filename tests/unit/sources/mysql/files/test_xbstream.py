"""Small files are read out of a stream, wherever its chunks end."""

from __future__ import annotations

import struct

import pytest

from holdfast.sources.mysql.files.xbstream import Catcher, NotUnderstood, kept_beneath


def chunk(path: str, data: bytes | None) -> bytes:
    """One chunk; without data the one that ends the file."""
    name = path.encode()
    head = struct.pack("<8scci", b"XBSTCK01", b"\0", b"E" if data is None else b"P", len(name))
    if data is None:
        return head + name
    return head + name + struct.pack("<QQI", len(data), 0, 0) + data


PIECES = (
    chunk("ibdata1", b"XBSTCK01" * 300),
    chunk("the_info", b"lsn = "),
    chunk("db/t.ibd", b""),
    chunk("the_info", b"47391\n"),
    chunk("ibdata1", None),
    chunk("the_info", None),
)
STREAM = b"".join(PIECES)


@pytest.mark.parametrize("cut", [1, 2, 7, 13, 14, 15, 100, 2437, 3000])
def test_a_file_in_pieces_is_put_together(cut: int) -> None:
    catcher = Catcher(lambda path: path == "the_info")
    for start in range(0, len(STREAM), cut):
        catcher.feed(memoryview(STREAM)[start : start + cut])
    assert catcher.files == {"the_info": b"lsn = 47391\n"}
    assert catcher.whole


def test_a_stream_that_is_cut_off_is_only_whole_between_chunks() -> None:
    catcher, whole_at = Catcher(lambda _: False), []
    for place, byte in enumerate(STREAM, start=1):
        catcher.feed(bytes([byte]))
        if catcher.whole:
            whole_at.append(place)
    sizes = [len(piece) for piece in PIECES]
    assert whole_at == [sum(sizes[:count]) for count in range(1, len(sizes) + 1)]


def test_what_is_no_such_stream_is_not_understood() -> None:
    with pytest.raises(NotUnderstood, match="begins with b'-- MariaDB"):
        Catcher(lambda _: True).feed(b"-- MariaDB dump 10.19")


@pytest.mark.parametrize("cut", [1, 14, 15, 3000])
def test_a_stream_whose_files_stay_in_the_folder_passes_unchanged(cut: int) -> None:
    chunks = [STREAM[start : start + cut] for start in range(0, len(STREAM), cut)]
    assert list(kept_beneath(iter(chunks))) == chunks


@pytest.mark.parametrize("data", [b"evil", b"", None])
@pytest.mark.parametrize(
    "path",
    [
        "../evil",
        "/etc/evil",
        "db/../../evil",
        "db//evil",
        "./evil",
        "..",
        "",
        "..\0x/evil",
        "~/evil",
    ],
)
@pytest.mark.parametrize("cut", [1, 3000])
def test_a_path_that_leads_out_of_the_folder_is_never_handed_on_whole(
    path: str, data: bytes | None, cut: int
) -> None:
    whole = STREAM + chunk(path, data)
    passed: list[bytes] = []

    pieces = (whole[start : start + cut] for start in range(0, len(whole), cut))
    with pytest.raises(NotUnderstood, match="leads out of the folder"):
        passed.extend(kept_beneath(pieces))
    assert not b"".join(passed)[len(STREAM) :].endswith(path.encode() or b"!")
