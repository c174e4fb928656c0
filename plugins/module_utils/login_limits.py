"""The line in limits.conf and limits.d that sets a login's limit, by the rules of pam_limits.

`limits.conf` is read first, then `limits.d` by name. A line for the user (or for a range that holds
its uid) outranks one for a group, which outranks one for everybody. Of equal rank the later line
counts.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

MAIN = "etc/security/limits.conf"
FOLDER = "etc/security/limits.d"
EVERYBODY = "*"
BOTH = ("soft", "hard")
# A line of two words, `user -`: pam_limits sets nothing at all for that user.
NO_LIMITS = "-"
UNSET = "no limit at all"
USER, GROUP, DEFAULT = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One `domain type item value` line; the type `-` yields a soft and a hard entry."""

    domain: str
    kind: str
    item: str
    value: str
    path: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account that lines may match; one that does not exist yet has only a name."""

    name: str
    uid: int | None = None
    gid: int | None = None
    groups: frozenset[str] = frozenset()


def account(name: str) -> Account:
    """The account as the host knows it."""
    try:
        known = pwd.getpwnam(name)
    except KeyError:
        return Account(name=name)
    groups = {_group_name(gid) for gid in os.getgrouplist(name, known.pw_gid)}
    return Account(name=name, uid=known.pw_uid, gid=known.pw_gid, groups=frozenset(groups))


def entries(
    root: Path = Path("/"), *, file: Path | None = None, own: Iterable[str] | None = None
) -> list[Entry]:
    """All entries in the order in which pam_limits reads them.

    With `own`, our `file` is read as if it held exactly these lines.
    """
    paths = {path for path in (root / FOLDER).glob("*.conf") if not path.name.startswith(".")}
    ours = root / str(file).lstrip("/") if own is not None else None
    ordered = [root / MAIN, *sorted(paths | ({ours} if ours else set()), key=_by_name)]
    found: list[Entry] = []
    for path in ordered:
        if ours is not None and path == ours:
            found += _parsed(path, own or ())
        elif path.is_file():
            found += _parsed(path, path.read_text(errors="replace").splitlines())
    return found


def last_words(known: Iterable[Entry], *, user: Account, item: str) -> dict[str, Entry]:
    """The soft and the hard entry that apply to a user."""
    found: dict[str, tuple[int, Entry]] = {}
    for entry in known:
        rank = _rank(entry.domain, user)
        # pam_limits ignores `* -`.
        if rank is None or (rank == DEFAULT and entry.item == NO_LIMITS):
            continue
        if entry.item == NO_LIMITS:
            # pam_limits stops reading here, and discards what it has read.
            return dict.fromkeys(BOTH, entry)
        if entry.item == item and (entry.kind not in found or rank <= found[entry.kind][0]):
            found[entry.kind] = rank, entry
    return {kind: entry for kind, (_unused, entry) in found.items()}


def told(words: dict[str, Entry]) -> str:
    """Soft and hard value in the notation of process limits."""
    values = [words[kind].value for kind in BOTH if kind in words]
    return ":".join(dict.fromkeys(values))


def outvoted(words: dict[str, Entry], *, file: str, wanted: str) -> str:
    """The entry that overrides our file with another value, in words; empty if there is none."""
    for entry in words.values():
        if entry.path != file and entry.value != wanted:
            if entry.item == NO_LIMITS:
                return f"{entry.path}:{entry.line} has PAM set no limit at all for this login"
            return f"{entry.path}:{entry.line} is read after {file} and sets '{entry.value}'"
    return ""


def _rank(domain: str, user: Account) -> int | None:
    of_group = domain.startswith("@")
    low, colon, high = domain.removeprefix("@").partition(":")
    if domain == user.name:
        return USER
    # Lines for everybody or for a group do not apply to root.
    if user.uid == 0 and (of_group or domain == EVERYBODY):
        return None
    if domain == EVERYBODY:
        return DEFAULT
    if colon:
        number = user.gid if of_group else user.uid
        meant = number is not None and _in_range(number, low, high)
        return (GROUP if of_group else USER) if meant else None
    return GROUP if of_group and low in user.groups else None


def _in_range(number: int, low: str, high: str) -> bool:
    if not all(end == "" or end.isdigit() for end in (low, high)) or low == high == "":
        return False
    # `:500` is exactly 500, `500:` is 500 and above.
    if not low:
        return number == int(high)
    return int(low) <= number and (not high or number <= int(high))


def _parsed(path: Path, lines: Iterable[str]) -> Iterator[Entry]:
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].split()
        if len(words) == 2 and words[1] == NO_LIMITS:
            yield Entry(
                domain=words[0], kind="", item=NO_LIMITS, value=UNSET, path=str(path), line=number
            )
        if len(words) < 4:
            continue
        # pam_limits ignores words after the fourth.
        domain, (kind, item, value) = words[0], map(str.lower, words[1:4])
        for one in BOTH if kind == "-" else (kind,):
            yield Entry(
                domain=domain, kind=one, item=item, value=value, path=str(path), line=number
            )


def _by_name(path: Path) -> bytes:
    return path.name.encode(errors="surrogateescape")


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""
