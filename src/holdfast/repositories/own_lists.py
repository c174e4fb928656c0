"""Lists of a store that are asked for without obstore: any name in them, unfinished uploads too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Protocol

from holdfast.model.errors import RepositoryRefused, RepositoryUnreachable
from holdfast.repositories.bucket_requests import UnfinishedUpload
from holdfast.repositories.http_transport import StoreRefused
from holdfast.repositories.object_errors import REMEDIES, RIGHTS
from holdfast.repositories.tls_faults import in_error

_REFUSALS = (400, 401, 403, 404)
_LATER = ("RequestTimeout", "SlowDown")


class Requests(Protocol):
    """What a bucket is asked; names and keys are whole, with the repository's prefix."""

    def objects(self, prefix: str) -> Iterator[tuple[str, int]]: ...

    def unfinished(self, prefix: str) -> Iterator[UnfinishedUpload]: ...

    def abort(self, upload: UnfinishedUpload) -> None: ...


class OwnLists:
    """Obeys `object_store.Lists`."""

    def __init__(self, requests: Requests, *, prefix: str, name: str) -> None:
        self._requests = requests
        self._prefix = prefix.strip("/")
        self._name = name

    def objects_below(self, prefix: str) -> Iterator[tuple[str, int]]:
        beginning = f"{self._prefix}/" if self._prefix else ""
        found = self._requests.objects(self._below(prefix))
        while True:
            with self._told(f"list '{prefix}'"):
                each = next(found, None)
            if each is None:
                return
            key, size_bytes = each
            is_ours = key.startswith(beginning)
            # No key begins with a slash.
            yield key.removeprefix(beginning) if is_ours else f"/{key}", size_bytes

    def abort_below(self, prefix: str) -> int:
        with self._told("end unfinished uploads"):
            found = list(self._requests.unfinished(self._below(prefix)))
            for upload in found:
                self._requests.abort(upload)
        return len(found)

    def _below(self, prefix: str) -> str:
        return "".join(f"{part}/" for part in (self._prefix, prefix) if part)

    @contextmanager
    def _told(self, verb: str) -> Iterator[None]:
        try:
            yield
        except StoreRefused as error:
            what = f"cannot {verb} in '{self._name}': {error}"
            if error.code not in _LATER and (error.status in _REFUSALS or error.code in REMEDIES):
                raise RepositoryRefused(what, hint=REMEDIES.get(error.code, RIGHTS)) from error
            raise RepositoryUnreachable(what, hint="trying later may work") from error
        except (OSError, HTTPException) as error:
            if (fault := in_error(error)) is not None:
                what = f"cannot {verb} in '{self._name}': {fault.cause}"
                raise RepositoryRefused(what, hint=fault.hint) from error
            raise RepositoryUnreachable(
                f"cannot {verb} in '{self._name}': {error}",
                hint="is the endpoint right, and does it answer?",
            ) from error
