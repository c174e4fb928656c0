"""Lookup plugin: jobs that never reach a host, because one variable replaces another."""

from __future__ import annotations

DOCUMENTATION = r"""
name: overruled_jobs
short_description: List jobs that never reach a host
description:
- If two groups of a host, or a group and the host, set the same variable, Ansible keeps one of the
  values. Jobs of the other value are never run. This lookup names the places.
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Refuse jobs that another variable would replace
  ansible.builtin.assert:
    that: query('holdfast.holdfast.overruled_jobs') | length == 0
"""
RETURN = r"""
_raw:
  description: One line for each variable of jobs that more than one place sets.
  type: list
  elements: str
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.plugins.lookup import LookupBase
from ansible.vars.plugins import get_vars_from_inventory_sources

JOBS = re.compile(r"backup_runner_jobs(_[a-z0-9_]+)?")


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible has no types
    """The class that Ansible calls."""

    def run(
        self, _: Sequence[str], variables: Mapping[str, Any] | None = None, **__: object
    ) -> list[str]:
        """One line for each variable of jobs that more than one place sets for this host."""
        known = variables or {}
        sources = tuple(known.get("ansible_inventory_sources") or ())
        inventory = _inventory(self._loader, sources)
        host = inventory.get_host(known["inventory_hostname"])
        if host is None:
            return []
        places = {
            place.name: {*place.vars, *_from_files(self._loader, sources, place)}
            for place in (*host.get_groups(), host)
        }
        return overruled(places)


def overruled(places: Mapping[str, Iterable[str]]) -> list[str]:
    """One line for each variable of jobs that more than one of `places` sets."""
    setters: dict[str, list[str]] = {}
    for place, names in places.items():
        for name in filter(JOBS.fullmatch, names):
            setters.setdefault(name, []).append(place)
    return [
        f"{name} is set for {' and for '.join(places)}, and only one of them would count: let each"
        f" have a name of its own, such as backup_runner_jobs_{_suffix(places[-1])}"
        for name, places in sorted(setters.items())
        if len(places) > 1
    ]


@cache
def _inventory(loader: Any, sources: tuple[str, ...]) -> Any:
    return InventoryManager(loader=loader, sources=list(sources))


def _from_files(loader: Any, sources: Sequence[str], place: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = get_vars_from_inventory_sources(loader, sources, [place], "task")
    return found


def _suffix(place: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", place.lower()).strip("_")
