"""Running pg_restore, and saying which object it stopped at."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from holdfast.errors import RestoreFailed
from holdfast.process import ChildFailed, running
from holdfast.sources.postgres_native import failures
from holdfast.sources.postgres_native.login import Login
from holdfast.sources.postgres_native.statements import unquoted
from holdfast.sources.postgres_native.tools import Tool
from holdfast.sources.postgres_tools.spool import Artefact

# It repeats the statement that failed after the error: a function may have many lines.
STDERR_LINES = 2000
_ERROR = re.compile(r"error: (?:could not execute query: )?(?:ERROR:\s+)?([^|]*)")
_ROWS = re.compile(r"COPY failed for table \"(.*)\": (?:ERROR:\s+)?(.*)")
_STATEMENT = re.compile(r"Command was: ([^|]*)")
# What pg_dump does not quote is in lower case, so words in upper case are not a name.
_NAME = r'(?:"(?:[^"]|"")*"|[a-z_][a-z0-9_$]*|\d+)'
_MADE = re.compile(
    r"(?:CREATE(?: OR REPLACE)?|ALTER|COMMENT ON|REFRESH)"
    r" (?P<kind>[A-Z]+(?: [A-Z]+)*?)(?: ONLY| IF NOT EXISTS)?"
    rf" (?P<name>{_NAME}(?:\.{_NAME})?)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PgRestore:
    """pg_restore for one database."""

    tool: Tool
    login: Login

    def contents(self, artefact: Artefact) -> str:
        """The list of what the artefact holds."""
        # Not through a pipe: it would fill while we are still writing to the other one.
        with tempfile.TemporaryFile() as out:
            self._run(artefact, ["--list", f"--file={_path(out)}"], [out])
            out.seek(0)
            return out.read().decode("utf-8", errors="surrogateescape")

    def restore(self, artefact: Artefact, options: Sequence[str], *, contents: str = "") -> None:
        """Bring it back up to the first error; of its contents only those named, where any are.

        Raises `RestoreFailed` naming the object.
        """
        arguments = [
            "--exit-on-error",
            "--no-password",
            f"--dbname={self.login.conninfo()}",
            *options,
        ]
        if artefact.workers > 1:
            arguments.append(f"--jobs={artefact.workers}")
        with tempfile.TemporaryFile() as wanted:
            if contents:
                wanted.write(contents.encode("utf-8", errors="surrogateescape"))
                wanted.flush()
                arguments.append(f"--use-list={_path(wanted)}")
            self._run(artefact, arguments, [wanted])

    def _run(
        self, artefact: Artefact, arguments: Sequence[str], files: Sequence[IO[bytes]]
    ) -> None:
        argv = [str(self.tool.path), "--format=custom", *arguments]
        if artefact.file is not None:
            argv.append(_path(artefact.file))
            files = [*files, artefact.file]
        try:
            with running(
                argv,
                env=self.login.environment(),
                stdin=artefact.file is None,
                stdout=False,
                pass_fds=[file.fileno() for file in files],
                stderr_lines=STDERR_LINES,
            ) as child:
                if artefact.file is None:
                    child.feed(artefact.proven)
                child.finish()
        except ChildFailed as error:
            raise failure(error, self.login.database) from error


def _path(file: IO[bytes]) -> str:
    """A name under which the child, and its children, can open a nameless file anew."""
    return f"/dev/fd/{file.fileno()}"


def failure(error: ChildFailed, database: str) -> RestoreFailed:
    """The first error, and the object of the statement that met it."""
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
    """What it makes or changes; where that is not clear, the statement's first line."""
    made = _MADE.match(statement)
    if made is None:
        return f"'{statement}'"
    name = re.sub(_NAME, lambda each: unquoted(each[0]), made["name"])
    return f"{made['kind'].lower()} '{name}'"
