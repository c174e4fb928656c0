"""A job: steps in sequence, beside other jobs; and the lanes in which jobs run."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from lab.errors import LabError
from tests.runner.board import Board
from tests.runner.steps import Outcome, Programs, Step, Stopped, failed

Run = Callable[[Step], Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`work` passes its steps one after the other to the given runner; `seconds` is its budget."""

    name: str
    suite: str
    seconds: float
    work: Callable[[Run], None]


def run_all(jobs: Sequence[Job], *, lanes: int, board: Board) -> list[Outcome]:
    """Run jobs side by side, the longest first; if stopped, the jobs still clean up."""
    programs = Programs()
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(lanes) as pool:
        longest_first = sorted(jobs, key=lambda job: job.seconds, reverse=True)
        running = [pool.submit(_done, job, programs=programs, board=board) for job in longest_first]
        try:
            for done in as_completed(running):
                outcomes.extend(done.result())
        except BaseException:
            programs.stop()
            for waiting in running:
                waiting.cancel()
            raise
    return outcomes


def _done(job: Job, *, programs: Programs, board: Board) -> list[Outcome]:
    outcomes: list[Outcome] = []

    def run(step: Step) -> Outcome:
        board.begins(job.name, step)
        return show(programs.run(step))

    def show(outcome: Outcome) -> Outcome:
        outcomes.append(outcome)
        board.tell(outcome)
        return outcome

    board.starts(job.name)
    try:
        job.work(run)
    except Stopped:
        pass
    except LabError as error:
        show(failed(job.name, f"{error}\n{error.hint}"))
    except Exception:  # noqa: BLE001  # a bug of one job fails that job, and spares the others
        show(failed(job.name, traceback.format_exc()))
    finally:
        board.ends(job.name)
    return outcomes
