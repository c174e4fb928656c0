"""More ports: what a source needs to copy only what changed since an earlier backup."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from holdfast.model.backup import Buffer, Manifest
from holdfast.model.proven import OpenPart
from holdfast.ports.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierBackup:
    """The good backups of a job that can be restored as they are, newest first."""

    manifests: Callable[[], Sequence[Manifest]]
    open_part: OpenPart


@runtime_checkable
class IncrementalSource(Protocol):
    """A source that can copy no more than what changed since an earlier backup."""

    def after(self, earlier: EarlierBackup) -> Source:
        """The same source, whose snapshots may name one of `earlier` as their `parent`."""
        ...


@runtime_checkable
class Listing(Protocol):
    """A snapshot whose list of files the next backup goes on from."""

    def listing(self) -> Iterable[Buffer] | None:
        """The list once all was read; None where nobody will ask for it."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A snapshot with something to say of itself in the manifest, once all of it was read."""

    @property
    def notes(self) -> Sequence[str]: ...
