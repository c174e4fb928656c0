"""Words in units keep their meaning, and a transient unit has the settings of its model."""

from __future__ import annotations

import pytest

from plugins.module_utils.unit_text import directives, sibling, word

SERVICE = """\
# Ansible managed
[Unit]
Description=Backup of shop
RequiresMountsFor="/srv/my backups"
OnFailure=mail@%n.service

[Service]
Type=oneshot
User=holdfast
ExecStart=/opt/holdfast/current/bin/holdfast backup shop
ExecStart=/opt/holdfast/current/bin/holdfast \\
    prune shop
ExecStopPost=-/opt/holdfast/current/bin/python -m holdfast.runtime.named_pipes
ExecStopPost=/usr/local/bin/tell-somebody
SuccessExitStatus=40
TimeoutStartSec=2h 5min
LoadCredential=s3:/etc/holdfast/s3
ReadWritePaths="/srv/my backups"
"""
DROP_IN = "[Service]\nMemoryMax=1G\n"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("/var/lib/holdfast", "/var/lib/holdfast"),
        ("/srv/my backups", '"/srv/my backups"'),
        ("/srv/100%", '"/srv/100%%"'),
        ('say "no"', '"say \\"no\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("", '""'),
    ],
)
def test_a_word_of_a_directive_keeps_its_blanks_and_means_no_specifier(
    text: str, written: str
) -> None:
    assert word(text) == written


def test_a_dollar_begins_a_variable_only_in_a_command() -> None:
    assert (word("a$b"), word("a$b", command=True)) == ('"a$b"', '"a$$b"')


def test_a_transient_unit_keeps_everything_but_the_command_and_the_units_it_triggers() -> None:
    made = sibling(
        [SERVICE, DROP_IN], ["/bin/holdfast", "check", "shop"], output="/run/x", as_root=False
    )
    service = list(directives(made, "Service"))
    assert [line for line in service if line.startswith("Exec")] == [
        "ExecStopPost=-/opt/holdfast/current/bin/python -m holdfast.runtime.named_pipes",
        "ExecStart=/bin/holdfast check shop",
    ]
    assert {"User=holdfast", "LoadCredential=s3:/etc/holdfast/s3", "MemoryMax=1G"} <= set(service)
    assert 'ReadWritePaths="/srv/my backups"' in service
    assert "SuccessExitStatus=40" not in service
    assert "TimeoutStartSec=infinity" in service
    assert "OnFailure" not in made
    assert "prune" not in made


@pytest.mark.parametrize("as_root", [False, True])
def test_no_later_command_of_the_unit_empties_the_output(as_root: bool) -> None:
    """systemd opens the files again for `ExecStopPost=`, and `truncate:` would empty them."""
    made = sibling([SERVICE, DROP_IN], ["/bin/holdfast"], output="/run/x", as_root=as_root)
    written = {line for line in directives(made, "Service") if line.startswith("Standard")}
    assert written == {"StandardOutput=append:/run/x.out", "StandardError=append:/run/x.err"}


def test_as_root_only_the_secrets_of_the_job_are_kept() -> None:
    made = sibling([SERVICE, DROP_IN], ["/bin/holdfast", "restore"], output="/run/x", as_root=True)
    service = list(directives(made, "Service"))
    assert "LoadCredential=s3:/etc/holdfast/s3" in service
    assert not any(line.startswith(("User=", "MemoryMax=", "ReadWritePaths=")) for line in service)
