"""Run a throw-away server apart from production: without a network, and after everybody else.

A restored database may hold foreign tables and functions that connect to production. In a network
namespace of its own the server has no interface, while its Unix socket works as usual. It lies in
a user namespace, which needs no rights; a policy of the host may forbid it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

from holdfast.model.drill import DrillFinding
from holdfast.model.errors import ConfigInvalid, ToolMissing
from holdfast.runtime.process import ChildFailed, User, output_of, running

NICE = 10
_NAMESPACE = ("unshare", "--user", "--map-current-user", "--net", "--")


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


def isolated(argv: Sequence[str], user: User | None) -> list[str]:
    """`argv` without a network, where this host allows that to `user`."""
    return [*(_NAMESPACE if has_isolation(user) else ()), *argv]


@cache
def has_isolation(user: User | None) -> bool:
    """Whether this host lets `user` run a program without a network."""
    try:
        with running([*_NAMESPACE, "true"], user=user) as child:
            child.finish()
    except (ChildFailed, ToolMissing):
        return False
    return True


def network_finding(user: str) -> list[DrillFinding]:
    """A finding where the host cannot take the network from a server that `user` runs."""
    if has_isolation(user_named(user)):
        return []
    return [
        DrillFinding(
            subject="network",
            problem="this host lets the throw-away server have its network",
            hint="a foreign table of the backup could reach another server: allow user"
            " namespaces (sysctl user.max_user_namespaces)",
            blocks=False,
        )
    ]


def give_way() -> None:
    """Have this process and its children use processors and disks that others leave idle."""
    os.nice(NICE)
    with suppress(ChildFailed, ToolMissing):
        output_of(["ionice", "--class", "idle", "--pid", str(os.getpid())])
