"""The program of a `pack_process`: reads one pack after another, as it is asked to on its stdin.

A request is a line of JSON, behind it the compressed paths and numbers of the pack's entries. An
answer is a series of frames: a letter, the size of what follows, and that many bytes. It loads
neither the driver of PostgreSQL nor what starts processes.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import IO, Any

from holdfast.model.errors import HoldfastError
from holdfast.model.stored_json import MANIFEST, parsed
from holdfast.sources.postgres.files.checksum_results import ChecksumResults
from holdfast.sources.postgres.files.entries import Entries, PackedEntries
from holdfast.sources.postgres.files.file_reader import Reader
from holdfast.sources.postgres.files.pack_reader import packed

CONTENT, MEMO, FAILED = b"C", b"M", b"F"
FRAME = struct.Struct("=cI")


def main(first: str) -> int:
    """Serve until stdin ends; with `checks`, what checks pages is loaded before."""
    if first == "checks":
        from holdfast.sources.postgres.files import page_checksums  # noqa: F401  # loads numpy
    with os.fdopen(0, "rb", closefd=False) as asked, os.fdopen(1, "wb", closefd=False) as told:
        while line := asked.readline():
            _serve(parsed(line, MANIFEST, of_files=True), asked, told)
    return 0


def request(reader: Reader, entries: Entries) -> bytes:
    """What `main` reads the `entries` for, as `reader` would."""
    count, paths, numbers = entries.packed
    head = {
        "data": str(reader.data),
        "start": reader.start,
        "checks_pages": reader.checks_pages,
        "owner": reader.owner,
        "links": list(reader.links),
        "packed": [count, len(paths), len(numbers)],
    }
    return json.dumps(head).encode() + b"\n" + paths + numbers


def _serve(head: dict[str, Any], asked: IO[bytes], told: IO[bytes]) -> None:
    count, path_bytes, number_bytes = head["packed"]
    entries = Entries.unpacked(
        PackedEntries(count, asked.read(path_bytes), asked.read(number_bytes))
    )
    reader = Reader(
        data=Path(head["data"]),
        start=head["start"],
        checks_pages=head["checks_pages"],
        findings=ChecksumResults(),
        look=_nothing,
        owner=head["owner"],
        links=frozenset(head["links"]),
    )
    try:
        for chunk in packed(reader, entries):
            _tell(told, CONTENT, chunk)
        _tell(told, MEMO, reader.findings.encode().encode())
    except HoldfastError as error:
        said = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
        _tell(told, FAILED, json.dumps(said).encode())


def _nothing() -> None:
    """Whether the backup can continue is looked at by who reads the answer."""


def _tell(told: IO[bytes], kind: bytes, content: bytes | bytearray | memoryview) -> None:
    told.write(FRAME.pack(kind, len(content)))
    told.write(content)
    told.flush()
