"""The rules of the house about words: spelling, one term per idea, short sentences."""

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
    code,
    documents,
    forbidden,
    long_sentences,
    phrases,
    sentences,
)

# How many long sentences, and how many phrases that the glossary refuses, a file still has.
# A number may only fall; a file that is not named here has none.
STILL_LONG: dict[str, int] = {}
STILL_REFUSED: dict[str, int] = {}
DOCUMENTS = sorted(str(path.relative_to(PROJECT)) for path in documents())
CODE = sorted(str(path.relative_to(PROJECT)) for path in code())


def test_words_are_spelt_as_in_a_dictionary() -> None:
    # Tests misspell names on purpose.
    names = [*DOCUMENTS, *(each for each in CODE if not each.startswith("tests/"))]
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", *names, "pyproject.toml"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout + done.stderr == ""


def test_sentences_are_short_enough_to_be_read_once() -> None:
    found = {name: too_long(name) for name in [*DOCUMENTS, *CODE]}
    refuse(more_than(STILL_LONG, found), why=f"more than {MOST_WORDS} words")


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
        for name in [*DOCUMENTS, *CODE]
        if PROJECT / name != GLOSSARY
    }
    refuse(more_than(STILL_REFUSED, found), why="words that docs/glossary.md refuses")


def refuse(found: list[str], *, why: str) -> None:
    """Fail with all of `found`, where pytest would show the first one only."""
    assert not found, "\n".join([f"{why}:", *found])


def too_long(name: str) -> list[str]:
    return [f"{name}:{each.line}: {each.text}" for each in long_sentences(PROJECT / name)]


def more_than(allowed: dict[str, int], found: dict[str, list[str]]) -> list[str]:
    """Everything found in the documents that have more of it than `allowed`."""
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


MODULE = '''"""A docstring. It has two sentences."""

DOCUMENTATION = """
module: thing
description: What the module does
"""
SHOWN = 1  # Beside code.
# Two lines are
# one comment. But this is another.
ASKED = "SELECT name FROM things WHERE kind = 'x'"


def refuse(name: str) -> None:
    raise ValueError(f"cannot open '{name}': it is locked", "hint: wait for it")
'''
TASKS = """\
# Why this task is here.
- name: Copy the file over
  register: copied
  ansible.builtin.assert:
    fail_msg: >-
      cannot copy to
      {{ inventory_hostname }}
# host      the host that
# backup    the backup that
"""


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (
            "thing.py",
            MODULE,
            [
                (1, "A docstring."),
                (1, "It has two sentences."),
                (5, "What the module does"),
                (7, "Beside code."),
                (8, "Two lines are one comment."),
                (9, "But this is another."),
                (14, "cannot open 'Code': it is locked"),
                (14, "hint: wait for it"),
            ],
        ),
        (
            "tasks.yml",
            TASKS,
            [
                (1, "Why this task is here."),
                (2, "Copy the file over"),
                (6, "cannot copy to Code"),
                (8, "host"),
                (8, "the host that"),
                (9, "backup"),
                (9, "the backup that"),
            ],
        ),
    ],
)
def test_prose_is_found_in_code(
    file: str, text: str, expected: list[tuple[int, str]], tmp_path: Path
) -> None:
    (tmp_path / file).write_text(text)
    assert [(each.line, each.text) for each in sentences(tmp_path / file)] == expected
