"""The way from `holdfast backup` to the first byte: `python -m tests.house.trace`.

Traces one backup of a table in memory into a folder, from its command until the first byte of a
part is read. It counts two things, as a reader of the code meets them:

- files: of every function that runs at that moment, in the main thread and in the reading worker;
  and of every function that returned one of them a value before the backup began.
- returns: the nested functions of `wiring` that build the objects of the backup.

Loading a configuration, logging, computed attributes and constructors are not traced, as a reader
need not open them. The source is a fake.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import holdfast
from holdfast.cli import backup as command
from holdfast.cli.invocation import run
from holdfast.config.sources import PostgresSettings
from holdfast.operations.backup import job
from holdfast.runtime import kernel
from holdfast.wiring import jobs, sources
from tests.fakes.source import FakeSource, FakeStream, table

PACKAGE = Path(holdfast.__file__).parent
CONFIG = """\
state_directory: {folder}/state
repositories: {{main: {{kind: local, path: {folder}/repository}}}}
jobs: {{shop: {{repository: main, source: {{kind: postgres, dsn: dbname=shop}}}}}}
"""
START: CodeType = command.backup.__code__
BUILDER: CodeType = jobs.backup_context.__code__
ENTRY: CodeType = job.backup.__code__
STARTING: CodeType = kernel.start.__code__
FIRST_BYTE: CodeType = FakeStream.__iter__.__code__
GENERATOR = inspect.CO_GENERATOR
# The last one makes constructors.
_UNOPENED = (
    *("config/load.py", "runtime/events.py", "runtime/kernel_calls.py"),
    "model/lazy_dataclass.py",
)


@dataclass
class Trace:
    """The functions traced so far, as `FILE FUNCTION`, in order."""

    under_way: dict[str, None] = field(default_factory=dict)
    brought: dict[str, None] = field(default_factory=dict)
    built: dict[str, None] = field(default_factory=dict)
    has_begun: bool = False
    is_over: bool = False

    @property
    def files(self) -> list[str]:
        return sorted({each.split()[0] for each in (*self.under_way, *self.brought)})

    def watch(self, frame: FrameType, event: str, value: object) -> None:
        """The callback for `sys.setprofile`."""
        if event == "call" and not self.is_over:
            self.has_begun = self.has_begun or frame.f_code is ENTRY
            if frame.f_code is FIRST_BYTE:
                self.is_over = True
                main = sys._current_frames()[threading.main_thread().ident or 0]
                for each in (*_followed(frame.f_back), *_followed(main)):
                    self.under_way.setdefault(each)
        elif event == "return" and not self.has_begun and value is not None:
            way = list(_callers(frame))
            if START in way and not any(map(_is_taken_at_its_word, _frames(frame))):
                self.brought.setdefault(_name(frame))
                if BUILDER in way[1:]:
                    self.built.setdefault(_name(frame))


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames up to the command, including those of other packages."""
    while frame is not None:
        yield frame
        if frame.f_code is START:
            return
        frame = frame.f_back


def _callers(frame: FrameType) -> Iterator[CodeType]:
    return (each.f_code for each in _frames(frame))


def _followed(frame: FrameType | None) -> Iterator[str]:
    # Whether the main thread is still starting a worker at that moment is up to the kernel.
    frames = (each for each in _frames(frame) if each.f_code is not STARTING)
    return (_name(each) for each in frames if _is_ours(each))


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(str(PACKAGE))


def _is_taken_at_its_word(frame: FrameType) -> bool:
    code = frame.f_code
    if code.co_name in ("__init__", "__post_init__") or code.co_flags & GENERATOR:
        return True
    if code.co_name.startswith("<") or not _is_ours(frame):
        return True
    if code.co_filename.endswith(_UNOPENED):
        return True
    owner = type(frame.f_locals.get("self"))
    found: Any = inspect.getattr_static(owner, code.co_name, None)
    return isinstance(found, property | cached_property)


def _name(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename).relative_to(PACKAGE)
    return f"{path} {frame.f_code.co_qualname}"


def traced(folder: Path) -> Trace:
    """Trace one backup; its files go below `folder`."""
    for name in ("repository", "state"):
        (folder / name).mkdir()
    config = folder / "holdfast.yaml"
    config.write_text(CONFIG.format(folder=folder))
    sources.SOURCES[PostgresSettings] = lambda *_: FakeSource(table("orders", "1", "2"))
    trace = Trace()
    threading.setprofile(trace.watch)
    sys.setprofile(trace.watch)
    try:
        code = run(["--config", str(config), "backup", "shop", "--json"])
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    if code or not trace.is_over:
        raise SystemExit(f"the backup ended with {code}, traced to its first byte: {trace.is_over}")
    return trace


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        found = traced(Path(made))
    for number, each in enumerate(found.files, start=1):
        sys.stderr.write(f"file   {number:3} {each}\n")
    for number, each in enumerate(found.built, start=1):
        sys.stderr.write(f"return {number:3} {each}\n")
    sys.stderr.write(f"{len(found.files)} files, {len(found.built)} returns\n")
