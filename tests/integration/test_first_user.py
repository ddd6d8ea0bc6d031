"""A first user whose every order is refused reads why, wherever he looks."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.request

import pytest
from support.command import Command, until
from support.flow_harness import order, payment
from support.installation import ECINDEX
from support.kafka import produce
from support.methodologies import DEMO_CONFIG

from streams.clock import now_ms

pytestmark = pytest.mark.stack

PATH = "`$.lines`"


def asked(directory, *arguments):
    """(exit code, stdout and stderr in one line) of a command on the index in the directory."""
    done = subprocess.run(
        [ECINDEX, *arguments, "--config", directory / "ecindex.toml"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def metrics(where) -> str:
    with urllib.request.urlopen(where["metrics"][0], timeout=30) as answer:
        return answer.read().decode()


def beat(where) -> dict:
    """The page's next state."""
    deadline = time.monotonic() + 30
    with urllib.request.urlopen(f"{where['board']}events", timeout=30) as stream:
        for line in stream:
            if line.startswith(b"data: ") and b'"inputs"' in line:
                return json.loads(line[6:])
            assert time.monotonic() < deadline
    raise AssertionError("the stream ended")


async def test_a_first_user_reads_why_nothing_counts(tmp_path):
    with Command(
        "up", "--dir", tmp_path, "--inputs", "1", "--config", DEMO_CONFIG, "--json"
    ) as command:
        where = command.line()
        at_ms = now_ms()
        bad = [
            json.dumps({**order(f"o{n}", at_ms), "lines": None, "items": []}).encode()
            for n in range(90)
        ]
        paid = json.dumps(payment("p", at_ms)).encode()
        await produce(where["bootstrap"], "payments", [paid])
        await produce(where["bootstrap"], "orders", bad)
        expected = "orders: 90 of 90 events were refused"

        def shown():
            code, text = asked(tmp_path, "show")
            return text if expected in text and code == 1 else None

        assert PATH in until(shown)
        code, text = asked(tmp_path, "doctor")
        assert code == 1
        assert expected in text
        assert PATH in text

        assert 'ecindex_refused_ratio{partition="0",topic="orders"} 1.0' in metrics(where)
        (note,) = beat(where)["inputs"]
        assert note["severe"]
        assert note["text"].startswith(expected)
        _, _, err = command.end(signal.SIGTERM)
        assert expected in err
        assert PATH in err
