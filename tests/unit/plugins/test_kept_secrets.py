"""The secrets of a host: exactly those that are wanted, sealed where systemd can, never shown."""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from plugins.filter.holdfast_jobs import credentials_in
from plugins.module_utils import kept_secrets
from plugins.module_utils.kept_secrets import (
    Kept,
    NotKept,
    SecretFolder,
    Systemd,
    difference,
    faults_of,
)
from plugins.modules.backup_runner_secrets import main

ROLE = Path(__file__).parents[3] / "roles/backup_runner"
VALUES = {"s3": b"geheim one", "ping": b"https://hc/geheim\n"}


class Host:
    """A host, its systemd a stand-in that seals by naming what it sealed."""

    def __init__(self, folder: Path, *, has_creds: bool = True, passes: bool = True) -> None:
        user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
        self.path = folder / "credentials"
        self.folder = SecretFolder(self.path, user=user, group=group)
        self.systemd = Systemd(self._run, "systemd-creds" if has_creds else "")
        self.called: list[Sequence[str]] = []
        self.key = "this host"
        self._passes = passes

    def _run(self, argv: Sequence[str], *, data: bytes = b"", **_: Any) -> tuple[int, Any, Any]:
        self.called.append(argv)
        if argv[0] == "systemd-run":
            (told,) = [each for each in argv if "LoadCredentialEncrypted=" in each]
            content = json.loads(Path(told.rpartition(":")[2]).read_bytes())["content"]
            return 0, content if self._passes else "", ""
        name = next(each for each in argv if each.startswith("--name="))
        if argv[1] == "encrypt":
            sealed = {"name": name, "key": self.key, "content": data.decode()}
            return 0, json.dumps(sealed).encode(), b""
        found = json.loads(Path(argv[3]).read_bytes())
        is_ours = (found["name"], found["key"]) == (name, self.key)
        return (0, found["content"].encode(), b"") if is_ours else (1, b"", b"no")

    def kept(self, values: dict[str, bytes] = VALUES, *, shared: Sequence[str] = ()) -> Kept:
        return Kept(self.folder, self.systemd, wanted=values, shared=shared)

    def brought_about(
        self, values: dict[str, bytes] = VALUES, *, shared: Sequence[str] = ()
    ) -> Kept:
        kept = self.kept(values, shared=shared)
        kept.write()
        kept.remove()
        return kept

    @property
    def files(self) -> dict[str, str]:
        return {each.name: f"{stat.S_IMODE(each.stat().st_mode):o}" for each in self.path.iterdir()}


def shown(kept: Kept) -> dict[str, str]:
    return difference(kept.present, written=kept.to_write, removed=kept.surplus)


@pytest.fixture(autouse=True)
def _as_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_secrets, "ROOT", os.getuid())
    monkeypatch.setattr(kept_secrets, "ROOT_GROUP", os.getgid())


def test_secrets_are_sealed_once_and_an_unchanged_run_writes_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path)
    kept = host.brought_about()
    assert (kept.to_write, kept.sealed) == (["ping", "s3"], ["ping", "s3"])
    assert host.files == {"s3.cred": "400", "ping.cred": "400"}
    assert stat.S_IMODE(host.path.stat().st_mode) == 0o750
    host.called.clear()
    again = host.brought_about()
    assert (again.to_write, again.surplus, again.sealed) == ([], [], ["ping", "s3"])
    assert [argv[1] for argv in host.called] == ["decrypt", "decrypt"]


def test_no_value_is_an_argument_of_a_program_or_in_the_difference(tmp_path: Path) -> None:
    host = Host(tmp_path)
    told = [shown(host.brought_about())]
    told.append(shown(host.brought_about({"s3": b"geheim two"})))
    assert "geheim" not in str(host.called) + str(told)
    assert told[1] == {
        "before": "ping\ns3: the earlier value\n",
        "after": "s3: a new value\n",
    }


