"""What all ports share whose implementations inherit from them."""

from __future__ import annotations

from functools import cached_property
from types import FunctionType


class Port:
    """Abstract methods that are required, and optional ones whose default says what is not there.

    An implementation has no other public methods: one whose name none of its bases knows is refused
    when its class is made. So a misspelt method cannot turn a feature off unseen.
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
    """The public methods and properties that a class itself has."""
    return [
        name
        for name, value in vars(port).items()
        if not name.startswith("_") and isinstance(value, FunctionType | property | cached_property)
    ]
