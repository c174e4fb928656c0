"""Random messages, docstrings and paragraphs: `python -m tests.house.samples --seed 16`.

With `--before COMMIT` each one stands beside its text in that commit, so that a reader can judge
the pair. With the same seed and tree everybody draws the same ones.
"""

from __future__ import annotations

import argparse
import ast
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from lab.project import GIT
from tests.house.project import PROJECT, TRACKED
from tests.house.prose import is_prose, passages
from tests.house.words import FENCE

KINDS = ("message", "docstring", "paragraph")
PARTS = ("src", "plugins", "lab", "roles", "playbooks")
FEWEST_WORDS = 5
# Texts that share less than this are about different things.
SIMILAR = 0.45
NO_PARAGRAPH = ("#", "|", "!", "<", "    ", "---")


@dataclass(frozen=True, slots=True)
class Sample:
    """A text, and where it stands: its file, line, and function or heading."""

    kind: str
    file: str
    line: int
    place: str
    text: str


def samples_of(root: Path, files: list[Path]) -> Iterator[Sample]:
    """Every message, docstring and paragraph of these files of the tree at `root`."""
    for path in files:
        name = str(path.relative_to(root))
        if path.suffix == ".md":
            yield from _paragraphs(name, path.read_text())
        elif path.suffix in (".py", ".yml") and path.parts[len(root.parts)] in PARTS:
            places = _functions(path.read_text()) if path.suffix == ".py" else []
            for each in passages(path):
                if each.kind in KINDS and len(each.text.split()) >= FEWEST_WORDS:
                    where = _innermost(places, each.line)
                    yield Sample(each.kind, name, each.line, where, each.text)


def _paragraphs(name: str, text: str) -> Iterator[Sample]:
    text = FENCE.sub(lambda found: "\n" * found[0].count("\n"), text)
    heading, line = "", 1
    for block in re.split(r"\n(?=\n)", text):
        begun = line + len(block) - len(block.lstrip("\n"))
        line += block.count("\n") + 1
        block = block.strip("\n")
        if block.startswith("#"):
            heading = block.lstrip("# ")
        elif _is_paragraph(block):
            yield Sample("paragraph", name, begun, heading, block)


def _is_paragraph(block: str) -> bool:
    long_enough = len(block.split()) >= FEWEST_WORDS and is_prose(block)
    return long_enough and not block.startswith(NO_PARAGRAPH)


def _functions(text: str) -> list[tuple[int, int, str]]:
    """First line, last line and qualified name of each class and function."""
    found = []

    def descend(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, ast.FunctionDef | ast.ClassDef)
            name = f"{prefix}.{getattr(child, 'name', '')}".strip(".") if named else prefix
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                found.append((child.lineno, child.end_lineno or child.lineno, name))
            descend(child, name)

    descend(ast.parse(text), "")
    return found


def _innermost(places: list[tuple[int, int, str]], line: int) -> str:
    around = [each for each in places if each[0] <= line <= each[1]]
    return min(around, key=lambda each: each[1] - each[0])[2] if around else ""


def draw(everything: list[Sample], *, seed: int, count: int) -> list[Sample]:
    """As many of each kind, in random order; the same seed and tree give the same samples."""
    chance = random.Random(seed)  # noqa: S311 - repeated by its seed, no secret
    by_kind = [[each for each in everything if each.kind == kind] for kind in KINDS]
    drawn = [
        each
        for number, group in enumerate(by_kind)
        for each in chance.sample(group, min(len(group), (count + number) // len(KINDS)))
    ]
    chance.shuffle(drawn)
    return drawn


def earlier(sample: Sample, old: list[Sample], *, old_file: str) -> Sample | None:
    """The text of the same place in the old tree, else the most similar one, else None.

    A place is a function or a heading of the file, which was called `old_file`.
    """
    alike = [each for each in old if each.kind == sample.kind]
    same_file = [each for each in alike if each.file == old_file]
    same_place = [each for each in same_file if each.place == sample.place]
    if sample.kind == "docstring" and len(same_place) == 1:
        return same_place[0]
    for group, bar in ((same_place, SIMILAR / 2), (same_file, SIMILAR), (alike, SIMILAR)):
        best = max(group, key=lambda each: likeness(each.text, sample.text), default=None)
        if best is not None and likeness(best.text, sample.text) >= bar:
            return best
    return None


def likeness(one: str, other: str) -> float:
    """From 0 to 1; words count, not letters."""
    left, right = one.lower().split(), other.lower().split()
    shared = len(set(left) & set(right)) / max(1, min(len(set(left)), len(set(right))))
    # The costly comparison only where enough words are shared to pass.
    return SequenceMatcher(None, left, right).ratio() if shared >= SIMILAR / 2 else 0.0


def _git(*words: str) -> bytes:
    return subprocess.run([*GIT, *words], check=True, capture_output=True, cwd=PROJECT).stdout


def _tree(commit: str, folder: Path) -> list[Sample]:
    """All texts of the old tree, whose files are unpacked into `folder`."""
    packed = _git("archive", "--format=tar", commit)
    subprocess.run(["tar", "--extract", f"--directory={folder}"], input=packed, check=True)
    files = [each for each in sorted(folder.rglob("*")) if each.is_file() and not each.is_symlink()]
    return list(samples_of(folder, files))


def _name_at(commit: str, file: str) -> str:
    """The path of the file at that commit, followed back through all renames."""
    told = _git("log", "--follow", "--name-status", "--format=", f"{commit}..", "--", file)
    for line in told.decode().splitlines():
        change, _, names = line.partition("\t")
        if change.startswith("R"):
            file = names.split("\t")[0]
    return file


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--before", metavar="COMMIT", help="show the texts of this commit too")
    asked = parser.parse_args(arguments)
    files = [each for each in TRACKED if each.is_file() and not each.is_symlink()]
    drawn = draw(list(samples_of(PROJECT, files)), seed=asked.seed, count=asked.count)
    sys.stdout.write(f"{len(drawn)} samples of {_git('describe', '--always').decode().strip()}")
    sys.stdout.write(f", seed {asked.seed}, before: {asked.before or 'not asked for'}\n")
    with tempfile.TemporaryDirectory(prefix="holdfast-samples-") as folder:
        old = _tree(asked.before, Path(folder)) if asked.before else []
        for number, each in enumerate(drawn, 1):
            sys.stdout.write(f"\n## {number}. {each.kind}, {each.file}:{each.line} {each.place}\n")
            if asked.before:
                then = earlier(each, old, old_file=_name_at(asked.before, each.file))
                where = f"{then.file}:{then.line}: {then.text}" if then else "no such text"
                sys.stdout.write(f"\nbefore: {where}\n")
            sys.stdout.write(f"\nafter: {each.text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
