"""Classes whose methods are compiled late are those that the standard library would have made."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, InitVar, asdict, field, fields, is_dataclass, replace
from importlib import import_module
from threading import Barrier, Thread
from typing import Any, ClassVar, Generic, TypeVar

import pytest

import holdfast
from holdfast.model import lazy_dataclass
from holdfast.model.lazy_dataclass import OBJECTS_BEFORE_INIT, dataclass

T = TypeVar("T")
FROZEN = {"frozen": True, "slots": True, "kw_only": True}
BOTH: list[Callable[..., Any]] = [dataclasses.dataclass, lazy_dataclass._decorated]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something is."""

    name: str
    tags: list[str] = field(default_factory=list)
    seen: int = field(default=0, compare=False, repr=False)
    KINDS: ClassVar[tuple[str, ...]] = ("folder",)

    @property
    def is_tagged(self) -> bool:
        return bool(self.tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class Town(Place):
    people: int = 1

    def __post_init__(self) -> None:
        if self.people < 0:
            raise ValueError("less than nobody")


def described(made: type) -> dict[str, Any]:
    """What users of a class may notice about it."""
    members = vars(made)
    named = {name: str(inspect.signature(each)) for name, each in _functions(made)}
    return {
        "functions": {name for name in named if name not in ("__getstate__", "__setstate__")},
        "init": str(inspect.signature(made)),
        "slots": members.get("__slots__"),
        "hashable": made.__hash__ is not None,
        "match": getattr(made, "__match_args__", None),
        "fields": [(each.name, each.type, each.compare, each.kw_only) for each in fields(made)],
        "parameters": str(getattr(made, "__dataclass_params__", "")),
        "name": (made.__name__, made.__qualname__, made.__module__),
    }


def _functions(made: type) -> Iterator[tuple[str, Callable[..., object]]]:
    for name in vars(made):
        if inspect.isfunction(found := getattr(made, name)):
            yield name, found


def plain(decorate: Callable[..., Any]) -> type:
    @decorate(**FROZEN)
    class Made:
        one: int
        two: str = "2"
        other: list[int] = field(default_factory=list)
        SHARED: ClassVar[int] = 7

    return Made


def positional(decorate: Callable[..., Any]) -> type:
    @decorate(frozen=True, slots=True, order=True)
    class Made:
        one: int
        two: int = 2

    return Made


def open_to_change(decorate: Callable[..., Any]) -> type:
    @decorate(slots=True)
    class Made:
        one: int = 1

    return Made


def of_identity(decorate: Callable[..., Any]) -> type:
    @decorate(slots=True, frozen=True, eq=False, repr=False)
    class Made:
        one: int = 1

    return Made


def generic(decorate: Callable[..., Any]) -> type:
    @decorate(**FROZEN)
    class Made(Generic[T]):
        one: T

    return Made


def with_own(decorate: Callable[..., Any]) -> type:
    @decorate(**FROZEN)
    class Made:
        one: int

        def __eq__(self, other: object) -> bool:
            return True

        def __repr__(self) -> str:
            return "own"

        def __hash__(self) -> int:
            return 4

    return Made


def equal_by_own(decorate: Callable[..., Any]) -> type:
    @decorate(**FROZEN)
    class Made:
        one: int

        def __eq__(self, other: object) -> bool:
            return True

    return Made


def inherited(decorate: Callable[..., Any]) -> type:
    @decorate(**FROZEN)
    class Above:
        one: int = 1

    @decorate(**FROZEN)
    class Made(Above):
        two: int = 2

    return Made


SHAPES = [
    plain, positional, open_to_change, of_identity, generic, with_own, equal_by_own, inherited,
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=lambda each: each.__name__)
def test_a_class_is_as_the_standard_library_makes_it(shape: Callable[..., type]) -> None:
    by_library, ours = (shape(each) for each in BOTH)
    assert described(ours) == described(by_library)


def test_nothing_is_compiled_before_it_is_used() -> None:
    compiled = list[object]()
    is_listening = True

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if is_listening and event == "compile":
            compiled.append(arguments)

    sys.addaudithook(note)
    made = plain(lazy_dataclass._decorated)
    first = [made(one=each) for each in range(OBJECTS_BEFORE_INIT)]
    assert not compiled
    assert made(one=1)
    assert compiled
    assert first[1] == made(one=1)
    is_listening = False


CALLS: list[tuple[tuple[object, ...], dict[str, object]]] = [
    ((), {}),
    ((), {"one": 1}),
    ((), {"two": 2}),
    ((1,), {}),
    ((1, 2), {}),
    ((1, 2, 3, 4), {}),
    ((1,), {"one": 1}),
    ((1,), {"two": 5}),
    ((), {"one": 1, "two": 5, "other": [1]}),
    ((), {"one": 1, "three": 3}),
    ((), {"self": 1, "instance": 2}),
]


@pytest.mark.parametrize("call", CALLS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda each: each.__name__)
def test_the_first_objects_are_as_all_others(
    shape: Callable[..., type], call: tuple[tuple[object, ...], dict[str, object]]
) -> None:
    by_library, ours = (_made_of(shape(each), call) for each in BOTH)
    assert ours == by_library


def _made_of(made: type, call: tuple[tuple[object, ...], dict[str, object]]) -> object:
    given, named = call
    try:
        found = made(*given, **named)
    except TypeError as error:
        return str(error)
    return [getattr(found, each.name) for each in fields(made)]


def test_a_value_is_replaced_as_by_the_library() -> None:
    town = Town(name="a", tags=["b"], people=3)
    assert lazy_dataclass.replace(town, people=4) == replace(town, people=4)
    assert lazy_dataclass.replace(_OfTheLibrary(1), one=2).one == 2
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
        lazy_dataclass.replace(town, size=1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="less than nobody"):
        lazy_dataclass.replace(town, people=-1)


WITHOUT_LIBRARY = """
import sys
from holdfast.model.lazy_dataclass import dataclass, field, is_dataclass, replace, taken_by

@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    one: "int"
    many: "list" = field(default_factory=list, repr=False)

assert is_dataclass(Made) and list(taken_by(Made)) == ["one", "many"]
changed = replace(Made(one=1), one=2)
print(changed.one, changed.many, "dataclasses" in sys.modules, changed)
"""


def test_classes_are_made_used_and_replaced_without_the_library() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIBRARY], check=True, capture_output=True, text=True
    )
    assert done.stdout == "2 [] False Made(one=2)\n"


