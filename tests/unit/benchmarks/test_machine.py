"""The machine is described as client programs see it, and watched during a measurement."""

from __future__ import annotations

import os
from dataclasses import replace

from benchmarks.machine import Watch, describe
from benchmarks.results import Noise
from benchmarks.tables import disturbed
from tests.support.bench_results import measured, results, workload


def test_masked_instructions_do_not_count() -> None:
    here = describe(without_sha=True)

    assert not here.has_sha
    assert here.cores == os.cpu_count()
    assert here.processor
    assert replace(here, has_sha=describe(without_sha=False).has_sha) == describe(without_sha=False)


def test_a_watch_tells_load_and_stolen_time() -> None:
    with Watch() as watch:
        sum(range(1000))

    assert watch.noise.load is not None
    assert watch.noise.load >= 0
    assert watch.noise.stolen is not None
    assert 0 <= watch.noise.stolen <= 1


def test_workloads_that_others_disturbed_are_named() -> None:
    quiet, loaded, starved, unknown = (
        replace(workload(key, "backup", measured("holdfast", 1)), noise=noise)
        for key, noise in (
            ("quiet", Noise(load=1.0, stolen=0.01)),
            ("loaded", Noise(load=3.1, stolen=0.0)),
            ("starved", Noise(load=0.0, stolen=0.2)),
            ("unknown", Noise()),
        )
    )

    assert disturbed(results(quiet, loaded, starved, unknown)) == ["loaded", "starved"]
