"""Dataclasses with slots, whose methods are compiled when the first of them is used.

`dataclasses` compiles the methods of a class when its module is loaded, in 0.37 ms. A short command
loads more than a hundred classes, and makes objects of a quarter of them. Here a class gets its
slots at once. Its methods are those of the standard library, taken at their first use from the
undecorated class, which has the same annotations and defaults.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

_ORDERS = ("__lt__", "__le__", "__gt__", "__ge__")
_OF_OBJECTS = ("__dict__", "__weakref__")


def _decorated(cls: type | None = None, /, **options: bool) -> Any:
    """As `dataclasses.dataclass`, which still makes the classes without slots."""
    if cls is None:
        return lambda each: _decorated(each, **options)
    if not options.pop("slots", False):
        return dataclasses.dataclass(**options)(cls)
    return _slotted(cls, options)


# A type checker sees the decorator of the standard library, about which it knows everything.
if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    dataclass = _decorated


class _AtFirstUse:
    """An attribute of a class whose reading compiles the class first."""

    __slots__ = ("_compile", "_name")

    def __init__(self, name: str, compile_all: Callable[[], None]) -> None:
        self._name = name
        self._compile = compile_all

    def __get__(self, instance: object, owner: type) -> Any:
        self._compile()
        return getattr(owner if instance is None else instance, self._name)


def _slotted(original: type, options: dict[str, bool]) -> type:
    """A class as `original`, with slots and with methods that are still to be compiled."""
    declared = {name: each for name, each in vars(original).items() if name not in _OF_OBJECTS}
    declared["__qualname__"] = original.__qualname__
    own = [name for name, kind in original.__annotations__.items() if not _is_of_class(kind)]

    def compile_(names: Sequence[str], fewer: dict[str, bool]) -> None:
        # Several threads may do this at once: each of them makes the same.
        plain = type(original)(original.__name__, original.__bases__, dict(declared))
        # Of a class without one a docstring would be made, from a signature: that takes long.
        plain.__doc__ = plain.__doc__ or plain.__name__
        dataclasses.dataclass(**options | fewer)(plain)
        for name in names:
            setattr(made, name, vars(plain)[name])

    inherited = {name for base in original.__mro__[1:] for name in _slots_of(base)}
    members = {name: each for name, each in declared.items() if name not in own}
    members["__slots__"] = tuple(name for name in own if name not in inherited)
    for names, fewer in _groups(options):
        # A class that defines `__eq__` has a `__hash__` that is None.
        late = [name for name in names if declared.get(name) is None]
        act = partial(compile_, late, fewer)
        members |= {name: _AtFirstUse(name, act) for name in late}
    if not options.get("frozen") and options.get("eq", True):
        members.setdefault("__hash__", None)
    made = type(original)(original.__name__, original.__bases__, members)
    if options.get("frozen"):
        _freeze(made, frozenset(own))
    return made


def _groups(options: dict[str, bool]) -> Iterator[tuple[list[str], dict[str, bool]]]:
    """What is compiled together, and the options that it can do without.

    Of most classes nothing but `__init__` is ever used.
    """
    no_init, no_repr, no_eq = {"init": False}, {"repr": False}, {"eq": False, "order": False}
    if options.get("init", True):
        yield ["__init__"], no_repr | no_eq
    if options.get("repr", True):
        yield ["__repr__"], no_init | no_eq
    if options.get("eq", True):
        yield ["__eq__", *(["__hash__"] if options.get("frozen") else [])], no_init | no_repr
    yield ["__dataclass_fields__", "__match_args__"], no_init | no_repr | no_eq
    yield ["__dataclass_params__", *(_ORDERS if options.get("order") else [])], {}


def _is_of_class(kind: object) -> bool:
    """Whether an annotation, a text by the house's rule, is one of a class variable."""
    return str(kind).startswith(("ClassVar", "typing.ClassVar"))


def _slots_of(base: type) -> tuple[str, ...]:
    slots = base.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _freeze(made: type, own: frozenset[str]) -> None:
    """Let no attribute of an object be set or deleted, except by `__init__` and by copies."""

    above: Any = super

    def set_one(self: object, name: str, value: object) -> None:
        if type(self) is made or name in own:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        above(made, self).__setattr__(name, value)

    def delete_one(self: object, name: str) -> None:
        if type(self) is made or name in own:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        above(made, self).__delattr__(name)

    def set_state(self: object, state: tuple[object, dict[str, object]]) -> None:
        for name, value in state[1].items():
            object.__setattr__(self, name, value)

    for name, step in (
        ("__setattr__", set_one),
        ("__delattr__", delete_one),
        ("__setstate__", set_state),
    ):
        setattr(made, name, step)
