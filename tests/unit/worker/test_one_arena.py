"""All threads of a worker allocate from one heap, by the C library's own statistics."""

import ctypes
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, sys, threading
from streams.worker.runner import one_arena
if "one" in sys.argv:
    one_arena()
kept = []
def work():
    kept.append([bytearray(20_000) for _ in range(100)])
    ctypes.CDLL(None).malloc_stats()
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="not glibc")
@pytest.mark.parametrize(("argument", "arenas"), [("one", 1), ("own", 2)])
def test_a_thread_allocates_where_the_others_do(argument, arenas):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, argument], capture_output=True, text=True, check=True
    )
    assert done.stderr.count("Arena ") == arenas
