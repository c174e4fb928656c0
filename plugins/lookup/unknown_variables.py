"""Lookup plugin: variables that resemble ours and are unknown."""

from __future__ import annotations

DOCUMENTATION = r"""
name: unknown_variables
short_description: List misspelt variables of the roles
description:
- Ansible accepts any variable, so a misspelt one has no effect and causes no error. This lookup
  names variables of the host that have the prefix of a role and are unknown to it, and those that
  nearly match a known one.
- Variables that begin with C(__) or C(ansible_), and the reports of the roles, are ignored.
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Refuse misspelt variables
  ansible.builtin.assert:
    that: lookup('holdfast.holdfast.unknown_variables', wantlist=True) | length == 0
"""
RETURN = r"""
_raw:
  description: One line for each variable, with the nearest known name.
  type: list
  elements: str
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.lookup import LookupBase

PROJECT = Path(__file__).resolve().parents[2]
# A name that is one or two letters off is meant to be ours; other names belong to the site.
NEARLY = 0.88
NOT_LOOKED_AT = re.compile(r"__|ansible_|(.+_report$)")
# Each group, and the host itself, may add jobs under a name of its own.
OPEN_ENDED = re.compile(r"backup_runner_jobs_[a-z0-9_]+")


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible has no types
    """The class that Ansible calls."""

    def run(
        self, _: Sequence[str], variables: Mapping[str, Any] | None = None, **__: object
    ) -> list[str]:
        """One line for each misspelt variable of the host."""
        return unknown(variables or {}, roles=roles(), retired=retired(), arguments=arguments())


@cache
def roles() -> Mapping[str, frozenset[str]]:
    """The variables of each role by the role's name, from its argument specification."""
    found = {}
    for path in sorted(PROJECT.glob("roles/*/meta/argument_specs.yml")):
        entries = yaml.safe_load(path.read_text())["argument_specs"].values()
        names = {name for entry in entries for name in entry.get("options", {})}
        found[path.parents[1].name] = frozenset(names)
    return found


@cache
def _command_line() -> Mapping[str, Mapping[str, str]]:
    told: Mapping[str, Mapping[str, str]] = yaml.safe_load(
        (PROJECT / "playbooks/vars/arguments.yml").read_text()
    )
    return told


def arguments() -> frozenset[str]:
    """The variables that playbooks take from the command line."""
    return frozenset(_command_line()["arguments"])


def retired() -> Mapping[str, str]:
    """The variables of earlier releases, with their current names."""
    return _command_line()["retired"]


def unknown(
    names: Iterable[str],
    *,
    roles: Mapping[str, frozenset[str]],
    arguments: frozenset[str],
    retired: Mapping[str, str],
) -> list[str]:
    """One line for each of `names` that is misspelt or was renamed."""
    known = frozenset().union(*roles.values()) | arguments
    renamed = {name: f"{name} (it is called {now} now)" for name, now in retired.items()}
    suspects = sorted(
        name
        for name in names
        if name not in known
        and name not in renamed
        and not NOT_LOOKED_AT.match(name)
        and not OPEN_ENDED.fullmatch(name)
        and (_begins_like(name, roles) or _nearest(name, known, cutoff=NEARLY))
    )
    told = [renamed[name] for name in sorted(renamed.keys() & set(names))]
    return told + [f"{name}{_hint(name, known)}" for name in suspects]


def _begins_like(name: str, roles: Iterable[str]) -> bool:
    return any(name.startswith(f"{role}_") for role in roles)


def _hint(name: str, known: frozenset[str]) -> str:
    nearest = _nearest(name, known, cutoff=0.6)
    return f" (did you mean {nearest}?)" if nearest else ""


def _nearest(name: str, known: frozenset[str], *, cutoff: float) -> str:
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1, cutoff=cutoff)), "")
