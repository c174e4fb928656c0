"""Audit, drift, a foreign file, undo and a roll-out that fails, on the tuned containers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SCENARIO = Path(__file__).parents[1]
PROJECT = SCENARIO.parents[1]
STATE = PROJECT / ".lab/fleets/holdfast-tuning"
FILES = (
    "/etc/sysctl.d/99-dbbackup.conf",
    "/etc/security/limits.d/dbbackup.conf",
    "/etc/systemd/system/cron.service.d",
)
RECIPE = {
    "vm.overcommit_memory": "1",
    "vm.swappiness": "10",
    "vm.dirty_ratio": "10",
    "vm.dirty_background_ratio": "5",
}
AS_NOBODY = "setpriv --reuid=nobody --regid=nogroup --clear-groups"
NOT_OURS = "not this container's own (podman): it would change the machine below"


@dataclass(frozen=True)
class Played:
    """The result of a playbook."""

    code: int
    output: str


def play(name: str, hosts: str, *more: str, **variables: Any) -> Played:
    """Run one of the project's playbooks on some hosts, as an operator would."""
    asked = {
        "fleet_hosts": hosts,
        "undo_hosts": hosts,
        "tune_report_directory": str(STATE),
        "audit_directory": str(STATE),
        "tuning_snapshot_directory": str(STATE / "snapshots"),
    }
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            f"--inventory={SCENARIO / 'inventory'}",
            str(PROJECT / "playbooks" / f"{name}.yml"),
            f"--extra-vars={json.dumps(asked | variables)}",
            *more,
        ],
        cwd=PROJECT,
        env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )
    return Played(done.returncode, done.stdout + done.stderr)


def on(host: str, command: str) -> str:
    """What a shell command prints on a host."""
    argv = ["podman", "exec", f"holdfast-tuning-{host}", "sh", "-c", command]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def audited(host: str) -> list[dict[str, str]]:
    document = json.loads((STATE / f"{host}.json").read_text())
    assert document["schema"] == "holdfast.audit/1"
    rows: list[dict[str, str]] = document["rows"]
    return rows


def failing(host: str) -> set[str]:
    return {row["key"] for row in audited(host) if row["verdict"] == "FAIL"}


def tune_report(host: str) -> list[dict[str, str]]:
    document = json.loads((STATE / f"{host}.json").read_text())
    assert document["schema"] == "holdfast.tuning/1"
    rows: list[dict[str, str]] = document["rows"]
    return rows


def verdict(host: str) -> dict[str, Any]:
    """The verdict of the last tuning, as any user of the host reads it."""
    document = json.loads(on(host, f"{AS_NOBODY} cat /var/lib/holdfast-tuning/verdict.json"))
    assert document["schema"] == "holdfast.tuning-verdict/1"
    assert set(document) == {"schema", "at", "outcome", "counts", "reasons"}
    return dict(document)


@pytest.fixture(scope="module")
def audit() -> Played:
    return play("audit", "databases")


def test_an_audit_of_tuned_hosts_passes_and_leaves_table_and_document(audit: Played) -> None:
    assert audit.code == 0, audit.output
    for host in ("own12", "plain13", "privileged12", "privileged13"):
        assert failing(host) == set()
        assert "PASS" in (STATE / f"{host}.txt").read_text()


@pytest.mark.usefixtures("audit")
def test_keys_of_its_own_are_set_in_all_three_layers() -> None:
    rows = {row["key"]: row for row in audited("own12") if row["role"] == "sysctl"}
    assert {key: row["live"] for key, row in rows.items()} == RECIPE
    for row in rows.values():
        assert (row["verdict"], row["file"], row["boot"]) == ("PASS", row["wanted"], row["wanted"])


@pytest.mark.usefixtures("audit")
@pytest.mark.parametrize("host", ["plain13", "privileged12", "privileged13"])
def test_a_container_skips_the_machines_keys_with_and_without_privilege(host: str) -> None:
    rows = [row for row in audited(host) if row["role"] == "sysctl"]
    assert {row["key"] for row in rows} == set(RECIPE)
    assert {(row["verdict"], row["reason"]) for row in rows} == {("SKIP", NOT_OURS)}
    for key in RECIPE:
        below = Path("/proc/sys", key.replace(".", "/")).read_text().strip()
        assert on(host, f"sysctl -n {key}") == below


def test_root_could_have_written_the_machines_keys_where_it_did_not() -> None:
    # Without this the two privileged hosts would prove nothing.
    assert on("privileged12", "test -w /proc/sys/vm/swappiness && echo yes") == "yes"


@pytest.mark.usefixtures("audit")
def test_overcommit_1_beside_a_postgresql_is_told_as_the_conflict_it_is() -> None:
    (row,) = [row for row in audited("plain13") if row["key"] == "vm.overcommit_memory"]
    assert row["risk"].startswith("conflict: PostgreSQL's manual asks for 2")


def test_an_unchanged_run_leaves_a_verdict_and_counts_no_change() -> None:
    before = verdict("plain13")
    assert (before["outcome"], before["reasons"]) == ("ok", [])
    told = play("tune", "plain13")
    assert told.code == 0
    assert "changed=0" in told.output.partition("plain13  ")[2]
    after = verdict("plain13")
    assert after["at"] > before["at"]
    assert (after["counts"]["changed"], after["counts"]["skipped"] > 0) == (0, True)
    assert sum(after["counts"].values()) == len(tune_report("plain13"))


