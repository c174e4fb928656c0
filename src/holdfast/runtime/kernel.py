"""Refusals of the kernel as errors with a remedy: disks, memory, tasks, open files."""

from __future__ import annotations

import errno
import os
import threading

from holdfast.model.errors import (
    HoldfastError,
    MemoryShort,
    RepositoryFull,
    RepositoryReadOnly,
    RepositoryUnreachable,
    TasksRefused,
)

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# EPERM and EACCES are missing on purpose: they are about the user, not about the disk.
READ_ONLY = {errno.EROFS}
FAILING = {errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.EREMOTEIO, errno.EUCLEAN}
TOO_MANY_FILES = {errno.EMFILE, errno.ENFILE}

# SQLite's primary result codes (https://www.sqlite.org/rescode.html): FULL, READONLY, IOERR.
_SQLITE = {13: errno.ENOSPC, 8: errno.EROFS, 10: errno.EIO}
_PRIMARY = 0xFF


def disk_error(error: Exception, what: str) -> HoldfastError | None:
    """A disk error of the kernel or of SQLite, as our error for a full, read-only or failing disk.

    `what` is `cannot VERB THING 'NAME'`. None if the error has another cause, such as a missing
    name.
    """
    number = _number_of(error)
    cause = f"{what}: {os.strerror(number) if isinstance(error, OSError) else error}"
    if number in FULL:
        return RepositoryFull(cause, hint="free space there; df -h, df -i and quota show more")
    if number in READ_ONLY:
        return RepositoryReadOnly(
            cause, hint="mount it writable; the kernel makes a failed disk read-only: see dmesg"
        )
    if number in FAILING:
        return RepositoryUnreachable(
            cause, hint="the disk or the network file system fails: see dmesg"
        )
    return None


def _number_of(error: Exception) -> int:
    if isinstance(error, OSError):
        return error.errno or 0
    return _SQLITE.get(getattr(error, "sqlite_errorcode", 0) & _PRIMARY, 0)


def foreseen(error: Exception) -> HoldfastError | None:
    """For the outermost frame: `error` as our own class if the host caused it; None for a bug."""
    doing = "cannot continue"
    if isinstance(error, MemoryError) or _is_out_of_memory(error):
        return MemoryShort(
            f"{doing}: the host has no more memory",
            hint="raise MemoryMax= of the service or ulimit -v, or give the job fewer processes",
        )
    if is_refusal(error):
        return TasksRefused(
            f"{doing}: the kernel refused another process or thread",
            hint="raise TasksMax= of the service, or give the job fewer processes",
        )
    if isinstance(error, OSError) and error.errno in TOO_MANY_FILES:
        return TasksRefused(
            f"{doing}: {os.strerror(error.errno or 0)}",
            hint="raise LimitNOFILE= of the service or ulimit -n, or give the job fewer processes",
        )
    if isinstance(error, OSError):
        return disk_error(error, f"cannot use '{error.filename}'" if error.filename else doing)
    if hasattr(error, "sqlite_errorcode"):
        return disk_error(error, doing)
    return None


def start(thread: threading.Thread) -> None:
    """Start `thread`; raises `TasksRefused` if the kernel refuses it."""
    try:
        thread.start()
    except RuntimeError as error:
        if not is_refusal(error):
            raise
        raise TasksRefused(
            f"cannot start thread '{thread.name}': the kernel refused another process or thread",
            hint="raise TasksMax= of the service, or give the job fewer processes",
        ) from error


def is_refusal(error: BaseException) -> bool:
    """Whether the kernel refused a process (EAGAIN) or a thread."""
    if isinstance(error, OSError):
        return error.errno == errno.EAGAIN
    return isinstance(error, RuntimeError) and "can't start new thread" in str(error)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENOMEM
