"""A restored data directory before its server starts: its owner, its settings, its links."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from holdfast.model.errors import DrillFailed
from holdfast.runtime.files import give_all, new_file
from holdfast.runtime.process import User
from holdfast.sources.postgres.files.restored_settings import SETTINGS_FILE

ACCESS_FILE, CONFIG_FILE, IDENT_FILE = "drill_hba.conf", "drill.conf", "drill_ident.conf"
SLOTS = "pg_replslot"
# pg_authid and the role that initdb made, which is a superuser for ever.
AUTHID, FIRST_ROLE = 1260, 10
# Its OID, its name (64 bytes), and whether it is a superuser.
_ROLE = re.compile(re.escape(FIRST_ROLE.to_bytes(4, "little")) + rb"(?=(.{64})\x01)", re.DOTALL)
_MAP_HEAD, _MAP_ENTRY = 8, 8
_MOST_SETTINGS_BYTES = 1 << 20
_PRELOADS = re.compile(
    r"^\s*(?:shared|session|local)_preload_libraries\s*=?\s*'([^'\n]*)'", re.MULTILINE
)


def require_inside(data: Path, room: Path) -> None:
    """Raise `DrillFailed` if a link below `data` leads out of `room`, and a server with it."""
    inside = room.resolve()
    for folder in (data, *(link.resolve() for link in links_of(data))):
        for place, folders, files in os.walk(folder):
            for name in (*folders, *files):
                path = Path(place) / name
                if path.is_symlink() and not path.resolve().is_relative_to(inside):
                    raise DrillFailed(
                        f"cannot start a throw-away server: '{path.relative_to(room)}' leads to"
                        f" '{path.readlink()}', outside of the drill's folder"
                    )


def links_of(data: Path) -> list[Path]:
    """The links to the tablespaces of a data directory."""
    return [path for path in (data / "pg_tblspc").iterdir() if path.is_symlink()]


def spaces_in(folder: Path) -> list[Path]:
    """The folders of tablespaces in `folder`, which is none of the server's."""
    return list(folder.iterdir()) if folder.is_dir() else []


def give(folder: Path, user: User | None) -> None:
    """As root, give `folder` and all below it to the server's user; links are not followed."""
    if user is not None:
        give_all(folder, user=user.user, group=user.group)


def forget_settings(data: Path, room: Path, *, user: User | None = None) -> dict[str, str]:
    """Replace the configuration that came with the backup; the settings that name the new files.

    It may load libraries that run jobs, write to folders of the old host, and call it.
    """
    (data / SETTINGS_FILE).unlink(missing_ok=True)
    for path, text in (
        (data / SETTINGS_FILE, b""),
        (room / CONFIG_FILE, b""),
        (room / ACCESS_FILE, b"local all all trust\n"),
        (room / IDENT_FILE, b""),
    ):
        new_file(path, text)
        give(path, user)
    # Base backups hold none; a slot would keep WAL, and a logical one needs other settings.
    for slot in (data / SLOTS).glob("*"):
        shutil.rmtree(slot)
    return {
        "config_file": str(room / CONFIG_FILE),
        "hba_file": str(room / ACCESS_FILE),
        "ident_file": str(room / IDENT_FILE),
    }


def libraries_of(data: Path) -> set[str]:
    """The libraries that the configuration in the data directory has a server load at its start."""
    found: set[str] = set()
    for name in (SETTINGS_FILE, "postgresql.conf"):
        with suppress(OSError):
            text = (data / name).read_bytes()[:_MOST_SETTINGS_BYTES].decode(errors="replace")
            for match in _PRELOADS.finditer(text):
                found |= libraries_in(match[1])
    return found


def libraries_in(value: str) -> set[str]:
    """The names in the value of a setting that lists libraries."""
    return {name for each in value.split(",") if (name := each.strip(" \t\"'"))}


def superusers(data: Path) -> list[str]:
    """The names that the role made by initdb has had, the likeliest first.

    Nobody can log in to ask for it; so this reads the table of roles as it was in the backup.
    """
    found = [match[1].rstrip(b"\0") for match in _ROLE.finditer(_roles(data))]
    names = [name.decode(errors="replace") for name in found if name and b"\0" not in name]
    # A page is filled from its end: the newest name comes first.
    return list(dict.fromkeys([*names, "postgres"]))


def _roles(data: Path) -> bytes:
    try:
        mapped = (data / "global/pg_filenode.map").read_bytes()
        count = int.from_bytes(mapped[4:_MAP_HEAD], "little")
        for number in range(min(count, len(mapped) // _MAP_ENTRY)):
            entry = mapped[_MAP_HEAD + number * _MAP_ENTRY :][:_MAP_ENTRY]
            if int.from_bytes(entry[:4], "little") == AUTHID:
                return (data / "global" / str(int.from_bytes(entry[4:], "little"))).read_bytes()
    except OSError:
        pass
    return b""
