"""Everything that can go wrong in a way somebody acts on; each class owns its exit code.

Codes are stable and listed in docs/errors.md. 1x: what was asked for; 2x: the database;
3x: the outcome; 4x: other runs; 5x: the repository; 6x: sessions held for others;
7x: WAL and recovery.
"""

from __future__ import annotations

from typing import ClassVar


class HoldfastError(Exception):
    """An error with a message for the operator, a remedy and an exit code of its own."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


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
    """The restore would land on existing data, and nobody allowed that."""

    exit_code = 13


class ToolMissing(HoldfastError):
    """A program that the job needs is not installed or is too old."""

    exit_code = 14


class IdentityNeeded(HoldfastError):
    """The backup is encrypted, and no identity was given that opens it."""

    exit_code = 15


class OutputLost(HoldfastError):
    """What was asked for is done, and what stdout should have said of it could not be written."""

    exit_code = 16


class DatabaseUnreachable(HoldfastError):
    """The server did not answer or the database does not exist; trying later may work."""

    exit_code = 20


class AccessDenied(HoldfastError):
    """The server refused the login itself."""

    exit_code = 21


class GrantMissing(HoldfastError):
    """The login lacks a right; the hint holds the GRANT that mends it."""

    exit_code = 22


class Unsupported(HoldfastError):
    """The database holds something that this engine cannot keep faithfully."""

    exit_code = 23


class SnapshotLost(HoldfastError):
    """A session that carried the snapshot is gone; going on would mix two moments."""

    exit_code = 24


class BackupFailed(HoldfastError):
    """A part could not be taken; nothing of this run is listed as a backup."""

    exit_code = 30


class VerifyFailed(HoldfastError):
    """What is stored is not what was written; the message names the parts."""

    exit_code = 31


class RestoreFailed(HoldfastError):
    """The restore stopped at the object named; the target is incomplete."""

    exit_code = 32


class DeadlineExceeded(HoldfastError):
    """The run took longer than its job allows and was ended."""

    exit_code = 33


class MemoryShort(HoldfastError):
    """The work does not fit into the memory that the job or the host allows."""

    exit_code = 34


class TasksRefused(HoldfastError):
    """The kernel refused another process or thread; with fewer at once it may work."""

    exit_code = 35


class RestoredWithFailures(HoldfastError):
    """A restore that kept going brought back all but the objects that it lists."""

    exit_code = 36


class RunInFlight(HoldfastError):
    """Another run of the same job is under way, so this one was skipped."""

    exit_code = 40


class SkippedTooOften(RunInFlight):
    """Runs of this job were skipped one after another: the one under way takes far too long."""

    exit_code = 41


class RepositoryBusy(HoldfastError):
    """As many hosts as `repository_slots` allows were writing all the time that we waited."""

    exit_code = 42


class LeaseLost(HoldfastError):
    """Another host has taken the job over, so this run was ended before it became a backup."""

    exit_code = 43


class JobNeedsAttention(HoldfastError):
    """The last run of a job failed, a backup of it is damaged, or the newest is too old."""

    exit_code = 44


class RepositoryUnreachable(HoldfastError):
    """The store did not answer; trying later may work."""

    exit_code = 50


class RepositoryFull(HoldfastError):
    """The store has no room left."""

    exit_code = 51


class RepositoryReadOnly(HoldfastError):
    """The store refuses writes."""

    exit_code = 52


class AlreadyStored(HoldfastError):
    """The key exists; what is stored is never overwritten."""

    exit_code = 53


class ObjectMissing(HoldfastError):
    """The repository holds nothing under that key."""

    exit_code = 54


class ManifestInvalid(HoldfastError):
    """A manifest cannot be read: damaged, or written by a newer version."""

    exit_code = 55


class ManifestUntrusted(ManifestInvalid):
    """Nobody whom the configuration trusts has signed this manifest as it is, for this place."""

    exit_code = 56


class RepositoryRefused(HoldfastError):
    """The store refuses our login, our rights or our clock, or lacks what we need of it."""

    exit_code = 57


class SessionNotFound(HoldfastError):
    """No held session has that id, or it has ended already."""

    exit_code = 60


class SessionRefused(HoldfastError):
    """The session daemon does not serve this user, or the session is somebody else's."""

    exit_code = 61


class SessionLost(HoldfastError):
    """The database session that was held is gone; a copy made under it is no backup."""

    exit_code = 62


class SessionExpired(HoldfastError):
    """Nobody renewed the lease in time, so the session was ended on the server."""

    exit_code = 63


class SessionCorrupt(HoldfastError):
    """The server was restarted, promoted or replaced during the backup."""

    exit_code = 64


class SessionLimit(HoldfastError):
    """The server has as many held sessions as are allowed."""

    exit_code = 65


class SessionDaemonUnreachable(HoldfastError):
    """`holdfast-sessiond` did not answer; trying later may work."""

    exit_code = 66


class WalConflict(HoldfastError):
    """Another file of that name is archived already; it is never overwritten."""

    exit_code = 70


class WalUnfit(HoldfastError):
    """The file is no WAL, or not the segment that its name says."""

    exit_code = 71


class SlotMissing(HoldfastError):
    """The replication slot does not exist or is in use, or without one WAL was removed unsent."""

    exit_code = 72


class TargetOutOfReach(HoldfastError):
    """The backup and the WAL that is archived do not lead to the recovery target."""

    exit_code = 73


class WalNotArchived(HoldfastError):
    """The server does not get its WAL archived; it keeps it until its disk is full."""

    exit_code = 74


class ClusterChanged(HoldfastError):
    """Another cluster answers under the name of a job that has kept the files of one."""

    exit_code = 75


class Interrupted(HoldfastError):
    """Somebody ended the run: SIGINT or SIGTERM."""

    exit_code = 130
