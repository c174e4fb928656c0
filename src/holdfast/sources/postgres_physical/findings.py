"""What was seen of the files of one part, as a line that a later run can go on from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from holdfast.errors import VerifyFailed
from holdfast.sources.postgres_physical import crc
from holdfast.stored_json import MANIFEST, parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFile:
    """A file as it was read, or `size_bytes` of it from `first` on."""

    size_bytes: int
    modified: float
    crc32c: int
    first: int = 0

    def and_then(self, after: ReadFile) -> ReadFile:
        """Both as one, where `after` begins at the end of this."""
        return ReadFile(
            size_bytes=self.size_bytes + after.size_bytes,
            modified=max(self.modified, after.modified),
            crc32c=crc.joined(self.crc32c, after.crc32c, after.size_bytes),
            first=self.first,
        )


@dataclass(kw_only=True)
class Findings:
    """Each file that was read, piece by piece; folders, what had vanished, and how many pages
    were bad or not."""

    files: dict[str, list[ReadFile]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    vanished: set[str] = field(default_factory=set)
    bad: dict[str, list[int]] = field(default_factory=dict)
    pages: int = 0

    def add_file(self, path: str, read: ReadFile) -> None:
        self.files.setdefault(path, []).append(read)

    def add_pages(self, path: str, *, checked: int, bad: list[int]) -> None:
        self.pages += checked
        if bad:
            self.bad.setdefault(path, []).extend(bad)

    @property
    def paths(self) -> list[str]:
        """Of every file, those that had vanished too."""
        return [*self.files, *sorted(self.vanished)]

    def whole_files(self) -> Iterator[tuple[str, ReadFile]]:
        """Every file as it comes back; one that vanished while pieces of it were read does not."""
        for path, pieces in self.files.items():
            if path not in self.vanished:
                in_order = sorted(pieces, key=lambda each: each.first)
                yield path, reduce(ReadFile.and_then, in_order)

    def encode(self) -> str:
        files = {
            path: [[each.size_bytes, each.modified, each.crc32c, each.first] for each in pieces]
            for path, pieces in self.files.items()
        }
        document = {
            "files": files,
            "folders": self.folders,
            "vanished": sorted(self.vanished),
            "bad": self.bad,
            "pages": self.pages,
        }
        return json.dumps(document, separators=(",", ":"))

    @staticmethod
    def decode(text: str) -> Findings:
        """Raises `VerifyFailed` for what nobody has written."""
        try:
            return Findings._of(parsed(text or "{}", MANIFEST, of_files=True))
        except (AttributeError, TypeError, ValueError) as error:
            raise VerifyFailed(f"cannot trust what was noted of files: {error}") from error

    @staticmethod
    def _of(document: dict[str, Any]) -> Findings:
        return Findings(
            files={
                path: [
                    ReadFile(size_bytes=size_bytes, modified=modified, crc32c=crc32c, first=first)
                    for size_bytes, modified, crc32c, first in pieces
                ]
                for path, pieces in document.get("files", {}).items()
            },
            folders=document.get("folders", []),
            vanished=set(document.get("vanished", [])),
            bad=document.get("bad", {}),
            pages=document.get("pages", 0),
        )

    @staticmethod
    def of_all(texts: Iterable[str]) -> Findings:
        """Those of several parts as one."""
        whole = Findings()
        for text in texts:
            found = Findings.decode(text)
            for path, pieces in found.files.items():
                whole.files.setdefault(path, []).extend(pieces)
            whole.folders += found.folders
            whole.vanished |= found.vanished
            for path, blocks in found.bad.items():
                whole.bad.setdefault(path, []).extend(blocks)
            whole.pages += found.pages
        return whole
