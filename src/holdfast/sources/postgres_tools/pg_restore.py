"""Running pg_restore, and saying which object it stopped at."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from holdfast.errors import RestoreFailed
from holdfast.process import Child, ChildFailed, running
from holdfast.sources.postgres_native import failures
from holdfast.sources.postgres_native.login import Login
from holdfast.sources.postgres_native.tools import Tool
from holdfast.sources.postgres_tools.spool import Artefact

# It repeats the statement that failed after the error: a function may have many lines.
STDERR_LINES = 2000
_AT_ENTRY = re.compile(r"from TOC entry \d+; \d+ \d+ (?P<said>[^|]*?)(?: \||$)")
# Kinds are upper case and so may names be: longer kinds first.
_KINDS = re.compile(
    r"(MATERIALIZED VIEW DATA|MATERIALIZED VIEW|TABLE DATA|TABLE ATTACH|FK CONSTRAINT"
    r"|CHECK CONSTRAINT|INDEX ATTACH|SEQUENCE SET|SEQUENCE OWNED BY|DEFAULT ACL|EVENT TRIGGER"
    r"|FOREIGN TABLE|FOREIGN DATA WRAPPER|FOREIGN SERVER|USER MAPPING|ROW SECURITY|BLOB METADATA"
    r"|TEXT SEARCH \w+|OPERATOR CLASS|OPERATOR FAMILY|ACCESS METHOD|PUBLICATION TABLE|[A-Z]+) (.*)"
)
_ERROR = re.compile(r"error: (?:could not execute query: )?(?:ERROR:\s+)?([^|]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PgRestore:
    """pg_restore for one database."""

    tool: Tool
    login: Login

    def contents(self, artefact: Artefact) -> str:
        """The list of what the artefact holds, which is proven whole by that."""
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
                    with artefact.opened() as chunks:
                        _feed(child, chunks)
                child.finish()
        except ChildFailed as error:
            raise failure(error, self.login.database) from error


def _path(file: IO[bytes]) -> str:
    """A name under which the child, and its children, can open a nameless file anew."""
    return f"/dev/fd/{file.fileno()}"


def _feed(child: Child, chunks: Iterator[bytes]) -> None:
    """All of it; what it had no need for is read nevertheless, because that proves the part."""
    for chunk in chunks:
        try:
            child.stdin.write(chunk)
        except BrokenPipeError:
            child.finish()
            for _ in chunks:
                pass
            return


def failure(error: ChildFailed, database: str) -> RestoreFailed:
    """The first error, at the entry that it was working on."""
    said = _ERROR.search(error.stderr)
    before = error.stderr[: said.start()] if said else error.stderr
    subject = f"database '{database}'"
    for entry in _AT_ENTRY.finditer(before):
        subject = _object(entry["said"]) or subject
    return failures.restoring(said[1] if said else error.message, subject)


def _object(said: str) -> str:
    """`TABLE orders owner` as "table 'orders'"; an owner of several words leaves some behind."""
    kind = _KINDS.match(said.strip())
    if kind is None:
        return ""
    name = kind[2].rpartition(" ")[0] or kind[2]
    return f"{kind[1].lower()} '{name}'"
