"""Lookup plugin: a pattern of hosts that is proven to match some."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet
short_description: Return a pattern of hosts that is proven to match some
description:
- Ansible skips a play whose pattern matches no host, and the run exits with 0. All plays of this
  project take their hosts from this lookup. It fails instead, and names the nearest host or group.
- Each part of the pattern must match, and so must the pattern within C(--limit).
- It also refuses releases of ansible-core that the playbooks do not support.
- With the variable C(fleet_slice), such as C(2/4), it returns the second of four slices of them.
  Each host is in exactly one slice. The first of four has the first host, the fifth and so on.
options:
  _terms:
    description: A pattern in the form of C(hosts), such as C(databases) or C(db*:!db3).
    required: true
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Inspect the hosts
  hosts: "{{ lookup('holdfast.holdfast.fleet', fleet_hosts | default('databases')) }}"
"""
RETURN = r"""
_raw:
  description: The pattern as it was given.
  type: list
  elements: str
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager, split_host_pattern
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.lookup import LookupBase
from ansible.release import __version__ as running

# The oldest release that `tests/packages/test_ansible_releases.py` runs.
OLDEST = (2, 16)


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible has no types
    """The class that Ansible calls."""

    def run(
        self, terms: Sequence[str], variables: Mapping[str, Any] | None = None, **_: object
    ) -> list[str]:
        """Return the pattern; raises `AnsibleError` if it, or a part of it, matches no host."""
        require_release(running)
        if context.CLIARGS.get("syntax"):
            # A syntax check does nothing, and a linter has no inventory.
            return [str(pattern) or "unnamed" for pattern in terms]
        known = variables or {}
        groups, limit = known.get("groups", {}), known.get("ansible_limit")
        for pattern in terms:
            require_hosts(str(pattern), groups, limit=limit)
        if "fleet_slice" not in known:
            return list(terms)
        return [sliced(str(pattern), str(known["fleet_slice"]), groups) for pattern in terms]


def sliced(pattern: str, chosen: str, groups: Mapping[str, Sequence[str]]) -> str:
    """The hosts of `pattern` that slice `chosen` of them has, such as `2/4`."""
    found = re.fullmatch(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})", chosen)
    if found is None or int(found[1]) > int(found[2]):
        raise AnsibleError(
            f"cannot choose the slice '{chosen}': fleet_slice is such as 1/4, the first of four"
        )
    first, count = int(found[1]), int(found[2])
    hosts = [str(host) for host in _inventory(groups).list_hosts(pattern)][first - 1 :: count]
    if not hosts:
        raise AnsibleError(f"cannot choose the slice '{chosen}' of '{pattern}': it has no host")
    # Not by colons, which stand in addresses too.
    return ",".join(hosts)


def require_release(release: str) -> None:
    """Raise `AnsibleError` if ansible-core is older than the oldest proven release."""
    numbers = tuple(int(number) for number in release.split(".")[:2])
    if numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise AnsibleError(
            f"cannot run with ansible-core {release}: {oldest} or later is needed;"
            " ./scripts/bootstrap brings one that is proven"
        )


def require_hosts(pattern: str, groups: Mapping[str, Sequence[str]], *, limit: str | None) -> None:
    """Raise `AnsibleError` unless every part of `pattern` matches a host of `groups`."""
    if not pattern.strip():
        raise AnsibleError(
            "cannot choose hosts: say which, with -e undo_hosts=db1 for undo.yml and"
            " -e restore_host=db1 for restore.yml; neither has a default that could hit a fleet"
        )
    inventory = _inventory(groups)
    for part in split_host_pattern(pattern):
        name = part.lstrip("!&")
        if not inventory.list_hosts(name):
            raise AnsibleError(
                f"cannot find hosts '{name}': the inventory has no host or group of that name"
                f"{_nearest(name, groups)}"
            )
    chosen = {str(host) for host in inventory.list_hosts(pattern)}
    if not chosen:
        raise AnsibleError(f"cannot choose hosts by '{pattern}': it leaves none")
    if limit and not chosen & {str(host) for host in inventory.list_hosts(limit)}:
        raise AnsibleError(
            f"cannot choose hosts by '{pattern}': none of them is within --limit {limit}"
        )


def _inventory(groups: Mapping[str, Sequence[str]]) -> Any:
    # Rebuilt from names, as a lookup receives no inventory, and only Ansible parses patterns.
    manager = InventoryManager(loader=DataLoader(), parse=False)
    for group, hosts in groups.items():
        if group not in manager.groups:
            manager.add_group(group)
        for host in hosts:
            manager.add_host(host, group=group)
    return manager


def _nearest(name: str, groups: Mapping[str, Sequence[str]]) -> str:
    names: Iterable[str] = {*groups, *(host for hosts in groups.values() for host in hosts)}
    close = difflib.get_close_matches(name, sorted(names), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
