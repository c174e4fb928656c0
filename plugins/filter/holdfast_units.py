"""Filters over the text of systemd units, with the same code as the modules on the hosts."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..module_utils.unit_text import words


def unit_words(texts: Iterable[str]) -> str:
    """`texts` as the words of one directive, with blanks and specifiers escaped."""
    return words(map(str, texts))


def command_words(texts: Iterable[str]) -> str:
    """`texts` as the words of a command line, in which dollars are escaped too."""
    return words(map(str, texts), command=True)


def is_remote(job: Mapping[str, Any], repositories: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a job needs the network before it can begin."""
    used = [job.get("repository", ""), *job.get("mirrors", [])]
    return any(repositories.get(name, {}).get("kind", "local") != "local" for name in used)


def under_key(value: Any, key: str) -> dict[str, Any]:
    """`value` as a dictionary with one key, for `map` over lists."""
    return {key: value}


def nearest_of(name: str, known: Iterable[str]) -> str:
    """The nearest known name, as the end of a message; empty if none is similar."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


class FilterModule:
    """The class in which Ansible finds the filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "command_words": command_words,
            "is_remote": is_remote,
            "nearest_of": nearest_of,
            "under_key": under_key,
            "unit_words": unit_words,
        }
