"""What a restored cluster is started with, whatever its own configuration says.

That configuration was written for another place: it names files, sockets, archives and servers that
may be in use by the cluster that the backup is of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast.model.recovery import ASIDE, NO_TARGET, NOT_OURS

# The first release that has no statistics collector, and the first without trigger files.
WITHOUT_STATISTICS_FOLDER, WITHOUT_TRIGGER_FILE = 15, 16


def expected(data: Path, socket_folder: Path) -> dict[str, str]:
    """What the operator's own options may say otherwise.

    Nobody reaches it but through its own folder; it logs where we look; it is let in early enough
    to be asked; it does not go on with somebody else's subscriptions, nor wait for an apply delay
    or for a standby.
    """
    return {
        "listen_addresses": "",
        "unix_socket_directories": str(socket_folder),
        "hba_file": str(data / "pg_hba.conf"),
        "ident_file": str(data / "pg_ident.conf"),
        "log_directory": "log",
        "logging_collector": "off",
        "log_destination": "stderr",
        "hot_standby": "on",
        "recovery_min_apply_delay": "0",
        "max_logical_replication_workers": "0",
        "synchronous_standby_names": "",
    }


def forced(data: Path, recovery: Mapping[str, str], *, major: int) -> dict[str, str]:
    """What nothing overrules: its files are in `data`, nothing of another cluster is written or
    removed, and it recovers as `recovery` says and in no other way."""
    settings = {
        "data_directory": str(data),
        "external_pid_file": "",
        "archive_command": "",
        **NOT_OURS,
        "restore_command": "",
    }
    if major < WITHOUT_STATISTICS_FOLDER:
        settings["stats_temp_directory"] = "pg_stat_tmp"
    if major < WITHOUT_TRIGGER_FILE:
        settings["promote_trigger_file"] = ""
    # In this order: an empty target behind one that is not would be refused.
    none = {name: value for name, value in NO_TARGET.items() if name not in recovery}
    return {**settings, **none, **ASIDE, **recovery}


def arguments(settings: Mapping[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def says_where_its_socket_is(options: Sequence[str]) -> bool:
    """Whether an operator's own words name the folder of the socket."""
    return any(
        word.startswith("-k") or "unix_socket_directories" in word.replace("-", "_")
        for word in options
    )
