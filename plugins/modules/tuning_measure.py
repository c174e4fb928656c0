"""Ansible module: measure a host with a short, bounded load."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tuning_measure
short_description: Measure a host with a short, bounded load
description:
- Writes and reads a small file with fio (without fio, it only writes), measures how long tasks
  stalled (PSI), and runs one backup if asked to. Saves the result beside the snapshots.
options:
  label:
    description: Name of this measurement.
    type: str
    required: true
  path:
    description: Folder whose file system is measured.
    type: path
    required: true
  seconds:
    description: The longest duration of each load.
    type: int
    default: 5
  job:
    description: A backup job to run once; empty runs none.
    type: str
    default: ""
author: The holdfast authors (@holdfast)
"""
EXAMPLES = r"""
- name: Measure
  holdfast.holdfast.tuning_measure:
    label: before
    path: /var/lib/holdfast
"""
RETURN = r"""
measure:
  description: The measurement.
  returned: always
  type: dict
told:
  description: The same in one line.
  returned: always
  type: str
machine:
  description: The identity of the host, independent of the inventory.
  returned: always
  type: str
"""

import json
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.bounded_load import (
    SCRATCH,
    by_ourselves,
    has_room,
    pressure,
    told,
    with_fio,
)
from ..module_utils.job_units import PREFIX, PROGRAM, NotRun, run_as, service_of
from ..module_utils.original_state import FOLDER, machine_id, open_folder

ARGUMENTS: dict[str, dict[str, Any]] = {
    "label": {"type": "str", "required": True},
    "path": {"type": "path", "required": True},
    "seconds": {"type": "int", "default": 5},
    "job": {"type": "str", "default": ""},
}


def main() -> None:
    """Measure, store and report; a load that cannot be run is reported, never a failure."""
    module = AnsibleModule(ARGUMENTS, supports_check_mode=False)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = pressure()
    load, skipped = _load(module)
    backup = _backup(module) if module.params["job"] else {}
    after = pressure()
    stalled = {name: (after[name] - before[name]) // 1000 for name in before}
    measure = {
        "schema": "holdfast.measure/1",
        "label": module.params["label"],
        "taken": now,
        "load": load,
        "pressure_ms": stalled,
        "backup": backup,
        "skipped": skipped,
    }
    open_folder()
    kept = FOLDER / f"measure-{module.params['label']}-{now.replace(':', '')}.json"
    kept.write_text(json.dumps(measure, indent=2, sort_keys=True) + "\n")
    kept.chmod(0o600)
    module.exit_json(changed=True, measure=measure, told=told(measure), machine=machine_id())


def _load(module: AnsibleModule) -> tuple[dict[str, float], str]:
    path = Path(module.params["path"])
    if not path.is_dir():
        return {}, f"no folder '{path}'"
    if not has_room(path):
        return {}, f"too little free space on '{path}'"
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=path))
    try:
        if module.get_bin_path("fio"):
            return with_fio(module.run_command, folder, seconds=module.params["seconds"]), ""
        load = by_ourselves(folder, seconds=module.params["seconds"])
    except OSError as error:
        return {}, f"cannot measure '{path}': {error}"
    finally:
        shutil.rmtree(folder)
    return load, "fio is not installed, so only writes were measured"


def _backup(module: AnsibleModule) -> dict[str, float | str]:
    job = module.params["job"]
    code, _unused, errors = module.run_command(
        ["systemctl", "start", f"holdfast-backup-{job}.service"]
    )
    if code:
        return {"failed": errors.strip()}
    try:
        unit = service_of(job, prefix=PREFIX)
        listed = run_as(module.run_command, unit, [*PROGRAM, "list", job, "--json"], as_root=False)
    except (NotRun, OSError) as error:
        return {"failed": str(error)}
    if listed.rc:
        return {"failed": listed.reason or listed.stderr.strip()}
    newest = json.loads(listed.stdout)["backups"][0]
    rate = newest["plain_bytes"] / 1e6 / max(newest["seconds"], 1e-6)
    return {"seconds": round(newest["seconds"], 1), "plain_mb_per_second": round(rate, 1)}


if __name__ == "__main__":
    main()
