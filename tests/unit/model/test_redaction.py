"""What leaves the host holds no secret, no row and no statement, and still says what failed."""

from __future__ import annotations

import pytest

from holdfast.model.redaction import LONGEST, sanitized

HIDDEN = "hunter2"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "cannot read 'orders': no such relation\nLINE 1: COPY (SELECT hunter2) TO STDOUT",
            "cannot read 'orders': no such relation",
        ),
        (
            "You have an error in your SQL syntax; check the manual near 'hunter2' at line 1",
            "You have an error in your SQL syntax; check the manual …",
        ),
        (
            "Duplicate entry 'hunter2' for key 'users.email'",
            "Duplicate entry … for key 'users.email'",
        ),
        (
            'duplicate key violates "a" DETAIL:  Key (email)=(hunter2) exists.',
            'duplicate key violates "a" …',
        ),
        ("Key (email)=(hunter2) already exists", "Key … already exists"),
        ("Failing row contains (1, hunter2, null).", "Failing row contains …"),
        (
            'invalid input syntax for type integer: "hunter2"',
            "invalid input syntax for type integer: …",
        ),
        (
            "Incorrect integer value: 'hunter2' for column 'a'",
            "Incorrect integer value: … for column 'a'",
        ),
        ("pg_dump: error: query was: SELECT hunter2", "pg_dump: error: …"),
        ("ended: statement INSERT INTO t VALUES ('hunter2')", "ended: statement …"),
        ("cannot open postgresql://shop:hunter2@db/shop", "cannot open postgresql://…@db/shop"),
        ("refused: postgresql://shop:hunter2/a@b@db/shop", "refused: postgresql://…@db/shop"),
        ("401 for Authorization: Bearer hunter2", "401 for Authorization: …"),
        ("--password hunter2 is not allowed", "--password … is not allowed"),
        ("invalid password 'hunter2'", "invalid password …"),
        ("USER shop IDENTIFIED BY 'hunter2'", "USER shop IDENTIFIED BY …"),
        ("GET https://s3/b?X-Amz-Signature=hunter2 failed", "GET https://s3/b?… failed"),
        ("wrong: password=hunter2, host=db", "wrong: password=… host=db"),
        ('{"secret_key": "hunter2"}', '{"secret_key": …}'),
        ("refused token hunter2hunter2hunter2", "refused token …"),
        ("read AGE-SECRET-KEY-1HUNTER2hunter2", "read …"),
    ],
)
def test_what_must_not_leave_is_taken_away(text: str, told: str) -> None:
    assert HIDDEN in text
    assert sanitized(text) == told


@pytest.mark.parametrize(
    "text",
    [
        "cannot reach 'shop': connection to server at \"127.0.0.1\", port 5432 failed: refused",
        "cannot write to repository 'main': S3 rejected the credentials (InvalidAccessKeyId)",
        "check access_key and secret_key of repository 'main'; `holdfast check` tests them",
        "cannot find backup 'shop/20261120T020000Z-1a2b3c4d'",
        "cannot begin job 'shop': its hook '/usr/local/bin/pause' ended with status 4",
        "cannot put 'shop/x': No space left on device",
    ],
)
def test_what_an_operator_needs_stays(text: str) -> None:
    assert sanitized(text) == text


def test_it_is_one_bounded_line_of_printable_text() -> None:
    assert sanitized("\n\n first \x1b[31m\nsecond") == "first  [31m"
    assert len(sanitized("a b " * 10_000)) == LONGEST
    assert sanitized("") == ""
