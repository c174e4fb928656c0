"""Odd files of operators, and how the programs that read them at boot interpret each.

Each case is the files of a host, and the result recorded from the program itself on Debian 12 and
Debian 13, which agree except for one case (noted beside it):

- systemd-sysctl 252.39 and 257.13 with `SYSTEMD_LOG_LEVEL=debug`: the writes, in their order;
- pam_limits 1.5.2 and 1.7.0 in `su postgres -s /bin/sh -c 'ulimit -Sn; ulimit -Hn'`;
- systemd-fstab-generator 252.39 and 257.13: `Options=` of the unit it makes for /srv/x;
- `udevadm test --action=add /sys/block/vda` 252.39 and 257.13: what is written to the scheduler.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from plugins.module_utils.block_devices import Disk, known_to_udev
from plugins.module_utils.login_limits import Account, entries, last_words, told
from plugins.module_utils.mount_options import fstab_line, mount_unit_name, new_complaints
from plugins.module_utils.sysctl_files import COUNTERPARTS, boot_assignments, boot_value
from plugins.module_utils.udev_rules import last_rule, queue_rules

OURS = "vm.swappiness = 10\nvm.dirty_ratio = 10\nvm.overcommit_ratio = 80\n"
MINE = "postgres - nofile 900\n"

SYSCTL: dict[str, tuple[dict[str, str], str]] = {
    "ours alone": ({}, "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80"),
    "a later file": (
        {"etc/sysctl.d/zz.conf": "vm.swappiness=60\n"},
        "vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/swappiness=60",
    ),
    "an earlier file": (
        {"etc/sysctl.d/10.conf": "vm.swappiness=60\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "a later file of the vendor": (
        {"usr/lib/sysctl.d/zz.conf": "vm.swappiness=60\n"},
        "vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/swappiness=60",
    ),
    "a file in run": (
        {"run/sysctl.d/zz.conf": "vm.swappiness=60\n"},
        "vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/swappiness=60",
    ),
    "etc hides run": (
        {"run/sysctl.d/zz.conf": "vm.swappiness=60\n", "etc/sysctl.d/zz.conf": "# off\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "run hides the vendor": (
        {"usr/lib/sysctl.d/zz.conf": "vm.swappiness=60\n", "run/sysctl.d/zz.conf": "\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "a hidden file": (
        {"etc/sysctl.d/.zz.conf": "vm.swappiness=60\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "a file of another ending": (
        {"etc/sysctl.d/zz.conf.bak": "vm.swappiness=60\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "sysctl.conf without a link": (
        {"etc/sysctl.conf": "vm.swappiness=60\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "slashes": (
        {"etc/sysctl.d/zz.conf": "vm/swappiness=60\n"},
        "vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/swappiness=60",
    ),
    "slashes to spare": (
        {"etc/sysctl.d/zz.conf": "/vm//swappiness/=60\n"},
        "vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/swappiness=60",
    ),
    "blanks and a minus": (
        {"etc/sysctl.d/zz.conf": " - vm.swappiness \t=\t 60 \n"},
        "vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/swappiness=60",
    ),
    "commented out": (
        {"etc/sysctl.d/zz.conf": "#vm.swappiness=60\n;vm.swappiness=60\n  # vm.swappiness=1\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "no value": (
        {"etc/sysctl.d/zz.conf": "vm.swappiness\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "an empty value": (
        {"etc/sysctl.d/zz.conf": "vm.swappiness=\n"},
        "vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/swappiness=",
    ),
    "taken out": (
        {"etc/sysctl.d/zz.conf": "-vm.swappiness\n"},
        "vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "taken out earlier": (
        {"etc/sysctl.d/10.conf": "-vm.swappiness\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "a pattern for a key spelt out": (
        {"etc/sysctl.d/zz.conf": "vm.swap*=60\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "a pattern for the counterpart": (
        {"etc/sysctl.d/zz.conf": "vm.dirty_byt*=40960\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/dirty_bytes=40960",
    ),
    "an earlier pattern for the counterpart": (
        {"etc/sysctl.d/10.conf": "vm.dirty_byt*=40960\n"},
        "vm/dirty_bytes=40960 vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "brackets": (
        {"etc/sysctl.d/zz.conf": "vm.dirty_byte[a-z]=40960\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/dirty_bytes=40960",
    ),
    "brackets turned round": (
        {"etc/sysctl.d/zz.conf": "vm.dirty_byte[^a-r]=40960\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/dirty_bytes=40960",
    ),
    "a question mark": (
        {"etc/sysctl.d/zz.conf": "vm.dirty_byte?=40960\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/dirty_bytes=40960",
    ),
    "braces and a star": (
        {"etc/sysctl.d/zz.conf": "vm.{dirty_byt,nothing}*=40960\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/dirty_bytes=40960",
    ),
    "braces alone": (
        {"etc/sysctl.d/zz.conf": "vm.{swappiness,dirty_bytes}=60\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/{swappiness,dirty_bytes}=60",
    ),
    "a star over a slash": (
        {"etc/sysctl.d/zz.conf": "v*dirty_bytes=40960\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "a star for the folder": (
        {"etc/sysctl.d/zz.conf": "*/dirty_bytes=40960\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/dirty_bytes=40960",
    ),
    "a pattern with an exclusion": (
        {"etc/sysctl.d/zz.conf": "vm.dirty_byt*=40960\n-vm.dirty_bytes\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "a pattern taken out": (
        {
            "etc/sysctl.d/zy.conf": "vm.dirty_byt*=40960\n",
            "etc/sysctl.d/zz.conf": "-vm.dirty_byt*\n",
        },
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "the counterpart said twice": (
        {
            "etc/sysctl.d/10.conf": "vm.dirty_bytes=40960\n",
            "etc/sysctl.d/zz.conf": "vm.dirty_bytes=40960\n",
        },
        "vm/dirty_bytes=40960 vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80",
    ),
    "the counterpart said twice otherwise": (
        {
            "etc/sysctl.d/10.conf": "vm.dirty_bytes=40960\n",
            "etc/sysctl.d/zz.conf": "vm.dirty_bytes=81920\n",
        },
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/dirty_bytes=81920",
    ),
    "a carriage return": (
        {"etc/sysctl.d/zz.conf": "vm.swappiness=60\r\n"},
        "vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/swappiness=60",
    ),
    "a value with an equals sign": (
        {"etc/sysctl.d/zz.conf": "vm.swappiness=60=1\n"},
        "vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/swappiness=60=1",
    ),
    "hexadecimal": (
        {"etc/sysctl.d/zz.conf": "vm.swappiness=0xa\n"},
        "vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/swappiness=0xa",
    ),
    "a zero for the commit limit's counterpart": (
        {"etc/sysctl.d/zz.conf": "vm.overcommit_kbytes=0\n"},
        "vm/swappiness=10 vm/dirty_ratio=10 vm/overcommit_ratio=80 vm/overcommit_kbytes=0",
    ),
}

LIMITS: dict[str, tuple[dict[str, str], str]] = {
    "ours alone": ({}, "900:900"),
    "limits.conf": ({"etc/security/limits.conf": "postgres - nofile 500\n"}, "900:900"),
    "a later file": ({"etc/security/limits.d/zz.conf": "postgres - nofile 500\n"}, "500:500"),
    "a later file, hard alone": (
        {"etc/security/limits.d/zz.conf": "postgres hard nofile 500\n"},
        "500:500",
    ),
    "everybody later": ({"etc/security/limits.d/zz.conf": "* - nofile 500\n"}, "900:900"),
    "the group later": ({"etc/security/limits.d/zz.conf": "@postgres - nofile 500\n"}, "900:900"),
    "the uid later": ({"etc/security/limits.d/zz.conf": "2001:2001 - nofile 500\n"}, "500:500"),
    "the uid, exactly": ({"etc/security/limits.d/zz.conf": ":2001 - nofile 500\n"}, "500:500"),
    "a range from below": ({"etc/security/limits.d/zz.conf": "1000: - nofile 500\n"}, "500:500"),
    "a range of others": ({"etc/security/limits.d/zz.conf": "3000:4000 - nofile 500\n"}, "900:900"),
    "capitals": ({"etc/security/limits.d/zz.conf": "postgres HARD NoFile 500\n"}, "500:500"),
    "words after the fourth": (
        {"etc/security/limits.d/zz.conf": "postgres - nofile 500 per login\n"},
        "500:500",
    ),
    "three words": ({"etc/security/limits.d/zz.conf": "postgres nofile 500\n"}, "900:900"),
    "commented out": (
        {"etc/security/limits.d/zz.conf": "#postgres - nofile 500\npostgres - # nofile 500\n"},
        "no limit at all",
    ),
    "no limits for the user": ({"etc/security/limits.conf": "postgres -\n"}, "no limit at all"),
    "no limits for everybody": ({"etc/security/limits.d/zz.conf": "* -\n"}, "900:900"),
    "no limits for the group": (
        {"etc/security/limits.d/zz.conf": "@postgres -\n"},
        "no limit at all",
    ),
    "a capital letter sorts first": (
        {"etc/security/limits.d/Zz.conf": "postgres - nofile 500\n"},
        "900:900",
    ),
    "a hidden file": ({"etc/security/limits.d/.zz.conf": "postgres - nofile 500\n"}, "900:900"),
    "another item": ({"etc/security/limits.d/zz.conf": "postgres - nproc 500\n"}, "900:900"),
}

FSTAB: dict[str, tuple[str, str]] = {
    "one line": ("tmpfs /srv/x tmpfs noatime 0 0\n", "noatime"),
    "two lines": ("tmpfs /srv/x tmpfs noatime 0 0\ntmpfs /srv/x tmpfs relatime 0 0\n", "noatime"),
    "a slash at the end": (
        "tmpfs /srv/x/ tmpfs noatime 0 0\ntmpfs /srv/x tmpfs relatime 0 0\n",
        "noatime",
    ),
    "slashes to spare": (
        "tmpfs /srv//x tmpfs noatime 0 0\ntmpfs /srv/x tmpfs relatime 0 0\n",
        "noatime",
    ),
    "a dot between": (
        "tmpfs /srv/./x tmpfs noatime 0 0\ntmpfs /srv/x tmpfs relatime 0 0\n",
        "noatime",
    ),
    "an escaped letter": (
        "tmpfs /srv/\\170 tmpfs noatime 0 0\ntmpfs /srv/x tmpfs relatime 0 0\n",
        "relatime",
    ),
    "commented out": (
        "#tmpfs /srv/x tmpfs noatime 0 0\ntmpfs /srv/x tmpfs relatime 0 0\n",
        "relatime",
    ),
    "blanks before a comment": ("  # /srv/x tmpfs\ntmpfs /srv/x tmpfs relatime 0 0\n", "relatime"),
    "no options": ("tmpfs /srv/x tmpfs\n", "defaults"),
    "no mount point": (
        "tmpfs none tmpfs noatime 0 0\ntmpfs /srv/x tmpfs relatime 0 0\n",
        "relatime",
    ),
    "tabs and blanks": ("tmpfs\t /srv/x \ttmpfs\tnoatime,nosuid\t0\n", "noatime,nosuid"),
    "a comment at the end": ("tmpfs /srv/x tmpfs noatime 0 0 # backups\n", "noatime"),
}

UDEV: dict[str, tuple[str, str]] = {
    "the disk by name": ('KERNEL=="vda", ATTR{queue/scheduler}="none"\n', "none"),
    "a pattern": ('KERNEL=="vd[a-z]", ATTR{queue/scheduler}="none"\n', "none"),
    "alternatives": ('KERNEL=="sd*|vd*", ATTR{queue/scheduler}="none"\n', "none"),
    "another disk": ('KERNEL=="sda", ATTR{queue/scheduler}="none"\n', ""),
    "all but this": ('KERNEL!="vda", ATTR{queue/scheduler}="none"\n', ""),
    "no condition": ('ATTR{queue/scheduler}="none"\n', "none"),
    "another subsystem": ('SUBSYSTEM=="net", ATTR{queue/scheduler}="none"\n', ""),
    "another action": ('ACTION=="remove", ATTR{queue/scheduler}="none"\n', ""),
    "a partition": ('ENV{DEVTYPE}=="partition", ATTR{queue/scheduler}="none"\n', ""),
    "jumped over": ('KERNEL=="vda", GOTO="end"\nATTR{queue/scheduler}="none"\nLABEL="end"\n', ""),
    "not jumped over": (
        'KERNEL!="vda", GOTO="end"\nATTR{queue/scheduler}="none"\nLABEL="end"\n',
        "none",
    ),
    "jumped over by what we cannot answer": (
        'ATTRS{nothing}!="x", GOTO="end"\nATTR{queue/scheduler}="none"\nLABEL="end"\n',
        "none",
    ),
    "an attribute of a parent": ('ATTRS{nothing}=="x", ATTR{queue/scheduler}="none"\n', ""),
    "a driver": ('DRIVERS=="?*", ATTR{queue/scheduler}="none"\n', "none"),
    "a constant": ('CONST{arch}=="x86*", ATTR{queue/scheduler}="none"\n', "none"),
    "a test of a file": ('TEST=="/etc/passwd", ATTR{queue/scheduler}="none"\n', "none"),
    "a program": ('PROGRAM=="/bin/false", ATTR{queue/scheduler}="none"\n', ""),
    "over two lines": ('KERNEL=="vda", \\\n ATTR{queue/scheduler}="none"\n', "none"),
    "a comment within": ('KERNEL=="vda", \\\n# why\n ATTR{queue/scheduler}="none"\n', "none"),
    "two of one file": (
        'KERNEL=="vda", ATTR{queue/scheduler}="bfq"\nATTR{queue/scheduler}="none"\n',
        "none",
    ),
    "blanks around": ('KERNEL == "vda" , ATTR{queue/scheduler} = "none"\n', "none"),
}
# `PROGRAM=="/bin/false"`: 252 runs it and writes nothing; 257 tests without running programs.
UNDECIDED = {
    "jumped over by what we cannot answer",
    "an attribute of a parent",
    "a driver",
    "a constant",
    "a test of a file",
    "a program",
}


def put(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


def left_by(writes: str) -> dict[str, str]:
    """The kernel's values after the writes: one of a pair zeroes the other."""
    state: dict[str, str] = {}
    for write in writes.split():
        key, _, value = write.partition("=")
        state[key] = value
        if key in COUNTERPARTS:
            state[COUNTERPARTS[key]] = "0"
    return state


