"""docs/guarantees.md names tests that exist, and a plain run holds each promise on real servers."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "guarantees.md"
SERVERS, NOT_IN_A_PLAIN_RUN = "stack", {"deep", "long", "chaos"}
_NAMED = re.compile(r"tests/[\w/]+(?:\.\w+)?|\btest_\w+\.py")


def named(text):
    """Files and folders of tests that a text names; a bare file name stands for the one there is."""
    found = []
    for name in _NAMED.findall(text):
        if name.startswith("tests/"):
            found.append(TESTS.parent / name)
            continue
        places = sorted(TESTS.rglob(name))
        assert len(places) == 1, f"{name}: {len(places)} files of this name; say where"
        found += places
    return found


def promises():
    """The promises, each with the text that says which tests hold it."""
    table = PAGE.read_text().partition("## Promised")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return [pytest.param(held, id=promise.strip()[:60]) for promise, held in rows[2:]]


def marks(nodes):
    """Names of the marks of pytest in some expressions."""
    return {
        node.attr
        for outer in nodes
        for node in ast.walk(outer)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "mark"
    }


def of_decorators(function):
    # What marks a single parameter leaves the others in the run.
    whole = [each.func if isinstance(each, ast.Call) else each for each in function.decorator_list]
    return marks(whole)


def held_by_a_plain_run(path):
    """Tests of a file that need servers and are in a plain run."""
    body = ast.parse(path.read_text()).body
    of_module = marks(
        node.value
        for node in body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    )
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[:5] == "test_":
            own = of_module | of_decorators(node)
            if SERVERS in own and not own & NOT_IN_A_PLAIN_RUN:
                yield node.name


def test_every_test_that_is_named_exists():
    missing = [str(path) for path in named(PAGE.read_text()) if not path.exists()]
    assert missing == []


def test_there_are_promises_and_all_rows_were_read():
    assert len(promises()) >= 13


@pytest.mark.parametrize("held", promises())
def test_a_plain_run_holds_each_promise_on_real_servers(held):
    files = [path for path in named(held) if path.suffix == ".py"]
    assert [name for path in files for name in held_by_a_plain_run(path)]


def test_a_file_whose_tests_are_all_deep_holds_nothing_in_a_plain_run(tmp_path):
    planted = tmp_path / "test_planted.py"
    planted.write_text(
        "pytestmark = pytest.mark.stack\n@pytest.mark.deep\ndef test_one(): pass\n"
        "@pytest.mark.parametrize('n', [pytest.param(1, marks=pytest.mark.chaos), 2])\n"
        "def test_two(n): pass\n"
    )
    assert list(held_by_a_plain_run(planted)) == ["test_two"]
    planted.write_text("pytestmark = [pytest.mark.stack, pytest.mark.deep]\ndef test_a(): pass\n")
    assert list(held_by_a_plain_run(planted)) == []
