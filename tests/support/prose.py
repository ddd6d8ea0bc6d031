"""The prose of the repository: documents, docstrings, comments and messages, with their places."""

from __future__ import annotations

import ast
import gc
import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
COMMENTED = {".toml": "#", ".yml": "#", ".lua": "--", ".pyx": "#", ".js": "//", ".go": "//"}
"""Suffixes of files whose comments alone are read, with the text that begins a comment."""

BLOCKS = {".js": r"/\*.*?\*/", ".css": r"/\*.*?\*/", ".html": r"<!--.*?-->", ".pyx": r'""".*?"""'}
"""Suffixes of files with comments, or docstrings, between two marks."""

SCRIPTS = ("Dockerfile", ".ci/run")


class Prose(NamedTuple):
    """A piece of text. ``kind`` is document, docstring, comment or message."""

    path: str
    line: int
    kind: str
    text: str


@cache
def files() -> tuple[str, ...]:
    """Paths of all files of the repository, including new ones that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return tuple(sorted(path for path in found.stdout.splitlines() if (ROOT / path).is_file()))


@cache
def source(path: str) -> str:
    """Text of a file."""
    return (ROOT / path).read_text()


@cache
def parsed(text: str) -> ast.Module:
    """Tree of a Python text, cached: parsing all files takes seconds, and many tests need it."""
    tree = ast.parse(text)
    gc.freeze()  # trees stay: looking through a million nodes again and again took two seconds
    return tree


@cache
def walked(text: str) -> tuple[ast.AST, ...]:
    """Every node of a Python text."""
    return tuple(ast.walk(parsed(text)))


def nodes(path: str) -> tuple[ast.AST, ...]:
    """Every node of a Python file."""
    return walked(source(path))


@cache
def all_prose() -> tuple[Prose, ...]:
    """All prose of the repository."""
    return tuple(each for path in files() for each in prose_of_file(path))


def prose_of_file(path: str) -> Iterator[Prose]:
    """All prose of one file."""
    suffix = Path(path).suffix
    if suffix == ".md":
        yield Prose(path, 1, "document", source(path))
    elif suffix == ".py":
        yield from python_prose(path)
    elif suffix in COMMENTED or path in SCRIPTS:
        yield from _commented(path, source(path), COMMENTED.get(suffix, "#"))
    elif suffix == ".json":
        yield from _described(path)
    if suffix in BLOCKS:
        yield from _between(path, BLOCKS[suffix])


def python_prose(path: str) -> Iterator[Prose]:
    """Docstrings (of attributes too), comments and other text of a Python file."""
    docstrings: set[int] = set()
    for node in nodes(path):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings.add(id(node.value))
            if isinstance(node.value.value, str):
                yield Prose(path, node.lineno, "docstring", node.value.value)
    for node in nodes(path):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ):
            yield Prose(path, node.lineno, "message", node.value)
    quoted = {
        line
        for node in nodes(path)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        if node.end_lineno != node.lineno
    }
    yield from _commented(path, source(path), "#", but_not=quoted)


def _commented(
    path: str, text: str, mark: str, but_not: frozenset[int] | set[int] = frozenset()
) -> Iterator[Prose]:
    """Comments of a file, outside strings. A tokenizer would take seconds for the repository."""
    comment = re.compile(rf"(?:^|\s){re.escape(mark)}[#:]*\s?(.*)$")
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        at = comment.search(line) if mark in line and number not in but_not else None
        if at is not None:
            found.append((number, at[1]))
    yield from _joined(path, found)


def _between(path: str, block: str) -> Iterator[Prose]:
    """Comments and docstrings between two marks."""
    text = source(path)
    for match in re.finditer(block, text, re.DOTALL):
        yield Prose(path, text.count("\n", 0, match.start()) + 1, "comment", match[0])


def _described(path: str) -> Iterator[Prose]:
    """Descriptions in a schema or a dashboard."""
    for number, line in enumerate(source(path).splitlines(), 1):
        if found := re.match(r'\s*"description": (".*"),?$', line):
            yield Prose(path, number, "docstring", json.loads(found[1]))


def _joined(path: str, comments: list[tuple[int, str]]) -> Iterator[Prose]:
    """Join the comments of successive lines: a citation may run over the end of a line."""
    begun, last, texts = 0, -1, list[str]()
    for line, text in comments:
        if line != last + 1 and texts:
            yield Prose(path, begun, "comment", "\n".join(texts))
            texts = []
        if not texts:
            begun = line
        texts.append(text)
        last = line
    if texts:
        yield Prose(path, begun, "comment", "\n".join(texts))
