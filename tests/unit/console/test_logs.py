"""Log lines: one format, to one place, without what a frame's variables hold."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys

import pytest

from streams.console.logs import ALIKE_OF_LIBRARIES_MAX, KINDS_MAX, AlikeFilter

FAILS = """
import logging, sys, structlog
from pathlib import Path
from streams.console.logs import configure_logs
from streams.settings import LogSettings
configure_logs(LogSettings(format=sys.argv[1], level=sys.argv[2]), *map(Path, sys.argv[3:]))
structlog.get_logger("ours").info("said", number=7)
logging.getLogger("aiokafka.conn").info("chatter")
logging.getLogger("aiokafka.conn").warning("of %s", "a library")
def fail():
    password = "tell" + "-nobody"
    raise ValueError("on purpose\\x1b[2J")
structlog.get_logger("ours").warning("\\x1b[2Jgone", market="PK\\r\\nfaked line", odd="\\x9b1m")
logging.getLogger("aiokafka.conn").debug("Request to %s: %s", "broker", "tell-nobody")
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
    ours, library, odd, failed = map(json.loads, done.stderr.splitlines())
    assert (ours["event"], ours["number"], ours["level"]) == ("said", 7, "info")
    assert (library["event"], library["logger"]) == ("of a library", "aiokafka.conn")
    assert (odd["event"], odd["market"]) == ("\x1b[2Jgone", "PK\r\nfaked line"), "JSON escapes"
    assert failed["exception"][0]["exc_value"] == "on purpose\x1b[2J"


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


def test_nothing_from_outside_moves_the_cursor_or_begins_a_line():
    done = run("console", "info")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stderr)
    assert "\nfaked line" not in done.stderr
    assert "gone" in done.stderr


def test_a_library_never_shows_its_requests():
    assert "tell-nobody" not in run("json", "debug").stderr


def lines_of(times_s, message="again and again", *, logger="a", limit=3):
    shown = AlikeFilter(limit=limit, within_s=60)
    found = []
    for at_s in times_s:
        record = logging.LogRecord(logger, logging.WARNING, "", 0, message, (), None)
        record.created = at_s
        if shown.filter(record):
            found.append(record.msg)
    return found


def test_lines_beyond_the_limit_of_their_kind_are_counted():
    found = lines_of([0, 1, 2, 3, 4, 61])
    assert found == ["again and again"] * 3 + ["again and again (2 similar lines left out)"]


def test_a_library_gets_fewer_lines_of_a_kind_than_we_do():
    times_s = range(10)
    assert len(lines_of(times_s, logger="aiokafka.conn", limit=20)) == ALIKE_OF_LIBRARIES_MAX
    assert len(lines_of(times_s, logger="streams.worker.app", limit=20)) == 10


def test_a_line_says_how_many_like_it_were_left_out():
    shown = AlikeFilter(limit=1, within_s=60)

    def line_at(at_s, event):
        record = logging.LogRecord("a", logging.WARNING, "", 0, {"event": event}, (), None)
        record.created = at_s
        return record.msg if shown.filter(record) else None

    assert line_at(0, "x") == {"event": "x"}
    assert line_at(1, "y") == {"event": "y"}, "of another kind"
    assert line_at(2, "x") is None
    assert line_at(70, "x") == {"event": "x", "left_out": 1}


def test_kinds_of_lines_are_not_remembered_for_ever():
    shown = AlikeFilter()
    for number in range(KINDS_MAX + 100):
        shown.filter(logging.LogRecord("a", logging.INFO, "", 0, f"kind {number}", (), None))
    assert len(shown._kinds) == KINDS_MAX
