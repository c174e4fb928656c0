"""The budget of each job, in seconds on two quiet cores, with the others beside it.

Taken from measured runs, with a margin. A job that exceeds its budget is named at the end of a run:
make it cheaper, or raise it here, under `WHOLE_RUN`.
"""

from __future__ import annotations

from collections.abc import Mapping

# Of continuous integration: `.ci/run` on a machine that has the images.
WHOLE_RUN = 50 * 60
SAMPLE: Mapping[str, float] = {
    "lint": 150,
    "unit": 600,
    "unit elsewhere": 600,
    "contract": 220,
    "browser": 120,
    "engine postgres": 1300,
    "engine clusters": 2300,
    "engine mysql": 700,
    "packages": 200,
    "molecule default": 1300,
    "molecule tuning": 600,
    "molecule incident": 200,
}
# At full depth, where that takes longer; and jobs that run only then, or by name.
FULL: Mapping[str, float] = {
    "unit": 900,
    "unit elsewhere": 900,
    "engine mysql": 3600,
    "molecule default": 1500,
    "packages": 600,
    "molecule vm": 5400,
    "upgrade": 600,
}


def seconds(kind: str, *, full: bool) -> float:
    """The budget of a kind of job."""
    first, then = (FULL, SAMPLE) if full else (SAMPLE, FULL)
    return first[kind] if kind in first else then[kind]
