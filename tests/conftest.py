"""Fixtures that every test may ask for, and the tests that only run when asked for."""

from __future__ import annotations

import pytest

pytest_plugins = ["support.stack"]


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also the tests that take minutes")
    parser.addoption(
        "--pictures", action="store_true", help="take docs/images anew (tests/browser)"
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="takes minutes; run with --long")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(skip)
