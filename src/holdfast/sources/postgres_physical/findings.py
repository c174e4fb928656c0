"""What was seen of the files of one part, as a line that a later run can go on from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFile:
    """A file as it was read; `sha256` is empty where it was a part of its own."""

    size_bytes: int
    modified: float
    sha256: str = ""


@dataclass(kw_only=True)
class Findings:
    """Each file that was read, folders, what had vanished, and how many pages were bad or not."""

    files: dict[str, ReadFile] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    vanished: set[str] = field(default_factory=set)
    bad: dict[str, list[int]] = field(default_factory=dict)
    pages: int = 0

    def add_pages(self, path: str, *, checked: int, bad: list[int]) -> None:
        self.pages += checked
        if bad:
            self.bad.setdefault(path, []).extend(bad)

    @property
    def paths(self) -> list[str]:
        """Of every file, those that had vanished too."""
        return [*self.files, *sorted(self.vanished)]

    def encode(self) -> str:
        files = {
            path: [read.size_bytes, read.modified, read.sha256] for path, read in self.files.items()
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
        document = json.loads(text or "{}")
        return Findings(
            files={
                path: ReadFile(size_bytes=size_bytes, modified=modified, sha256=sha256)
                for path, (size_bytes, modified, sha256) in document.get("files", {}).items()
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
            whole.files |= found.files
            whole.folders += found.folders
            whole.vanished |= found.vanished
            whole.bad |= found.bad
            whole.pages += found.pages
        return whole
