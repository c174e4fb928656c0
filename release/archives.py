"""Archives whose bytes depend on their content and the time of the release alone."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from lab.errors import LabError
from release.source import FILE_MODE, FOLDER_MODE, PROGRAM_MODE

BEST = 9


def compressed(content: bytes) -> bytes:
    """`content` as gzip without a time and a name, as Debian wants manual pages."""
    return gzip.compress(content, BEST, mtime=0)


def read_tar(path: Path) -> dict[str, tarfile.TarInfo | bytes]:
    """The files of a tar by their names; a link is its entry, anything else is left out."""
    with tarfile.open(path) as archive:
        entries = [entry for entry in archive if not entry.isdir()]
        return {
            entry.name: _content(archive, entry) if entry.isreg() else entry for entry in entries
        }


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(entry)
    return file.read() if file else b""


def write_tar(
    path: Path, files: Mapping[str, tarfile.TarInfo | bytes], *, epoch: int, programs: set[str]
) -> None:
    """Write a tar of these files in the order of their names; `programs` may be executed."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(_folders(files)):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, FOLDER_MODE, epoch
            archive.addfile(folder)
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.mtime = epoch
            if isinstance(content, tarfile.TarInfo):
                entry.type, entry.linkname, entry.mode = content.type, content.linkname, 0o777
                archive.addfile(entry)
                continue
            entry.mode, entry.size = PROGRAM_MODE if name in programs else FILE_MODE, len(content)
            archive.addfile(entry, io.BytesIO(content))
    path.write_bytes(compressed(packed.getvalue()))


def _folders(names: Mapping[str, object]) -> set[str]:
    return {str(above) for name in names for above in Path(name).parents if str(above) != "."}


def unpack_wheel(wheel: Path, into: Path) -> None:
    """Unpack a wheel as an installer does that starts no programs: the modules alone."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            first, _, rest = entry.filename.partition("/")
            if first.endswith(".data"):
                kind = rest.partition("/")[0]
                if kind in ("scripts", "data", "headers"):
                    continue
                raise LabError(f"cannot unpack '{wheel.name}': it holds '{kind}' outside its root")
            if not entry.is_dir():
                archive.extract(entry, into)
