"""Real data for the comparison of levels, as the pipeline gets it: rows, statements and files."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path

MOST_BYTES = 64 << 20
TEXTS = ("/usr/share/doc", "/usr/share/perl", "/usr/share/i18n", "/usr/share/zoneinfo")
SOURCES = ("/usr/lib/python3", "/usr/lib/python3.11", "/usr/lib/python3.13")


def kinds() -> Mapping[str, Callable[[], bytes]]:
    """Name and maker of each kind; only the last two are synthetic."""
    return {
        "package descriptions as JSON documents": _joined(_documents),
        "package descriptions as INSERT statements": _joined(_inserts),
        "sizes, times and owners of files as COPY rows": _joined(_numbers),
        "lines of Python as COPY rows": _joined(_lines),
        "documentation, each file one row": _joined(_texts),
        "narrow rows of the benchmark, COPY text": _joined(_narrow),
        "random text of the benchmark, INSERT statements": _joined(_random_text),
    }


def _joined(make: Callable[[], Iterator[bytes]]) -> Callable[[], bytes]:
    return lambda: b"".join(up_to(MOST_BYTES, make()))


def up_to(size_bytes: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The first pieces, until they are as long as that."""
    for piece in pieces:
        yield piece
        size_bytes -= len(piece)
        if size_bytes <= 0:
            return


def _packages() -> Iterator[dict[str, str]]:
    """The fields of every package that this machine's package lists name."""
    listed = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True)
    for stanza in listed.stdout.decode().split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith(" "):
                fields[name] += "\n" + line.strip()
            else:
                name, _, value = line.partition(": ")
                fields[name] = value
        if fields:
            yield fields


def _documents() -> Iterator[bytes]:
    for number, fields in enumerate(_packages()):
        yield row(number, json.dumps(fields))


def _inserts() -> Iterator[bytes]:
    names = ("Package", "Version", "Installed-Size", "Maintainer", "Section", "Description")
    for number, fields in enumerate(_packages()):
        values = ",".join(_quoted(fields.get(name, "")) for name in names)
        start = "INSERT INTO `packages` VALUES " if number % 100 == 0 else ","
        end = ";\n" if number % 100 == 99 else "\n"
        yield f"{start}({number},{values}){end}".encode()


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"


def _numbers() -> Iterator[bytes]:
    for number, path in enumerate(_files("/usr")):
        found = path.lstat()
        yield row(
            number,
            found.st_ino,
            found.st_size,
            round(found.st_mtime, 6),
            found.st_uid,
            found.st_mode,
        )


def _lines() -> Iterator[bytes]:
    for path in _files(*SOURCES):
        if path.suffix == ".py":
            for number, line in enumerate(path.read_text(errors="replace").splitlines()):
                yield row(path, number, line)


def _texts() -> Iterator[bytes]:
    for number, path in enumerate(_files(*TEXTS)):
        if path.suffix not in (".gz", ".png", ".jpg", ".svg", ".pyc"):
            yield row(number, path, path.read_text(errors="replace"))


def _narrow() -> Iterator[bytes]:
    """As `bench.postgres.sql` makes them."""
    for number in count(1):
        yield row(number, number % 1000, _md5(number), f"{number / 7:.16f}")


def _random_text() -> Iterator[bytes]:
    """As `bench.mariadb.sql` makes them."""
    for number in count(1):
        text, pad = _sha224(number) * 2, _sha224(-number)
        yield f"({number},{number * 7919 % 1000000},'{text}','{pad}'),\n".encode()


def _md5(number: int) -> str:
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


def _sha224(number: int) -> str:
    return hashlib.sha224(str(number).encode()).hexdigest()


def _files(*folders: str) -> Iterator[Path]:
    """Regular files below the folders that exist, in a stable order."""
    for folder in folders:
        for here, below, names in os.walk(folder):
            below.sort()
            paths = (Path(here) / name for name in sorted(names))
            yield from (path for path in paths if path.is_file() and not path.is_symlink())


def row(*values: object) -> bytes:
    """One line of COPY text."""
    escaped = (
        str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
        for value in values
    )
    return ("\t".join(escaped) + "\n").encode()
