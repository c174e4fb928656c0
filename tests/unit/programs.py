"""The programs that unit tests may call: a host may have any others beside them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

# Of packages without which there is no Debian.
ESSENTIAL = (
    *("base64", "bash", "cat", "chmod", "cp", "cut", "echo", "env", "false", "grep", "gzip"),
    *("head", "id", "kill", "ls", "mkdir", "mv", "nohup", "printf", "rm", "sed", "sh"),
    *("sha256sum", "sleep", "sort", "tail", "touch", "tr", "true", "wc"),
)
# What must be able to read what we store, each with the package that brings it.
STOCK = {
    "age": "age",
    "age-keygen": "age",
    "jq": "jq",
    "openssl": "openssl",
    "python3": "python3-minimal",
    "ssh-keygen": "openssh-client",
    "zstd": "zstd",
}
# A version manager's `python3` works only beside its own programs.
PLACES = ("/usr/bin", "/bin")


def link(folder: Path, names: Sequence[str]) -> Path:
    """A folder for PATH with these programs, as far as this host has them, and nothing else."""
    places = os.pathsep.join([*PLACES, os.environ.get("PATH", os.defpath)])
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if found := shutil.which(name, path=places):
            (folder / name).symlink_to(found)
    return folder
