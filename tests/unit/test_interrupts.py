"""Ctrl-C while a command starts: it ends at once, with 130 and without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from streams.cli.commands import COMMANDS
from streams.settings import environment_without_settings

WORKER = ("typer", "aiokafka.errors", "faust.app")
"""What a worker imports on its way, some of it before and some after the command line is read."""

ARGUMENTS = {
    "explain": ("PK", "orders", "all", "1h"),
    "export": ("days", "--csv", "-"),
    "import": ("olist", "."),
    "seed": ("seeds.csv",),
    "expect": ("PK", "--from", "2026-11-27T00:00:00Z", "--to", "2026-11-28T00:00:00Z"),
}
"""What a command needs before it begins; all others run without any."""


def interrupt(arguments, module):
    """Run a command; SIGINT as soon as it has imported ``module``: (exit code, stderr)."""
    argv = [sys.executable, "-X", "importtime", "-P", "-m", "streams.cli", *arguments]
    with subprocess.Popen(
        argv,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment_without_settings(),
    ) as process:
        errors = []
        waiting = True
        for line in process.stderr:
            name = line.rpartition("|")[2].strip()
            if not line.startswith("import time:"):
                errors.append(line)
            elif waiting and name == module:
                os.kill(process.pid, signal.SIGINT)
                waiting = False
        assert not waiting, f"{module} was never imported:\n" + "".join(errors)
    return process.returncode, "".join(errors)


def assert_ended_at_once(code, errors):
    assert code == 130, errors
    assert errors == ""


@pytest.mark.parametrize("module", WORKER)
def test_a_worker_that_is_interrupted_while_it_imports_ends_at_once(module):
    assert_ended_at_once(*interrupt(["worker", "--bootstrap", "127.0.0.1:9"], module))


@pytest.mark.deep
@pytest.mark.parametrize("module", ["typer", "pydantic"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_is_interrupted_while_it_starts_ends_at_once(command, module):
    assert_ended_at_once(*interrupt([command, *ARGUMENTS.get(command, ())], module))


def test_an_interrupt_in_the_event_loop_is_for_the_command_to_hear():
    """asyncio cancels the main task, but only where Python's own handler was in force."""
    code = (
        "import asyncio, os, signal, sys\n"
        "from streams.cli import commands, main\n"
        "from streams.cli.common import run\n"
        "async def work():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        await asyncio.sleep(60)\n"
        "    finally:\n"
        "        print('cleaned up', flush=True)\n"
        "commands.app.command('work')(lambda: run(work()))\n"
        "sys.argv = ['ecindex', 'work']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "cleaned up\n", "")
