"""Identifies clients by the kernel's peer credentials, and says what they may do."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct

from holdfast.model.errors import ConfigInvalid, SessionRefused
from holdfast.model.lazy_dataclass import dataclass
from holdfast.sessions.protocol import SessionRecord

# struct ucred of unix(7): pid, uid, gid.
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The client of a connection as the kernel reports it; nothing comes from its request."""

    pid: int
    uid: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAuthority:
    """Serves members of `group`, and as admins members of `admin_group`, root and `own_uid`.

    Members see and end their own sessions, admins those of all users. None means no such group.
    """

    own_uid: int
    group: int | None
    admin_group: int | None

    def require_served(self, peer: Peer) -> None:
        """Raises `SessionRefused` if `peer` is neither a member nor an admin."""
        if not self.is_admin(peer) and self.group not in peer.groups:
            raise SessionRefused(
                f"cannot serve user '{user_name(peer.uid)}': not a member of the daemon's group",
                hint="add the user to the group that `sessions.group` names, and log in again",
            )

    def require_owner(self, peer: Peer, record: SessionRecord) -> None:
        """Raises `SessionRefused` if `peer` neither owns the session nor is an admin."""
        if not self.may_see(peer, record):
            raise SessionRefused(
                f"cannot use session '{record.session_id}': it belongs to user"
                f" '{user_name(record.owner)}'",
                hint="ask its owner, or a member of the group that `sessions.admin_group` names",
            )

    def may_see(self, peer: Peer, record: SessionRecord) -> bool:
        return peer.uid == record.owner or self.is_admin(peer)

    def is_admin(self, peer: Peer) -> bool:
        return peer.uid in (0, self.own_uid) or (
            self.admin_group is not None and self.admin_group in peer.groups
        )


def peer_of(connection: socket.socket) -> Peer:
    """The process that connected, with the groups that its user is a member of now.

    Raises `OSError`.
    """
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(told)
    try:
        groups = os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        groups = [gid]
    return Peer(pid=pid, uid=uid, groups=frozenset(groups))


def group_id(name: str | None) -> int | None:
    """The id of a group; None for no name; raises `ConfigInvalid` if the host has no such group."""
    if name is None:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise ConfigInvalid(
            f"cannot find group '{name}': this host has none",
            hint="make it (groupadd --system), or correct `sessions` in the configuration",
        ) from error


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
