"""The commands that the READMEs, docs/ and alerts name, as runnable lines."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

import typer
import yaml

from streams.cli.commands import app
from streams.clock import now_ms
from streams.index.panes import HOUR_MS, rfc3339

ROOT = Path(__file__).parents[2]
INCIDENT = "PK-20231114T2207-down"
"""Id of the incident that ``publications.incident`` makes."""
NEEDS_ARGUMENTS = ("expect", "seed", "explain", "export", "import")
"""Commands that, named without arguments, are run with `--help`."""
_BLOCK = re.compile(r"^ *```(?:sh|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_ADVISED = re.compile(r"ecindex (?:[^.,:;?]|[.,:;?](?! |$))+")
"""A command within the text of an alert ends where its sentence or clause does."""
_SPAN = re.compile(r"`((?:uv run )?ecindex [a-z][^`]*)`")


def blocks(page):
    """Lines of every shell block of a page that has an ``ecindex`` command."""
    for found in _BLOCK.findall(page.read_text()):
        lines = [line.split("   #")[0].split(" # ")[0].strip() for line in found.splitlines()]
        if any(re.search(r"(^|&& |run )(ecindex|redis-cli) ", line) for line in lines):
            yield [line for line in lines if line]


def spans(page):
    """Every command named within the text of a page."""
    text = _BLOCK.sub("", page.read_text())
    return sorted(
        {" ".join(found.removeprefix("uv run ").split()) for found in _SPAN.findall(text)}
    )


PAGES = [
    page
    for page in (
        ROOT / "README.md",
        ROOT / "examples" / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
    if list(blocks(page)) or spans(page)
]


def filled_in(command, work):
    """The command with something real for each placeholder."""
    at_ms = now_ms() // HOUR_MS * HOUR_MS
    places = {
        "MARKET": "PK",
        "MEMBER": "all",
        "INDEX": "orders",
        "WINDOW": "1m",
        "INSTANT": rfc3339(at_ms),
        "FROM": rfc3339(at_ms),
        "TO": rfc3339(at_ms + HOUR_MS),
        "FACTOR": "1.5",
        "TOPIC": "orders",
        "NAME=VALUE": "retention.ms=-1",
        "PARTITION": "0",
        "REASON": "schema",
        "RECEIVER": "slack",
        "FILE": str(work / "seed.csv"),
        "DIR": str(work / "DIR"),
        "...": rfc3339(at_ms),
        "INCIDENT": INCIDENT,
        "TIME": rfc3339(at_ms + 2 * HOUR_MS),
        "TEXT": "sale",
        "redis://127.0.0.1:6379/0": "",
    }
    words = [places.get(word, word) for word in command.split()]
    line = " ".join(word for word in words if word not in ("", "--redis"))
    if words[-1] in NEEDS_ARGUMENTS:
        return f"{line} --help"
    return f"{line} --for 2s" if words[1] == "simulate" else line


def alert_descriptions():
    """(alert, description) of each alert that fires in a case of promtool, as Prometheus writes it."""
    for path in sorted((ROOT / "tests" / "rules").glob("*.yml")):
        for case in yaml.safe_load(path.read_text())["tests"]:
            for check in case.get("alert_rule_test", ()):
                for alert in check["exp_alerts"]:
                    yield check["alertname"], alert["exp_annotations"]["description"]


def advised(text):
    """Every command that the text of an alert names."""
    return [found.strip() for found in _ADVISED.findall(text)]


UsageError = typer.BadParameter.__base__
"""Typer brings its own Click and does not name this class."""


@cache
def command_line():
    """The commands as Typer has made them."""
    return typer.main.get_command(app)


def parse(line):
    """Take a line as the command line would, but for carrying it out. Raises UsageError."""
    _program, *words = shlex.split(line, comments=True)
    command = command_line()
    while hasattr(command, "commands"):
        name = words.pop(0) if words else "--help"
        if name == "--help":
            return
        if name.startswith("-") and command.invoke_without_command:
            command.make_context(command.name, [name, *words])
            return
        if name not in command.commands:
            raise UsageError(f"{command.name} has no command {name}")
        command = command.commands[name]
    if "--help" not in words:
        command.make_context(command.name, words)
