"""Finds names in backticks that look like ours and do not exist, in docstrings, comments and documents.

A name exists if the code defines, takes or reads it, if a metric, a setting or a script has it, or if a
file is called so. Text in a test proves nothing. A name behind a dot must exist in the module or class
before the dot. Names of others that our code never uses are listed with their owner.
"""

from __future__ import annotations

import ast
import builtins
import itertools
import json
import keyword
import re
import shlex
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import typer
from pydantic import BaseModel
from support.citations import ELSEWHERE, resolved
from support.prose import Prose, files, nodes, source

from streams.cli.commands import app
from streams.publish.metric_table import ALL, DOOR, NOTIFY, TRANSLATOR
from streams.settings import Settings

FOREIGN = {
    "--patch": "of tests/support/worker_child.py, which reads its arguments itself",
    "PR_SET_PDEATHSIG": "of Linux, prctl(2); numbers stand for it in code",
    "a__b": "any name of a setting with two parts",
    "get_estimate": "of Apache DataSketches, which is not used (decision 0222)",
    "preexec_fn": "of subprocess, which is not used so",
}
TEXT_MAX = 80
"""Characters; a longer string in code is a text or a script, not a name."""
_SPAN = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_PLAIN = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(\(.*\))?")
_WITHIN = re.compile(r"(?<![\w./:-])[A-Za-z]\w*_\w+(?![\w/-])")
_TOPIC = re.compile(r"ecindex\.[a-z]+(?:-[a-z]+)+")
_OPTION = re.compile(r"--[a-z][\w-]*")
_FILE = re.compile(r"(?:[a-z_]\w*/)+(?:[a-z_*]\w*\*?)?(?:\.\w+)*")
_REMARK = {
    ".lua": r"(?m)--.*$",
    ".js": r"(?m)//.*$|(?s:/\*.*?\*/)",
    ".pyx": r"(?m)#.*$",
    ".html": r"(?s)<!--.*?-->",
    ".css": r"(?s)/\*.*?\*/",
}


def unknown(prose: Prose) -> list[str]:
    """Names in backticks that do not exist."""
    return [
        f"no {name!r} (in `{span}`)"
        for span in spans(prose.text)
        for name in names_in(span)
        if not known(name, prose.path)
    ]


def spans(text: str) -> Iterator[str]:
    """Text in single or double backticks; blocks of code are left out."""
    for _, span in _SPAN.findall(_FENCE.sub("", text)):
        yield " ".join(span.split())


def names_in(span: str) -> list[str]:
    """Names in a span that claim to be ours: a command, a file, identifiers."""
    if span.startswith(("ecindex ", "uv run ecindex ")):
        return [span.removeprefix("uv run ")]
    if _FILE.fullmatch(span) or _TOPIC.fullmatch(span):
        return [span]
    if option := _OPTION.match(span):
        return [option[0]]
    plain = _PLAIN.fullmatch(span)
    if plain is None:
        return _WITHIN.findall(span)
    return [plain[1], *_WITHIN.findall(plain[2] or "")]


def known(name: str, beside: str = "README.md") -> bool:
    """Whether a command, file or name of this text exists."""
    if name in FOREIGN or name in ELSEWHERE:
        return True
    if name.startswith("ecindex "):
        return is_command(name)
    if name.startswith("--"):
        return name in options()
    if "/" in name:
        path = name.rstrip("/")
        return any(resolved(f"{path}{suffix}", beside) for suffix in ("", ".py", ".pyx"))
    universe, parts = everything(), name.split(".")
    if name in universe:
        return True
    for owner, part in itertools.pairwise(parts):
        places = homes().get(owner)
        if places and not any(re.search(rf"\b{part}\b", source(path)) for path in places):
            return False
    return all(part in universe for part in parts)


def is_command(line: str) -> bool:
    """Whether the command line knows the command and its options. Arguments may be missing."""
    _, *words = shlex.split(line.replace("'", ""))
    command = _command_line()
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        if name == "..":
            return True
        if name not in command.commands:
            return False
        command = command.commands[name]
    options = {option for each in command.params for option in each.opts + each.secondary_opts}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    return given <= options | {"--help"}