@pytest.mark.parametrize("case", SYSCTL)
def test_the_next_boot_is_foreseen_as_systemd_sysctl_writes_it(case: str, tmp_path: Path) -> None:
    files, writes = SYSCTL[case]
    put(tmp_path, {"etc/sysctl.d/99-dbbackup.conf": OURS, **files})
    assigned = boot_assignments(Path("/etc/sysctl.d/99-dbbackup.conf"), root=tmp_path)
    kernel = left_by(writes)
    for key in ("vm/swappiness", "vm/dirty_ratio", "vm/overcommit_ratio"):
        found = boot_value(key, assigned)
        assert (found.value if found else None) == kernel.get(key)


@pytest.mark.parametrize("case", LIMITS)
def test_a_logins_limit_is_what_pam_limits_makes_of_the_files(case: str, tmp_path: Path) -> None:
    files, recorded = LIMITS[case]
    put(tmp_path, {"etc/security/limits.d/dbbackup.conf": MINE, **files})
    postgres = Account(name="postgres", uid=2001, gid=2001, groups=frozenset({"postgres"}))
    words = last_words(entries(tmp_path), user=postgres, item="nofile")
    # A hard limit lowers the soft one that lies above it.
    values = told(words).split(":")
    soft, hard = values[0], values[-1]
    if soft.isdigit() and hard.isdigit():
        soft = str(min(int(soft), int(hard)))
    assert (f"{soft}:{hard}" if soft.isdigit() else soft) == recorded


