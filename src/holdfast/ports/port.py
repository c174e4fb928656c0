"""The base class of every port that implementations inherit from."""

from __future__ import annotations

from functools import cached_property
from types import FunctionType


class Port:
    """Required methods are abstract; optional ones have a default that means "not supported".

    An implementation may add no public method: a name that no base class declares raises
    `TypeError` when the class is created. So a misspelt method cannot silently disable a feature.
    """

    __slots__ = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if Port in cls.__bases__:
            return
        known = {name for base in cls.__mro__[1:] for name in vars(base)}
        for name in declared(cls):
            if name not in known:
                raise TypeError(
                    f"class '{cls.__name__}' has '{name}', which none of its bases declares: either"
                    " it is misspelt, or it is the class's own and begins with an underscore"
                )


def declared(port: type) -> list[str]:
    """The public methods and properties that the class itself defines, inherited ones excluded."""
    return [
        name
        for name, value in vars(port).items()
        if not name.startswith("_") and isinstance(value, FunctionType | property | cached_property)
    ]
