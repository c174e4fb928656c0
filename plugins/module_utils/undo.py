"""Restores a host to the state in its snapshots, and reads it back."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from .block_devices import BlockTree, stable_match
from .kernel_keys import Kernel
from .mount_options import line_of_before, undoing_options
from .mount_table import MOUNT_TABLE, Mount, covering, parse_mounts
from .original_state import Original, file_state
from .process_limits import limits_of
from .systemd_units import Run, loaded_units
from .tuning_report import Row, State

AS_FOUND, ABSENT, OTHERWISE = "as it was found", "absent", "otherwise"
# Files first, since units and disks are restored from them.
ORDER = ("file", "fstab_line", "folder", "kernel_key", "queue", "mount", "unit")


class UndoRefused(Exception):
    """Something could not be restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """One host, and whether it may be changed."""

    run: Run
    kernel: Kernel
    disks: BlockTree
    check_mode: bool = False
    fstab: Path = Path("/etc/fstab")
    mounts: Callable[[], list[Mount]] = lambda: parse_mounts(Path(MOUNT_TABLE).read_text())

    def put_back(self, role: str, originals: Iterable[Original]) -> list[Row]:
        """Restore every original; a row holds its value now, and the value before."""
        known = sorted(originals, key=lambda original: ORDER.index(original.kind))
        rows: list[Row] = []
        reloaded = False
        for original in known:
            if not reloaded and ORDER.index(original.kind) > ORDER.index("folder"):
                self._reload(rows)
                reloaded = True
            rows += self._one(role, original)
        return rows if reloaded else [*rows, *self._reload(rows)]

    def _one(self, role: str, original: Original) -> list[Row]:
        look, act = {
            "file": (self._file, self._write_file),
            "folder": (self._folder, self._remove_folder),
            "fstab_line": (self._fstab, self._write_fstab),
            "kernel_key": (self._key, self._write_key),
            "queue": (self._queue, self._write_queue),
            "mount": (self._mount, self._remount),
            "unit": (self._unit, _nothing_to_do),
        }[original.kind]
        row = replace(look(original), role=role)
        if row.state != "differs":
            return [] if original.kind == "folder" else [row]
        if self.check_mode:
            return [replace(row, state="changed", reason=f"would change from '{row.live}'")]
        act(original)
        after = replace(look(original), role=role)
        if after.state == "ok":
            return [replace(after, state="changed", reason=f"was '{row.live}'")]
        return [after]

    def _reload(self, rows: list[Row]) -> list[Row]:
        changed = [row.key for row in rows if row.state == "changed"]
        if self.check_mode:
            return []
        if any("/systemd/" in key for key in changed):
            self._do(["systemctl", "daemon-reload"])
            # On Debian 13 task limits change only when some unit starts after the reload.
            self._do(["systemd-run", "--quiet", "--wait", "--collect", "true"])
        if any("/udev/" in key for key in changed):
            self._do(["udevadm", "control", "--reload"])
        return []

    def _file(self, original: Original) -> Row:
        now = file_state(Path(original.name))
        wanted = ABSENT if original.before["content"] is None else AS_FOUND
        live = wanted if now == original.before else ABSENT if now["content"] is None else OTHERWISE
        return _row(original.name, wanted, live)

    def _write_file(self, original: Original) -> None:
        path = Path(original.name)
        if original.before["content"] is None:
            path.unlink()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        content = base64.b64decode(original.before["content"])
        owner, group = original.before["owner"], original.before["group"]
        _replace(path, content, mode=int(original.before["mode"], 8), owner=owner, group=group)

    def _folder(self, original: Original) -> Row:
        path = Path(original.name)
        # A folder that holds other files by now is kept.
        ours = not original.before["exists"] and path.is_dir() and not any(path.iterdir())
        return _row(original.name, ABSENT, "empty" if ours else ABSENT)

    def _remove_folder(self, original: Original) -> None:
        Path(original.name).rmdir()

    def _fstab(self, original: Original) -> Row:
        text, before = self.fstab.read_text(), original.before["text"]
        line = line_of_before(text, point=original.name, before=before)
        row = _row(f"{self.fstab} {original.name}", before, line.text if line else "")
        if line is None:
            return replace(row, state="skipped", reason="its line is gone: nothing to restore")
        return row

    def _write_fstab(self, original: Original) -> None:
        lines = self.fstab.read_text().splitlines(keepends=True)
        before = original.before["text"]
        found = line_of_before("".join(lines), point=original.name, before=before)
        if found is None:
            return
        ending = lines[found.number - 1][len(found.text) :]
        lines[found.number - 1] = before + ending
        status = self.fstab.stat()
        _replace(
            self.fstab,
            "".join(lines).encode(),
            mode=status.st_mode & 0o7777,
            owner=status.st_uid,
            group=status.st_gid,
        )

    def _key(self, original: Original) -> Row:
        key, value = original.before["write"]
        if reason := self.kernel.not_ours(key):
            return _row(key, value, "", state="skipped", reason=reason)
        return _row(key, value, self.kernel.read(key))

    def _write_key(self, original: Original) -> None:
        self.kernel.write(*original.before["write"])

    def _queue(self, original: Original) -> Row:
        row = _row(original.name, original.before["value"], "")
        name = self._disk_named(*original.before["by"])
        if name is None:
            return replace(row, state="skipped", reason="no such disk any more")
        live = str(getattr(self.disks.disk(name), original.before["setting"]))
        return _row(original.name, original.before["value"], live)

    def _write_queue(self, original: Original) -> None:
        name = self._disk_named(*original.before["by"])
        if name is not None:
            self.disks.set(name, original.before["setting"], original.before["value"])

    def _disk_named(self, name: str, value: str) -> str | None:
        known = [self.disks.disk(disk) for disk in self.disks.names()]
        for disk in known:
            found = stable_match(disk, known) or ("KERNEL", disk.name)
            if found == (name, value):
                return str(disk.name)
        return None

    def _mount(self, original: Original) -> Row:
        key, wanted = f"{original.name} mounted", original.before["options"]
        mount = covering(self.mounts(), original.name)
        if mount is None or mount.point != original.name:
            reason = "not mounted: its line in fstab applies from the next mount"
            return _row(key, wanted, "", state="skipped", reason=reason)
        return _row(key, wanted, ",".join(sorted(mount.options)))

    def _remount(self, original: Original) -> None:
        options = undoing_options(original.before["options"].split(","))
        self._do(["mount", "--options-mode=ignore", f"--options={options}", original.name])

    def _unit(self, original: Original) -> Row:
        unit = next(iter(loaded_units(self.run, [original.before["unit"]])), None)
        row = _row(original.name, original.before["value"], "")
        if unit is None:
            return replace(row, state="skipped", reason="no such unit any more")
        row = _row(
            original.name, original.before["value"], unit.properties[original.before["property"]]
        )
        live = limits_of(unit.main_pid).get("nofile") if unit.main_pid else None
        if original.before["property"] == "LimitNOFILE" and live and live.hard != row.wanted:
            return replace(row, live=str(live), state="pending", reason="needs a restart")
        return row

    def _do(self, argv: list[str]) -> None:
        code, _unused, errors = self.run(argv)
        if code:
            raise UndoRefused(f"cannot run '{' '.join(argv)}': {errors.strip()}")


def _replace(path: Path, content: bytes, *, mode: int, owner: int, group: int) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
            os.fchmod(out.fileno(), mode)
            os.fchown(out.fileno(), owner, group)
        Path(name).rename(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _nothing_to_do(_unused: Original) -> None:
    """Do nothing: a unit's property follows its files."""


def _row(key: str, wanted: str, live: str, *, state: State | None = None, reason: str = "") -> Row:
    told: State = state or ("ok" if live == wanted else "differs")
    return Row(role="", key=key, wanted=wanted, live=live, state=told, reason=reason)