@cache
def _command_line() -> Any:
    return typer.main.get_command(app)


@cache
def options() -> frozenset[str]:
    """Options of every command, and those that pytest and the other programs here add or read."""
    found = {"--help"}
    commands = [_command_line()]
    for command in commands:
        commands += getattr(command, "commands", {}).values()
        found.update(option for each in command.params for option in each.opts)
    for path in files():
        if path.endswith(".py"):
            found.update(_options_added(path))
        elif path.startswith("examples/javascript/") and path.endswith(".js"):
            given = re.search(r"options: \{(.*?)\n  \}", source(path), re.DOTALL)
            names = re.findall(r"^ *(\w+): ", given[1], re.MULTILINE) if given else []
            found.update(f"--{name}" for name in names)
    return frozenset(found)


def _options_added(path: str) -> Iterator[str]:
    for node in nodes(path):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"addoption", "add_argument"}
        ):
            yield from (each.value for each in node.args if isinstance(each, ast.Constant))


@cache
def homes() -> dict[str, list[str]]:
    """Files of each module or class: those named so or defining it. Names of parameters are left out."""
    found: dict[str, list[str]] = defaultdict(list)
    parameters: set[str] = set()
    for path in files():
        if path.startswith(("streams/", "tools/")) and path.endswith((".py", ".pyx")):
            for folder in PurePosixPath(path).parent.parts:
                found[folder].append(path)
            found[PurePosixPath(path).stem].append(path)
        if path.endswith(".py"):
            for node in nodes(path):
                if isinstance(node, ast.ClassDef) and path.startswith(("streams/", "tools/")):
                    found[node.name].append(path)
                elif isinstance(node, ast.arg):
                    parameters.add(node.arg)
    return {name: paths for name, paths in found.items() if name not in parameters}


@cache
def everything() -> frozenset[str]:
    """Every name that exists."""
    found = {*dir(builtins), *keyword.kwlist, *sys.stdlib_module_names}
    found.update(
        f"{spec.full_name}{part}"
        for spec in ALL + NOTIFY + DOOR + TRANSLATOR
        for part in ("", "_bucket", "_sum")
    )
    found.update(_settings(Settings, ""))
    topics = Settings().topics
    found.update(
        getattr(topics, name)
        for name, each in vars(type(topics)).items()
        if isinstance(each, property)
    )
    for path in files():
        for part in PurePosixPath(path).parts:
            found |= {part, part.partition(".")[0]}
        suffix = PurePosixPath(path).suffix
        if suffix == ".py":
            found.update(_of_python(path))
        elif suffix == ".toml":
            found.update(_of_tree(tomllib.loads(source(path))))
        elif suffix == ".json":
            found.update(_of_tree(json.loads(source(path))))
        elif suffix == ".yml":
            found.update(re.findall(r"^[\s-]*([\w-]+):", source(path), re.MULTILINE))
            for series in re.findall(r"(?:record|alert): (\S+)", source(path)):
                found |= {series, *series.split(":")}
        elif suffix in _REMARK:
            found.update(re.findall(r"[A-Za-z_][\w-]*", re.sub(_REMARK[suffix], "", source(path))))
    return frozenset(found)


def _settings(model: type[BaseModel], within: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{within}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _settings(field.annotation, f"{within}{name}.")


def _of_python(path: str) -> Iterator[str]:
    expressions = {id(node.value) for node in nodes(path) if isinstance(node, ast.Expr)}
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.arg | ast.keyword):
            yield node.arg or ""
        elif isinstance(node, ast.alias):
            yield from (*node.name.split("."), node.asname or "")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = "" if path.startswith("tests/") else node.value
            if (
                id(node) not in expressions
                and len(text) <= TEXT_MAX
                and re.fullmatch(r"[\w.-]+", text)
            ):
                yield from (text, *text.split("."))


def _of_tree(tree: object) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield key
            yield from _of_tree(value)
    elif isinstance(tree, list):
        for each in tree:
            yield from _of_tree(each)
    elif isinstance(tree, str) and re.fullmatch(r"[\w.-]+", tree):
        yield tree
