"""Action plugin: write a file on the control node, without starting a module there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

ARGUMENTS: dict[str, dict[str, Any]] = {
    "dest": {"type": "path", "required": True},
    "content": {"type": "str", "required": True},
    "mode": {"type": "str", "default": "0644"},
}


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """The class that Ansible calls."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: object = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Write the file, if it differs; check mode writes nothing."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _unused, asked = self.validate_argument_spec(argument_spec=ARGUMENTS)
        path, text = Path(asked["dest"]), asked["content"]
        try:
            before = path.read_text() if path.is_file() else None
            if before != text and not self._task.check_mode:
                write(path, text, mode=int(asked["mode"], 8))
        except OSError as error:
            raise AnsibleActionFail(f"cannot write '{path}': {error.strerror}") from error
        diff = {"before": before or "", "after": text, "before_header": str(path)}
        return {**result, "changed": before != text, "dest": str(path), "diff": diff}


def write(path: Path, text: str, *, mode: int) -> None:
    """Write the file atomically."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w") as out:
            out.write(text)
            os.fchmod(out.fileno(), mode)
        Path(name).rename(path)
    finally:
        Path(name).unlink(missing_ok=True)
