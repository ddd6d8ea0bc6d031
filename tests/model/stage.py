"""Verbs of scripts that drive a world. A script runs with its rules in force and with each off."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.model.oracle import Violation
from tests.model.switches import BY_NAME, patched
from tests.model.workers import Worker
from tests.model.world import Config, World
from tests.support.events import encoded
from tests.support.flow_harness import order, payment

PANE = 30_000
SCRIPTED: set[str] = set()
"""Names of the switches that some script catches."""


class Stage:
    """A world and the verbs of the scripts."""

    def __init__(self, off: frozenset[str] = frozenset(), **config) -> None:
        self.world = World(Config(knows_time=True, **config), off)

    def tick(self, length_ms: int) -> None:
        self.world.now_ms += length_ms

    def owner(self, name: str) -> Worker:
        return next(w for w in self.world.owners if self.world.name(w).startswith(f"{name}@"))

    def produce(
        self, name: str, event_id: str, ago_ms: int = 0, *, market: str = "AA", **more
    ) -> None:
        """Produce an event that occurred ``ago_ms`` before its arrival (``arrived_ms``, or now).

        With ``producer`` it is in that producer's transaction.
        """
        world = self.world
        arrived_ms = more.pop("arrived_ms", world.now_ms)
        producer = more.pop("producer", None)
        doubtful = self.world.config.stray_clocks
        sp = next(sp for sp in world.sps if str(sp) == name)
        build = payment if sp.topic == "payments" else order
        more = {"currency": market[0] * 3} | more
        event = build(event_id, arrived_ms - ago_ms, market=market, **more)
        world.append(sp, encoded(event), arrived_ms, producer, doubtful=doubtful)

    def shows_generation(self, wanted: int) -> None:
        """Assert that Redis holds this generation of AA, at an ``as_of`` that has come."""
        generation, as_of_ms = self.world.redis.as_of["AA"]
        assert generation == wanted
        assert as_of_ms <= self.world.now_ms

    def end(self, name: str, producer: int, *, commits: bool) -> None:
        """End the transaction of a producer in the named source partition."""
        sp = next(sp for sp in self.world.sps if str(sp) == name)
        self.world.end_transaction(sp, producer, commits=commits)

    def go(
        self, worker: Worker, until: str, *, size: int = 1_000, lands: bool = True, **wants
    ) -> None:
        """Step the worker until the text of its last effect begins with ``until``."""
        worker.size = size
        worker.wants_partials = wants.get("partials", True)
        worker.wants_flush = wants.get("flush", True)
        for _ in range(60):
            assert worker.step(lands=lands), f"waits after {worker.done}"
            if worker.done.startswith(until):
                return
        raise AssertionError(f"never {until!r}; last {worker.done!r}")

    def land(self, worker: Worker, log: str, count: int = 1_000) -> None:
        name = next(name for name in worker.producer.queues if name.startswith(log))
        worker.producer.land(name, count)

    def rest(self, *names: str) -> None:
        """Run the named owners until they have nothing left to do."""
        for name in names:
            self.world.rest(self.owner(name))

    def kill(self, worker: Worker) -> Worker:
        """Kill the worker, of which nothing more lands; return the new owner."""
        worker.producer.queues.clear()
        worker.die(0)
        return self._replace(worker)

    def pause(self, worker: Worker) -> Worker:
        """Pause the worker, which may go on later as a zombie; return the new owner."""
        self.world.zombies.append(worker)
        return self._replace(worker)

    def _replace(self, worker: Worker) -> Worker:
        place = self.world.owners.index(worker)
        self.world.owners[place] = new_owner = self.world.new_owner(worker)
        return new_owner

    def recreate(self, topic: str) -> None:
        """Let everything rest, then delete the topic and create it again."""
        self.world.do(("recreate", list(self.world.topics).index(topic)))

    def grow(self, topic: str) -> None:
        """Give an input one more partition."""
        self.world.do(("grow", list(self.world.topics).index(topic)))

    def accept(self) -> None:
        """Run the command that each halted partition names."""
        self.world.do(("accept",))

    def compact(self) -> None:
        for log in (*self.world.partials, *self.world.checkpoints.values(), *self.world.tables):
            log.compact(log.end, tombstones=True)

    def finish(self) -> None:
        self.world.finish()


def held(script: Callable[[Stage], None], off: str | None, **config) -> None:
    """Assert that the script ends exact or, with the rule ``off``, in a violation."""
    switch = BY_NAME[off] if off is not None else None
    with patched(switch) as flags:
        if switch is None:
            script(Stage(flags, **config))
            return
        with pytest.raises(Violation):
            script(Stage(flags, **config))


def both(*rules: str):
    """Parametrize a test: once with all rules in force, and once with each of ``rules`` off."""
    SCRIPTED.update(rules)
    return pytest.mark.parametrize("off", [None, *rules], ids=["exact", *rules])
