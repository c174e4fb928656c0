"""Reads and writes kernel keys, and knows which of them belong to a container."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .kernel_values import is_zero, normalised
from .mount_table import Mount, covering
from .sysctl_files import COUNTERPARTS, key_name, key_path, one_name

# Kept per network, IPC, UTS, user or message-queue namespace; all other keys are the machine's.
NAMESPACED = (
    "net/", "user/", "fs/mqueue/", "kernel/hostname", "kernel/domainname",
    "kernel/msg", "kernel/sem", "kernel/shm",
)  # fmt: skip
# Similarity of names: below the first, keys are unrelated; above the second, one is a typo.
SIMILAR, MISTYPED = 0.6, 0.9
KEY = re.compile(r"[A-Za-z0-9_-]+([./][A-Za-z0-9_-]+)+")


class KeyRefused(Exception):
    """The kernel refused a value, or could not show it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """The keys under `folder`, seen from a container of that kind, or from a machine if None."""

    folder: Path
    container: str | None
    mounts: tuple[Mount, ...]

    def path(self, key: str) -> Path:
        """The file of the key."""
        return self.folder / str(key_path(key))

    def not_ours(self, key: str) -> str:
        """Why this host must leave the key alone; empty if the host may set it."""
        if self.container is None or not self._is_the_machines(key):
            return self._unsettable(key)
        if not key_path(key).startswith(NAMESPACED):
            return f"not this container's own ({self.container}): it would change the machine below"
        if self._unsettable(key):
            return f"absent or read-only in this container ({self.container})"
        return ""

    def read(self, key: str) -> str:
        """The live value with normalised blanks; raises `KeyRefused`."""
        try:
            return str(normalised(self.path(key).read_text()))
        except OSError as error:
            raise KeyRefused(f"cannot read '{key}': {error.strerror}") from error

    def write(self, key: str, value: str) -> None:
        """Set the live value; raises `KeyRefused` with the kernel's own reason."""
        try:
            # Never O_CREAT: a private copy of /proc/sys would create a misspelt key.
            descriptor = os.open(self.path(key), os.O_WRONLY | os.O_TRUNC)
            try:
                os.write(descriptor, f"{value}\n".encode())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise KeyRefused(f"cannot set '{key}' to '{value}': {error.strerror}") from error

    def mistyped(self, key: str) -> str:
        """Why a key that an operator named is refused; empty if it exists or may be hidden."""
        path = self.path(key)
        if path.is_file():
            return ""
        # A container does not see all keys of its own namespaces: only a similar name proves a
        # typo.
        hidden = self.container is not None and str(key_path(key)).startswith(NAMESPACED)
        nearest = self._nearest(key, cutoff=MISTYPED if hidden else SIMILAR)
        if hidden and not nearest:
            return ""
        meant = f" (did you mean '{nearest}'?)" if nearest else ""
        return f"cannot set '{key}': this kernel has no such key{meant}"

    def _nearest(self, key: str, *, cutoff: float) -> str:
        known = [
            one_name("/".join((str(Path(folder).relative_to(self.folder)), name)))
            for folder, _unused, names in os.walk(self.folder)
            for name in names
        ]
        return next(iter(difflib.get_close_matches(one_name(key), known, n=1, cutoff=cutoff)), "")

    def _unsettable(self, key: str) -> str:
        if not self.path(key).exists():
            return "this kernel has no such key"
        return "" if os.access(self.path(key), os.W_OK) else "read-only on this host"

    def _is_the_machines(self, key: str) -> bool:
        # A private copy mounted over /proc/sys is no procfs: writes stay in the container.
        mount = covering(self.mounts, str(self.path(key)))
        return mount is None or mount.kind == "proc"


def invalid_settings(settings: Mapping[str, object]) -> list[str]:
    """Settings that no kernel could have: malformed names, and values that YAML has converted."""
    names = [
        f"cannot use '{key}': it is not the name of a kernel key"
        for key in settings
        if not KEY.fullmatch(key)
    ]
    values = [
        f"cannot set '{key}' to '{value}': {_not_a_value(value)}"
        for key, value in settings.items()
        if _not_a_value(value)
    ]
    return names + values


def mistyped_settings(kernel: Kernel, given: Iterable[str], *, skip: Iterable[str]) -> list[str]:
    """Refusals of misspelt keys in an operator's settings; a key in `skip` need not exist."""
    left_alone = set(map(one_name, skip))
    refused = [kernel.mistyped(key) for key in given if one_name(key) not in left_alone]
    return [sentence for sentence in refused if sentence]


def mistyped_names(kernel: Kernel, named: Iterable[str], *, planned: Iterable[str]) -> list[str]:
    """Refusals of keys in `skip` or `raise_only` that do not exist and resemble one in the plan."""
    wanted = [one_name(key) for key in planned]
    refused = []
    for key in named:
        if one_name(key) in wanted or kernel.path(key).is_file():
            continue
        # A key of another kernel may be named; a typo would leave the intended key unprotected.
        for meant in difflib.get_close_matches(one_name(key), wanted, n=1, cutoff=MISTYPED):
            said = "this kernel has no such key"
            refused.append(f"cannot leave '{key}' alone: {said} (did you mean '{meant}'?)")
    return refused


def state_of(kernel: Kernel, key: str) -> tuple[str, str]:
    """The key and value to write in order to restore the kernel's current state."""
    value, counterpart = kernel.read(key), COUNTERPARTS.get(key_path(key))
    if counterpart and is_zero(value):
        other = key_name(counterpart)
        # An old kernel may lack the counterpart; then the zero is all that can be restored.
        if kernel.path(other).exists() and kernel.read(other) != "0":
            return other, kernel.read(other)
    return key, value


def write_all(kernel: Kernel, wanted: Mapping[str, str]) -> None:
    """Set every key, or leave all as they were and raise `KeyRefused`."""
    undo: list[tuple[str, str]] = []
    for key, value in wanted.items():
        try:
            before = state_of(kernel, key)
            kernel.write(key, value)
        except KeyRefused:
            for earlier_key, earlier_value in reversed(undo):
                kernel.write(earlier_key, earlier_value)
            raise
        undo.append(before)


def _not_a_value(value: object) -> str:
    if isinstance(value, bool):
        return "YAML read it as a boolean; write 1 or 0"
    if not isinstance(value, (int, str)) or normalised(value) == "":
        return "it is neither a number nor a word"
    return ""