def test_a_new_value_replaces_the_old_and_a_removed_secret_its_file(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.brought_about()
    (host.path / "of-somebody.txt").touch()
    kept = host.brought_about({"s3": b"geheim two"})
    assert (kept.to_write, kept.surplus) == (["s3"], ["ping.cred"])
    assert set(host.files) == {"s3.cred", "of-somebody.txt"}
    assert host.systemd.opened("s3", host.path / "s3.cred") == b"geheim two"


@pytest.mark.parametrize("lacks", ["has_creds", "passes"])
def test_without_credentials_of_systemd_they_are_files_of_the_backups_user(
    tmp_path: Path, lacks: str
) -> None:
    host = Host(tmp_path, **{lacks: False})
    assert host.brought_about().sealed == []
    assert host.files == {"s3.secret": "400", "ping.secret": "400"}
    assert (host.path / "ping.secret").read_bytes() == VALUES["ping"]
    assert host.brought_about().to_write == []


def test_without_credentials_of_systemd_one_new_value_is_one_new_file_and_foretold_as_that(
    tmp_path: Path,
) -> None:
    host = Host(tmp_path, passes=False)
    host.brought_about()
    foretold = host.kept(VALUES | {"s3": b"geheim two"})
    assert (foretold.to_write, foretold.sealed, foretold.surplus) == (["s3"], [], [])
    kept = host.brought_about(VALUES | {"s3": b"geheim two"})
    assert (kept.to_write, kept.sealed, kept.surplus) == (["s3"], [], [])


@pytest.mark.parametrize("passes", [True, False])
def test_what_units_may_still_load_stays_until_it_is_removed(tmp_path: Path, passes: bool) -> None:
    Host(tmp_path, passes=not passes).brought_about()
    host = Host(tmp_path, passes=passes)
    before = set(host.files)
    wanted = {"s3": b"geheim two"}
    first = host.kept(wanted)
    first.write()
    assert set(host.files) > before
    # A call of its own, which the first one tells the form: the old files would mislead it.
    second = Kept(host.folder, host.systemd, wanted=wanted, shared=(), sealed=bool(first.sealed))
    assert set(second.surplus) == before == set(first.surplus)
    second.remove()
    assert set(host.files) == {"s3.cred" if passes else "s3.secret"}


def test_the_role_removes_after_the_units_are_written() -> None:
    tasks = yaml.safe_load((ROLE / "tasks/main.yml").read_text())
    files = [
        each.get("ansible.builtin.import_tasks") or each["ansible.builtin.include_tasks"]
        for each in tasks
    ]
    names = [each if isinstance(each, str) else each.get("file") for each in files]
    assert names.index("secrets.yml") < names.index("change.yml") < names.index("surplus.yml")
    assert "steps: [write]" in (ROLE / "tasks/secrets.yml").read_text()


def test_a_host_whose_systemd_learned_it_gets_all_sealed_with_the_next_new_value(
    tmp_path: Path,
) -> None:
    Host(tmp_path, has_creds=False).brought_about()
    host = Host(tmp_path)
    assert host.brought_about().to_write == []
    host.brought_about(VALUES | {"s3": b"geheim two"})
    assert set(host.files) == {"s3.cred", "ping.cred"}


def test_a_shared_one_is_a_file_that_the_group_reads(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert host.brought_about(shared=["s3"]).sealed == ["ping"]
    assert host.files == {"s3.secret": "440", "ping.cred": "400"}
    assert host.brought_about(shared=["s3"]).to_write == []
    assert host.brought_about().sealed == ["ping", "s3"]
    assert set(host.files) == {"s3.cred", "ping.cred"}


def test_what_another_host_sealed_or_somebody_opened_is_written_again(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.brought_about()
    host.key = "a copy of the host"
    assert host.brought_about().to_write == ["ping", "s3"]
    (host.path / "s3.cred").chmod(0o444)
    assert host.brought_about().to_write == ["s3"]
    assert host.files["s3.cred"] == "400"


def test_a_refusal_of_systemd_leaves_what_is_there(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.brought_about()
    before = {each: each.read_bytes() for each in host.path.iterdir()}

    def refuses(argv: Sequence[str], **_: Any) -> tuple[int, Any, Any]:
        return (1, b"", b"no key") if argv[1] == "encrypt" else host.systemd.run(argv)

    kept = Kept(host.folder, Systemd(refuses, "x"), wanted={"s3": b"geheim two"}, shared=())
    with pytest.raises(NotKept, match="no key"):
        kept.write()
    assert {each: each.read_bytes() for each in host.path.iterdir()} == before


def test_an_answer_tells_the_form_by_no_name_since_ansible_masks_values_also_in_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda *_, **__: "systemd-creds")
    known: dict[str, Any] = {"secrets": {"db-password": "password"}, "user": "u", "group": "g"}
    known |= {"folder": str(tmp_path), "_ansible_check_mode": True}
    with patch_module_args(known), pytest.raises(SystemExit):
        main()
    answer = json.loads(capsys.readouterr().out)
    assert (answer["is_sealed"], answer["changed"]) == (True, True)
    assert "password" not in json.dumps(answer["diff"])


@pytest.mark.parametrize(
    ("secrets", "files", "said"),
    [
        ({"a/b": "x"}, [], "'a/b' is no name of a secret"),
        ({"..": "x"}, [], "'..' is no name of a secret"),
        ({"a": 4711}, [], "'a' is no text: quote a number"),
        ({"a": " \n"}, [], "'a' is empty"),
        ({"a": "x\0"}, [], "'a' holds a null byte"),
        ({"a": "x"}, ["b"], "'b' is no secret of this host"),
    ],
)
def test_what_cannot_be_a_secret_is_refused_without_its_value(
    secrets: dict[str, Any], files: list[str], said: str
) -> None:
    (fault,) = faults_of(secrets, files)
    assert fault.startswith(said)
    assert "4711" not in fault


def test_a_unit_loads_what_its_job_names_and_the_identity_where_backups_are_opened() -> None:
    store = {"kind": "s3", "access_key": {"credential": "s3"}, "credential": "no place"}
    job = {"source": {"password": {"credential": "db"}}, "hooks": [{"a": {"credential": "x"}}]}
    kept = ["db", "holdfast-identity", "other", "s3"]
    assert credentials_in([job, [store]], kept) == ["db", "s3"]
    assert credentials_in([[store]], kept, opens=True) == ["holdfast-identity", "s3"]
