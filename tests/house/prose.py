"""The prose inside code: docstrings, comments and messages of Python and YAML files."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml

Kind = Literal["docstring", "comment", "message"]

LETTERS = re.compile(r"[^\W\d_]{2,}")
FEWEST_WORDS = 2
# What marks a statement, a program, a file of settings or a pattern, not a sentence for people.
STATEMENT = re.compile(
    r"\b(CASE|SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|GRANT|REVOKE|COPY|FROM|WHERE|JOIN|VALUES"
    r"|SET|BEGIN|BACKUP|LOCK|FLUSH|SHOW|ORDER BY)\s+[\w%(*{`'\"@]"
    r"|^\s*(?:#!|import |def |[\w.]+ = |AND |WHEN )|\(\?[:P=!<]|\w\|[\w ]+\|",
    re.MULTILINE,
)
EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{[^{}]*\}", re.DOTALL)
DIRECTIVE = re.compile(r"^(?:noqa|type:|pragma|ruff:|codespell|mypy:|fmt:|!|-\*-)")
DOCUMENTATION = frozenset({"DOCUMENTATION", "EXAMPLES", "RETURN"})
YAML_COMMENT = re.compile(r"^\s*#+ ?(.*)$")
# The keys whose values people read: of argument specs, tasks, plays and module documentation.
YAML_KEYS = frozenset(
    {"description", "short_description", "notes", "fail_msg", "success_msg", "msg", "name"}
)


@dataclass(frozen=True, slots=True)
class Passage:
    """A docstring, a block of comments or a message, and the line where it begins."""

    line: int
    kind: Kind
    text: str


@cache
def passages(path: Path) -> tuple[Passage, ...]:
    """All prose of one file, in the order of its lines."""
    read = _of_python if path.suffix == ".py" else _of_yaml
    # A YAML alias repeats what its anchor says.
    once = dict.fromkeys(read(path.read_text()))
    return tuple(sorted(once, key=lambda each: each.line))


def _of_python(text: str) -> Iterator[Passage]:
    tree = ast.parse(text)
    docstrings = list(_docstrings(tree))
    for node in docstrings:
        yield Passage(node.lineno, "docstring", str(node.value))
    yield from _comments(text)
    documentation = list(_documentation(tree))
    for node in documentation:
        for each in _of_yaml(str(node.value)):
            yield Passage(node.lineno + each.line - 1, each.kind, each.text)
    skipped = {id(node) for node in [*docstrings, *documentation]}
    for line, message in _strings(tree, skipped=skipped):
        if is_prose(message):
            yield Passage(line, "message", message)


def _docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        value = getattr(node, "value", None)
        if isinstance(node, ast.Expr) and isinstance(value, ast.Constant):
            yield value


def _documentation(tree: ast.Module) -> Iterator[ast.Constant]:
    """The YAML in which an Ansible module or plugin describes itself."""
    assigned = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    if "DOCUMENTATION" in assigned:
        yield from (value for name, value in assigned.items() if name in DOCUMENTATION)


def _comments(text: str) -> Iterator[Passage]:
    """Comments; those on lines that follow each other are one passage."""
    begun, last, gathered = 0, 0, ""
    if "#" not in text:
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        line, column = token.start
        words = token.string.lstrip("#").strip()
        if token.type != tokenize.COMMENT or DIRECTIVE.match(words):
            continue
        alone = not token.line[:column].strip()
        if gathered and alone and line == last + 1:
            gathered += f"\n{words}"
        else:
            if gathered:
                yield Passage(begun, "comment", gathered)
            begun, gathered = line, words
        last = line
    if gathered:
        yield Passage(begun, "comment", gathered)


def _strings(tree: ast.Module, *, skipped: set[int]) -> Iterator[tuple[int, str]]:
    """Every string but the skipped ones; an f-string keeps its expressions in braces."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped.update(map(id, ast.walk(node)))
            yield node.lineno, "".join(map(_said, node.values))
        elif isinstance(node, ast.Constant) and id(node) not in skipped:
            yield node.lineno, str(node.value)


def _said(piece: ast.expr) -> str:
    if isinstance(piece, ast.FormattedValue):
        return f"{{{ast.unparse(piece.value)}}}"
    return str(getattr(piece, "value", ""))


def is_prose(text: str) -> bool:
    """Whether people read this: words with spaces, and no statement for a server."""
    said = without_expressions(text)
    return (
        " " in said
        and len(LETTERS.findall(said)) >= FEWEST_WORDS
        and STATEMENT.search(said) is None
    )


def without_expressions(text: str) -> str:
    """The text with `Code` for each expression in braces, of an f-string or of Jinja."""
    return EXPRESSION.sub("Code", text)


def _of_yaml(text: str) -> Iterator[Passage]:
    yield from _yaml_comments(text)
    for document in yaml.compose_all(text, Loader=yaml.SafeLoader):
        for node in _values(document):
            if is_prose(node.value):
                yield Passage(_first_line(node), "message", node.value)


def _first_line(node: yaml.ScalarNode) -> int:
    """Blocks (`>-`, `|`) begin on the line after their mark."""
    return int(node.start_mark.line) + 1 + (node.style in (">", "|"))


def _values(node: yaml.Node | None, *, told: bool = False) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        if told:
            yield node
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _values(each, told=told)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _values(value, told=getattr(key, "value", "") in YAML_KEYS)


def _yaml_comments(text: str) -> Iterator[Passage]:
    begun, gathered = 0, ""
    for number, line in enumerate([*text.split("\n"), ""], 1):
        found = YAML_COMMENT.match(line)
        if found and found[1].strip():
            begun = begun if gathered else number
            gathered += f"\n{found[1].strip()}"
        elif gathered:
            yield Passage(begun, "comment", gathered.strip())
            gathered = ""
