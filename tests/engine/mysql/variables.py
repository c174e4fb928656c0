"""Variables that a server and a session have, and their worst values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pymysql

from tests.support.mysql_server import MARIADB, MysqlServer

MARIADB_VARIABLES = """
    SELECT LOWER(variable_name), variable_type, COALESCE(numeric_min_value, ''),
           COALESCE(numeric_max_value, ''), COALESCE(enum_value_list, ''), variable_scope
    FROM information_schema.system_variables
    WHERE variable_scope IN ('SESSION', 'SESSION ONLY') AND read_only = 'NO'
    ORDER BY 1"""
MYSQL_VARIABLES = """
    SELECT variable_name, data_type, min_value, max_value, '', REPLACE(variable_scope, '_', ' ')
    FROM performance_schema.variables_metadata
    WHERE variable_scope IN ('SESSION', 'SESSION_ONLY') ORDER BY 1"""
# Of sizes and times only the smallest is tried: the largest could use all memory.
LARGEST_TRIED = 65535
STRINGS = {
    "sql_mode": (
        "ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,IGNORE_SPACE",
        "NO_UNSIGNED_SUBTRACTION,HIGH_NOT_PRECEDENCE,REAL_AS_FLOAT,PAD_CHAR_TO_FULL_LENGTH",
        "TRADITIONAL,ONLY_FULL_GROUP_BY,NO_ENGINE_SUBSTITUTION,NO_DIR_IN_CREATE",
        "",
    ),
    "time_zone": ("+13:00",),
    "character_set_client": ("latin1",),
    "character_set_connection": ("latin1",),
    "character_set_database": ("latin1",),
    "character_set_results": ("latin1", "ucs2"),
    "character_set_server": ("latin1",),
    "character_set_filesystem": ("latin1",),
    "character_set_collations": ("utf8mb4=utf8mb4_bin,utf8mb3=utf8mb3_bin",),
    "collation_connection": ("latin1_general_cs",),
    "collation_database": ("latin1_general_cs",),
    "collation_server": ("utf8mb4_bin",),
    "default_collation_for_utf8mb4": ("utf8mb4_general_ci",),
    "default_storage_engine": ("MyISAM",),
    "default_tmp_storage_engine": ("MyISAM",),
    "enforce_storage_engine": ("Aria",),
    "default_regex_flags": ("EXTENDED,MULTILINE,UNGREEDY",),
    "lc_messages": ("de_DE",),
    "lc_time_names": ("de_DE",),
    "old_mode": ("ZERO_DATE_TIME_CAST,NO_DUP_KEY_WARNINGS_WITH_IGNORE", ""),
    "block_encryption_mode": ("aes-256-cbc",),
    "optimizer_switch": (
        "index_merge=off,derived_merge=off,materialization=off,semijoin=off,mrr=on",
    ),
    "session_track_system_variables": ("*",),
    "system_versioning_asof": ("2001-01-01 00:00:00",),
    "binlog_row_value_options": ("PARTIAL_JSON",),
    "note_verbosity": ("",),
}
# Not tried, and why.
LEFT_ALONE = {
    "redirect_url": "sends clients to another server before they have a session",
    "innodb_tmpdir": "names a folder of the host",
    "innodb_ft_user_stopword_table": "names a table",
    "default_master_connection": "names a replication channel",
    "gtid_domain_id": "belongs to replication",
    "server_id": "belongs to replication",
    "sql_slave_skip_counter": "belongs to replication",
    "max_relay_log_size": "belongs to replication",
    "replicate_do_db": "belongs to replication",
    "group_replication_consistency": "belongs to replication",
    "session_track_gtids": "belongs to replication",
    "rbr_exec_mode": "belongs to replication",
    "gtid_owned": "is told, not set",
    "max_user_connections": "no session may change it: it limits how many there are",
    "max_allowed_packet": "no session may change it: limits are taken from it",
    "net_buffer_length": "no session may change it",
    "tcp_nodelay": "belongs to the connection",
    "thread_pool_priority": "belongs to the connection",
    "keep_files_on_create": "leaves files of MyISAM tables about for other tests",
    "optimizer_trace": "is a matter of optimizer_trace_max_mem_size and of memory",
    "optimizer_trace_features": "is a matter of tracing",
    "external_table_storage_engine": "names an engine that is not there",
    "external_table_secondary_storage_engine": "names an engine that is not there",
    "use_secondary_engine": "there is none",
    "explain_json_format_version": "is about EXPLAIN",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One variable that can be set for the whole server and for a session."""

    name: str
    kind: str
    least: str
    most: str
    words: tuple[str, ...]
    is_global: bool

    def worst(self, now: str) -> list[str]:
        """Values as SQL that differ from the one that it has now."""
        if self.name in STRINGS:
            return [f"'{value}'" for value in STRINGS[self.name] if value != now]
        kind = self.kind.upper()
        if kind.startswith("BOOL"):
            return ["OFF" if now in ("ON", "1") else "ON"]
        if self.words:
            return [f"'{word}'" for word in self.words if word != now]
        if kind.startswith("ENUM"):
            return [str(number) for number in range(3)]
        if kind in ("STRING", "VARCHAR", "SET", "FLAGSET"):
            return []
        values = [self.least]
        if self.most and float(self.most) <= LARGEST_TRIED:
            values.append(self.most)
        return [value for value in values if value != now]


def variables(server: MysqlServer) -> list[Variable]:
    """Variables that a session of this server may set."""
    query = MARIADB_VARIABLES if server.brand is MARIADB else MYSQL_VARIABLES
    return [
        Variable(
            name=name,
            kind=kind,
            least=least,
            most=most,
            words=tuple(words.split(",")) if words and kind == "ENUM" else (),
            is_global=scope == "SESSION",
        )
        for name, kind, least, most, words, scope in server.ask("mysql", query)
    ]


class Globals:
    """Global variables by a session that was there before they were changed."""

    def __init__(self, connection: pymysql.Connection) -> None:
        self._connection = connection

    def now(self, name: str) -> str:
        with self._connection.cursor() as cursor:
            cursor.execute(f"SELECT @@GLOBAL.{name}")
            rows = cursor.fetchall()
        return "" if rows[0][0] is None else str(rows[0][0])

    @contextmanager
    def set(self, values: dict[str, str]) -> Iterator[list[str]]:
        """Set the variables that accept their value in `values`, and restore them afterwards."""
        before: dict[str, str] = {}
        try:
            for name, value in values.items():
                was = self._literal(name)
                if self._try(f"SET GLOBAL {name} = {value}"):
                    before[name] = was
            yield list(before)
        finally:
            for name, value in reversed(before.items()):
                # Some do not accept their own default value.
                given_back = self._try(f"SET GLOBAL {name} = {value}")
                assert given_back or self._try(f"SET GLOBAL {name} = DEFAULT"), name

    def _literal(self, name: str) -> str:
        with self._connection.cursor() as cursor:
            cursor.execute(f"SELECT @@GLOBAL.{name}, QUOTE(@@GLOBAL.{name})")
            value, quoted = cursor.fetchall()[0]
        if value is None:
            return "NULL"
        return str(value) if isinstance(value, int | float) else str(quoted)

    def _try(self, statement: str) -> bool:
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(statement)
            except pymysql.MySQLError:
                return False
        return True
