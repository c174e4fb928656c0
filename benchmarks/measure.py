"""Run one command and print what it cost, as JSON: used inside the host that is measured."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time


def main(argv: list[str]) -> int:
    """Wall seconds, CPU seconds and the resident peak of the largest process, in bytes."""
    began = time.monotonic()
    done = subprocess.run(argv, capture_output=True, check=False)
    seconds = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.stderr.buffer.write(done.stdout + done.stderr)
        return done.returncode
    cost = {
        "seconds": seconds,
        "client_cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_bytes": used.ru_maxrss * 1024,
    }
    print(json.dumps(cost))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
