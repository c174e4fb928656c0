"""Own a job in all of its repositories, and say where its backups are missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime

from holdfast.model.errors import HoldfastError, Interrupted, RepositoryBusy, RunInFlight
from holdfast.operations.append_only import AppendOnly
from holdfast.operations.context import Context
from holdfast.operations.parts.mirrored import FailedStore, Member, Mirrored
from holdfast.ports.run import Hold


class MirroredHold:
    """Obeys `ports.locks.Hold` for the leases in all repositories: each counts for its own."""

    def __init__(self, mirrored: Mirrored, members: Sequence[Member]) -> None:
        self._mirrored = mirrored
        self._members = members

    @property
    def lost(self) -> str:
        """Only where it is lost everywhere: a put finds out about one of them."""
        lost = [each.hold.lost for each in self._members if each.hold and not each.error]
        return lost[0] if lost and all(lost) else ""

    def prove(self) -> None:
        for member in self._members:
            if member.hold is not None and member.error is None:
                try:
                    member.hold.prove()
                except HoldfastError as error:
                    self._mirrored.fail(member, error)


@contextmanager
def held(context: Context, *, deadline: datetime | None) -> Iterator[tuple[Context, Hold]]:
    """Own the job, and have all repositories of it behind one where it has several; one that
    lets nothing be removed is only added to.

    One that cannot be reached, or in which somebody else owns the job, has failed for this run;
    but where the job is owned in its own repository, that is the run in flight: `RunInFlight`.
    """
    if not context.mirrors or context.host_guard is None:
        with context.guard.hold(context.job.name, deadline=deadline) as hold:
            yield (
                replace(context, repository=AppendOnly(context.repository, context.leftovers)),
                hold,
            )
        return
    members = [
        Member(name=each.name, repository=AppendOnly(each.repository, each.leftovers))
        for each in context.mirrors
    ]
    together = Mirrored(members)
    with ExitStack() as stack:
        stack.enter_context(context.host_guard.hold(context.job.name, deadline=deadline))
        for member, mirror in zip(members, context.mirrors, strict=True):
            try:
                owned = mirror.guard.hold(context.job.name, deadline=deadline)
                member.hold = stack.enter_context(owned)
            except (RunInFlight, RepositoryBusy) as error:
                if member is members[0]:
                    raise
                together.fail(member, error)
            except Interrupted:
                raise
            except HoldfastError as error:
                together.fail(member, error)
        yield replace(context, repository=together), MirroredHold(together, members)


def failed_with(job: str, without: tuple[FailedStore, ...]) -> HoldfastError | None:
    """The error of a run whose backups are good, but not everywhere they were to be."""
    if not without:
        return None
    names = ", ".join(f"'{each.name}'" for each in without)
    first = without[0].error
    missing = " and ".join(f"holdfast copy {job} --to {each.name}" for each in without)
    return type(first)(
        f"cannot keep job '{job}' in repository {names}: {first.message}",
        hint=f"the backup is whole elsewhere: once that is mended, {missing} brings it",
    )
