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


RUNS = """
import json, os, sys, structlog
import streams.console.logs, streams.settings
code = compile(sys.argv[1], "fails", "exec")
for place, *arguments in json.loads(sys.argv[2]):
    if not os.fork():
        os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT), 2)
        sys.argv[1:] = arguments
        exec(code, {})
        sys.exit()
    assert os.wait()[1] == 0
"""
"""Each in a process of its own, but the imports once: they took half a second for each."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What FAILS writes to stderr, by format and level."""
    folder = tmp_path_factory.mktemp("logs")
    how = [("json", "info"), ("json", "debug"), ("json", "warning"), ("console", "info")]
    how += [("console", "debug"), ("auto", "info")]
    runs = [[str(folder / "-".join(each)), *each] for each in how]
    runs[-1].append(str(folder / "main.log"))
    argv = [sys.executable, "-c", RUNS, FAILS, json.dumps(runs)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == ""
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_json_lines_of_ours_and_of_libraries_on_stderr(written):
    ours, library, odd, failed = map(json.loads, written["json-info"].splitlines())
    assert (ours["event"], ours["number"], ours["level"]) == ("said", 7, "info")
    assert (library["event"], library["logger"]) == ("of a library", "aiokafka.conn")
    assert (odd["event"], odd["market"]) == ("\x1b[2Jgone", "PK\r\nfaked line"), "JSON escapes"
    assert failed["exception"][0]["exc_value"] == "on purpose\x1b[2J"


@pytest.mark.parametrize("shape", ["json", "console"])
def test_variables_of_frames_are_not_logged(written, shape):
    assert "on purpose" in written[f"{shape}-debug"]
    assert "tell-nobody" not in written[f"{shape}-debug"]


def test_a_level_leaves_out_what_is_below_it(written):
    assert "gone" in written["json-warning"]
    assert "said" not in written["json-warning"]
    assert "chatter" in written["json-debug"]


def test_a_file_instead_of_stderr(written):
    assert written["auto-info"] == ""
    first = written["main.log"].splitlines()[0]
    assert json.loads(first)["event"] == "said"


def test_nothing_from_outside_moves_the_cursor_or_begins_a_line(written):
    lines = written["console-info"]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", lines)
    assert "\nfaked line" not in lines
    assert "gone" in lines


def test_a_library_never_shows_its_requests(written):
    assert "tell-nobody" not in written["json-debug"]


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
