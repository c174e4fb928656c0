"""The rules of the house about words: spelling, one term for one idea, sentences of one breath."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.project import PROJECT
from tests.house.words import (
    GLOSSARY,
    MOST_WORDS,
    documents,
    forbidden,
    long_sentences,
    phrases,
    sentences,
)

# How many long sentences, and how many phrases that the glossary refuses, a document still has.
# A number may only fall; a document that is not named here has none.
STILL_LONG: dict[str, int] = {
    "docs/decisions/0004-pipe-where-granted.md": 2,
    "docs/decisions/0005-tools-through-a-pipe.md": 3,
    "docs/decisions/0006-ranges-packs-and-blobs.md": 1,
    "docs/decisions/0007-stores-behind-one-port.md": 3,
    "docs/decisions/0009-leases-by-number.md": 1,
    "docs/decisions/0010-dump-programs-in-pipes-of-ours.md": 2,
    "docs/decisions/0011-age-for-content-ed25519-for-manifests.md": 1,
    "docs/decisions/0013-clusters-as-files.md": 1,
    "docs/decisions/0014-numpy-for-page-checksums.md": 1,
    "docs/decisions/0015-indexes-after-rows.md": 3,
    "docs/decisions/0016-one-fingerprint-where-one-proves.md": 2,
    "docs/decisions/0018-wal-beside-the-backups.md": 1,
    "docs/decisions/0019-pieces-of-big-files.md": 2,
    "docs/decisions/0020-incrementals-by-the-server.md": 1,
    "docs/decisions/0023-limits-before-a-parser.md": 3,
    "docs/decisions/0024-codes-do-not-depend-on-printing.md": 1,
    "docs/decisions/0028-links-in-a-data-directory.md": 1,
    "docs/decisions/0029-content-proof-by-the-servers-own-hash.md": 3,
    "docs/decisions/0030-a-tunnel-for-certificates-of-authorities.md": 1,
    "docs/decisions/0031-wrappers-forward-by-one-base.md": 1,
    "docs/map.md": 5,
    "tests/golden/README.md": 1,
}
STILL_REFUSED: dict[str, int] = {
    "docs/decisions/0005-tools-through-a-pipe.md": 1,
    "docs/decisions/0006-ranges-packs-and-blobs.md": 2,
    "docs/decisions/0007-stores-behind-one-port.md": 1,
    "docs/decisions/0009-leases-by-number.md": 1,
    "docs/decisions/0010-dump-programs-in-pipes-of-ours.md": 1,
    "docs/decisions/0011-age-for-content-ed25519-for-manifests.md": 5,
    "docs/decisions/0012-a-daemon-holds-sessions.md": 2,
    "docs/decisions/0015-indexes-after-rows.md": 1,
    "docs/decisions/0016-one-fingerprint-where-one-proves.md": 2,
    "docs/decisions/0017-mirrors-in-one-read.md": 1,
    "docs/decisions/0018-wal-beside-the-backups.md": 1,
    "docs/decisions/0019-pieces-of-big-files.md": 3,
    "docs/decisions/0020-incrementals-by-the-server.md": 1,
    "docs/decisions/0021-stores-that-only-resemble-a-cloud.md": 2,
    "docs/decisions/0022-proven-before-it-is-run.md": 3,
    "docs/decisions/0023-limits-before-a-parser.md": 2,
    "docs/decisions/0024-codes-do-not-depend-on-printing.md": 1,
    "docs/decisions/0026-one-cluster-a-job.md": 2,
    "docs/decisions/0028-links-in-a-data-directory.md": 2,
    "docs/decisions/0029-content-proof-by-the-servers-own-hash.md": 2,
}
DOCUMENTS = sorted(str(path.relative_to(PROJECT)) for path in documents())


def test_words_are_spelt_as_in_a_dictionary() -> None:
    names = [*DOCUMENTS, "pyproject.toml"]
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", *names],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout + done.stderr == ""


def test_sentences_are_short_enough_to_be_read_once() -> None:
    found = {name: too_long(name) for name in DOCUMENTS}
    assert more_than(STILL_LONG, found) == [], f"more than {MOST_WORDS} words"


def test_an_idea_has_the_one_name_of_the_glossary() -> None:
    text = GLOSSARY.read_text()
    refused = forbidden(text) | phrases(text)
    any_of = re.compile(rf"\b({'|'.join(map(re.escape, refused))})\b", re.IGNORECASE)
    found = {
        name: [
            f"{name}:{each.line}: '{word}' (write: {refused[word.lower()]}): {each.text}"
            for each in sentences(PROJECT / name)
            for word in any_of.findall(each.text)
        ]
        for name in DOCUMENTS
        if PROJECT / name != GLOSSARY
    }
    assert more_than(STILL_REFUSED, found) == []


def too_long(name: str) -> list[str]:
    return [f"{name}:{each.line}: {each.text}" for each in long_sentences(PROJECT / name)]


def more_than(allowed: dict[str, int], found: dict[str, list[str]]) -> list[str]:
    """All that is found in the documents that have more of it than they had."""
    return [
        each
        for name, all_of in found.items()
        if len(all_of) > allowed.get(name, 0)
        for each in all_of
    ]


def test_the_glossary_has_each_term_once() -> None:
    terms = re.findall(r"^\| \*\*(.+?)\*\*", GLOSSARY.read_text(), re.MULTILINE)
    assert sorted(terms) == sorted(set(terms))
    assert len(terms) > 40
    assert forbidden(GLOSSARY.read_text()).keys().isdisjoint(term.lower() for term in terms)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two `a. b` three.", ["One.", "Two Code three."]),
        ("```sh\nNot. This\n```\n- first\n- second\n", ["first", "second"]),
        ("| a cell. Another | b |\n", ["a cell.", "Another", "b"]),
        ("See [the page](x.md), e.g. This one of 3.5 MB.", None),
    ],
)
def test_sentences_are_told_apart(text: str, expected: list[str] | None, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(text)
    found = [each.text for each in sentences(tmp_path / "page.md")]
    assert found == (expected or ["See the page, e.g. This one of 3.5 MB."])
