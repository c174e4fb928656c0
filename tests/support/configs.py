"""Configuration files for tests, and the results of loading them."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config.load import load
from holdfast.config.settings import JobSettings, Settings
from holdfast.model.errors import ConfigInvalid

HEAD = """\
repositories:
  main: {kind: local, path: /var/lib/holdfast}
jobs:
  shop:
"""
SOURCE = '    source: {kind: postgres, dsn: "dbname=shop"}\n'
REPOSITORY = "    repository: main\n"
JOB = HEAD + SOURCE + REPOSITORY
ALL_KEYS = (
    "known: attempts, blob_grace, checksums, compression, drill, fingerprint, hooks, "
    "max_concurrent_processes, max_rate, memory_limit_mb, mirrors, notify, overdue_after, overlap, "
    "overlap_alarm, pause_above_lag, pause_above_load, repository, resumable, retention, schedule, "
    "source, stall_timeout, suspicion, timeout, verify, wait_at_most"
)


def written(folder: Path, text: str) -> Path:
    path = folder / "holdfast.yaml"
    path.write_text(text)
    return path


def job(folder: Path, text: str) -> JobSettings:
    return load(written(folder, text)).jobs["shop"]


def settings(folder: Path, text: str) -> Settings:
    return load(written(folder, text))


def refused(folder: Path, text: str) -> tuple[str, str]:
    """The message for `text` after the file name, and the hint."""
    path = written(folder, text)
    with pytest.raises(ConfigInvalid) as error:
        load(path)
    start = f"cannot use configuration '{path}': "
    assert error.value.message.startswith(start)
    return error.value.message.removeprefix(start), error.value.hint
