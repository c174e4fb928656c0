"""Messages about a server that ended."""

from __future__ import annotations

from holdfast.sources.postgres.files.server_start import last_words

LOG = """\
LOG:  redo done at 0/3003FB0
LOG:  last completed transaction was at log time 2026-11-30 02:12:52+00
FATAL:  recovery ended before configured recovery target was reached
LOG:  startup process (PID 1810) exited with exit code 1
LOG:  terminating any other active server processes
FATAL:  the database system is in recovery mode
LOG:  shutting down due to startup process failure
"""


def test_the_last_words_are_those_of_its_end_and_not_the_answers_to_clients() -> None:
    words = last_words(LOG.splitlines())
    assert words[-2] == "FATAL:  recovery ended before configured recovery target was reached"
    assert not any("in recovery mode" in word for word in words)


def test_a_log_without_anything_fatal_has_no_last_words() -> None:
    assert last_words(["LOG:  starting PostgreSQL 18.6"]) == []
