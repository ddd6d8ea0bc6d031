"""A whole index with two workers, a real Prometheus, an Alertmanager and a pager."""

from __future__ import annotations

import contextlib
import signal

from support.command import Command
from support.methodologies import DEMO_CONFIG
from support.pager import Pager
from support.prometheus import Api, program

from streams.local.debian_packages import ALERTMANAGER, PROMETHEUS

PARTS = 7
"""Kafka, Redis, two workers, board, Prometheus, Alertmanager."""


class Monitored:
    """A running ``up``. ``where`` is its JSON line; ``pager`` keeps Alertmanager's notifications."""

    def __init__(self, command, pager, where, directory):
        self.command, self.pager, self.where = command, pager, where
        self.directory = directory
        self.config = ("--config", directory / "ecindex.toml")
        self.prometheus = Api(where["prometheus"])


@contextlib.contextmanager
def monitored(directory, cache_dir, env=None):
    """Run an index in ``directory``. At the end it must stop cleanly and leave no process.

    ``env``: variables with settings.
    """
    for wanted in (PROMETHEUS, ALERTMANAGER):
        program(cache_dir, wanted)
    with contextlib.closing(Pager()) as pager:
        up = ("up", "--dir", directory, "--workers", "2", "--inputs", "2", "--notify", pager.url)
        with Command(*up, "--config", DEMO_CONFIG, "--json", env=env) as command:
            yield Monitored(command, pager, command.line(), directory)
            children = command.children()
            assert len(children) == PARTS
            code, out, err = command.end(signal.SIGTERM)
            assert (code, out) == (0, ""), err
            assert not [child for child in children if child.is_running()]
            assert not list((directory / "pids").iterdir())
