"""Run a throw-away server apart from production: without a network, and after everybody else.

A restored database may hold foreign tables and functions that connect to production, or read and
write its files. In namespaces of its own the server has no network interface. It sees neither the
sockets nor the data directories of other servers, nor the secrets, backups and state of holdfast,
and can write to its own folders only. Its own socket works as usual. Namespaces of a user need no
rights; a policy of the host may forbid them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from holdfast.model.drill import DrillFinding
from holdfast.model.errors import ConfigInvalid, ToolMissing
from holdfast.runtime.data_directories import data_directories
from holdfast.runtime.process import ChildFailed, User, output_of, running

NICE = 10
_NETWORK = ("unshare", "--user", "--map-current-user", "--net")
_ALL = (*_NETWORK, "--mount", "--keep-caps", "--")
_CONFINED, _SEEING = "confined", "seeing"
_HIDE = (sys.executable, "-I", str(Path(__file__).with_name("hide_others.py")))
# Where Debian's servers have their sockets; others are found by their names.
_FOLDERS = (Path("/run/postgresql"), Path("/run/mysqld"))
_NAMES = (".s.PGSQL.", "mysqld.sock", "mysql.sock", "mysqlx.sock", "mariadb.sock")
_SOCKETS = Path("/proc/net/unix")
_BEFORE_PATH = 7


def user_named(name: str) -> User | None:
    """The user to run a server as; None for an empty name. Raises `ConfigInvalid`."""
    if not name:
        return None
    found = User.named(name)
    if found is None:
        raise ConfigInvalid(
            f"cannot run a drill as user '{name}': this host has no such user",
            hint="name the server's user in drill.user: postgres, mysql",
        )
    return found


def isolated(
    argv: Sequence[str], user: User | None, *, own: Sequence[Path], hidden: Sequence[Path] = ()
) -> list[str]:
    """`argv` kept from the network and from other servers, as far as this host allows that.

    `own` are the folders that it may write to, `hidden` what it may not see: folders and files.
    """
    found = [*_places(own), *_outside(hidden, own)]
    places = tuple(str(each) for each in dict.fromkeys(found))
    # A kernel before 5.12 cannot make everything else read-only.
    for mode in (_CONFINED, _SEEING):
        hiding = (*_ALL, *_HIDE, mode, *map(str, own), "--", *places, "--")
        if _runs(hiding, user):
            return [*hiding, *argv]
    return [*_NETWORK, "--", *argv] if _runs((*_NETWORK, "--"), user) else list(argv)


def has_isolation(user: User | None) -> bool:
    """Whether this host keeps what `user` runs from the network and from other servers."""
    return _runs((*_ALL, *_HIDE, _SEEING, "--", *(str(each) for each in _places(())), "--"), user)


def _places(own: Sequence[Path]) -> Iterator[Path]:
    """The folders and sockets of servers on this host, but not what holds a folder of `own`."""
    yield from _apart(data_directories(), own)
    yield from (each for each in _FOLDERS if each.is_dir())
    for path in _listening():
        is_server = any(path.name.startswith(each) for each in _NAMES)
        # `resolve` would raise an error where somebody made a loop of links.
        if is_server and path.is_absolute() and Path(os.path.realpath(path.parent)) not in _FOLDERS:
            yield path


def _outside(hidden: Sequence[Path], own: Sequence[Path]) -> Iterator[Path]:
    """What links lead to, those above before those below; nothing that lies in a folder of `own`.

    A cover needs the real place: nobody may choose by a link what is covered instead.
    """
    needed = [each.resolve() for each in own]
    for place in sorted({Path(os.path.realpath(each)) for each in hidden}):
        if place != Path("/") and not any(place.is_relative_to(each) for each in needed):
            yield place


def _listening() -> Iterator[Path]:
    """The paths of the sockets of this host; anybody may have made one, with any name."""
    content = b""
    with suppress(OSError):
        content = _SOCKETS.read_bytes()
    for line in content.split(b"\n"):
        words = line.split(maxsplit=_BEFORE_PATH)
        if len(words) > _BEFORE_PATH:
            yield Path(os.fsdecode(words[_BEFORE_PATH]))


def _apart(folders: Sequence[Path], own: Sequence[Path]) -> Iterator[Path]:
    needed = [each.resolve() for each in own]
    for folder in folders:
        if not any(each.is_relative_to(folder) or folder.is_relative_to(each) for each in needed):
            yield folder


@cache
def _runs(argv: tuple[str, ...], user: User | None) -> bool:
    try:
        with running([*argv, "true"], user=user) as child:
            child.finish()
    except (ChildFailed, ToolMissing):
        return False
    return True


def network_finding(user: str) -> list[DrillFinding]:
    """A finding where the host cannot keep a server that `user` runs from other servers."""
    if has_isolation(user_named(user)):
        return []
    return [
        DrillFinding(
            subject="network",
            problem="this host cannot keep the throw-away server from its network, and from the"
            " sockets and data directories of other servers, and from keys of this host",
            hint="what the backup holds could reach another server: allow user namespaces (sysctl"
            " user.max_user_namespaces), or let drill.user be one who owns no server's data",
            blocks=False,
        )
    ]


def give_way() -> None:
    """Have this process and its children use processors and disks that others leave idle."""
    os.nice(NICE)
    with suppress(ChildFailed, ToolMissing):
        output_of(["ionice", "--class", "idle", "--pid", str(os.getpid())])
