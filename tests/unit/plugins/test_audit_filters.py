"""Reports of an audit for people and monitors."""

from plugins.filter.holdfast_audit import audit_counts, audit_rows, audit_table
from plugins.module_utils.tuning_report import Row, State, as_dicts


def rows() -> list[dict[str, str]]:
    states: tuple[State, ...] = ("ok", "changed", "skipped", "pending", "differs")
    found: list[dict[str, str]] = as_dicts(
        Row(role="sysctl", key=f"vm.{state}", wanted="1", live="2", state=state, why="so",
            reason="because" if state == "skipped" else "", needs="reboot")
        for state in states
    )  # fmt: skip
    return found


def test_what_is_not_live_yet_does_not_pass() -> None:
    verdicts = [row["verdict"] for row in audit_rows(rows())]
    assert verdicts == ["PASS", "PASS", "SKIP", "FAIL", "FAIL"]
    assert audit_counts(rows()) == {"PASS": 2, "FAIL": 2, "SKIP": 1}


def test_the_table_has_a_line_for_each_row_and_says_why() -> None:
    lines = audit_table(rows()).splitlines()
    assert lines[0].split() == [
        "role",
        "key",
        "now",
        "wanted",
        "our",
        "file",
        "at",
        "boot",
        "needs",
    ]
    assert sum(line.startswith(("PASS", "FAIL", "SKIP")) for line in lines) == 5
    assert "       SKIP because: because" in lines
    assert lines[-2].endswith("reboot")
