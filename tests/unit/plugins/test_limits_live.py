"""Limits of logins and services, and what a host can grant."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from plugins.module_utils.limit_rows import LimitLooker, login_row, service_row
from plugins.module_utils.login_limits import Account, entries, last_words, outvoted, told
from plugins.module_utils.process_limits import (
    Limit,
    limits_of,
    login_limits,
    parse_limits,
    ungranted,
)
from plugins.module_utils.systemd_units import Run, Unit
from plugins.module_utils.tuning_report import Choice

TEXT = """Limit                     Soft Limit           Hard Limit           Units
Max processes             31000                31000                processes
Max open files            1024                 20000                files
Max pending signals       96387                unlimited            signals
"""
FULL = {"nofile": Limit("65536", "65536")}


def answering(output: str, *, code: int = 0) -> Run:
    def run(_: Sequence[str]) -> tuple[int, str, str]:
        return code, output, ""

    return run


def service(*, promised: str) -> Unit:
    return Unit(
        name="mariadb.service",
        active=True,
        main_pid=7,
        control_group="/system.slice/mariadb.service",
        properties={"LimitNOFILE": promised, "LimitNOFILESoft": promised},
    )


def test_the_kernels_table_is_read_by_name_not_by_place() -> None:
    assert parse_limits(TEXT) == {
        "nproc": Limit("31000", "31000"),
        "nofile": Limit("1024", "20000"),
    }


def test_a_process_that_has_just_ended_has_no_limits(tmp_path: Path) -> None:
    assert limits_of(7, proc=tmp_path) == {}


def test_a_session_that_cannot_be_opened_has_no_limits() -> None:
    assert login_limits(answering("", code=1), "postgres") == {}


def test_a_host_that_grants_less_is_found_out() -> None:
    impossible = {"nofile": 2**31 - 1}
    assert ungranted(answering(TEXT), impossible) == {"nofile": "20000"}


def test_a_host_where_the_unit_does_not_even_start_grants_nothing() -> None:
    impossible = {"nofile": 2**31 - 1}
    assert ungranted(answering("", code=205), impossible) == {
        "nofile": "nothing: the unit does not start"
    }


def test_a_limit_the_first_process_has_already_needs_no_trial() -> None:
    assert ungranted(answering("", code=1), {"nofile": 1}) == {}


def test_soft_and_hard_both_have_to_be_right() -> None:
    row = login_row("postgres", "nofile", wanted=65536, live={"nofile": Limit("1024", "65536")})
    assert (row.state, row.live) == ("differs", "1024:65536")
    assert login_row("postgres", "nofile", wanted=65536, live=FULL).state == "ok"


def test_a_login_that_is_refused_is_named() -> None:
    row = login_row("postgres", "nofile", wanted=65536, live={})
    assert (row.state, row.reason) == ("differs", "no session could be opened for 'postgres'")


def test_a_running_service_with_the_old_limit_waits_for_a_restart() -> None:
    row = service_row(
        service(promised="65536"), wanted=65536, live={"nofile": Limit("32768", "32768")}
    )
    assert (row.state, row.live, row.reason) == (
        "pending",
        "32768",
        "needs a restart of the service",
    )


def test_a_service_is_right_when_its_process_is() -> None:
    assert service_row(service(promised="65536"), wanted=65536, live=FULL).state == "ok"


def test_a_service_without_our_drop_in_differs() -> None:
    assert service_row(service(promised="32768"), wanted=65536, live={}).state == "differs"


def put(root: Path, name: str, text: str) -> None:
    path = root / "etc/security" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_last_entry_for_the_user_counts_and_everybodys_never_beats_it(tmp_path: Path) -> None:
    put(tmp_path, "limits.conf", "postgres - nofile 1024\n")
    put(tmp_path, "limits.d/dbbackup.conf", "postgres soft nofile 65536 # ours\n")
    put(tmp_path, "limits.d/zz.conf", "* - nofile 10\n")
    words = last_words(entries(tmp_path), user=Account(name="postgres"), item="nofile")
    assert told(words) == "65536:1024"
    assert told(last_words(entries(tmp_path), user=Account(name="mysql"), item="nofile")) == "10"


def test_a_later_file_with_another_limit_is_named_with_its_line(tmp_path: Path) -> None:
    put(tmp_path, "limits.d/dbbackup.conf", "postgres - nofile 65536\n")
    put(tmp_path, "limits.d/zz.conf", "# why\npostgres hard nofile 4096\n")
    words = last_words(entries(tmp_path), user=Account(name="postgres"), item="nofile")
    file = str(tmp_path / "etc/security/limits.d/dbbackup.conf")
    assert "limits.d/zz.conf:2 is read after" in outvoted(words, file=file, wanted="65536")


def outcome(root: Path, user: Account) -> str:
    """The file that overrides ours, once ours is written."""
    ours = Path("/etc/security/limits.d/dbbackup.conf")
    known = entries(root, file=ours, own=[f"{user.name} - nofile 65536"])
    words = last_words(known, user=user, item="nofile")
    path = str(root / "etc/security/limits.d/dbbackup.conf")
    return str(outvoted(words, file=path, wanted="65536")).removeprefix(f"{root}/etc/security/")


def test_limits_conf_is_read_before_limits_d_whatever_the_names(tmp_path: Path) -> None:
    put(tmp_path, "limits.conf", "postgres - nofile 1024\n")
    assert outcome(tmp_path, Account(name="postgres")) == ""


def test_a_range_with_the_uid_counts_as_the_user_and_a_group_counts_less(tmp_path: Path) -> None:
    put(tmp_path, "limits.d/zz.conf", "@dba - nofile 7\n* - nofile 8\n")
    postgres = Account(name="postgres", uid=105, gid=105, groups=frozenset({"dba"}))
    assert outcome(tmp_path, postgres) == ""
    put(tmp_path, "limits.d/zz.conf", "100:200 hard NOFILE 9 and more words\n")
    assert outcome(tmp_path, postgres).startswith("limits.d/zz.conf:1 is read after")
    assert outcome(tmp_path, Account(name="mysql", uid=99)) == ""


def test_a_line_that_lifts_all_limits_is_named_wherever_it_stands(tmp_path: Path) -> None:
    put(tmp_path, "limits.conf", "# why\npostgres -\n")
    said = "limits.conf:2 has PAM set no limit at all for this login"
    assert outcome(tmp_path, Account(name="postgres")) == said


@pytest.mark.parametrize(("own_kernel", "state"), [(True, "differs"), (False, "skipped")])
def test_a_limit_that_is_not_granted_fails_a_machine_and_is_left_alone_in_a_container(
    own_kernel: bool, state: str
) -> None:
    looker = LimitLooker(
        run=answering(""),
        choices={"nofile": Choice(value="65536")},
        refused={"nofile": "20000"},
        file=Path("/etc/security/limits.d/dbbackup.conf"),
        dropin="50-ours.conf",
        own_kernel=own_kernel,
    )
    unit = replace(service(promised="65536"), main_pid=0)
    (row,) = looker.service_rows([unit])
    assert (row.state, row.reason) == (state, "this host grants no more than 20000")
