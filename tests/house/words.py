"""How readable our sentences are: `python -m tests.house.words` prints a line per page and room."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean

from tests.house.project import PROJECT, TRACKED
from tests.house.prose import passages, without_expressions

GLOSSARY = PROJECT / "docs" / "glossary.md"
MOST_WORDS = 35
CODE_FOLDERS = frozenset(
    {
        "src",
        "plugins",
        "roles",
        "playbooks",
        "inventory",
        "lab",
        "molecule",
        "benchmarks",
        "release",
        "tests",
    }
)

FENCE = re.compile(r"^( *)(`{3,}).*?^\1\2 *$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
COLUMNS = re.compile(r"^.*\S {2,}\S.*$", re.MULTILINE)
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
BLOCK = re.compile(r"^(?:#+ |\s*(?:[-*]|\d+\.) |> )", re.MULTILINE)
# No sentence ends after an abbreviation.
END = re.compile(r"(?<!e\.g\.)(?<!i\.e\.)(?<=[.!?])[)\"*]*\s+(?=[^a-z]|holdfast\b)")
WORD = re.compile(r"[^\W_][\w'./:-]*")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence, a heading, a list item or a table cell, and the line where it begins."""

    line: int
    text: str

    @property
    def words(self) -> int:
        return len(WORD.findall(self.text))


def documents() -> list[Path]:
    """Every document that git tracks."""
    return [path for path in TRACKED if path.suffix == ".md" and path.is_file()]


def code() -> list[Path]:
    """Every file that git tracks whose docstrings, comments or messages people read."""
    return [
        path
        for path in TRACKED
        if path.suffix in (".py", ".yml")
        and path.is_file()
        and path.relative_to(PROJECT).parts[0] in CODE_FOLDERS
    ]


def rooms() -> dict[Path, list[Path]]:
    """The files of code by their room: `src/holdfast/cli`, `roles/limits`, `lab`."""
    found: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in code():
        parts = path.relative_to(PROJECT).parts[:-1]
        found[PROJECT.joinpath(*parts[: 3 if parts[0] == "src" else 2])].append(path)
    return found


@cache
def sentences(path: Path) -> tuple[Sentence, ...]:
    """The sentences in a document, or in the prose of a file of code."""
    if path.suffix == ".md":
        return tuple(_of_markdown(path.read_text()))
    return tuple(
        Sentence(passage.line + each.line - 1, each.text)
        for passage in passages(path)
        # The strings of tests are data, and wrong on purpose in some.
        if passage.kind != "message" or not path.is_relative_to(PROJECT / "tests")
        for each in _of_markdown(_columns_as_cells(without_expressions(passage.text)))
    )


def _columns_as_cells(text: str) -> str:
    """The text with each line of aligned columns as a row of a table."""
    return COLUMNS.sub(lambda found: "| " + re.sub(r" {2,}", " | ", found[0].strip()), text)


def _of_markdown(text: str) -> Iterator[Sentence]:
    # Removed code keeps its line breaks, so that line numbers stay right.
    text = FENCE.sub(_lines_of, text)
    text = CODE.sub(lambda found: "Code" + _lines_of(found), text)
    text = LINK.sub(lambda found: found[1], text)
    begun, gathered = 0, ""
    for number, line in enumerate([*text.split("\n"), ""], 1):
        if line.lstrip().startswith("|"):
            yield from _split(begun, gathered)
            gathered = ""
            for cell in line.strip().strip("|").split(" | "):
                yield from _split(number, cell)
        elif not line.strip() or BLOCK.match(line):
            yield from _split(begun, gathered)
            begun, gathered = number, BLOCK.sub("", line)
        else:
            begun = begun if gathered else number
            gathered = f"{gathered}\n{line.strip()}" if gathered else line.strip()


def _split(begun: int, text: str) -> Iterator[Sentence]:
    place = 0
    for piece in [*END.split(text)]:
        at = text.find(piece, place)
        if piece.strip():
            yield Sentence(begun + text.count("\n", 0, at), " ".join(piece.split()))
        place = at + len(piece)


def _lines_of(found: re.Match[str]) -> str:
    return "\n" * found[0].count("\n")


def forbidden(glossary: str) -> dict[str, str]:
    """The words that the glossary's last column refuses, each with the term to write instead."""
    found = {}
    for row in re.findall(r"^\| \*\*(.+?)\*\* \|.*\| ([^|]*) \|$", glossary, re.MULTILINE):
        term, refused = row
        for word in re.findall(r'"([^"]+)"', refused):
            found[word.lower()] = term
    return found


def phrases(glossary: str) -> dict[str, str]:
    """The phrases that the glossary's last table refuses, each with what to write instead."""
    return dict(re.findall(r'^\| "(.+?)" \| (.+?) \|$', glossary, re.MULTILINE))


def _syllables(word: str) -> int:
    return max(1, len(re.findall(r"[aeiouy]+", word.lower().removesuffix("e"))))


def readability(read: list[Sentence]) -> float:
    """Flesch reading ease: 60 is plain, 30 is hard; rough, as technical terms count too."""
    prose = [each for each in read if each.words > 3]
    words = [word for each in prose for word in WORD.findall(each.text)]
    if not words:
        return 100.0
    return 206.835 - 1.015 * len(words) / len(prose) - 84.6 * mean(map(_syllables, words))


def long_sentences(path: Path) -> list[Sentence]:
    return [each for each in sentences(path) if each.words > MOST_WORDS]


def main(arguments: list[str]) -> None:
    paths = [Path(each).resolve() for each in arguments]
    pages = {path: [path] for path in paths or documents()} | ({} if paths else rooms())
    out = sys.stdout
    out.write(
        f"{'ease':>5}  {'words':>6}  {'a sentence':>10}  {'long':>4}  page, or room of code\n"
    )
    for page, files in pages.items():
        read = [each for path in files for each in sentences(path)]
        prose = [each.words for each in read if each.words > 3]
        out.write(
            f"{readability(read):5.0f}  {sum(each.words for each in read):6}"
            f"  {mean(prose or [0]):10.1f}  {sum(each.words > MOST_WORDS for each in read):4}"
            f"  {page.relative_to(PROJECT)}\n"
        )
    for path in paths:
        for each in long_sentences(path):
            out.write(f"{path.name}:{each.line}: {each.words} words: {each.text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
