"""The seconds that a demo reports count from the start of its process."""

from __future__ import annotations

import subprocess
import sys
import time

CHILD = """
import time
from streams.demo.demo import since_start_s
print(since_start_s(), time.monotonic())
"""
TICK_S = 0.02
"""The kernel counts starts in hundredths."""


def test_a_start_is_never_reported_longer_than_it_was():
    before_s = time.monotonic()
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    told_s, then_s = map(float, done.stdout.split())
    assert 0 < told_s <= then_s - before_s + TICK_S
