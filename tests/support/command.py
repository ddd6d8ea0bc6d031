"""`ecindex` as a process of its own, with the user's environment but without the user's settings."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import psutil

from streams.settings import environment_without_settings

ENVIRONMENT = environment_without_settings()
DEADLINE_S = 300
"""Seconds after which a test gives up; no promise about the time of anything."""


class Command:
    """A running `ecindex`. It remembers its child processes, so that a test sees those left behind."""

    def __init__(self, *arguments, env=None):
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "streams.cli", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT | (env or {}),
        )

    def line(self):
        """Return the next line of stdout, parsed. Without one, fail and show stderr."""
        text = self.process.stdout.readline()
        assert text, self.process.communicate(timeout=DEADLINE_S)[1]
        return json.loads(text)

    def children(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number):
        """Send a signal; return the exit code, the rest of stdout and stderr."""
        self.process.send_signal(number)
        return self.finish()

    def finish(self):
        out, err = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, out, err

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def until(condition):
    """Wait for a condition that must come true; its time depends on the machine."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)
    return found
