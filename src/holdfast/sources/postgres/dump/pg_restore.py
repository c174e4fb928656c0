"""Runs pg_restore on an archive: selects its entries, and finds the object that failed.

pg_restore reads a pipe, or an unnamed temporary file that several workers open. Nothing of that
file remains, however this process ends. A line of the table of contents is
`4021; 0 16385 TABLE DATA public orders owner`: the entry's number, the OIDs of catalog and object,
the kind, and names. The names are not quoted, so only the numbers are trusted.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO

from holdfast.model.backup import Relation
from holdfast.model.errors import RestoreFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.restore import FailedObject, Proven
from holdfast.runtime.process import ChildFailed, running
from holdfast.runtime.spool import room_for, write_all
from holdfast.sources.failed_objects import ROWS, hinted
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.client_programs import Tool
from holdfast.sources.postgres.server.login import Login
from holdfast.sources.postgres.server.sql_text import unquoted

# After an error pg_restore repeats the failed statement, and a function may have many lines.
STDERR_LINES = 2000
# With --verbose it writes a line or two for each table.
VERBOSE_LINES = 400_000
_ERROR = re.compile(r"error: (?:could not execute query: )?(?:ERROR:\s+)?([^|]*)")
_ROWS = re.compile(r"COPY failed for table \"(.*)\": (?:ERROR:\s+)?(.*)")
# The messages about an entry that was skipped after an error, and about their number.
_ENTRY = re.compile(r"from TOC entry \d+; \d+ (?P<oid>\d+) (?P<rest>[^|]*)")
_IGNORED = re.compile(r"errors ignored on restore: (\d+)")
_STATEMENT = re.compile(r"Command was: ([^|]*)")
# Names that pg_dump does not quote are in lower case, so words in upper case are not names.
_NAME = r'(?:"(?:[^"]|"")*"|[a-z_][a-z0-9_$]*|\d+)'
_MADE = re.compile(
    r"(?:CREATE(?: OR REPLACE)?|ALTER|COMMENT ON|REFRESH)"
    r" (?P<kind>[A-Z]+(?: [A-Z]+)*?)(?: ONLY| IF NOT EXISTS)?"
    rf" (?P<name>{_NAME}(?:\.{_NAME})?)"
)
_LISTED_ENTRY = re.compile(r"\d+; \d+ (?P<oid>\d+) (?P<said>.*)")
_LISTED_ROWS = "TABLE DATA "
_FOREIGN_KEY = "FK CONSTRAINT "
_COMMENT_ON_CONSTRAINT = re.compile(r"COMMENT .*\bCONSTRAINT .* ON ")


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpArchive:
    """One archive that pg_restore can read, with the number of workers and its reason.

    `file` is a copy of the archive, None if it is streamed.
    """

    proven: Proven
    workers: int
    reason: str
    file: IO[bytes] | None = None


@contextmanager
def readable(proven: Proven, *, size_bytes: int, workers: int) -> Iterator[DumpArchive]:
    """The archive for `workers`: as a file if there is space for one, else as one stream."""
    if workers < 2:
        yield DumpArchive(proven=proven, workers=1, reason="one worker was requested")
        return
    folder, reason = room_for(size_bytes, environment=os.environ)
    if folder is None:
        reason = f"workers need the dump as a file: {reason}"
        yield DumpArchive(proven=proven, workers=1, reason=reason)
        return
    # Unbuffered: on a full disk a buffer would fail once more when the file is closed.
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for chunk in proven:
            write_all(file, chunk, folder)
        yield DumpArchive(proven=proven, workers=workers, reason=reason, file=file)


@dataclass(frozen=True, slots=True, kw_only=True)
class PgRestore:
    """pg_restore for one database."""

    tool: Tool
    login: Login

    def contents(self, archive: DumpArchive) -> str:
        """The table of contents of the archive."""
        # Not through a pipe: it would fill while the archive is still being written to the other.
        with tempfile.TemporaryFile() as out:
            self._run(archive, ["--list", f"--file={_path(out)}"], [out])
            out.seek(0)
            return out.read().decode("utf-8", errors="surrogateescape")

    def script(self, archive: DumpArchive, options: Sequence[str], *, contents: str) -> str:
        """The SQL that pg_restore would send; nonempty `contents` names the only entries."""
        with tempfile.TemporaryFile() as out, _listed(contents) as listed:
            arguments = [*options, f"--file={_path(out)}", *_use(listed)]
            self._run(archive, arguments, [out, *listed])
            out.seek(0)
            return out.read().decode("utf-8", errors="surrogateescape")

    def rows(
        self, archive: DumpArchive, *, contents: str, names: Mapping[int, Relation]
    ) -> tuple[FailedObject, ...]:
        """Restore all rows and large objects, and return the entries that failed."""
        # Only with --verbose does pg_restore name the table of an error.
        arguments = ["--section=data", "--verbose", "--no-password"]
        arguments.append(f"--dbname={self.login.steady_conninfo()}")
        if archive.workers > 1:
            arguments.append(f"--jobs={archive.workers}")
        with _listed(contents) as listed:
            try:
                self._run_to_end(
                    archive, [*arguments, *_use(listed)], listed, stderr_lines=VERBOSE_LINES
                )
            except ChildFailed as error:
                if not _IGNORED.search(error.stderr):
                    raise failure(error, self.login.database) from error
                return failed_entries(error.stderr, names)
        return ()

    def restore(self, archive: DumpArchive, options: Sequence[str], *, contents: str = "") -> None:
        """Restore the archive up to the first error; nonempty `contents` names the only entries.

        Raises `RestoreFailed` with the object.
        """
        arguments = [
            "--exit-on-error",
            "--no-password",
            f"--dbname={self.login.steady_conninfo()}",
            *options,
        ]
        if archive.workers > 1:
            arguments.append(f"--jobs={archive.workers}")
        with _listed(contents) as listed:
            try:
                self._run(archive, [*arguments, *_use(listed)], listed)
            except RestoreFailed as error:
                raise hinted(error) from error.__cause__

    def _run(
        self, archive: DumpArchive, arguments: Sequence[str], files: Sequence[IO[bytes]]
    ) -> None:
        try:
            self._run_to_end(archive, arguments, files)
        except ChildFailed as error:
            raise failure(error, self.login.database) from error

    def _run_to_end(
        self,
        archive: DumpArchive,
        arguments: Sequence[str],
        files: Sequence[IO[bytes]],
        *,
        stderr_lines: int = STDERR_LINES,
    ) -> None:
        argv = [str(self.tool.path), "--format=custom", *arguments]
        if archive.file is not None:
            argv.append(_path(archive.file))
            files = [*files, archive.file]
        with running(
            argv,
            env=self.login.environment(),
            stdin=archive.file is None,
            stdout=False,
            pass_fds=[file.fileno() for file in files],
            stderr_lines=stderr_lines,
        ) as child:
            if archive.file is None:
                child.feed(archive.proven)
            child.finish()


@contextmanager
def _listed(contents: str) -> Iterator[list[IO[bytes]]]:
    """An unnamed file that lists the entries to restore; no file if all are wanted."""
    if not contents:
        yield []
        return
    with tempfile.TemporaryFile() as listed:
        listed.write(contents.encode("utf-8", errors="surrogateescape"))
        listed.flush()
        yield [listed]


def _use(listed: Sequence[IO[bytes]]) -> list[str]:
    return [f"--use-list={_path(file)}" for file in listed]


def _path(file: IO[bytes]) -> str:
    """The path by which the child, and its children, can open an unnamed file again."""
    return f"/dev/fd/{file.fileno()}"


def with_rows_of(listed: str, oids: Collection[int]) -> str:
    """All entries except rows of other tables, foreign keys and comments on constraints.

    A foreign key to a table without its rows could not be created, nor a comment on it. The table
    of contents does not tell which keys are complete, or which constraint a comment is on.
    """

    def wanted(oid: int, said: str) -> bool:
        if said.startswith(_LISTED_ROWS):
            return oid in oids
        return not said.startswith(_FOREIGN_KEY) and not _COMMENT_ON_CONSTRAINT.match(said)

    return _entries(listed, wanted)


def only_rows_of(listed: str, oids: Collection[int]) -> str:
    """Only the entries with rows of these tables."""
    return _entries(listed, lambda oid, said: said.startswith(_LISTED_ROWS) and oid in oids)


def _entries(listed: str, wanted: Callable[[int, str], bool]) -> str:
    kept: list[str] = []
    for line in listed.split("\n"):
        entry = _LISTED_ENTRY.match(line)
        if entry and wanted(int(entry["oid"]), entry["said"]):
            kept.append(f"{line}\n")
    return "".join(kept)


def failed_entries(said: str, names: Mapping[int, Relation]) -> tuple[FailedObject, ...]:
    """The entries that pg_restore skipped after an error, from its messages in `said`."""
    found: list[FailedObject] = []
    for entry in _ENTRY.finditer(said):
        error = _ERROR.search(said, entry.end())
        cause = error[1].strip() if error else "it gave no reason"
        rows = _ROWS.match(cause)
        relation = names.get(int(entry["oid"]))
        found.append(
            FailedObject(
                kind=ROWS if relation else "entry",
                name=str(relation) if relation else entry["rest"].strip(),
                statement="",
                cause=rows[2] if rows else cause,
            )
        )
    if not found:
        found.append(FailedObject(kind="entry", name="unknown", statement="", cause=said[-200:]))
    return tuple(found)


def failure(error: ChildFailed, database: str) -> RestoreFailed:
    """The first error of pg_restore, with the object of the failed statement."""
    subject, cause = f"database '{database}'", error.message
    if said := _ERROR.search(error.stderr):
        cause = said[1].strip()
        statement = _STATEMENT.search(error.stderr, said.end())
        if rows := _ROWS.match(cause):
            subject, cause = f"table '{rows[1]}'", rows[2]
        elif statement:
            subject = _object(statement[1].strip())
    return failures.restoring(cause, subject)


def _object(statement: str) -> str:
    """The object that the statement creates or changes; if that is unclear, the statement."""
    made = _MADE.match(statement)
    if made is None:
        return f"'{statement}'"
    name = re.sub(_NAME, lambda each: unquoted(each[0]), made["name"])
    return f"{made['kind'].lower()} '{name}'"
