"""What the definitions of a backup ask of a server: engines, collations, ways to log in, keys."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast.model.backup import Part, PartKind
from holdfast.model.part_details import MysqlDatabase
from holdfast.model.restore import StoredParts

SCRIPTS = {PartKind.PRE_DATA, PartKind.INDEXES, PartKind.POST_DATA, PartKind.GLOBALS}
# Strings hold comments and default values, in which these words mean nothing.
_STRING = re.compile(rb"'(?:[^'\\]|\\.|'')*'|`(?:[^`]|``)*`", re.DOTALL)
_ENGINE = re.compile(rb"\bENGINE\s*=\s*([A-Za-z][A-Za-z0-9_]*)", re.IGNORECASE)
_COLLATION = re.compile(rb"\bCOLLATE(?:\s*=\s*|\s+)([A-Za-z0-9_]+)", re.IGNORECASE)
_ENCRYPTED = re.compile(rb"`?\bENCRYPTED`?\s*=\s*`?YES\b", re.IGNORECASE)
_ENCRYPTION = re.compile(rb"\bENCRYPTION\s*=\s*'Y'", re.IGNORECASE)
_LOGIN = re.compile(rb"\bIDENTIFIED (?:VIA|WITH) ['`\"]?([A-Za-z0-9_]+)", re.IGNORECASE)


@dataclass(slots=True)
class Needs:
    """Names as the definitions write them; engines in capitals, collations in small letters."""

    engines: set[str] = field(default_factory=set)
    collations: set[str] = field(default_factory=set)
    logins: set[str] = field(default_factory=set)
    is_encrypted: bool = False

    def read(self, script: bytes) -> None:
        """Add what the statements of `script` name."""
        self.logins |= set(_found(_LOGIN, script))
        self.is_encrypted |= bool(_ENCRYPTION.search(script))
        bare = _STRING.sub(_emptied, script)
        self.engines |= {name.upper() for name in _found(_ENGINE, bare)}
        self.collations |= {name.lower() for name in _found(_COLLATION, bare)}
        self.is_encrypted |= bool(_ENCRYPTED.search(bare))


def _emptied(text: re.Match[bytes]) -> bytes:
    """Nothing of a string; MariaDB quotes the name of this one option."""
    return text[0] if text[0].upper() == b"`ENCRYPTED`" else b"''"


def _found(pattern: re.Pattern[bytes], text: bytes) -> list[str]:
    return [match[1].decode() for match in pattern.finditer(text)]


def needs_of(parts: Iterable[Part], stored: StoredParts) -> Needs:
    """What the scripts of definitions need; a dump in one piece is not read for that.

    Raises `VerifyFailed` for a damaged script.
    """
    needs = Needs()
    for part in parts:
        if isinstance(part.details, MysqlDatabase):
            needs.collations.add(part.details.collation.lower())
        if part.kind in SCRIPTS:
            with stored.proven(part) as proven:
                needs.read(proven.whole())
    return needs
