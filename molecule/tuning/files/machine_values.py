"""Prints all kernel keys and queues of the machine below that the tuning roles could change."""

import json
from pathlib import Path

KEYS = (
    "vm/overcommit_memory",
    "vm/overcommit_ratio",
    "vm/swappiness",
    "vm/dirty_ratio",
    "vm/dirty_bytes",
    "vm/dirty_background_ratio",
    "vm/dirty_background_bytes",
    "fs/aio-max-nr",
    "fs/file-max",
    "fs/nr_open",
)
QUEUE = ("scheduler", "add_random", "read_ahead_kb")
found = {key: Path("/proc/sys", key).read_text().strip() for key in KEYS}
for name in QUEUE:
    for path in sorted(Path("/sys/block").glob(f"*/queue/{name}")):
        # Loop devices come and go with every volume of every lab.
        if not path.parts[3].startswith("loop"):
            found[str(path)] = path.read_text().strip()
print(json.dumps(found, indent=2))  # noqa: T201  # its output is what it is for