@pytest.mark.parametrize("case", FSTAB)
def test_the_line_of_fstab_is_the_one_that_systemd_makes_a_unit_of(case: str) -> None:
    text, recorded = FSTAB[case]
    found = fstab_line(text, point="/srv/x")
    assert found is not None
    assert ",".join(found.options) == recorded


@pytest.mark.parametrize("case", UDEV)
def test_a_rule_is_decided_as_udev_decides_it_or_said_to_be_undecided(
    case: str, tmp_path: Path
) -> None:
    text, recorded = UDEV[case]
    put(tmp_path, {"etc/udev/rules.d/99-x.rules": text})
    known = known_to_udev(Disk(name="vda", rotational="1"))
    outcome = last_rule(queue_rules(root=tmp_path), setting="scheduler", known=known)
    if case in UNDECIDED:
        assert [rule.value for rule in outcome.undecided] == ["none"]
        assert outcome.rule is None
    else:
        assert outcome.undecided == ()
        assert (outcome.rule.value if outcome.rule else "") == recorded


# By their whole paths: a test's own PATH may hold less.
ESCAPE, FINDMNT = shutil.which("systemd-escape"), shutil.which("findmnt")
POINTS = ("/", "/srv/x", "/srv/x/", "/srv//two words", "/srv/a-b", "/.x", "/srv/ä", "/a.b:c_d")


