"""How the last runs of each job ended: one file of JSON lines per job, written whole."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from holdfast.model.stored_json import RECORD, Unreadable, as_text, parsed, typed
from holdfast.ports.host_state import RunRecord
from holdfast.runtime.cleanup import afterwards, on_failure
from holdfast.runtime.files import (
    discard,
    lines_of,
    make_state_folder,
    open_private,
    state_errors,
    write_private,
)

RUNS_KEPT = 50


@cache
def _adapter() -> TypeAdapter[RunRecord]:
    """Built at the first use: `holdfast --help` should not wait for it."""
    return TypeAdapter(RunRecord)


class FileRunHistory:
    """`FOLDER/JOB.jsonl`, the newest run last."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def record(self, run: RunRecord) -> None:
        make_state_folder(self._folder)
        # A skipped run writes while the run in flight may be writing too.
        with self._alone():
            told = replace(run, error=as_text(run.error), hint=as_text(run.hint))
            lines = [*self._lines(run.job), _adapter().dump_json(told)][-RUNS_KEPT:]
            self._replace(self._path(run.job), b"".join(line + b"\n" for line in lines))

    def last(self, job: str, *, count: int) -> list[RunRecord]:
        runs = (_parse(line) for line in reversed(self._lines(job)))
        return [run for run in runs if run is not None][:count]

    def _lines(self, job: str) -> list[bytes]:
        lines = lines_of(self._path(job), most_bytes=RECORD.size_bytes)
        return [*deque(lines, maxlen=RUNS_KEPT)]

    def _replace(self, path: Path, content: bytes) -> None:
        """Whole or not at all: a killed run must not cost us the memory of the others."""
        unfinished = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
        with on_failure(discard, unfinished):
            write_private(unfinished, content)
            with state_errors(path):
                unfinished.rename(path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = open_private(self._folder / ".lock", os.O_RDWR)
        with afterwards(os.close, descriptor):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield

    def _path(self, job: str) -> Path:
        return self._folder / f"{job}.jsonl"


def _parse(line: bytes) -> RunRecord | None:
    """A line that a newer or a broken version wrote is left out: the others still count."""
    try:
        return typed(_adapter(), parsed(line))
    except Unreadable:
        return None
