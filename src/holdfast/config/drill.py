"""The settings of a job's drills: when, for how long, with how much, where, and what to ask."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from holdfast.config.values import AbsolutePath, Duration, Strict, Text
from holdfast.model.checked import Mistake, Range

if TYPE_CHECKING:
    from holdfast.model.drill import Check, Goals

BUDGET = timedelta(hours=4)


class CheckSettings(Strict):
    """One statement that the restored database is asked, and the answer that it must give."""

    sql: Text
    name: Text | None = None
    equals: str | int | float | None = None
    newer_than: Duration | None = None
    not_empty: Literal[True] | None = None
    database: Text | None = None

    def require_sound(self) -> None:
        """A check asks one question, and gets one answer."""
        if sum(each is not None for each in (self.equals, self.newer_than, self.not_empty)) > 1:
            raise Mistake(
                "a check has several expected answers",
                hint="give it one of equals, newer_than, not_empty; not_empty is the default",
            )
        if not self.check.may_be_select:
            raise Mistake(
                "the check is no SELECT",
                hint="a check is one SELECT (or WITH, VALUES, TABLE) that changes nothing",
            )

    @property
    def check(self) -> Check:
        from holdfast.model.drill import Check  # only for drills

        return Check(
            sql=self.sql,
            name=self.name or "",
            equals=None if self.equals is None else str(self.equals),
            newer_than=self.newer_than,
            database=self.database or "",
        )


class DrillSettings(Strict):
    """How a job's backups are restored to prove them.

    `user` runs the throw-away servers where root runs the drill. `folder` holds them; it defaults
    to `drills` in the state directory. `rto` is how long a restore may take, and `rpo` the age of
    a change that it may lose: a drill that measures more is good, with a warning.
    """

    schedule: Text | None = None
    budget: Duration = BUDGET
    memory_limit_mb: Annotated[int, Range(at_least=64)] | None = None
    folder: AbsolutePath | None = None
    user: Text | None = None
    rto: Duration | None = None
    rpo: Duration | None = None
    checks: tuple[CheckSettings, ...] = ()

    @property
    def goals(self) -> Goals:
        from holdfast.model.drill import Goals  # only for drills

        return Goals(rto=self.rto, rpo=self.rpo)