@pytest.mark.skipif(ESCAPE is None, reason="no systemd-escape here")
@pytest.mark.parametrize("point", POINTS)
def test_systemd_escape_itself_names_the_mount_unit_so(point: str) -> None:
    argv = [str(ESCAPE), "--path", "--suffix=mount", point]
    said = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == mount_unit_name(point)


@pytest.mark.skipif(FINDMNT is None, reason="no findmnt here")
@pytest.mark.parametrize(
    ("added", "complaints"), [("", 0), ("proc /proc proc ro 0 0\n", 0), ("UUID=2 /gone2 ext4\n", 1)]
)
def test_findmnt_itself_is_heard_only_for_what_is_new(
    added: str, complaints: int, tmp_path: Path
) -> None:
    gone = "UUID=1 /gone ext4 nofail 0 2\n/dev/fd0 /media/floppy auto rw,user,noauto 0 0\n"
    told = []
    for name, text in (("before", gone), ("after", gone + added)):
        table = tmp_path / name
        table.write_text(text)
        argv = [str(FINDMNT), "--verify", "--tab-file", str(table)]
        said = subprocess.run(
            argv, capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
        )
        told.append(f"{said.stdout}\n{said.stderr}")
    assert "[E]" in told[0]
    assert bool(new_complaints(*told)) is bool(complaints)
