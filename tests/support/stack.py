"""One real Kafka and Redis for the whole test session; tests keep apart by unique names."""

from __future__ import annotations

import contextlib
import itertools
import os

import pytest

from streams.console.progress import rich_progress
from streams.local.kafka_jars import default_cache_dir
from streams.local.local_stack import LocalStack

_names = itertools.count()


@pytest.fixture(scope="session")
def cache_dir():
    """Where the downloaded jars are, shared with ``ecindex demo``."""
    return default_cache_dir(os.environ)  # noqa: TID251 - the tests' own composition root


@pytest.fixture(scope="session")
def stack(request, tmp_path_factory, cache_dir):
    """``stack.bootstrap`` and ``stack.redis_url`` of servers that every test of the session uses.

    Whoever wants to kill or freeze a server starts a LocalStack of their own.
    """
    directory = tmp_path_factory.mktemp("stack")
    with contextlib.ExitStack() as parts:
        # Past pytest's capture: a first run downloads for some seconds and must say so.
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled(), rich_progress() as progress:
            local = parts.enter_context(
                LocalStack(directory, cache_dir=cache_dir, progress=progress)
            )
        yield local


@pytest.fixture
def unique(request):
    """Make a topic, group or prefix name that no other test of the session has."""

    def name(stem: str = "t"):
        return f"{stem}-{request.node.name.split('[')[0]}-{next(_names)}".replace("_", "-")

    return name
