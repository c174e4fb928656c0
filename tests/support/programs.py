"""The programs that unit tests may call; a host may have more."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from lab.state import TOOLS

# From packages that every Debian has.
ESSENTIAL = (
    *("base64", "basename", "bash", "cat", "chmod", "chown", "cmp", "cp", "cut", "date", "dd"),
    *("df", "diff", "dirname", "du", "echo", "env", "false", "find", "grep", "gzip", "head"),
    *("id", "kill", "ln", "ls", "mkdir", "mkfifo", "mktemp", "mount", "mv", "nohup", "printf"),
    *("ps", "pwd", "readlink", "rm", "rmdir", "sed", "seq", "setpriv", "sh", "sha256sum"),
    *("sleep", "sort", "stat", "stty", "sync", "tail", "tar", "tee", "test", "timeout", "touch"),
    *("tr", "true", "truncate", "umount", "uname", "uniq", "unshare", "wc", "xargs", "yes"),
)
# Programs that must be able to read what we store, and the judge of our alerts, each with its
# package.
STOCK = {
    "age": "age",
    "age-keygen": "age",
    "b3sum": "b3sum",
    "jq": "jq",
    "openssl": "openssl",
    "promtool": "prometheus",
    "python3": "python3-minimal",
    "ssh-keygen": "openssh-client",
    "zstd": "zstd",
}
# The `python3` of a version manager only works beside its own programs.
PLACES = ("/usr/bin", "/bin", str(TOOLS))


def link(folder: Path, names: Sequence[str]) -> Path:
    """A folder for PATH with these programs, as far as this host has them, and nothing else."""
    places = os.pathsep.join([*PLACES, os.environ.get("PATH", os.defpath)])
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if found := shutil.which(name, path=places):
            (folder / name).symlink_to(found)
    return folder
