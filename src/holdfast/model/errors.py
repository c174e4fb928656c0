"""Errors that a caller or an operator acts on; each class owns its exit code.

Codes are stable and listed in docs/errors.md. 1x: the request; 2x: the database; 3x: the outcome;
4x: other runs; 5x: the repository; 6x: held sessions; 7x: WAL and recovery.
"""

from __future__ import annotations

from typing import ClassVar


class Reported(BaseException):
    """What ends a command, with a message for the operator, a hint and its own exit code."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class HoldfastError(Reported, Exception):
    """An error: something failed, and a caller may go on without it."""


class ConfigInvalid(HoldfastError):
    """The configuration cannot be used; the message names file, line and key."""

    exit_code = 10


class UnknownJob(HoldfastError):
    """No job of that name is configured."""

    exit_code = 11


class BackupNotFound(HoldfastError):
    """No finished backup has that id."""

    exit_code = 12


class TargetNotEmpty(HoldfastError):
    """The restore would overwrite existing data, and the caller did not allow that."""

    exit_code = 13


class ToolMissing(HoldfastError):
    """A program or library that the job needs is not installed or is too old."""

    exit_code = 14


class IdentityNeeded(HoldfastError):
    """The backup is encrypted, and no identity was given that opens it."""

    exit_code = 15


class OutputLost(HoldfastError):
    """The work is done, but its result could not be written to stdout."""

    exit_code = 16


class CheckRefused(HoldfastError):
    """A check of a drill is not one statement that only reads."""

    exit_code = 17


class HookRefused(HoldfastError):
    """A hook of the job that runs before it failed, so the run did not begin."""

    exit_code = 18


class DatabaseUnreachable(HoldfastError):
    """The server did not answer or the database does not exist; trying later may work."""

    exit_code = 20


class AccessDenied(HoldfastError):
    """The server rejected the login."""

    exit_code = 21


class GrantMissing(HoldfastError):
    """The login lacks a privilege; the hint holds the GRANT statement that adds it."""

    exit_code = 22


class Unsupported(HoldfastError):
    """The database holds something that this engine cannot back up faithfully."""

    exit_code = 23


class SnapshotLost(HoldfastError):
    """A session that carried the snapshot is lost; continuing would mix two moments."""

    exit_code = 24


class BackupFailed(HoldfastError):
    """A part could not be read or stored; nothing of this run is listed as a backup."""

    exit_code = 30


class VerifyFailed(HoldfastError):
    """The stored bytes are not those that were written; the message names the parts."""

    exit_code = 31


class RestoreFailed(HoldfastError):
    """The restore stopped at the named object; the target is incomplete."""

    exit_code = 32


class DeadlineExceeded(HoldfastError):
    """The run took longer than its job allows and was ended."""

    exit_code = 33


class MemoryShort(HoldfastError):
    """The work does not fit into the memory that the job or the host allows."""

    exit_code = 34


class TasksRefused(HoldfastError):
    """The kernel refused another process or thread; fewer workers may succeed."""

    exit_code = 35


class RestoredWithFailures(HoldfastError):
    """A restore with `keep_going` restored everything except the objects that it lists."""

    exit_code = 36


class DrillFailed(HoldfastError):
    """A drill did not bring the backup back, or one of its proofs failed; its record says which."""

    exit_code = 37


class RunInFlight(HoldfastError):
    """Another run of the same job is in progress, so this run was skipped."""

    exit_code = 40


class SkippedTooOften(RunInFlight):
    """Several runs of this job were skipped in a row: the current run takes far too long."""

    exit_code = 41


class RepositoryBusy(HoldfastError):
    """All `repository_slots` stayed taken by other hosts for as long as we waited."""

    exit_code = 42


class LeaseLost(HoldfastError):
    """Another host has taken over the job, so this run ended before it became a backup."""

    exit_code = 43


class JobNeedsAttention(HoldfastError):
    """The last run of a job failed, one of its backups is damaged, or the newest is too old."""

    exit_code = 44


class NotificationFailed(HoldfastError):
    """A receiver of notifications could not be told; no run fails because of it."""

    exit_code = 45


class RepositoryUnreachable(HoldfastError):
    """The store did not answer; trying later may work."""

    exit_code = 50


class RepositoryFull(HoldfastError):
    """The store has no free space."""

    exit_code = 51


class RepositoryReadOnly(HoldfastError):
    """The store refuses writes."""

    exit_code = 52


class AlreadyStored(HoldfastError):
    """The key exists already; stored objects are never overwritten."""

    exit_code = 53


class ObjectMissing(HoldfastError):
    """The repository holds nothing under that key."""

    exit_code = 54


class ManifestInvalid(HoldfastError):
    """A manifest cannot be read: damaged, or written by a newer version."""

    exit_code = 55


class ManifestUntrusted(ManifestInvalid):
    """No trusted key has signed this manifest, with this content, for this place."""

    exit_code = 56


class RepositoryRefused(HoldfastError):
    """The store rejected our credentials, permissions or clock, or lacks a required feature."""

    exit_code = 57


class SessionNotFound(HoldfastError):
    """No held session has that id, or it has ended already."""

    exit_code = 60


class SessionRefused(HoldfastError):
    """The session daemon does not serve this user, or another user owns the session."""

    exit_code = 61


class SessionLost(HoldfastError):
    """The held database session was lost; a copy made under it is no backup."""

    exit_code = 62


class SessionExpired(HoldfastError):
    """The lease was not renewed in time, so the daemon ended the session on the server."""

    exit_code = 63


class SessionCorrupt(HoldfastError):
    """The server was restarted, promoted or replaced during the backup."""

    exit_code = 64


class SessionLimit(HoldfastError):
    """The server already has the maximum number of held sessions."""

    exit_code = 65


class SessionDaemonUnreachable(HoldfastError):
    """`holdfast-sessiond` did not answer; trying later may work."""

    exit_code = 66


class WalConflict(HoldfastError):
    """Another file of that name is archived already; it is never overwritten."""

    exit_code = 70


class WalUnfit(HoldfastError):
    """The file is not WAL, or not the segment that its name says."""

    exit_code = 71


class SlotMissing(HoldfastError):
    """The replication slot is missing or in use, or WAL was removed because no slot held it."""

    exit_code = 72


class TargetOutOfReach(HoldfastError):
    """The backup and the archived WAL do not reach the recovery target."""

    exit_code = 73


class WalNotArchived(HoldfastError):
    """The server's WAL is not being archived; the server keeps it until its disk is full."""

    exit_code = 74


class ClusterChanged(HoldfastError):
    """The job's server is now another cluster than the one whose files it backed up before."""

    exit_code = 75


class Interrupted(Reported):
    """The run was ended by SIGINT or SIGTERM.

    Like `KeyboardInterrupt` it is no `Exception`, so no handler of errors takes it for one of its
    own and continues. Clean-up on the way out belongs into `afterwards` and `on_failure`.
    """

    exit_code = 130
