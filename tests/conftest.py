"""Fixtures that every test may ask for, and which tests a run holds."""

from __future__ import annotations

import gc
import os
import sys
from functools import cache

import pytest
import typer.testing
from xdist.scheduler import LoadFileScheduling

from streams.cli.start import keep_bytecode

# Kept for the hundreds of processes that the tests start as well, even where Python may not write
# bytecode: each of them compiled all it imports, and each run rewrote the asserts of all tests anew.
keep_bytecode()
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # noqa: TID251 - the children's
if sys.pycache_prefix:
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix  # noqa: TID251

# What collection makes stays to the end. Looking through it again and again took a tenth of a run.
gc.disable()

# Typer builds the whole command line anew for each command that a test runs in this process.
typer.testing._get_command = cache(typer.testing._get_command)

pytest_plugins = ["support.stack", "support.draws"]


def pytest_addoption(parser):
    parser.addoption("--deep", action="store_true", help="the rest: what a plain run leaves out")
    parser.addoption("--long", action="store_true", help="also the tests that take minutes")
    parser.addoption(
        "--pictures", action="store_true", help="take docs/images anew (tests/browser)"
    )


RIG = ("tests/faults/test_poison.py", "tests/faults/test_singly.py", "tests/faults/test_cancel.py")
"""They break one rig in turn; each process that ran one of them would start a rig of its own."""
SOURCES = tuple(
    f"tests/contract/test_{name}.py"
    for name in ("citations", "names", "settings_read", "layout", "layers", "level2_parts")
)
"""They read all of our code; each process that ran one of them would parse it once more."""


class _Together(LoadFileScheduling):
    """A file stays with one process of pytest-xdist, and so do all files that share what is dear."""

    def _split_scope(self, nodeid):
        path = super()._split_scope(nodeid)
        return next((files[0] for files in (RIG, SOURCES) if path in files), path)


def pytest_xdist_make_scheduler(config, log):
    return _Together(config, log)


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long"):
        skip = pytest.mark.skip(reason="takes minutes; run with --long")
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(skip)
    if any("::" in each for each in config.args):
        return  # whoever names a test wants it
    wanted = _is_deep if config.getoption("--deep") else _is_plain
    left_out = [item for item in items if not wanted(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if wanted(item)]


def pytest_collection_finish():
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 10, 10)


def _is_plain(item):
    return item.get_closest_marker("deep") is None or _is_chaos(item)


def _is_deep(item):
    """Also what draws examples: a plain run draws a tenth of them."""
    draws = getattr(getattr(item, "function", None), "is_hypothesis_test", False)
    return draws or item.get_closest_marker("deep") is not None or _is_chaos(item)


def _is_chaos(item):
    return item.get_closest_marker("chaos") is not None  # left out by -m, or asked for by it
