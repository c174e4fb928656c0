"""The row that every tuning role returns."""

from dataclasses import replace

from plugins.module_utils.tuning_report import (
    Choice,
    Row,
    State,
    as_dicts,
    explained,
    refusals,
    settled,
)

WAS = [{"key": "vm.swappiness", "state": "differs", "live": "60"}]


def row(state: State, *, live: str = "10", reason: str = "") -> Row:
    return Row(
        role="sysctl", key="vm.swappiness", wanted="10", live=live, state=state, reason=reason
    )


def test_a_repaired_row_is_changed_and_tells_its_old_value() -> None:
    (settled_row,) = settled([row("ok")], before=WAS, check_mode=False)
    assert (settled_row.state, settled_row.reason) == ("changed", "was '60'")


def test_what_was_right_before_stays_ok() -> None:
    before = [{"key": "vm.swappiness", "state": "ok", "live": "10"}]
    assert settled([row("ok")], before=before, check_mode=False) == [row("ok")]


def test_check_mode_tells_a_difference_as_the_change_it_would_be() -> None:
    (settled_row,) = settled([row("differs", live="60")], before=WAS, check_mode=True)
    assert (settled_row.state, settled_row.reason) == ("changed", "would change from '60'")


def test_check_mode_still_refuses_a_row_that_no_run_would_repair() -> None:
    broken = row("differs", live="", reason="the kernel offers only none")
    rows = settled([broken], before=[], check_mode=True)
    assert refusals(rows) == ["cannot keep 'vm.swappiness' at '10': the kernel offers only none"]


def test_a_difference_after_the_run_names_the_key_and_the_live_value() -> None:
    rows = settled([row("differs", live="60")], before=WAS, check_mode=False)
    assert refusals(rows) == ["cannot keep 'vm.swappiness' at '10': the live value is '60'"]


def test_skipped_and_pending_rows_are_no_refusals() -> None:
    assert refusals([row("skipped"), row("pending"), row("ok")]) == []


def test_rows_have_the_shape_that_the_audit_reads() -> None:
    assert as_dicts([row("ok")]) == [
        {
            "role": "sysctl",
            "key": "vm.swappiness",
            "wanted": "10",
            "live": "10",
            "state": "ok",
            "reason": "",
            "file": "",
            "boot": "",
            "formula": "",
            "bounds": "",
            "why": "",
            "reference": "",
            "risk": "",
            "needs": "",
        }
    ]


def test_a_right_live_value_that_no_file_keeps_is_refused_as_that() -> None:
    unkept = replace(row("differs"), file="", boot="60")
    assert refusals([unkept]) == [
        (
            "cannot keep 'vm.swappiness' at '10': the live value is '10', "
            "but our file says '' and the next boot '60'"
        )
    ]


def test_a_choice_explains_its_row() -> None:
    told = explained(row("ok"), Choice(value="10", formula="constant", risk="none known"))
    assert (told.wanted, told.formula, told.risk, told.needs) == (
        "10",
        "constant",
        "none known",
        "nothing",
    )
