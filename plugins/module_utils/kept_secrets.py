"""Secrets on a host: sealed with its key for systemd's credentials, or files of one user."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

# What the runner looks for: `holdfast.config.credentials`.
SEALED, PLAIN = ".cred", ".secret"
PROBE = "holdfast-probe"
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
# systemd gives a unit at most 1 MiB of credentials.
MOST_BYTES = 1 << 19
OWNER_READS, GROUP_READS, FOLDER_MODE = 0o400, 0o440, 0o750
ROOT, ROOT_GROUP = 0, 0


class NotKept(Exception):
    """systemd refused to seal a secret, or there is no such user."""


def faults_of(secrets: Mapping[Any, Any], files: Iterable[str]) -> list[str]:
    """What is wrong with the variable, without any value in the words."""
    found = [f"'{name}' is no name of a secret" for name in secrets if not _is_name(name)]
    for name, text in secrets.items():
        if not isinstance(text, str):
            found.append(f"'{name}' is no text: quote a number")
        elif not text.strip():
            found.append(f"'{name}' is empty")
        elif "\0" in text or len(text.encode()) > MOST_BYTES:
            found.append(f"'{name}' holds a null byte, or more than {MOST_BYTES >> 10} KiB")
    found += [f"'{name}' is no secret of this host" for name in files if name not in secrets]
    return found


def _is_name(name: object) -> bool:
    return isinstance(name, str) and NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Systemd:
    """`systemd-creds` at `program`, empty where the host has none (before systemd 250)."""

    run: Callable[..., tuple[int, Any, Any]]
    program: str

    def sealed(self, name: str, content: bytes) -> bytes:
        """`content`, which only this host can open; it goes through a pipe. Raises `NotKept`."""
        # Not with a TPM: an update of the firmware could then cost the key to a bucket.
        argv = [self.program, "encrypt", "--with-key=host", f"--name={name}", "-", "-"]
        code, found, errors = self.run(argv, data=content, binary_data=True, encoding=None)
        if code != 0:
            raise NotKept(f"systemd-creds refused '{name}': {errors.decode(errors='replace')}")
        return bytes(found)

    def opened(self, name: str, path: Path) -> bytes | None:
        """What was sealed; None for a file of another host, or one that is damaged."""
        if not self.program:
            return None
        argv = [self.program, "decrypt", f"--name={name}", str(path), "-"]
        code, found, _unused = self.run(argv, encoding=None)
        return bytes(found) if code == 0 else None

    def passes(self, folder: SecretFolder) -> bool:
        """Whether a unit of the backup's user gets what it loads.

        The systemd of a container that may not mount for its units hands over nothing.
        """
        if not self.program:
            return False
        word = token_hex(16)
        path = folder.path / f".{PROBE}{SEALED}"
        folder.write(path.name, self.sealed(PROBE, word.encode()), shared=False)
        try:
            argv = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect"]
            argv += [f"--property=User={folder.user}", "--property=ProtectSystem=strict"]
            argv += [f"--property=LoadCredentialEncrypted={PROBE}:{path}"]
            code, found, _unused = self.run(
                [*argv, "/bin/sh", "-c", f'cat "$CREDENTIALS_DIRECTORY/{PROBE}"']
            )
        finally:
            path.unlink()
        return code == 0 and str(found).strip() == word


@dataclass(frozen=True, slots=True)
class SecretFolder:
    """The folder of the secrets: root's, and the group may look into it."""

    path: Path
    user: str
    group: str

    def present(self) -> set[str]:
        """The names of our files; all others are left alone."""
        if not self.path.is_dir():
            return set()
        return {
            each.name
            for each in self.path.iterdir()
            if each.suffix in (SEALED, PLAIN) and _is_name(each.stem)
        }

    def has(self, name: str, *, shared: bool) -> bool:
        """Whether the file has the owner and the mode that it should have."""
        try:
            found = (self.path / name).stat(follow_symlinks=False)
        except FileNotFoundError:
            return False
        owner, group, mode = self._access(name, shared=shared)
        is_file = stat.S_ISREG(found.st_mode)
        return is_file and (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (
            owner, group, mode,
        )  # fmt: skip

    def write(self, name: str, content: bytes, *, shared: bool) -> None:
        """Write the file, whole or not at all, never readable for more users than it should be."""
        self._make()
        owner, group, mode = self._access(name, shared=shared)
        # A file of `tempfile` has the mode 0600 from its first moment.
        with tempfile.NamedTemporaryFile(dir=self.path, prefix=".new-", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fchown(file.fileno(), owner, group)
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
                Path(file.name).replace(self.path / name)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

    def remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def _access(self, name: str, *, shared: bool) -> tuple[int, int, int]:
        """Owner, group and mode: the backup's user opens no sealed file, systemd does."""
        if name.endswith(SEALED):
            return ROOT, ROOT_GROUP, OWNER_READS
        group = self._group()
        return (ROOT, group, GROUP_READS) if shared else (self._user(), group, OWNER_READS)

    def _make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(self.path, ROOT, self._group())
        self.path.chmod(FOLDER_MODE)

    def _user(self) -> int:
        try:
            return pwd.getpwnam(self.user).pw_uid
        except KeyError:
            raise NotKept(f"there is no user '{self.user}'") from None

    def _group(self) -> int:
        try:
            return grp.getgrnam(self.group).gr_gid
        except KeyError:
            raise NotKept(f"there is no group '{self.group}'") from None


class Kept:
    """The wanted secrets against what the host has.

    Those of `shared` are files for the whole group, such as a server that archives WAL itself. All
    others have one form; `sealed` is the one that an earlier call has chosen.
    """

    def __init__(
        self,
        folder: SecretFolder,
        systemd: Systemd,
        *,
        wanted: Mapping[str, bytes],
        shared: Collection[str],
        sealed: bool | None = None,
    ) -> None:
        self._folder = folder
        self._systemd = systemd
        self._wanted = wanted
        self._shared = frozenset(shared)
        self.present = folder.present()
        self._form = self._form_found() if sealed is None else SEALED if sealed else PLAIN
        self.to_write = self._differing()

    @property
    def sealed(self) -> list[str]:
        """The secrets that units load."""
        return sorted(name for name in self._wanted if self._form_of(name) == SEALED)

    @property
    def surplus(self) -> list[str]:
        """Our files that hold no wanted secret, or hold it in the other form."""
        return sorted(self.present - {f"{name}{self._form_of(name)}" for name in self._wanted})

    def write(self) -> None:
        """Write what differs; raises `NotKept`. What units may still load stays."""
        if set(self.to_write) - self._shared:
            form = SEALED if self._systemd.passes(self._folder) else PLAIN
            if form != self._form:
                self._form = form
                self.to_write = self._differing()
        for name in self.to_write:
            content, form = self._wanted[name], self._form_of(name)
            if form == SEALED:
                content = self._systemd.sealed(name, content)
            self._folder.write(f"{name}{form}", content, shared=name in self._shared)

    def remove(self) -> None:
        """Remove what is surplus, once no unit loads it any more."""
        for file in self.surplus:
            self._folder.remove(file)

    def _form_found(self) -> str:
        """The form that the host has, so that an unchanged run asks systemd nothing but values.

        Check mode foretells this one too: a trial would start a unit.
        """
        ours = [name for name in self._wanted if name not in self._shared]
        forms = [form for form in (SEALED, PLAIN) for name in ours if name + form in self.present]
        return (forms or [SEALED])[0] if self._systemd.program else PLAIN

    def _form_of(self, name: str) -> str:
        return PLAIN if name in self._shared else self._form

    def _differing(self) -> list[str]:
        return sorted(name for name in self._wanted if not self._is_as_wanted(name))

    def _is_as_wanted(self, name: str) -> bool:
        file = f"{name}{self._form_of(name)}"
        if not self._folder.has(file, shared=name in self._shared):
            return False
        path = self._folder.path / file
        is_sealed = file.endswith(SEALED)
        found = self._systemd.opened(name, path) if is_sealed else path.read_bytes()
        return found == self._wanted[name]


def difference(
    before: Iterable[str], *, written: Iterable[str], removed: Iterable[str]
) -> dict[str, str]:
    """What changes of the files of `before`, by name: a value is in neither half."""
    new, present = set(written), list(before)
    names = {Path(each).stem for each in present}
    left = {Path(each).stem for each in set(present) - set(removed)}
    earlier = [f"{name}: the earlier value" if name in new else name for name in names]
    after = [*(left - new), *(f"{name}: a new value" for name in new)]
    return {"before": _lines(earlier), "after": _lines(after)}


def _lines(words: Iterable[str]) -> str:
    return "".join(f"{each}\n" for each in sorted(words))
