"""Encrypted and signed backups outside their first repository: copies, logs, pruning."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine


@pytest.fixture
def two(cli: CommandLine) -> CommandLine:
    """Two signed and encrypted backups in `main`; `offsite` trusts their key and signs nothing."""
    recipient = _made(cli, "identity")
    public = _made(cli, "signing")
    (cli.folder / "offsite").mkdir()
    key_file = f"key_file: {cli.folder / 'signing'}"
    _configure(cli, recipient, main=key_file, offsite=f'public_keys: ["{public}"]')
    for _ in "12":
        assert cli.holdfast("backup", "shop").exit_code == 0
    return cli


def _made(cli: CommandLine, kind: str, name: str = "") -> str:
    return cli.bare("keys", kind, str(cli.folder / (name or kind))).stdout.strip()


def _configure(cli: CommandLine, recipient: str, *, main: str, offsite: str) -> None:
    jobs = cli.config.read_text().partition("\njobs:")[2]
    sealed = f"encryption: {{recipients: [{recipient}]}}"
    cli.config.write_text(
        f"state_directory: {cli.folder / 'state'}\n"
        "repositories:\n"
        f"  main: {{kind: local, path: {cli.repository}, {sealed}, authentication: {{{main}}}}}\n"
        f"  offsite: {{kind: local, path: {cli.folder / 'offsite'},"
        f" authentication: {{{offsite}}}}}\n"
        f"jobs:{jobs}"
    )


def _stored(folder: Path) -> dict[str, bytes]:
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in (folder / "shop").rglob("*")
        if path.is_file()
    }
    assert found
    return found


def test_a_copy_keeps_the_signature_of_the_host_that_made_the_backup(two: CommandLine) -> None:
    """The target has only the public key: nothing is signed again on the way."""
    assert two.holdfast("copy", "shop", "--to", "offsite").exit_code == 0
    assert _stored(two.folder / "offsite") == _stored(two.repository)
    assert two.holdfast("--repository", "offsite", "verify", "shop/latest").exit_code == 0


def test_what_the_target_would_not_believe_is_not_copied(two: CommandLine) -> None:
    stranger = _made(two, "signing", "other")
    text = two.config.read_text()
    before, after = text.split('public_keys: ["')
    two.config.write_text(f'{before}public_keys: ["{stranger}"]{after.partition("]")[2]}')
    answer = two.holdfast("copy", "shop", "--to", "offsite", "--json")
    assert answer.exit_code == 56
    problems = [each["problem"] for each in answer.document["backups"]]
    assert ["which is not a trusted key" in problem for problem in problems] == [True, True]
    assert not (two.folder / "offsite" / "shop").exists()


def test_a_manifest_that_nobody_signed_is_not_copied_either(two: CommandLine) -> None:
    path = max(two.repository.glob("shop/*/manifest.json"))
    path.write_bytes(path.read_bytes().replace(b'"rows": 2', b'"rows": 3', 1))
    answer = two.holdfast("copy", "shop", "--to", "offsite")
    assert answer.exit_code == 31
    assert [each.parent.name for each in two.folder.glob("offsite/shop/*/manifest.json")] == [
        min(two.repository.glob("shop/*")).name
    ]


def test_a_host_that_only_prunes_signs_nothing(two: CommandLine) -> None:
    two.holdfast("copy", "shop", "--to", "offsite")
    assert two.holdfast("--repository", "offsite", "prune").exit_code == 0
    assert len(list(two.folder.glob("offsite/shop/*/manifest.json"))) == 1


def test_the_ledger_says_what_it_did_not_open(two: CommandLine) -> None:
    answer = two.holdfast("verify", "shop", "--level", "ledger")
    assert (answer.exit_code, "4 of them are encrypted" in answer.stdout) == (0, True)
    identity = ("--identity", str(two.folder / "identity"))
    (job,) = two.holdfast("verify", "shop", "--level", "ledger", "--json", *identity).document[
        "jobs"
    ]
    assert (job["parts"], job["unopened"]) == (4, 0)


def test_reading_one_repository_proves_nothing_of_another(two: CommandLine) -> None:
    two.holdfast("copy", "shop", "--to", "offsite")
    (first, *_) = two.holdfast("list", "shop", "--json").document["backups"][::-1]
    assert two.holdfast("--repository", "offsite", "verify", first["backup"]).exit_code == 0

    def reasons(*options: str) -> dict[str, str]:
        (job,) = two.holdfast(*options, "prune", "shop", "--dry-run", "--json").document["jobs"]
        return {each["backup"]: each["because"] for each in job["verdicts"]}

    assert reasons()[first["backup"]] != reasons("--repository", "offsite")[first["backup"]]
