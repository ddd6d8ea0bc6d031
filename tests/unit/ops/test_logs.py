"""Log lines: one format, to one place, without what a frame's variables hold."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FAILS = """
import logging, sys, structlog
from pathlib import Path
from streams.ops.logs import configure_logs
from streams.settings import LogSettings
configure_logs(LogSettings(format=sys.argv[1], level=sys.argv[2]), *map(Path, sys.argv[3:]))
structlog.get_logger("ours").info("said", number=7)
logging.getLogger("aiokafka.conn").info("chatter")
logging.getLogger("aiokafka.conn").warning("of %s", "a library")
def fail():
    password = "tell" + "-nobody"
    raise ValueError("on purpose")
try:
    fail()
except ValueError:
    logging.getLogger("faust").exception("failed")
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-c", FAILS, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


def test_json_lines_of_ours_and_of_libraries_on_stderr():
    done = run("json", "info")
    assert done.stdout == ""
    ours, library, failed = map(json.loads, done.stderr.splitlines())
    assert (ours["event"], ours["number"], ours["level"]) == ("said", 7, "info")
    assert (library["event"], library["logger"]) == ("of a library", "aiokafka.conn")
    assert failed["exception"][0]["exc_value"] == "on purpose"


@pytest.mark.parametrize("shape", ["json", "console"])
def test_variables_of_frames_are_not_logged(shape):
    done = run(shape, "debug")
    assert "on purpose" in done.stderr
    assert "tell-nobody" not in done.stderr


def test_a_level_leaves_out_what_is_below_it():
    done = run("json", "warning")
    assert "said" not in done.stderr
    assert "chatter" in run("json", "debug").stderr


def test_a_file_instead_of_stderr(tmp_path):
    done = run("auto", "info", tmp_path / "main.log")
    assert done.stderr == ""
    first = (tmp_path / "main.log").read_text().splitlines()[0]
    assert json.loads(first)["event"] == "said"
