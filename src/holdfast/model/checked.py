"""What is wrong with a value from outside, and the constraints that it has to obey.

Types are annotated with them (`Annotated[int, Range(at_least=0)]`), and `model.forms` applies them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, Self

from holdfast.model.lazy_dataclass import dataclass, field

if TYPE_CHECKING:
    import re

Check = Callable[[Any], Any]
# Keys and positions; YAML has keys of any kind.
Place = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One value that is not of its type; `said` holds what the words for this `kind` need."""

    kind: str
    value: Any
    what: str
    place: Place = ()
    said: Mapping[str, Any] = field(default_factory=dict)


class Refused(ValueError):
    """A value has `faults`."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(faults[0].what)
        self.faults = faults


class Mistake(ValueError):
    """A check of our own found the value to be wrong; `hint` says how to put it right."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class Readable:
    """A class that checks its values itself."""

    __slots__ = ()

    @classmethod
    def read_from(cls, value: Any) -> Self:
        """The object for `value`; raises `Refused` with every fault in it."""
        raise NotImplementedError


class Constraint:
    """Applied to a value of the right type, in the order of the annotation.

    `typing` hashes each mark of an annotation: none is compared by its values, or that would be
    compiled for each class of them.
    """

    __slots__ = ()

    def __call__(self, value: Any) -> Any:
        """The value to go on with; raises `Refused` or `ValueError`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Range(Constraint):
    """A number within limits; NaN is within none."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def __call__(self, value: Any) -> Any:
        if self.at_least is not None and not value >= self.at_least:
            raise refused("least", value, f"it is below {self.at_least}", least=self.at_least)
        if self.above is not None and not value > self.above:
            raise refused("above", value, f"input should be greater than {self.above}")
        if self.at_most is not None and not value <= self.at_most:
            raise refused("most", value, f"it is above {self.at_most}", most=self.at_most)
        if self.below is not None and not value < self.below:
            raise refused("below", value, f"input should be less than {self.below}")
        return value


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Length(Constraint):
    """A text or list within limits."""

    at_least: int = 0
    at_most: int | None = None

    def __call__(self, value: Any) -> Any:
        kind, length = "text" if isinstance(value, str) else "list", len(value)
        if length < self.at_least:
            raise refused(f"short {kind}", value, _length_of(value, "at least", self.at_least))
        if self.at_most is not None and length > self.at_most:
            raise refused(f"long {kind}", value, _length_of(value, "at most", self.at_most))
        return value


def _length_of(value: Any, wanted: str, count: int) -> str:
    some = "s" if count != 1 else ""
    if isinstance(value, str):
        return f"string should have {wanted} {count} character{some}"
    kind = "tuple" if isinstance(value, tuple) else "value"
    return f"{kind} should have {wanted} {count} item{some} after validation, not {len(value)}"


@dataclass(frozen=True, slots=True, eq=False)
class Matching(Constraint):
    """A text that matches all of a pattern."""

    pattern: re.Pattern[str]

    def __call__(self, value: Any) -> Any:
        if not self.pattern.fullmatch(value):
            raise refused("pattern", value, f"string should match pattern '{self.pattern.pattern}'")
        return value


@dataclass(frozen=True, slots=True, eq=False)
class Fits(Constraint):
    """A value for which `test` is true."""

    test: Callable[[Any], bool]

    def __call__(self, value: Any) -> Any:
        if not self.test(value):
            raise refused("predicate", value, "it is not valid")
        return value


@dataclass(frozen=True, slots=True, eq=False)
class After(Constraint):
    """The value that `act` returns for a value of the right type."""

    act: Check

    def __call__(self, value: Any) -> Any:
        return self.act(value)


@dataclass(frozen=True, slots=True, eq=False)
class Before:
    """The value that `act` returns is checked in place of the one that was written."""

    act: Check


@dataclass(frozen=True, slots=True, eq=False)
class By:
    """One of several records, chosen by its field `name`."""

    name: str


def refused(kind: str, value: Any, what: str, /, **said: Any) -> Refused:
    return Refused([Fault(kind=kind, value=value, what=what, said=said)])


def below(step: Hashable, error: Refused) -> list[Fault]:
    """The faults of a value, placed in the one around it."""
    return [
        Fault(
            kind=each.kind,
            value=each.value,
            what=each.what,
            place=(step, *each.place),
            said=each.said,
        )
        for each in error.faults
    ]


def applied(act: Callable[..., Any], value: Any, *beside: Any) -> Any:
    """What `act` returns; its `Mistake` becomes a fault of the value."""
    try:
        return act(value, *beside)
    except Refused:
        raise
    except Mistake as error:
        raise refused("mistake", value, error.what, hint=error.hint) from error
    except ValueError as error:
        raise refused("value", value, f"value error, {error}") from error
