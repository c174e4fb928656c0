"""Carrying out definitions, one statement at a time: the one that fails is known by its object.

What a dump says of the session (`SET ...`) is part of every statement after it, also of one that
runs in another session, or much later from a script.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import psycopg

from holdfast.model.errors import RestoreFailed
from holdfast.model.restore import FailedObject
from holdfast.sources.failed_objects import FailedObjects
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.sql_text import NAME, Heading, Statement

_SETTING = re.compile(
    rf"SET (?P<name>{NAME}) = .*;$|SELECT pg_catalog\.set_config\('(?P<function>\w+)',", re.DOTALL
)
_AUTHORIZATION = re.compile(r"(?P<reset>RE)?SET SESSION AUTHORIZATION\b")
_TRANSACTION = ("BEGIN;", "COMMIT;")
# Whatever a pg_dump of a later version does not want to be stopped by, an older server has not.
_TIMEOUT = re.compile(r"SET \w+_timeout = ")
# What an object is made with and a later statement must not inherit.
_OF_ONE_OBJECT = {"default_tablespace": "", "default_table_access_method": "heap"}
_SECRET = re.compile(r"\b(?:OPTIONS\s*\(|PASSWORD\s+'|CONNECTION\s+')", re.IGNORECASE)
# For a script: what every dump begins with.
PREAMBLE = """\
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET check_function_bodies = false;
SET row_security = off;
SELECT pg_catalog.set_config('search_path', '', false);
"""
FOREIGN_KEY_VIOLATION = "23503"
_FOREIGN_KEY = re.compile(
    rf"(?P<table>ALTER TABLE (?:ONLY )?{NAME}\.{NAME})\s+ADD CONSTRAINT (?P<name>{NAME})"
    r" FOREIGN KEY .*;$",
    re.DOTALL,
)

_MAKES = re.compile(rf"CREATE |ALTER TABLE (?:ONLY )?{NAME}\.{NAME}\s+ADD CONSTRAINT ")
_PATH = re.compile(r'ALTER DATABASE :"DBNAME" SET "search_path" TO (?P<path>.*);$', re.DOTALL)
# One object may have waited for another that failed.
ROUNDS = 5

Settings = dict[str, str]
"""The statement that was the last to set each thing."""


def setting_of(statement: Statement) -> str:
    """What `statement` sets for all that follow; empty where it does something else."""
    found = _SETTING.match(statement.text)
    return (found["name"] or found["function"]) if found else ""


@dataclass
class _Unmade:
    """An object that could not be made, and what else its entry says of it."""

    failed: FailedObject
    error: RestoreFailed
    entry: int
    more: list[str] = field(default_factory=list)


class Definer:
    """One session that carries out statements; `unnamed` is what those without a heading make."""

    def __init__(
        self, session: psycopg.Connection, failed: FailedObjects, *, unnamed: Heading
    ) -> None:
        self._session = session
        self._failed = failed
        self._unnamed = unnamed
        self._settings: Settings = {}
        self._authorization = ""
        self._unmade: _Unmade | None = None
        self._refused: psycopg.Error | None = None

    def run(self, found: Iterable[Statement]) -> None:
        """Raises `RestoreFailed` naming the object, unless what fails is noted."""
        for statement in found:
            # One that fails must not take back those before it.
            if self._failed.keep_going and statement.text in _TRANSACTION:
                continue
            if self._belongs_to_unmade(statement):
                # What is said of an object that is not there can only fail as well.
                continue
            self._tell_unmade()
            self._follow(statement)
        self._tell_unmade()

    def _belongs_to_unmade(self, statement: Statement) -> bool:
        if self._unmade is None or self._unmade.entry != statement.entry or setting_of(statement):
            return False
        self._unmade.more.append(statement.text)
        return True

    def _tell_unmade(self) -> None:
        if self._unmade:
            unmade, self._unmade = self._unmade, None
            statement = "\n".join([unmade.failed.statement, *unmade.more])
            self._failed.met(replace(unmade.failed, statement=statement), unmade.error)

    def take_on(self, settings: Settings) -> None:
        """Have the session as a statement wants it that was read elsewhere."""
        for name, text in settings.items():
            if self._settings.get(name) != text:
                self._send(text)
                self._settings[name] = text

    def _follow(self, statement: Statement) -> None:
        authorization = _AUTHORIZATION.match(statement.text)
        if authorization:
            self._authorization = "" if authorization["reset"] else statement.text
            self._refused = None
        if name := setting_of(statement):
            self._settings[name] = statement.text
        error = self._refused or self._tried(statement)
        if error is None:
            return
        if authorization and self._failed.keep_going:
            # Whom we cannot be must not be us: what follows would be granted by somebody else.
            self._refused = error
        else:
            self._note(statement, error)

    def _tried(self, statement: Statement) -> psycopg.Error | None:
        try:
            self._send(statement.text)
        except psycopg.Error as error:
            if failures.ends_all(error, self._session):
                raise self._error(statement, error) from error
            if _TIMEOUT.match(statement.text) and error.sqlstate == failures.UNDEFINED_OBJECT:
                return None
            return error
        return None

    def _send(self, text: str) -> None:
        self._session.execute(text.encode("utf-8", errors="surrogateescape"))

    def _note(self, statement: Statement, error: psycopg.Error) -> None:
        heading = statement.heading or self._unnamed
        failed = FailedObject(
            kind=heading.kind,
            name=heading.name,
            statement=self._alone(statement.text),
            cause=failures.said(error),
            is_secret=bool(_SECRET.search(statement.text)),
        )
        ours = self._error(statement, error)
        ours.__cause__ = error
        if self._failed.keep_going and error.sqlstate == FOREIGN_KEY_VIOLATION:
            failed = self._unproven(statement, failed)
        elif self._failed.keep_going and statement.heading and _MAKES.match(statement.text):
            self._unmade = _Unmade(failed=failed, error=ours, entry=statement.entry)
            return
        self._failed.met(failed, ours)

    def _unproven(self, statement: Statement, failed: FailedObject) -> FailedObject:
        """The same key for rows to come, where that works, and what is left to do."""
        key = _FOREIGN_KEY.match(statement.text)
        if key is None or statement.text.endswith(" NOT VALID;"):
            return failed
        try:
            self._send(f"{statement.text[:-1]} NOT VALID;")
        except psycopg.Error:
            return failed
        return FailedObject(
            kind=failed.kind,
            name=failed.name,
            statement=f"{key['table']} VALIDATE CONSTRAINT {key['name']};",
            cause=f"{failed.cause} (it stands as NOT VALID)",
        )

    def _error(self, statement: Statement, error: psycopg.Error) -> RestoreFailed:
        return failures.restoring(failures.said(error), str(statement.heading or self._unnamed))

    def _alone(self, text: str) -> str:
        """`text` with all that it needs when it is run by itself, and takes away again."""
        before, after = [], []
        for name, usual in _OF_ONE_OBJECT.items():
            said = self._settings.get(name, "")
            if said and said not in (f"SET {name} = '{usual}';", f"SET {name} = {usual};"):
                before.append(said)
                after.append(f"RESET {name};")
        encoding = self._settings.get("client_encoding", "")
        if encoding and encoding not in PREAMBLE:
            before.append(encoding)
            after.append("SET client_encoding = 'UTF8';")
        if self._authorization:
            before.append(self._authorization)
            after.append("RESET SESSION AUTHORIZATION;")
        return "\n".join([*before, text, *after])


def usual_path(settings: Iterable[Statement]) -> str:
    """The statement that looks names up as a session of the database does."""
    for statement in settings:
        if found := _PATH.match(statement.text):
            return f"SET search_path TO {found['path']}"
    return "RESET search_path"


def tried_again(
    session: psycopg.Connection, failed: Sequence[FailedObject], *, path: str
) -> tuple[FailedObject, ...]:
    """Those that cannot be made either once all else is there, and with names looked up as usual.

    A dump is restored with an empty search path. What calls a function of the database by its
    bare name, in a body or an expression, never works so: it does under the `path` that the
    database, or the role, has anyway. Only where a restore keeps going: else it ends at what a
    stock restore ends at.
    """
    for statement in (PREAMBLE, path):
        session.execute(statement.encode())
    left = list(failed)
    for _ in range(ROUNDS):
        before = len(left)
        left = [still for each in left if (still := _made(session, each))]
        if len(left) in (0, before):
            break
    return tuple(left)


def _made(session: psycopg.Connection, failed: FailedObject) -> FailedObject | None:
    """None once it is made."""
    if not failed.statement:
        return failed
    try:
        session.execute(failed.statement.encode("utf-8", errors="surrogateescape"))
    except psycopg.Error as error:
        if failures.ends_all(error, session):
            raise failures.restoring(
                failures.said(error), f"{failed.kind} '{failed.name}'"
            ) from error
        return failed
    return None


def settings_before(found: Iterable[Statement]) -> Iterator[tuple[Statement, Settings]]:
    """Each statement that makes something, with what was set for it."""
    settings: Settings = {}
    for statement in found:
        if name := setting_of(statement):
            settings = settings | {name: statement.text}
        else:
            yield statement, settings