def test_tags_that_name_a_step_run_it_alone() -> None:
    on("own12", "sysctl -w vm.swappiness=11")
    assert play("tune", "own12", "--tags=sysctl_preflight").code == 0
    looked = play("tune", "own12", "--tags=sysctl_verify")
    assert looked.code != 0
    assert "cannot keep 'vm.swappiness' at '10'" in " ".join(looked.output.split())
    assert on("own12", "sysctl -n vm.swappiness") == "11"
    assert play("tune", "own12", "--tags=sysctl_configure").code == 0
    assert on("own12", "sysctl -n vm.swappiness") == "10"


def test_drift_is_found_by_the_audit_foreseen_by_check_mode_and_repaired_by_a_run() -> None:
    # A plain remount would apply the options of fstab too, which is no drift.
    remount = "mount --options-mode=ignore -o remount,bind,rw,relatime /var/lib/holdfast"
    on("own12", f"sysctl -w vm.swappiness=11 && {remount}")
    looked = play("audit", "own12")
    assert looked.code == 2
    drifted = failing("own12")
    assert {"vm.swappiness", "/var/lib/holdfast noatime"} <= drifted
    before = verdict("own12")
    play("tune", "own12", "--check", "--diff")
    assert verdict("own12") == before
    assert {row["key"] for row in tune_report("own12") if row["state"] == "changed"} == drifted
    reported = play("tune", "own12", tuning_verify="report")
    assert reported.code == 0
    assert on("own12", "sysctl -n vm.swappiness") == "11"
    assert play("tune", "own12").code == 0
    (row,) = [row for row in tune_report("own12") if row["key"] == "vm.swappiness"]
    assert (row["state"], row["reason"], row["live"]) == ("changed", "was '11'", "10")


def test_a_later_file_that_wins_fails_the_run_by_path_and_line() -> None:
    on("own12", "printf '# why\\nvm.swappiness = 1\\n' > /etc/sysctl.d/zz-site.conf")
    try:
        told = play("tune", "own12", "--tags=sysctl")
        assert told.code != 0
        assert "/etc/sysctl.d/zz-site.conf:2 is read after" in " ".join(told.output.split())
        failed = verdict("own12")
        assert failed["outcome"] == "failed"
        assert "/etc/sysctl.d/zz-site.conf:2 is read after" in failed["reasons"][0]
        assert play("audit", "own12").code == 2
        assert failing("own12") == {"vm.swappiness"}
    finally:
        on("own12", "rm /etc/sysctl.d/zz-site.conf")


def test_undo_puts_back_files_and_live_values_and_a_second_one_changes_nothing() -> None:
    assert play("undo", "own12").code == 0
    for path in FILES:
        assert on("own12", f"test -e {path} || echo absent") == "absent"
    for key in RECIPE:
        # The private copy was made of the machine's values when the host was started.
        below = Path("/proc/sys", key.replace(".", "/")).read_text().strip()
        assert on("own12", f"sysctl -n {key}") == below
    assert on("own12", "test -e /var/lib/holdfast-tuning/verdict.json || echo none") == "none"
    assert "noatime" not in on("own12", "cat /etc/fstab; findmnt -no OPTIONS /var/lib/holdfast")
    again = play("undo", "own12")
    assert again.code == 0
    assert "changed=0" in again.output.partition("own12  ")[2]


def test_what_was_there_before_is_kept_for_root_alone_and_fetched() -> None:
    snapshots = "find /var/lib/holdfast-tuning -name '*.json' ! -name verdict.json"
    assert set(on("plain13", f"{snapshots} -exec stat -c %a {{}} +").split()) == {"600"}
    assert on("plain13", f"{AS_NOBODY} ls /var/lib/holdfast-tuning 2>&1 || true").endswith("denied")
    kept = json.loads(on("plain13", "cat /var/lib/holdfast-tuning/tasksmax.json"))
    # An earlier host of this name has a folder of its own.
    machine = on("plain13", "cat /etc/machine-id")[:12]
    fetched = STATE / f"snapshots/plain13-{machine}/tasksmax.json"
    assert json.loads(fetched.read_text()) == kept


def test_a_canary_that_is_not_well_is_undone_and_the_next_wave_never_starts() -> None:
    # own12 was undone above and comes first; privileged12 stands for the rest of the fleet.
    before = on("privileged12", "stat -c %Y /etc/systemd/system/cron.service.d/*")
    told = play(
        "tune",
        "own12:privileged12",
        fleet_waves=[1, "100%"],
        tuning_health_commands=[["test", "-e", "/no/such/file"]],
        tuning_undo_on_failure=True,
    )
    assert told.code != 0
    assert "cannot call the host healthy: test -e /no/such/file" in " ".join(told.output.split())
    assert on("own12", f"test -e {FILES[0]} || echo absent") == "absent"
    assert verdict("own12")["reasons"] == [
        "cannot call the host healthy: test -e /no/such/file: exit status 1"
    ]
    # The playbook counts the hosts of both waves, and ends after the first.
    waves = told.output.partition("PLAY [Tune, wave by wave]")[2].partition("PLAY RECAP")[0]
    assert "[own12]" in waves
    assert "[privileged12]" not in waves
    assert on("privileged12", "stat -c %Y /etc/systemd/system/cron.service.d/*") == before


def test_a_profile_without_wishes_takes_out_what_an_earlier_one_put_in() -> None:
    assert play("tune", "own12").code == 0
    assert play("tune", "own12", tuning_profile="none").code == 0
    for path in FILES[:2]:
        assert on("own12", f"test -e {path} || echo absent") == "absent"
    assert (
        on("own12", "sysctl -n vm.swappiness")
        == Path("/proc/sys/vm/swappiness").read_text().strip()
    )
