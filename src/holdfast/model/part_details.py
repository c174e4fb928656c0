"""What a source wrote into the details of its own parts, read back by kind.

Details are texts that a manifest brings back, and whoever wrote the manifest wrote them: one that
is missing, or is not of its kind, is told by its name and that of the part.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from holdfast.model.backup import Member, Part
from holdfast.model.errors import VerifyFailed
from holdfast.model.stored_json import MANIFEST, Unreadable, parsed
from holdfast.model.values import MOST

_SHOWN = 60
_DIGITS = re.compile(r"[0-9]{1,19}")


class Details:
    """Those of one part, or of one table in it; every method raises `VerifyFailed`."""

    def __init__(self, of: Part | Member) -> None:
        self._what = f"part '{of.name}'" if isinstance(of, Part) else f"table '{of.relation}'"
        self._found = of.details

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def text(self, name: str, otherwise: str | None = None) -> str:
        found = self._found.get(name, otherwise)
        if found is None:
            raise self._wrong(f"'{name}' is missing")
        return found

    def word(self, name: str, *, of: Collection[str]) -> str:
        """One of those, and nothing else: it becomes part of a statement."""
        return self._fitting(name, self.text(name) in of)

    def matching(self, name: str, pattern: re.Pattern[str], otherwise: str | None = None) -> str:
        return self._fitting(name, pattern.fullmatch(self.text(name, otherwise)) is not None)

    def number(self, name: str, otherwise: str | None = None) -> int:
        digits = self.text(name, otherwise)
        if not _DIGITS.fullmatch(digits) or int(digits) > MOST:
            raise self._is_not_one(name)
        return int(digits)

    def octets(self, name: str) -> bytes:
        try:
            return bytes.fromhex(self.text(name))
        except ValueError as error:
            raise self._is_not_one(name) from error

    def names(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        found = self.json(name)
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            raise self._is_not_one(name)
        return tuple(found)

    def texts(self, name: str, otherwise: str | None = None) -> dict[str, str]:
        """Texts by name."""
        found = self.json(name, otherwise)
        if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
            raise self._is_not_one(name)
        return found

    def json(self, name: str, otherwise: str | None = None) -> Any:
        try:
            return parsed(self.text(name, otherwise), MANIFEST)
        except Unreadable as error:
            raise self._wrong(f"'{name}' cannot be read: {error}") from error

    def wrong(self, name: str) -> VerifyFailed:
        """The error of somebody who found it to be none."""
        return self._is_not_one(name)

    def _fitting(self, name: str, fits: bool) -> str:  # noqa: FBT001 - what was found of it
        if not fits:
            raise self._is_not_one(name)
        return self._found.get(name, "")

    def _is_not_one(self, name: str) -> VerifyFailed:
        return self._wrong(f"'{name}' is '{self._found.get(name, '')[:_SHOWN]}'")

    def _wrong(self, why: str) -> VerifyFailed:
        return VerifyFailed(
            f"cannot trust {self._what}: in its details {why}",
            hint="this backup is damaged: restore from another one",
        )
