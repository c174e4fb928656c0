"""Regular expressions that are compiled when they are first used.

Compiling one takes 0.2 ms. A short command loads 50 of them and uses a few.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


class _Late:
    """What `re.compile` returns, made at the first use; then its methods are found here."""

    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        # Several threads may do this at once: all of them get the same from the cache of `re`.
        found = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, found)
        return found

    def __repr__(self) -> str:
        return repr(re.compile(self._text, self._flags))


def regex(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """As `re.compile`; a mistake in `text` is raised at the first use."""
    # A type checker sees the pattern that it stands for.
    return cast("re.Pattern[AnyStr]", _Late(text, flags))
