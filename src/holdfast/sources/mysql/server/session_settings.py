"""The session variables that could change what is read or loaded, each with its value.

A new session starts with the server's global values, and `SET SESSION x = DEFAULT` returns to
them. So every session gets explicit values: our own right after login, those of the stock programs
by their first statement. Variables without an effect are listed in
tests/engine/mysql/harmless_variables.py. A test requires every variable of a server to be on one of
the two lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from holdfast.model.lazy_dataclass import dataclass

Purpose = Literal["reading", "loading"]

# Idle sessions hold the snapshot, and a full repository disk may stall a read for a long time.
PATIENCE_SECONDS = 7 * 86400
# How long a statement waits for a running ALTER of its table.
METADATA_WAIT_SECONDS = 300
NO_LIMIT = "18446744073709551615"
OFF, ON = "0", "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One variable and its value as SQL.

    Some servers let only administrators set an `is_restricted` variable: it is set only where the
    session has another value.
    """

    name: str
    value: str
    is_restricted: bool = False


def _all(values: Mapping[str, str | int], *, is_restricted: bool = False) -> tuple[Setting, ...]:
    return tuple(
        Setting(name=name, value=str(value), is_restricted=is_restricted)
        for name, value in values.items()
    )


# Without these, even the list of the session's variables could be incomplete.
FIRST = (
    f"SET SESSION sql_select_limit = {NO_LIMIT}, max_join_size = {NO_LIMIT}, sql_big_selects = 1"
    " /*M!100121 , max_statement_time = 0, max_session_mem_used = 1152921504606846976 */"
    " /*!50708 , max_execution_time = 0 */"
)

# Limits beyond which the server leaves out rows or refuses a statement.
_LIMITS = _all(
    {
        "sql_select_limit": NO_LIMIT,
        "max_join_size": NO_LIMIT,
        "sql_big_selects": ON,
        "sql_safe_updates": OFF,
        "group_concat_max_len": 1 << 20,
        "max_sort_length": 1024,
        "max_session_mem_used": 1152921504606846976,
        "max_tmp_session_space_usage": 0,
        "tmp_table_size": 16 << 20,
        "tmp_memory_table_size": 16 << 20,
        "tmp_disk_table_size": NO_LIMIT,
        "max_heap_table_size": 16 << 20,
        "sort_buffer_size": 2 << 20,
        "range_optimizer_max_mem_size": 8 << 20,
        "parser_max_mem_size": NO_LIMIT,
        "cte_max_recursion_depth": 1000,
        "max_recursive_iterations": 1000,
        "max_points_in_geometry": 65536,
    }
) + _all(
    {
        "connection_memory_limit": NO_LIMIT,
        "global_connection_memory_tracking": OFF,
        # Warnings say that a value was cut.
        "max_error_count": 64,
    },
    is_restricted=True,
)
# Timeouts that end a session while it waits for us, or a statement while it waits for others.
_TIMEOUTS = _all(
    {
        "max_statement_time": 0,
        "max_execution_time": 0,
        "wait_timeout": PATIENCE_SECONDS,
        "interactive_timeout": PATIENCE_SECONDS,
        "net_read_timeout": PATIENCE_SECONDS,
        "net_write_timeout": PATIENCE_SECONDS,
        "idle_transaction_timeout": 0,
        "idle_readonly_transaction_timeout": 0,
        "idle_write_transaction_timeout": 0,
        "lock_wait_timeout": METADATA_WAIT_SECONDS,
        "innodb_lock_wait_timeout": METADATA_WAIT_SECONDS,
    }
)
# Settings that decide when transactions begin and end, and what they see.
_TRANSACTIONS = _all(
    {
        "autocommit": ON,
        "completion_type": 0,
        "transaction_isolation": "'REPEATABLE-READ'",
        "tx_isolation": "'REPEATABLE-READ'",
        "transaction_read_only": OFF,
        "tx_read_only": OFF,
        "innodb_table_locks": ON,
    }
)
# Settings that change the meaning of a statement or the text of a value.
_MEANING = _all(
    {
        "sql_mode": "''",
        "character_set_client": "utf8mb4",
        "character_set_results": "utf8mb4",
        "collation_connection": "utf8mb4_general_ci",
        "time_zone": "'+00:00'",
        "old_mode": "'UTF8_IS_UTF8MB3'",
        "sql_auto_is_null": OFF,
        "sql_if_exists": OFF,
        "character_set_collations": "''",
        "default_collation_for_utf8mb4": "'utf8mb4_0900_ai_ci'",
        "lc_time_names": "'en_US'",
        "lc_messages": "'en_US'",
        "default_week_format": 0,
        "div_precision_increment": 4,
        "default_regex_flags": "''",
        "block_encryption_mode": "'aes-128-ecb'",
        "windowing_use_high_precision": ON,
        "standard_compliant_cte": ON,
        # The server also stores triggers in the form that this sets.
        "sql_quote_show_create": ON,
        "sql_notes": ON,
        "sql_warnings": OFF,
        "sql_buffer_result": OFF,
        "use_secondary_engine": "'OFF'",
        "query_cache_type": OFF,
    }
)
EVERY = (*_LIMITS, *_TIMEOUTS, *_TRANSACTIONS, *_MEANING)
# The server prints definitions completely, and in a form that it accepts itself.
READING = (
    *EVERY,
    *_all(
        {
            "show_gipk_in_create_table_and_information_schema": ON,
            "show_create_table_verbosity": OFF,
            "show_create_table_skip_secondary_engine": OFF,
            "print_identified_with_as_hex": ON,
            "terminology_use_previous": "'NONE'",
            # By default MySQL shows sizes that are up to a day old; MariaDB shows current ones.
            "information_schema_stats_expiry": 0,
        }
    ),
)
# The server accepts definitions as they were written: it refuses, adds and replaces nothing.
LOADING = (
    *EVERY,
    *_all(
        {
            "foreign_key_checks": OFF,
            "unique_checks": OFF,
            "check_constraint_checks": OFF,
            "alter_algorithm": "'DEFAULT'",
            "old_alter_table": OFF,
            "old_passwords": OFF,
            "auto_increment_increment": 1,
            "auto_increment_offset": 1,
            "innodb_compression_default": OFF,
            "innodb_default_encryption_key_id": 1,
            "keep_files_on_create": OFF,
            "big_tables": OFF,
            "system_versioning_alter_history": "'ERROR'",
        }
    ),
    *_all(
        {
            "explicit_defaults_for_timestamp": ON,
            "innodb_strict_mode": OFF,
            "sql_require_primary_key": OFF,
            "sql_generate_invisible_primary_key": OFF,
            "default_table_encryption": OFF,
            "restrict_fk_on_non_standard_key": OFF,
            "enforce_storage_engine": "NULL",
            "low_priority_updates": OFF,
        },
        is_restricted=True,
    ),
)
# MySQL has them on by default, and a session needs a special right to turn them off.
ONLY_REFUSING = ("innodb_strict_mode", "restrict_fk_on_non_standard_key")
SETTINGS: Mapping[Purpose, tuple[Setting, ...]] = {"reading": READING, "loading": LOADING}


