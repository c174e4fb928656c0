"""A refusal of the kernel has its exit code, and is never treated as a bug."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from holdfast.model.errors import (
    HoldfastError,
    MemoryShort,
    RepositoryFull,
    RepositoryReadOnly,
    RepositoryUnreachable,
    TasksRefused,
)
from holdfast.runtime.kernel import disk_error, foreseen, is_refusal


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (os_error(errno.ENOSPC), RepositoryFull),
        (os_error(errno.EDQUOT), RepositoryFull),
        (os_error(errno.EFBIG), RepositoryFull),
        (os_error(errno.EROFS), RepositoryReadOnly),
        (os_error(errno.EIO), RepositoryUnreachable),
        (os_error(errno.ESTALE), RepositoryUnreachable),
        (MemoryError(), MemoryShort),
        (os_error(errno.ENOMEM), MemoryShort),
        (os_error(errno.EAGAIN), TasksRefused),
        (os_error(errno.EMFILE), TasksRefused),
        (RuntimeError("can't start new thread"), TasksRefused),
    ],
    ids=repr,
)
def test_an_error_of_the_host_has_a_class_with_the_remedy(
    error: Exception, kind: type[HoldfastError]
) -> None:
    told = foreseen(error)
    assert type(told) is kind
    assert told.hint


@pytest.mark.parametrize(
    "error", [ValueError("x"), os_error(errno.ENOENT), KeyError("y")], ids=repr
)
def test_a_bug_stays_one(error: Exception) -> None:
    assert foreseen(error) is None


def test_a_full_disk_is_told_by_sqlite_too(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "small")
    database.execute("CREATE TABLE t (x)")
    database.execute("PRAGMA max_page_count = 4")
    with pytest.raises(sqlite3.OperationalError) as caught:
        database.execute("INSERT INTO t VALUES (zeroblob(1000000))")
    told = disk_error(caught.value, "cannot use 'small'")
    assert isinstance(told, RepositoryFull)
    assert told.message == "cannot use 'small': database or disk is full"


def test_a_refused_process_or_thread_is_told_from_other_errors() -> None:
    assert is_refusal(BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"))
    assert is_refusal(RuntimeError("can't start new thread"))
    assert not is_refusal(OSError(errno.ENOENT, "No such file or directory"))
    assert not is_refusal(RuntimeError("dictionary changed size during iteration"))
