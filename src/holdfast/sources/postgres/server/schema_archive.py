"""The schema out of one run of pg_dump, however often it is asked for.

pg_dump reads every catalog before it writes a line, and of a database of many tables that takes
longer than their rows do. So it runs once, into an archive from which pg_restore takes both
sections.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO

from holdfast.model.backup import Buffer

Dumping = Callable[[], AbstractContextManager[Iterable[Buffer]]]


class SchemaArchive:
    """A pg_dump archive in a file without a name; made by `schema_archive`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._is_whole = False

    def descriptor(self, dumping: Dumping) -> int:
        """Of the whole archive. Who comes first has it written, everybody else waits; a run
        that failed is nobody's answer, and the next one tries again."""
        with self._lock:
            if not self._is_whole:
                self._file.seek(0)
                self._file.truncate()
                with dumping() as chunks:
                    for chunk in chunks:
                        self._file.write(chunk)
                self._file.flush()
                self._is_whole = True
        return self._file.fileno()


@contextmanager
def schema_archive() -> Iterator[SchemaArchive]:
    with tempfile.TemporaryFile() as file:
        yield SchemaArchive(file)
