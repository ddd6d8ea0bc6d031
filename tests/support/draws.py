"""The examples that hypothesis draws: all with ``--deep``, a tenth in a plain run.

Each run draws the same ones, so that what fails elsewhere fails here. ``--anew`` draws others.
"""

from __future__ import annotations

from hypothesis import settings

ALL = 100
settings.register_profile("deep", max_examples=ALL, deadline=None)
settings.register_profile("plain", max_examples=ALL // 10, deadline=None)


def pytest_addoption(parser):
    parser.addoption("--anew", action="store_true", help="draw other examples than the last time")


def pytest_configure(config):
    profile = settings.get_profile("deep" if config.getoption("--deep") else "plain")
    settings.register_profile("drawn", profile, derandomize=not config.getoption("--anew"))
    settings.load_profile("drawn")


def examples(count):
    """Settings of a test that needs another number than 100."""
    return settings(max_examples=max(4, count * settings.default.max_examples // ALL))
