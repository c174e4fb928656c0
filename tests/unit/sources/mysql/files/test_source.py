"""The moment of a copy of files, as the copy itself reports it."""

from __future__ import annotations

import pytest

from holdfast.model.errors import BackupFailed
from holdfast.sources.mysql.files.source import proof_in

CHECKPOINTS = b"backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = 45600\nlast_lsn = 47495\n"
INFO = (
    b"tool_name = mariadb-backup\nbinlog_pos = filename 'bin.000003', position '328'\n"
    b"start_time = 2026-11-21 09:26:34\nend_time = 2026-11-21 09:26:36\n"
)


def test_lsn_and_binary_log_are_the_proof() -> None:
    proof = proof_in({"mariadb_backup_checkpoints": CHECKPOINTS, "mariadb_backup_info": INFO})
    assert proof.texts() == {
        "lsn": "47495",
        "checkpoint_lsn": "45600",
        "binlog_position": "filename 'bin.000003', position '328'",
        "copy_began": "2026-11-21 09:26:34",
        "copy_ended": "2026-11-21 09:26:36",
        "backup_type": "full-backuped",
    }


def test_a_server_without_a_binary_log_has_no_position() -> None:
    info = INFO.replace(b"filename 'bin.000003', position '328'", b"")
    assert proof_in({"a": CHECKPOINTS, "b": info}).binlog_position == ""


def test_a_copy_that_does_not_say_how_far_it_is_is_none() -> None:
    with pytest.raises(BackupFailed, match="does not report its last LSN"):
        proof_in({"mariadb_backup_info": INFO})
