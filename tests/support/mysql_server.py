"""A real MySQL or MariaDB server, whose databases and accounts are removed after the test."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from urllib.parse import quote

import pymysql

from holdfast.sources.mysql.server.connection import Address

SCRIPTS = Path(__file__).parents[1] / "engine" / "mysql"
PASSWORD = 'secret # \\ "quoted" é'
CLIENT_OPTIONS = ("--binary-mode", "--comments")
JUDGE_OPTIONS = (
    *("--single-transaction", "--routines", "--events", "--triggers", "--hex-blob"),
    *("--order-by-primary", "--skip-dump-date", "--skip-comments"),
    *("--default-character-set=utf8mb4", "--max-allowed-packet=1G"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """The differences of the two servers in names and options."""

    name: str
    client: str
    judge: tuple[str, ...]
    whole_server: tuple[str, ...]
    """The global privileges that docs/restore-mysql.md asks for."""
    sight: tuple[str, ...]
    """Global privileges without which a backup only sees less before it locks."""


MARIADB = Brand(
    name="mariadb",
    client="mariadb",
    judge=("mariadb-dump", *JUDGE_OPTIONS),
    whole_server=("RELOAD",),
    sight=("PROCESS", "SLAVE MONITOR"),
)
MYSQL = Brand(
    name="mysql",
    client="mysql",
    judge=("mysqldump", *JUDGE_OPTIONS, "--set-gtid-purged=OFF"),
    whole_server=("RELOAD", "BACKUP_ADMIN", "SHOW_ROUTINE"),
    sight=("PROCESS", "REPLICATION CLIENT"),
)
# The CHECKSUM of a table with an array index differs from one call to the next.
ARRAY_INDEXES = """
    SELECT DISTINCT table_name FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND expression LIKE '% array)%'"""


class MysqlServer:
    """A server on which a test is the administrator."""

    def __init__(self, url: str) -> None:
        # The server's address names no database; our addresses always do.
        self._address = Address.parse(url.replace("/?", "/mysql?"))
        ((version,),) = self.ask("mysql", "SELECT VERSION()")
        self.brand = MARIADB if "MariaDB" in version else MYSQL
        self._databases: list[str] = []
        self._accounts: list[str] = []

    def url(self, database: str, *, user: str = "") -> str:
        """The address of `database`, as the administrator or as an account made by `account`."""
        login = quote(user or self._address.user, safe="")
        socket = quote(self._address.unix_socket, safe="/")
        return f"mysql://{login}@localhost/{quote(database, safe='')}?unix_socket={socket}"

    def connect(self, database: str = "mysql") -> pymysql.Connection:
        return pymysql.connect(
            user=self._address.user,
            password=self._address.password,
            unix_socket=self._address.unix_socket,
            database=database,
            charset="utf8mb4",
            autocommit=True,
        )

    def run(self, database: str, *statements: str) -> None:
        with self.connect(database) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def ask(self, database: str, query: str) -> list[tuple[str, ...]]:
        with self.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return [tuple(str(value) for value in row) for row in cursor.fetchall()]

    def tool(self, *argv: str, stdin: bytes = b"") -> bytes:
        """The output of one of the server's own programs."""
        program, *options = argv
        done = subprocess.run([program, *self._login, *options], input=stdin, capture_output=True)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return done.stdout

    @property
    def _login(self) -> list[str]:
        return [f"--user={self._address.user}", f"--socket={self._address.unix_socket}"]

    def client(self, database: str) -> list[str]:
        """The stock client as in docs/restore-mysql.md, which reads a script on its stdin."""
        return [self.brand.client, *self._login, *CLIENT_OPTIONS, database]

    def load(self, database: str, script: bytes) -> None:
        """Load a script with the stock client, as docs/restore-mysql.md describes."""
        self.tool(self.brand.client, *CLIENT_OPTIONS, database, stdin=script)

    def name(self) -> str:
        """A database name that a test may use; the database is dropped afterwards in any case."""
        # Without quotes: the dump program, which judges our result, cannot dump events of a
        # database whose name has any.
        name = f"Our shöp 100%s; {secrets.token_hex(4)}"
        self._databases.append(name)
        return name

    def will_have_database(self, name: str) -> str:
        """Register a database that a script creates, so that it is dropped afterwards."""
        self._databases.append(name)
        return name

    def database(self, *statements: str) -> str:
        name = self.name()
        self.run(
            "mysql",
            f"CREATE DATABASE {ticked(name)} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        )
        self.run(name, *statements)
        return name

    def corpus(self) -> str:
        name = self.database()
        for script in ("corpus.sql", f"corpus.{self.brand.name}.sql"):
            self.load(name, (SCRIPTS / script).read_bytes())
        return name

    def reader(self, database: str) -> str:
        """An account with exactly the grants that docs/restore-mysql.md asks for."""
        return self.account(
            f"{', '.join((*self.brand.whole_server, *self.brand.sight))} ON *.*",
            of_database(database, "SELECT", "SHOW VIEW", "TRIGGER", "EVENT"),
            "SELECT ON `mysql`.*",
        )

    def account(self, *grants: str) -> str:
        """A local account; each of `grants` is the text between GRANT and TO."""
        name = f"user {secrets.token_hex(4)}"
        self._accounts.append(name)
        login = f"{ticked(name)}@localhost"
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE USER {login} IDENTIFIED BY %s", [PASSWORD])
        self.run("mysql", *(f"GRANT {grant} TO {login}" for grant in grants))
        return name

    def forget(self, account: str) -> None:
        self.run("mysql", f"DROP USER IF EXISTS {ticked(account)}@localhost")

    def checksums(self, database: str) -> dict[str, str]:
        """The server's own checksum of every table; the rows of a table without a stable one."""
        tables = self.ask(
            database,
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'",
        )
        unsteady = self.ask(database, ARRAY_INDEXES) if self.brand is MYSQL else []
        sums = {}
        with self.connect(database) as connection, connection.cursor() as cursor:
            for (table,) in tables:
                by_rows = (table,) in unsteady
                ask = "SELECT * FROM" if by_rows else "CHECKSUM TABLE"
                cursor.execute(f"{ask} {ticked(table)}")
                rows = cursor.fetchall()
                sums[table] = str(rows) if by_rows else str(rows[0][1])
        return sums

    def described(self, database: str, *tables: str) -> list[bytes]:
        """A dump of the database or of `tables` by an independent tool.

        The database's name is replaced, so that dumps of two databases compare.
        """
        name = ticked(database).encode()
        text = self.tool(*self.brand.judge, database, *tables).replace(name, b"`DATABASE`")
        # MySQL remembers whether a character set was given or implied; this has no other effect.
        return re.sub(rb" CHARACTER SET \w+(?= COLLATE)", b"", text).splitlines()

    def sessions(self, user: str) -> list[str]:
        rows = self.ask("mysql", "SHOW PROCESSLIST")
        return [number for number, name, *_ in rows if name == user]

    def kill(self, user: str) -> None:
        for number in self.sessions(user):
            self.run("mysql", f"KILL {number}")

    def databases(self) -> set[str]:
        return {name for (name,) in self.ask("mysql", "SHOW DATABASES")}

    def drop(self, database: str) -> None:
        self.run("mysql", f"DROP DATABASE IF EXISTS {ticked(database)}")

    def clean(self) -> None:
        for name in self._databases:
            self.drop(name)
        for name in self._accounts:
            self.forget(name)


def ticked(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def numbers(most: int) -> str:
    """A table `seq` of the numbers from 1 to `most`, in the syntax of both servers."""
    array = f"CONCAT('[', REPEAT('1,', {most - 1}), '1]')"
    return f"JSON_TABLE({array}, '$[*]' COLUMNS (seq FOR ORDINALITY)) AS numbers"


def of_database(database: str, *rights: str) -> str:
    pattern = database.replace("_", r"\_").replace("%", r"\%")
    return f"{', '.join(rights)} ON {ticked(pattern)}.*"


def differences(one: Sequence[bytes], other: Sequence[bytes]) -> list[str]:
    """The first lines that differ, short enough for a test report."""
    pairs = zip_longest(one, other, fillvalue=b"nothing")
    different = (pair for pair in pairs if pair[0] != pair[1])
    return [f"{left[:200]!r} / {right[:200]!r}" for left, right in islice(different, 5)]
