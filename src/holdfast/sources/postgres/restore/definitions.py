"""Runs definitions, many in a message, and those of a message that failed one at a time.

So an error names the object that failed.

The session settings of a dump (`SET ...`) belong to every statement after them, also to one that
runs in another session or later from a script.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, replace

import psycopg
from psycopg.pq import TransactionStatus

from holdfast.model.errors import RestoreFailed
from holdfast.model.lazy_dataclass import dataclass
from holdfast.model.restore import FailedObject
from holdfast.sources.failed_objects import FailedObjects
from holdfast.sources.postgres.server import failures
from holdfast.sources.postgres.server.failures import QUERY_CANCELED
from holdfast.sources.postgres.server.sql_text import NAME, Heading, Statement

_SETTING = re.compile(
    rf"SET (?P<name>{NAME}) = .*;$|SELECT pg_catalog\.set_config\('(?P<function>\w+)',", re.DOTALL
)
_AUTHORIZATION = re.compile(r"(?P<reset>RE)?SET SESSION AUTHORIZATION\b")
_TRANSACTION = ("BEGIN;", "COMMIT;")
# A newer pg_dump disables timeouts that an older server does not have.
_TIMEOUT = re.compile(r"SET \w+_timeout = ")
# Settings for the creation of one object, which later statements must not inherit.
_OF_ONE_OBJECT = {"default_tablespace": "", "default_table_access_method": "heap"}
_SECRET = re.compile(r"\b(?:OPTIONS\s*\(|PASSWORD\s+'|CONNECTION\s+')", re.IGNORECASE)
# The first statements of every dump, for a script of failed statements.
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
# Takes a stronger lock on the table than the index before it. In one transaction with that, two
# sessions that build indexes of the table would wait for each other.
_LOCKS_MORE = re.compile(
    rf"ALTER TABLE (?:ONLY )?{NAME}\.{NAME} (?:CLUSTER ON|REPLICA IDENTITY USING INDEX)\b"
)
_PATH = re.compile(r'ALTER DATABASE :"DBNAME" SET "search_path" TO (?P<path>.*);$', re.DOTALL)
# A table of the usual kind takes three locks until its transaction ends; the smallest lock table
# that servers have by default holds some thousands.
STATEMENTS_PER_MESSAGE = 50
MESSAGE_CHARACTERS = 1 << 18
# An object may depend on another one that failed before and succeeds now.
ROUNDS = 5

Settings = dict[str, str]
"""The last statement that set each setting, by name."""


def setting_of(statement: Statement) -> str:
    """The name of the setting that `statement` sets; empty if it is another statement."""
    found = _SETTING.match(statement.text)
    return (found["name"] or found["function"]) if found else ""


@dataclass
class _Unmade:
    """An object that could not be created, with the further statements of its dump entry."""

    failed: FailedObject
    error: RestoreFailed
    entry: int
    more: list[str] = field(default_factory=list)


class Definer:
    """Runs statements in one session; `unnamed` is the heading of statements that have none."""

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
        """Run the statements. Raises `RestoreFailed` with the object, unless failures are noted."""
        for group in together(found):
            if len(group) == 1 or not self._made_together(group):
                self._run_each(group)
        self._tell_unmade()

    def run_each(self, found: Iterable[Statement]) -> None:
        """As `run`, each as soon as it is read: rows may come between the statements."""
        self._run_each(found)
        self._tell_unmade()

    def attempt(self, found: Iterable[Statement]) -> list[Statement]:
        """Run the statements by the message; returns those of messages that failed.

        None of these is done: they may need what another session has yet to make.
        """
        return [
            statement
            for group in together(found)
            if not self._made_together(group)
            for statement in group
        ]

    def _made_together(self, group: Sequence[Statement]) -> bool:
        """Send the group as one message, which the server runs in one transaction: all or none.

        False if it did none of them: then each is to be run alone, which tells the one that fails.
        """
        if self._refused or self._unmade or not _is_idle(self._session):
            return False
        try:
            self._send("\n".join(statement.text for statement in group))
        except psycopg.Error as error:
            if failures.session_is_gone(error, self._session) or error.sqlstate == QUERY_CANCELED:
                raise self._error(group[0], error, others=len(group) - 1) from error
            return False
        return True

    def _run_each(self, found: Iterable[Statement]) -> None:
        for statement in found:
            # Without a transaction a failed statement does not roll back those before it.
            if self._failed.keep_going and statement.text in _TRANSACTION:
                continue
            if self._belongs_to_unmade(statement):
                # Further statements about an object that does not exist can only fail as well.
                continue
            self._tell_unmade()
            self._follow(statement)

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
        """Apply the settings of a statement that was read outside this session."""
        for name, text in settings.items():
            if self._settings.get(name) != text:
                self.run([Statement(text=text, heading=None, entry=0)])

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
            # The statements that follow must run as that role: under ours the grantor would differ.
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
        """Create the key as NOT VALID if possible, and return what remains to be done."""
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
            cause=f"{failed.cause} (it was created as NOT VALID)",
        )

    def _error(
        self, statement: Statement, error: psycopg.Error, *, others: int = 0
    ) -> RestoreFailed:
        subject = str(statement.heading or self._unnamed)
        if others:
            subject += f" or one of the {others} definitions after it"
        return failures.restoring(failures.said(error), subject)

    def _alone(self, text: str) -> str:
        """`text` with the settings that it needs when run alone, and their reset."""
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


def together(found: Iterable[Statement]) -> Iterator[list[Statement]]:
    """Group statements that may be sent as one message; settings and transactions stay alone.

    A message is one transaction. Its size bounds the locks that it holds, and how much is done
    again if one of its statements fails.
    """
    group: list[Statement] = []
    size = 0
    for statement in found:
        if _is_apart(statement):
            if group:
                yield group
            yield [statement]
            group, size = [], 0
            continue
        group.append(statement)
        size += len(statement.text)
        if len(group) == STATEMENTS_PER_MESSAGE or size >= MESSAGE_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _is_apart(statement: Statement) -> bool:
    return bool(
        statement.text in _TRANSACTION
        or setting_of(statement)
        or _AUTHORIZATION.match(statement.text)
        or _LOCKS_MORE.match(statement.text)
        # An extension may load a library that refuses to begin within other work.
        or statement.text.startswith("CREATE EXTENSION ")
        or not statement.text.endswith(";")
    )


def _is_idle(session: psycopg.Connection) -> bool:
    return session.info.transaction_status == TransactionStatus.IDLE


def usual_path(settings: Iterable[Statement]) -> str:
    """The statement that sets the search path which sessions of the database have."""
    for statement in settings:
        if found := _PATH.match(statement.text):
            return f"SET search_path TO {found['path']}"
    return "RESET search_path"


def tried_again(
    session: psycopg.Connection, failed: Sequence[FailedObject], *, path: str
) -> tuple[FailedObject, ...]:
    """Create failed objects again, now that all else exists, and return those that still fail.

    A dump is restored with an empty search path. A body or expression that calls a function by its
    bare name fails under it, but works under the usual search path, which the statement `path`
    sets. Only a restore with `keep_going` comes here: any other ends where a stock restore ends.
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
    """Create the object; None on success."""
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
    """Each statement that is no setting, with the settings before it."""
    settings: Settings = {}
    for statement in found:
        if name := setting_of(statement):
            settings = settings | {name: statement.text}
        else:
            yield statement, settings
