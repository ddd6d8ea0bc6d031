"""One real Kafka and Redis for the whole test run; tests keep apart by unique names."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os

import pytest

from streams.console.progress import rich_progress
from streams.local.kafka_jars import default_cache_dir
from streams.local.local_stack import LocalStack

_names = itertools.count()
ADDRESSES = "servers.json"


@pytest.fixture(scope="session")
def cache_dir():
    """Where the downloaded jars are, shared with ``ecindex demo``."""
    return default_cache_dir(os.environ)  # noqa: TID251 - the tests' own composition root


class Servers:
    """Addresses of the run's servers, and children of this process."""

    def __init__(self, directory, bootstrap, redis_url):
        self.bootstrap = bootstrap
        self.redis_url = redis_url
        self._children = LocalStack(directory, with_kafka=False, with_redis=False)
        self.logs = self._children.logs
        self.spawn = self._children.spawn
        self.stop = self._children.stop


@pytest.fixture(scope="session")
def stack(request, tmp_path_factory, cache_dir):
    """``stack.bootstrap`` and ``stack.redis_url`` of servers that every test of the run uses.

    The first process of pytest-xdist that asks for them starts them, and ends them when no other
    uses them. Whoever wants to kill or freeze a server starts a LocalStack of their own.
    """
    base = tmp_path_factory.getbasetemp()
    run = base.parent if hasattr(request.config, "workerinput") else base
    with (run / "servers.users").open("a") as users, contextlib.ExitStack() as parts:
        with _locked(run / "servers.lock"):
            addresses = _started_by_another(run)
            if addresses is None:
                # Past pytest's capture: a first run downloads for some seconds and must say so.
                capture = request.config.pluginmanager.getplugin("capturemanager")
                with capture.global_and_fixture_disabled(), rich_progress() as progress:
                    addresses = parts.enter_context(_started(run, users, cache_dir, progress))
            fcntl.flock(users, fcntl.LOCK_SH)
        servers = Servers(tmp_path_factory.mktemp("children"), *addresses)
        parts.callback(servers.stop)
        yield servers


def _started_by_another(run):
    found = run / ADDRESSES
    return json.loads(found.read_text()) if found.exists() else None


@contextlib.contextmanager
def _started(run, users, cache_dir, progress):
    """Start the servers; in the end wait until nobody else holds ``users``, then end them."""
    with LocalStack(run / "servers", cache_dir=cache_dir, progress=progress) as local:
        addresses = (local.bootstrap, local.redis_url)
        (run / ADDRESSES).write_text(json.dumps(addresses))
        yield addresses
        with _locked(run / "servers.lock"):  # who comes now starts servers of their own
            fcntl.flock(users, fcntl.LOCK_EX)
            (run / ADDRESSES).unlink()


@contextlib.contextmanager
def _locked(path):
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def unique(request):
    """Make a topic, group or prefix name that no other test of the run has."""
    process = getattr(request.config, "workerinput", {}).get("workerid", "")

    def name(stem: str = "t"):
        own = request.node.name.split("[")[0]
        return f"{stem}-{own}-{process}{next(_names)}".replace("_", "-")

    return name
