"""Units of jobs: which to write and remove, and the order of calls to systemd."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from plugins.modules.backup_runner_units import (
    Systemd,
    SystemdRefused,
    UnitFolder,
    bring_about,
    differing,
)

PREFIX = "holdfast-backup-"


class Systemctl:
    """Replaces the program: records its calls, and gives the answers that a test sets."""

    def __init__(self, answer: str = "", *, code: int = 0) -> None:
        self.asked: list[list[str]] = []
        self._answer, self._code = answer, code

    def __call__(self, argv: Sequence[str]) -> tuple[int, str, str]:
        self.asked.append(list(argv[1:]))
        return self._code, self._answer, "no" if self._code else ""


@pytest.fixture
def units(tmp_path: Path) -> UnitFolder:
    return UnitFolder(folder=tmp_path, prefixes=[PREFIX, "holdfast-drill-"])


def test_units_of_others_are_not_seen(units: UnitFolder) -> None:
    (units.folder / f"{PREFIX}shop.timer").write_text("ours")
    (units.folder / "holdfast-drill-shop.service").write_text("ours too")
    (units.folder / "cron.service").write_text("theirs")
    (units.folder / "holdfast-sessiond.service").write_text("another role step's")
    (units.folder / f"{PREFIX}shop.service.d").mkdir()
    (units.folder / f"{PREFIX}linked.service").symlink_to("/dev/null")
    assert units.present() == {
        f"{PREFIX}shop.timer": "ours",
        "holdfast-drill-shop.service": "ours too",
    }


def test_what_is_the_same_is_neither_written_nor_removed() -> None:
    present = {"a.service": "1", "b.service": "2", "c.service": "3"}
    wanted = {"a.service": "1", "b.service": "new", "d.service": "4"}
    assert differing(present, wanted) == (["b.service", "d.service"], ["c.service"])


def test_a_job_that_is_gone_is_stopped_before_its_units_are_removed(units: UnitFolder) -> None:
    gone, kept = f"{PREFIX}gone.timer", f"{PREFIX}kept.service"
    (units.folder / gone).write_text("old")
    stamp = units.folder / f"stamp-{gone}"
    stamp.touch()
    systemctl = Systemctl()
    bring_about(
        units,
        Systemd(systemctl),
        wanted={kept: "new"},
        write=[kept],
        remove=[gone],
        stamps=units.folder,
    )
    assert not stamp.exists()
    assert units.present() == {kept: "new"}
    assert systemctl.asked == [
        ["disable", "--now", "--", gone],
        ["reset-failed", f"{gone}*"],
        ["daemon-reload"],
    ]


def test_nothing_is_reloaded_when_nothing_changed(units: UnitFolder) -> None:
    systemctl = Systemctl()
    bring_about(units, Systemd(systemctl), wanted={}, write=[], remove=[])
    assert systemctl.asked == []


def test_a_timer_that_is_started_but_not_enabled_does_not_count_as_running() -> None:
    answer = (
        "Id=a.timer\nActiveState=active\nUnitFileState=enabled\n\n"
        "Id=b.timer\nActiveState=active\nUnitFileState=disabled\n\n"
        "Id=c.timer\nActiveState=inactive\nUnitFileState=enabled\n"
    )
    assert Systemd(Systemctl(answer)).running(["a.timer", "b.timer", "c.timer"]) == {"a.timer"}


def test_a_refusal_tells_the_order_and_the_reason() -> None:
    with pytest.raises(SystemdRefused, match="cannot run 'systemctl daemon-reload': no"):
        Systemd(Systemctl(code=1)).tell("daemon-reload")


@pytest.mark.parametrize(
    "said",
    [
        "/run/x/holdfast-backup-a.timer:7: Failed to parse RandomizedDelaySec= value, ignoring",
        "/run/x/holdfast-backup-a.service:9: Unknown key name 'MemoryMx' in section, ignoring.",
    ],
)
def test_any_word_of_systemd_about_our_units_is_a_refusal_though_it_ends_with_0(said: str) -> None:
    def run(argv: Sequence[str]) -> tuple[int, str, str]:
        return 0, "", f"/etc/systemd/system/theirs.service:3: ignoring\n{said}\n"

    units = {"holdfast-backup-a.service": "", "holdfast-backup-a.timer": ""}
    with pytest.raises(SystemdRefused) as refusal:
        Systemd(run).judge(units, is_installed=True)
    assert "ignoring" in str(refusal.value)
    assert "theirs" not in str(refusal.value)


def test_a_message_about_other_units_is_ignored() -> None:
    def run(argv: Sequence[str]) -> tuple[int, str, str]:
        return 0, "", "/etc/systemd/system/theirs.service:3: Unknown key name, ignoring\n"

    Systemd(run).judge({"holdfast-backup-a.service": ""}, is_installed=True)


def test_before_the_first_run_a_program_that_is_not_there_yet_is_no_fault() -> None:
    def run(argv: Sequence[str]) -> tuple[int, str, str]:
        return 1, "", "holdfast-backup-a.service: Command /opt/x is not executable: No such file"

    units = {"holdfast-backup-a.service": ""}
    Systemd(run).judge(units, is_installed=False)
    with pytest.raises(SystemdRefused, match="is not executable"):
        Systemd(run).judge(units, is_installed=True)