def statement(purpose: Purpose, present: Mapping[str, str]) -> str:
    """The statement that prepares a session; `present` holds its variables by name."""
    wanted = _wanted(SETTINGS[purpose], present)
    return "SET SESSION " + ", ".join(f"{each.name} = {each.value}" for each in wanted)


def compared(purpose: Purpose, present: Mapping[str, str]) -> list[str]:
    """The variables that are set only where a session has another value."""
    return [each.name for each in SETTINGS[purpose] if each.is_restricted and each.name in present]


def restricted(purpose: Purpose, present: Mapping[str, str]) -> dict[str, str]:
    """The variables that such a session must change and that only administrators may set."""
    wanted = _wanted(SETTINGS[purpose], present)
    return {each.name: each.value for each in wanted if each.is_restricted}


def indispensable(purpose: Purpose, present: Mapping[str, str]) -> dict[str, str]:
    """Those of the `restricted` variables without which data could silently differ.

    The others have the values of an unchanged server, and at worst make it refuse a definition
    with a clear error. So a login that may not set them can still restore.
    """
    return {
        name: value
        for name, value in restricted(purpose, present).items()
        if name not in ONLY_REFUSING and not _is_more_than_enough(name, present[name], value)
    }


def _is_more_than_enough(name: str, shown: str, value: str) -> bool:
    # MySQL remembers 1,024 messages of a statement where MariaDB remembers 64.
    return name == "max_error_count" and shown.isdecimal() and int(shown) >= int(value)


def _wanted(settings: Iterable[Setting], present: Mapping[str, str]) -> Iterable[Setting]:
    for each in settings:
        if each.name not in present:
            continue
        if each.is_restricted and _same(present[each.name], each.value):
            continue
        yield each


def _same(shown: str, value: str) -> bool:
    plain = value.strip("'").upper()
    words = {OFF: ("OFF", "NO"), ON: ("ON", "YES"), "NULL": ("",)}
    return shown.upper() == plain or shown.upper() in words.get(plain, ())