def test_a_class_whose_fields_only_the_library_knows_is_left_to_it() -> None:
    def derived(decorate: Callable[..., Any]) -> type:
        @decorate(slots=True)
        class Made:
            given: InitVar[int]
            double: int = field(init=False)

            def __post_init__(self, given: int) -> None:
                self.double = 2 * given

        return Made

    def above(decorate: Callable[..., Any]) -> type:
        @decorate(slots=True)
        class Below(_OfTheLibrary):
            two: int

        return Below

    assert [derived(each)(4).double for each in BOTH] == [8, 8]
    assert [above(each)(1, 2).one for each in BOTH] == [1, 1]


@dataclasses.dataclass
class _OfTheLibrary:
    one: int


def test_values_are_compared_printed_and_hashed_by_their_fields() -> None:
    one, same, other = Town(name="a", seen=1), Town(name="a", seen=2), Town(name="a", people=3)
    assert one == same
    assert one != other
    assert one != Place(name="a")
    assert repr(one) == "Town(name='a', tags=[], people=1)"
    assert asdict(other) == {"name": "a", "tags": [], "seen": 0, "people": 3}
    assert replace(other, name="b") == Town(name="b", people=3)
    hashed = positional(lazy_dataclass._decorated)
    assert len({hashed(1), hashed(1, 2), hashed(2)}) == 2
    assert hashed(1) < hashed(2)


def test_a_default_is_made_anew_for_each_value() -> None:
    assert Place(name="a").tags is not Place(name="b").tags


def test_the_first_use_may_be_any() -> None:
    for use in (is_dataclass, fields, inspect.signature, repr, lambda each: each(one=1)):
        made = plain(lazy_dataclass._decorated)
        use(made)
        assert made(one=1) == made(one=1)


def test_no_field_of_a_frozen_value_changes() -> None:
    town = Town(name="a")
    for name in ("name", "people", "unknown"):
        with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{name}'"):
            setattr(town, name, "b")
        with pytest.raises(FrozenInstanceError, match=f"cannot delete field '{name}'"):
            delattr(town, name)
    assert not hasattr(town, "__dict__")


def test_what_a_class_checks_itself_is_checked() -> None:
    with pytest.raises(ValueError, match="less than nobody"):
        Town(name="a", people=-1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
        Town(name="a", size=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="takes 1 positional argument"):
        Town("a")  # type: ignore[call-arg]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda each: _through_pickle(each)])
def test_a_value_can_be_copied(copied: Callable[[Town], Town]) -> None:
    town = Town(name="a", tags=["b"], people=3)
    assert copied(town) == town
    assert copied(town) is not town


def _through_pickle(town: Town) -> Any:
    return pickle.loads(pickle.dumps(town))  # noqa: S301 - our own bytes


def test_a_class_below_with_its_own_methods_reaches_those_above() -> None:
    above = plain(lazy_dataclass._decorated)

    class Below(above):  # type: ignore[misc, valid-type]
        __slots__ = ("calls",)

        def __init__(self, number: int) -> None:
            object.__setattr__(self, "calls", list[str]())
            super().__init__(one=number)

        def __repr__(self) -> str:
            self.calls.append("repr")
            return str(super().__repr__())

    made = [Below(each) for each in range(OBJECTS_BEFORE_INIT + 2)]
    assert [each.one for each in made] == list(range(OBJECTS_BEFORE_INIT + 2))
    assert "one=1," in repr(made[1])
    assert made[1].calls == ["repr"]


def test_threads_that_use_a_class_at_once_get_whole_values() -> None:
    made, found = plain(lazy_dataclass._decorated), list[Any]()
    together = Barrier(8)

    def use() -> None:
        together.wait()
        found.append(made(one=1))

    threads = [Thread(target=use) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [made(one=1, other=[])] * 8


def test_a_wrong_class_of_ours_would_be_told_here() -> None:
    """`dataclasses` refuses it when it is made; here this would be when it is first used."""
    for found in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        import_module(found.name)
    kinds = {
        each
        for module in list(sys.modules.values())
        if module.__name__.partition(".")[0] == "holdfast"
        for each in vars(module).values()
        if isinstance(each, type) and is_dataclass(each)
    }
    assert len(kinds) > 300
    for each in kinds:
        assert inspect.signature(each).parameters.keys() >= {
            one.name for one in fields(each) if one.init
        }
