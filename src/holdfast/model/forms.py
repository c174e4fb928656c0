"""Values from outside, checked against annotated types: stored documents, and the configuration.

`form_of(T)` has the check of type T and the way back to plain values. Nothing is guessed: a text is
no number, and 1 is not true. A check returns the value, or raises `Refused` with every fault in it.
The form of a class is built when a value of it is first met.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from types import NoneType, SimpleNamespace, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from holdfast.model.checked import (
    Before,
    By,
    Check,
    Constraint,
    Fault,
    Readable,
    Refused,
    applied,
    below,
    refused,
)
from holdfast.model.lazy_dataclass import is_dataclass, taken_by
from holdfast.model.scalars import SCALARS, Form


def form_of(kind: Any) -> Form[Any]:
    """The form of a type: a scalar, a list, a union, a record, or one of these with constraints."""
    found = _BUILT.get(kind)
    if found is None:
        found = _BUILT[kind] = _form(kind)
    return found


_BUILT: dict[Any, Form[Any]] = {}


def _form(kind: Any) -> Form[Any]:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _annotated(inner[0], inner[1:])
    if origin in (Union, UnionType):
        return _union(inner)
    if origin is Literal:
        return _literal(inner)
    if origin in COLLECTIONS:
        return COLLECTIONS[origin](inner)
    if kind in SCALARS:
        return SCALARS[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum(kind)
    if isinstance(kind, type) and issubclass(kind, Readable):
        return Form(kind.read_from)
    return _dataclass(kind) if is_dataclass(kind) else _instance(kind)


def _annotated(kind: Any, marks: tuple[Any, ...]) -> Form[Any]:
    """Constraints in their order, after the check of the type; `Before` comes first."""
    by = next((each for each in marks if isinstance(each, By)), None)
    bare = _chosen(get_args(kind), by.name) if by else form_of(kind)
    first = [each.act for each in marks if isinstance(each, Before)]
    then = [each for each in marks if isinstance(each, Constraint)]
    if not first and not then:
        return bare
    check = bare.check

    def checked(value: Any) -> Any:
        for act in first:
            value = applied(act, value)
        value = check(value)
        for act in then:
            value = applied(act, value)
        return value

    return Form(checked, bare.plain)


def _union(kinds: tuple[Any, ...]) -> Form[Any]:
    """The first of the types that takes the value; the faults are those of all of them."""
    may_be_none = NoneType in kinds
    forms = [form_of(each) for each in kinds if each is not NoneType]
    plain = next((each.plain for each in forms if each.plain), None)

    def checked(value: Any) -> Any:
        if value is None and may_be_none:
            return None
        faults: list[Fault] = []
        for each in forms:
            try:
                return each.check(value)
            except Refused as error:
                faults += error.faults
        raise Refused(faults)

    def plainly(value: Any) -> Any:
        return value if plain is None or value is None else plain(value)

    return Form(checked, plainly if plain else None)


def _chosen(kinds: tuple[Any, ...], name: str) -> Form[Any]:
    choices = {tag: each for each in kinds for tag in get_args(hint_of(each, name))}
    tags = ", ".join(map(repr, choices))

    def checked(value: Any) -> Any:
        if isinstance(value, tuple(choices.values())):
            return value
        if not isinstance(value, dict):
            raise refused("mapping", value, "input should be a valid dictionary")
        if name not in value:
            raise refused("no_tag", value, f"it has no {name}", name=name)
        tag = value[name]
        if not isinstance(tag, str) or tag not in choices:
            raise refused("tag", value, f"unknown {name}", name=name, tag=tag, expected=tags)
        return form_of(choices[tag]).check(value)

    return Form(checked)


def _literal(values: tuple[Any, ...]) -> Form[Any]:
    named = [repr(each.value if isinstance(each, Enum) else each) for each in values]
    expected = " or ".join(filter(None, [", ".join(named[:-1]), named[-1]]))
    known = {
        (isinstance(each, bool), each.value if isinstance(each, Enum) else each): each
        for each in values
    }

    def checked(value: Any) -> Any:
        try:
            return known[isinstance(value, bool), value]
        except (KeyError, TypeError):
            raise refused(
                "choice", value, f"input should be {expected}", expected=expected
            ) from None

    is_enum = any(isinstance(each, Enum) for each in values)
    return Form(checked, _value_of if is_enum else None)


def _enum(kind: type[Enum]) -> Form[Any]:
    named = [repr(each.value) for each in kind]
    expected = " or ".join(filter(None, [", ".join(named[:-1]), named[-1]]))

    def checked(value: Any) -> Any:
        try:
            return kind(value)
        except ValueError:
            raise refused(
                "choice", value, f"input should be {expected}", expected=expected
            ) from None

    return Form(checked, _value_of)


def _value_of(member: Any) -> Any:
    return member.value if isinstance(member, Enum) else member


def _items(inner: tuple[Any, ...]) -> Form[Any]:
    each = form_of(inner[0])
    check, plain = each.check, each.plain

    def checked(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise refused("tuple", value, "input should be a valid tuple")
        return tuple(_checked(value, check))

    def plainly(value: Iterable[Any]) -> list[Any]:
        return list(value) if plain is None else [plain(each) for each in value]

    return Form(checked, plainly)


def _set(inner: tuple[Any, ...]) -> Form[Any]:
    check = form_of(inner[0]).check

    def checked(value: Any) -> frozenset[Any]:
        if not isinstance(value, frozenset):
            raise refused("frozenset", value, "input should be a valid frozenset")
        return frozenset(_checked(list(value), check))

    return Form(checked, list)


def _checked(items: list[Any] | tuple[Any, ...], check: Check) -> list[Any]:
    try:
        return [check(each) for each in items]
    except Refused:
        return _each_checked(items, check)


def _each_checked(items: Iterable[Any], check: Check) -> list[Any]:
    """Like `_checked`, where something is wrong: finds every fault and its place."""
    found: list[Any] = []
    faults: list[Fault] = []
    for place, each in enumerate(items):
        try:
            found.append(check(each))
        except Refused as error:
            faults += below(place, error)
    if faults:
        raise Refused(faults)
    return found


def _mapping(inner: tuple[Any, ...]) -> Form[Any]:
    check_key, each = form_of(inner[0]).check, form_of(inner[1])
    check, plain = each.check, each.plain

    def checked(value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise refused("mapping", value, "input should be a valid dictionary")
        found: dict[Any, Any] = {}
        faults: list[Fault] = []
        for key, item in value.items():
            pair: list[Any] = []
            for act, part in ((check_key, key), (check, item)):
                try:
                    pair.append(act(part))
                except Refused as error:
                    faults += below(key, error)
            if len(pair) == 2:
                found[pair[0]] = pair[1]
        if faults:
            raise Refused(faults)
        return found

    def plainly(value: Mapping[Any, Any]) -> dict[Any, Any]:
        return dict(value) if plain is None else {key: plain(each) for key, each in value.items()}

    return Form(checked, plainly)


def hint_of(kind: Any, name: str) -> Any:
    """The annotation of one attribute, of which most are names, and most texts occur often.

    Compiling one takes 30 us, as long as checking ten values.
    """
    declaring = next(each for each in kind.__mro__ if name in vars(each).get("__annotations__", ()))
    text = declaring.__annotations__[name]
    return hint_in(declaring.__module__, text)


def hint_in(module: str, text: Any) -> Any:
    """What the text of an annotation stands for in that module."""
    found = _HINTS.get((module, text))
    if found is None:
        found = _HINTS[module, text] = _hint(module, text)
    return found


_HINTS: dict[tuple[str, Any], Any] = {}


def _hint(module: str, text: Any) -> Any:
    names = vars(sys.modules[module])
    named = names.get(text, vars(builtins).get(text)) if isinstance(text, str) else None
    if named is not None:
        return named
    alone = SimpleNamespace(__annotations__={"it": text})
    return get_type_hints(alone, globalns=names, include_extras=True)["it"]


def _dataclass(kind: Any) -> Form[Any]:
    """A record of a stored document; names that the class does not know are ignored."""
    known = [
        (name, form_of(hint_of(kind, name)), each.is_needed)
        for name, each in taken_by(kind).items()
    ]
    checks = [(name, form.check, is_needed) for name, form, is_needed in known]
    plain = [(name, form.plain) for name, form, _ in known]

    def checked(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        if not isinstance(value, dict):
            raise refused("mapping", value, "input should be an object")
        return kind(**fields_in(value, checks))

    def plainly(value: Any) -> dict[str, Any]:
        return {
            name: getattr(value, name) if act is None else act(getattr(value, name))
            for name, act in plain
        }

    return Form(checked, plainly)


def fields_in(
    value: Mapping[str, Any], checks: Iterable[tuple[str, Check, bool]]
) -> dict[str, Any]:
    """The values of a record's fields by name; raises `Refused` for all that are wrong."""
    found: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, check, is_needed in checks:
        if name in value:
            try:
                found[name] = check(value[name])
            except Refused as error:
                faults += below(name, error)
        elif is_needed:
            faults.append(Fault(kind="missing", value=value, what="it is missing", place=(name,)))
    if faults:
        raise Refused(faults)
    return found


def _instance(kind: Any) -> Form[Any]:
    """Any other class: values of it are made elsewhere, as facts are from their texts."""

    def checked(value: Any) -> Any:
        if not isinstance(value, kind):
            raise refused("instance", value, f"input should be a {kind.__name__}")
        return value

    return Form(checked)


COLLECTIONS: dict[Any, Callable[[tuple[Any, ...]], Form[Any]]] = {
    tuple: _items,
    frozenset: _set,
    dict: _mapping,
}
