"""Dataclasses with slots, whose methods are compiled when that pays.

`dataclasses` compiles the methods of a class when its module is loaded, in 0.37 ms. A short command
loads more than a hundred classes, and makes one or two objects of each of a quarter of them. Here a
class gets its slots at once. Its first objects are filled by a loop over its fields. All other
methods, and its `__init__` for more objects, are those of the standard library, taken at their
first use from the undecorated class, which has the same annotations and defaults. `dataclasses`
itself is loaded then: with `inspect`, which it needs, it takes 6 ms.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any

_ORDERS = ("__lt__", "__le__", "__gt__", "__ge__")
_OF_OBJECTS = ("__dict__", "__weakref__")
# Compiling `__init__` takes as long as about a hundred objects filled by a loop.
OBJECTS_BEFORE_INIT = 50
_ONLY_THE_LIBRARY = ("InitVar", "KW_ONLY", "dataclasses.")
_MISSING: Any = object()


class _Declared:
    """What `field` was given."""

    __slots__ = ("options",)

    def __init__(self, **options: Any) -> None:
        self.options = options

    def of_library(self) -> Any:
        from dataclasses import field as made

        return made(**self.options)


def _decorated(cls: type | None = None, /, **options: bool) -> Any:
    """As `dataclasses.dataclass`, which still makes the classes without slots."""
    if cls is None:
        return lambda each: _decorated(each, **options)
    if options.pop("slots", False):
        return _slotted(cls, options)
    from dataclasses import dataclass as made

    for name, each in list(vars(cls).items()):
        if isinstance(each, _Declared):
            setattr(cls, name, each.of_library())
    return made(**options)(cls)


def _replaced(value: Any, /, **changes: Any) -> Any:
    """As `dataclasses.replace`."""
    kind = type(value)
    taken = _taken(kind) if kind in _MADE else None
    if taken is None:
        from dataclasses import replace as made

        return made(value, **changes)
    return kind(**{name: getattr(value, name) for name in taken if name not in changes}, **changes)


# A type checker sees those of the standard library, about which it knows everything.
if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass, field as field, replace as replace
else:
    dataclass, field, replace = _decorated, _Declared, _replaced


def is_dataclass(kind: type) -> bool:
    """Whether the class is one, made here or by the library; nothing is compiled."""
    return any("__dataclass_fields__" in vars(each) for each in kind.__mro__)


def taken_by(kind: type) -> Mapping[str, Taken]:
    """What `__init__` of a dataclass takes, by name and in order; nothing is compiled."""
    found = _taken(kind) if kind in _MADE else None
    return _of_library(kind) if found is None else found


class _AtFirstUse:
    """An attribute of a class whose reading compiles the class first."""

    __slots__ = ("_compile", "_made", "_name")

    def __init__(self, name: str, compile_all: Callable[[], None]) -> None:
        self._name = name
        self._compile = compile_all
        self._made: type = object

    def __set_name__(self, owner: type, name: str) -> None:
        self._made = owner

    def __get__(self, instance: object, owner: type) -> Any:
        self._compile()
        # Not the attribute of `instance`, whose class may have an own one that calls this one.
        found = vars(self._made)[self._name]
        return found.__get__(instance, owner) if isinstance(found, FunctionType) else found


class Taken:
    """A field that `__init__` takes; `make` makes a new default for each object."""

    __slots__ = ("by_name_only", "default", "is_needed", "make")

    def __init__(self, default: Any, *, by_name_only: bool) -> None:
        self.by_name_only = by_name_only
        self.default = default
        self.make: Callable[[], object] | None = None
        options = _options_of(default)
        if options is not None:
            self.default = options.get("default", _MISSING)
            self.make = options.get("default_factory")
            self.by_name_only = options.get("kw_only", by_name_only)
        self.is_needed = self.default is _MISSING and self.make is None


def _options_of(default: Any) -> Mapping[str, Any] | None:
    """What `field` was given for this default, ours or that of the library; None without it."""
    if isinstance(default, _Declared):
        return default.options
    library = sys.modules.get("dataclasses")
    if library is None or not isinstance(default, library.Field):
        return None
    names = ("default", "default_factory", "init", "kw_only")
    found = ((name, getattr(default, name)) for name in names)
    return {name: each for name, each in found if each is not library.MISSING}


# Of each class that is made here: the undecorated class, and its options.
_MADE: dict[type, tuple[type, dict[str, bool]]] = {}


class _Init(_AtFirstUse):
    """`__init__`; the first objects are filled by a loop over the fields.

    What this cannot do is left to the compiled one, and each mistake of a caller too.
    """

    __slots__ = ("_fields", "_has_more", "_left", "_set")

    def __init__(self, compile_all: Callable[[], None], *, is_frozen: bool) -> None:
        super().__init__("__init__", compile_all)
        self._left = OBJECTS_BEFORE_INIT
        self._set: Callable[[object, str, object], None] = (
            object.__setattr__ if is_frozen else setattr
        )
        self._has_more = False
        self._fields: Mapping[str, Taken] = {}

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None or self._left <= 0:
            return super().__get__(instance, owner)
        if not self._fields:
            found = _taken(self._made)
            if found is None:
                self._left = 0
                return super().__get__(instance, owner)
            self._has_more = any("__post_init__" in vars(each) for each in self._made.__mro__)
            # Last: another thread uses both as soon as this is set.
            self._fields = found
        self._left -= 1
        return partial(self._fill, instance)

    def _fill(self, instance: Any, /, *given: object, **named: object) -> None:
        values = self._by_name(given, named)
        if values is None or not self._is_filled(instance, values):
            super().__get__(instance, type(instance))(*given, **named)
        elif self._has_more:
            instance.__post_init__()

    def _by_name(
        self, given: Sequence[object], named: dict[str, object]
    ) -> dict[str, object] | None:
        """All that was given, by name; None for too many values, or one given twice."""
        if not given:
            return named
        names = [name for name, each in self._fields.items() if not each.by_name_only]
        if len(given) > len(names) or not named.keys().isdisjoint(names[: len(given)]):
            return None
        return named | dict(zip(names, given, strict=False))

    def _is_filled(self, instance: object, named: dict[str, object]) -> bool:
        """Whether each field has its value, and each value its field."""
        left = len(named)
        for name, field in self._fields.items():
            if name in named:
                value, left = named[name], left - 1
            elif field.make is not None:
                value = field.make()
            elif field.is_needed:
                return False
            else:
                value = field.default
            self._set(instance, name, value)
        return left == 0


_TAKEN: dict[type, dict[str, Taken] | None] = {}


def _taken(made: type) -> dict[str, Taken] | None:
    """What `__init__` of the class takes, in order; None if only the library can tell."""
    if made not in _TAKEN:
        _TAKEN[made] = _found_in(made)
    return _TAKEN[made]


def _of_library(kind: Any) -> dict[str, Taken]:
    from dataclasses import fields

    known = (each for each in fields(kind) if each.init)
    return {each.name: Taken(each, by_name_only=bool(each.kw_only)) for each in known}


def _found_in(made: type) -> dict[str, Taken] | None:
    found: dict[str, Taken] = {}
    for base in reversed(made.__mro__):
        if base not in _MADE:
            if "__dataclass_fields__" in vars(base):
                return None
            continue
        original, options = _MADE[base]
        for name, kind in original.__annotations__.items():
            default = vars(original).get(name, _MISSING)
            asked = _options_of(default)
            if (asked is not None and not asked.get("init", True)) or str(kind).startswith(
                _ONLY_THE_LIBRARY
            ):
                return None
            if not _is_of_class(kind):
                found[name] = Taken(default, by_name_only=options.get("kw_only", False))
    return found


def _slotted(original: type, options: dict[str, bool]) -> type:
    """A class as `original`, with slots and with methods that are still to be compiled."""
    declared = {name: each for name, each in vars(original).items() if name not in _OF_OBJECTS}
    declared["__qualname__"] = original.__qualname__
    own = [name for name, kind in original.__annotations__.items() if not _is_of_class(kind)]

    def compile_(names: Sequence[str], fewer: dict[str, bool]) -> None:
        from dataclasses import dataclass as made_by

        # Several threads may do this at once: each of them makes the same.
        given = {
            name: each.of_library() if isinstance(each, _Declared) else each
            for name, each in declared.items()
        }
        plain = type(original)(original.__name__, original.__bases__, given)
        # Of a class without one a docstring would be made, from a signature: that takes long.
        plain.__doc__ = plain.__doc__ or plain.__name__
        made_by(**options | fewer)(plain)
        for name in names:
            setattr(made, name, vars(plain)[name])

    is_frozen = options.get("frozen", False)
    inherited = {name for base in original.__mro__[1:] for name in _slots_of(base)}
    members = {name: each for name, each in declared.items() if name not in own}
    members["__slots__"] = tuple(name for name in own if name not in inherited)
    for names, fewer in _groups(options):
        # A class that defines `__eq__` has a `__hash__` that is None.
        late = [name for name in names if declared.get(name) is None]
        act = partial(compile_, late, fewer)
        for name in late:
            is_init = name == "__init__"
            members[name] = _Init(act, is_frozen=is_frozen) if is_init else _AtFirstUse(name, act)
    if not is_frozen and options.get("eq", True):
        members.setdefault("__hash__", None)
    made = type(original)(original.__name__, original.__bases__, members)
    _MADE[made] = (original, options)
    if is_frozen:
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
            from dataclasses import FrozenInstanceError

            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        above(made, self).__setattr__(name, value)

    def delete_one(self: object, name: str) -> None:
        if type(self) is made or name in own:
            from dataclasses import FrozenInstanceError

            raise FrozenInstanceError(f"cannot delete field {name!r}")
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
