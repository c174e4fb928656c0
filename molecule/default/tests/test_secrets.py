"""Secrets reach a host from Ansible Vault and its jobs by systemd, and show nowhere."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SCENARIO = Path(__file__).parents[1]
PROJECT = SCENARIO.parents[1]
PROGRAMS = Path(sys.executable).parent
PLAYED_ON = [each for each in os.environ.get("HOLDFAST_MOLECULE_HOSTS", "").split(",") if each]
HOST = next((name for name in PLAYED_ON if name.startswith("pg")), "pg13")
DSN = "host=/run/postgresql dbname=shop user=holdfast"
TAGS = "backup_runner_install,backup_runner_configure,backup_runner_check"
KEPT = "/etc/holdfast/credentials"
# Before the real one in everybody's PATH.
SEALS = "/usr/local/bin/systemd-creds"
# What a run leaves on a host, and what this test gathers there.
SHOWN = ("etc/systemd", "run/systemd", "etc/holdfast", "var/lib/holdfast-state", "var/log", "root",
         "tmp", "var/tmp", "run/argv")  # fmt: skip


def run(*argv: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd=PROJECT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        **more,
    )  # fmt: skip


def on_host(*argv: str) -> str:
    done = run(sys.executable, "-m", "lab", "exec", SCENARIO / "inventory", HOST, "--", *argv)
    return done.stdout


def shell(line: str) -> str:
    return on_host("sh", "-c", line)


@dataclass
class Site:
    """The inventory of a site whose secrets are in a file of Ansible Vault."""

    folder: Path
    values: dict[str, str]
    public: dict[str, str]
    more: dict[str, Any] = field(default_factory=dict)

    def deployed(self, *options: str) -> str:
        """What a run prints that shows all that Ansible can show."""
        vault, password = self.folder / "vault.yml", self.folder / "password"
        password.write_text("word of the vault")
        vault.write_text(json.dumps({f"vault_{_plain(n)}": v for n, v in self.values.items()}))
        vault.chmod(0o600)
        program = PROGRAMS / "ansible-vault"
        assert run(program, "encrypt", f"--vault-password-file={password}", vault).returncode == 0
        done = run(
            *(PROGRAMS / "ansible-playbook", "-i", SCENARIO / "inventory", "--limit", HOST),
            *("--tags", TAGS, f"-e{json.dumps(self.variables)}", f"-e@{vault}"),
            *(f"--vault-password-file={password}", *options, PROJECT / "playbooks/deploy.yml"),
            env=os.environ
            | {
                "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
                "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "true",
                "COLUMNS": "1000",
            },
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def variables(self) -> dict[str, Any]:
        authentication = {"key": {"credential": "signing-key"}}
        store = {"kind": "local", "path": "/var/lib/holdfast/sealed"}
        store |= {"authentication": authentication}
        store |= {"encryption": {"recipients": [self.public["holdfast-identity"]]}}
        hook = {"kind": "webhook", "url": "http://127.0.0.1:8099/told"}
        hook |= {"secret": {"credential": "hook-secret"}}
        job = {"source": {"kind": "postgres", "dsn": DSN}, "repository": "sealed"}
        return {
            "backup_runner_repositories": {
                "main": {"kind": "local", "path": "/var/lib/holdfast"},
                "sealed": store,
            },
            "backup_runner_jobs_sealed": {
                "sealed": job | {"notify": {"hook": hook}, "verify": {"schedule": "05:00"}}
            },
            "backup_runner_secrets": {n: f"{{{{ vault_{_plain(n)} }}}}" for n in self.values},
            **self.more,
        }

    def needles(self) -> list[str]:
        """A line of each value that nothing else could hold."""
        return [max(value.splitlines(), key=len) for value in self.values.values()]


def _plain(name: str) -> str:
    return name.replace("-", "_")


def holds(content: bytes, needles: list[str]) -> bool:
    return any(each.encode() in content for each in needles)


def changes(told: str) -> int:
    found = re.search(rf"^{HOST} .*changed=(\d+)", told, re.MULTILINE)
    assert found, told
    return int(found[1])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    values, public = {"hook-secret": f"geheim-{secrets.token_hex(12)}"}, {}
    for name, kind in (("signing-key", "signing"), ("holdfast-identity", "identity")):
        path = tmp_path / name
        public[name] = run(PROGRAMS / "holdfast", "keys", kind, path).stdout.strip()
        values[name] = path.read_text()
    shell("rm -rf /var/lib/holdfast/sealed")
    yield Site(tmp_path, values, public)
    shell(f"systemctl stop argv-watch; rm -f {SEALS}; mount --make-rprivate /; rm -rf /run/argv")
    run(
        *(PROGRAMS / "ansible-playbook", "-i", SCENARIO / "inventory", "--limit", HOST),
        *("--tags", TAGS, PROJECT / "playbooks/deploy.yml"),
        env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
    )
    assert shell(f"ls {KEPT}") == ""


def watch_arguments() -> None:
    """Gather the arguments and the environment of programs for as long as the test runs.

    Of all processes now and then, and of each call of the one that seals.
    """
    line = "while sleep 0.2; do cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null"
    line += " | tr '\\0' '\\n' | sort -u - /run/argv/all -o /run/argv/all; done"
    shell("mkdir -p /run/argv; touch /run/argv/all")
    on_host("systemd-run", "--quiet", "--unit=argv-watch", "--nice=10", "/bin/sh", "-c", line)
    program = '#!/bin/sh\n{ echo "$@"; env; } >> /run/argv/creds\n'
    program += 'exec /usr/bin/systemd-creds "$@"\n'
    shell(f"printf '%b' '{program}' > {SEALS}; chmod 0755 {SEALS}")


def shown_on_host() -> dict[str, bytes]:
    """The files of the host that could show a secret, its journal and all arguments among them.

    They are searched here: a search on the host would have the secrets as its argument.
    """
    shell("systemctl stop argv-watch; journalctl --quiet --output=export > /run/argv/journal")
    line = f"tar -c -C / --ignore-failed-read {' '.join(SHOWN)} 2>/dev/null"
    argv = [
        sys.executable,
        "-m",
        "lab",
        "exec",
        SCENARIO / "inventory",
        HOST,
        "--",
        "sh",
        "-c",
        line,
    ]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, check=False)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        files = [(each.name, archive.extractfile(each)) for each in archive if each.isfile()]
        return {name: file.read() for name, file in files if file is not None}


def test_secrets_of_the_vault_reach_the_units_and_are_seen_nowhere(site: Site) -> None:
    # As on a host of its own: without this the systemd of a container cannot hand over credentials.
    shell("mount --make-rshared /")
    watch_arguments()
    told = site.deployed("-vvv", "--diff")
    needles = site.needles()
    files = shell(f"stat -c '%n %a %U' {KEPT}/*").split("\n")[:-1]
    assert files == [
        f"{KEPT}/{name}.cred 400 root"
        for name in ("holdfast-identity", "hook-secret", "signing-key")
    ]
    assert [each for each in needles if each in told] == []
    unit = on_host("cat", "/etc/systemd/system/holdfast-backup-sealed.service")
    assert "LoadCredentialEncrypted=signing-key:" in unit
    assert "LoadCredentialEncrypted=hook-secret:" in unit
    # What opens backups is not given to what only makes them.
    assert "holdfast-identity" not in unit
    on_host("systemctl", "start", "holdfast-backup-sealed.service")
    on_host("systemctl", "start", "holdfast-verify-sealed.service")
    results = shell("systemctl show -P Result holdfast-backup-sealed holdfast-verify-sealed")
    assert results.split() == ["success", "success"], shell(
        "journalctl -u 'holdfast-*-sealed' -n 40"
    )
    # By hand, root needs to name nothing: neither the key that proves the backup, nor the identity.
    listed = json.loads(on_host("holdfast", "list", "sealed", "--json"))
    (backup,) = listed["backups"]
    verified = shell("cd / && holdfast verify sealed/latest 2>&1")
    assert "only their stored bytes" not in verified, verified
    assert backup["encryption"] == "age"
    shown = shown_on_host()
    assert [name for name, content in shown.items() if holds(content, needles)] == []
    # What the search should see, it does see.
    for name in ("run/argv/all", "run/argv/journal", "etc/holdfast/holdfast.yaml"):
        assert holds(shown[name], ["holdfast"]), name
    assert holds(shown["run/argv/creds"], ["encrypt --with-key=host --name=signing-key - -"])
    assert changes(site.deployed("--check", "--diff", "-vvv")) == 0
    assert changes(site.deployed()) == 0


def test_a_new_value_restarts_nothing_and_a_removed_secret_leaves_no_file(site: Site) -> None:
    shell("mount --make-rshared /")
    site.more = {"backup_runner_sessions_enabled": True}
    site.deployed()
    process = on_host("systemctl", "show", "-P", "MainPID", "holdfast-sessiond").strip()
    before = on_host("cat", f"{KEPT}/hook-secret.cred")
    site.values["hook-secret"] = f"geheim-{secrets.token_hex(12)}"
    predicted = site.deployed("--check", "--diff", "-vvv")
    assert "hook-secret has a new value" in predicted
    assert on_host("cat", f"{KEPT}/hook-secret.cred") == before
    told = site.deployed("--diff", "-vvv")
    assert changes(told) == changes(predicted) == 1
    assert [each for each in site.needles() if each in told + predicted] == []
    sealed = f"{KEPT}/hook-secret.cred"
    opened = on_host("systemd-creds", "decrypt", "--name=hook-secret", sealed, "-")
    assert opened == site.values["hook-secret"]
    assert on_host("systemctl", "show", "-P", "MainPID", "holdfast-sessiond").strip() == process
    del site.values["holdfast-identity"]
    site.deployed()
    assert shell(f"ls {KEPT}").split() == ["hook-secret.cred", "signing-key.cred"]
    unit = on_host("cat", "/etc/systemd/system/holdfast-verify-sealed.service")
    assert "holdfast-identity" not in unit


def test_where_systemd_hands_over_nothing_they_are_files_of_the_backups_user(site: Site) -> None:
    told = site.deployed("-vvv", "--diff")
    assert [each for each in site.needles() if each in told] == []
    files = set(shell(f"stat -c '%n %a %U' {KEPT}/*").split("\n")[:-1])
    assert f"{KEPT}/signing-key.secret 400 holdfast" in files
    on_host("systemctl", "start", "holdfast-backup-sealed.service")
    result = on_host("systemctl", "show", "-P", "Result", "holdfast-backup-sealed.service")
    assert result.strip() == "success"
    assert changes(site.deployed()) == 0
