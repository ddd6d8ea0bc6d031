"""Sequences in which a topic changes under the workers' hands (exactness rule 9)."""

from __future__ import annotations

from streams.index.panes import MINUTE_MS
from tests.model.stage import PANE, Stage, both, held
from tests.model.topics import PARTIALS

LOG = 1 << 40
"""Number of the first offset in the log that takes a log's place."""


@both("inputs read by name", "a state goes on over another log")
def test_nothing_of_another_log_is_counted_until_the_operator_accepts_it(off):
    """``orders`` is created again under load: its new log soon reaches beyond the old state.

    Read by its name, the new log looked like the old one from where the state ended: what lay before
    was never counted, and nothing looked wrong.
    """

    def script(stage: Stage) -> None:
        for name in "ab":
            stage.produce("orders-0", name)
        stage.produce("payments-0", "p")
        stage.world.settle()
        _, before = stage.world.redis.as_of["AA"]
        stage.recreate("orders")
        for name in "cde":
            stage.tick(PANE)
            stage.produce("orders-0", name)
        worker = stage.owner("orders-0")
        for worker.only in (0, 0, 1, 1):
            worker.step(lands=True)
        worker.producer.land_all()
        stage.kill(worker)
        stage.world.settle()
        assert stage.owner("orders-0").halted == "recreated"
        stage.tick(5 * MINUTE_MS)
        stage.world.settle()
        _, after = stage.world.redis.as_of["AA"]
        assert after <= before + PANE
        stage.accept()
        stage.kill(stage.owner("orders-0"))
        stage.world.settle()
        assert stage.owner("orders-0").level.through == LOG + 2
        stage.finish()

    held(script, off, topics_change=True)


def test_a_partition_that_nothing_was_counted_of_begins_with_the_log_there_is():
    """It is empty when its topic is created again; its owner is killed before its first flush.

    The new owner finds no checkpoint and numbers the records from 0. Had the owner numbered them as
    those of a second log, its rows would win for ever, and nothing would be counted any more.
    """

    def script(stage: Stage) -> None:
        stage.produce("payments-0", "p")
        stage.world.settle()
        stage.recreate("orders")
        stage.produce("orders-0", "a")
        for _ in range(2):
            stage.world.settle()
            stage.accept()
        stage.tick(MINUTE_MS)
        stage.produce("orders-0", "b")
        worker = stage.owner("orders-0")
        stage.go(worker, "folded", flush=False)
        stage.go(worker, "sent", flush=False)
        stage.kill(worker)
        stage.produce("orders-0", "c")
        stage.finish()

    held(script, None, topics_change=True)


@both("marks of partials that are gone believed", "nothing waits for rows of created partials")
def test_no_value_passes_rows_that_went_with_the_partials(off):
    """The partials are created again; workers that have not heard of it go on with their marks.

    The pane of ``a`` is open, so its row was in the partials alone. A new owner of level 2 found a mark
    of every source partition in the new ones, and published without the row.
    """

    def script(stage: Stage) -> None:
        stage.produce("orders-0", "a")
        stage.produce("payments-0", "p")
        stage.tick(2 * PANE)
        stage.world.settle()
        stage.recreate(PARTIALS)
        stage.tick(5_000)
        stage.produce("orders-0", "b")
        for name in ("orders-0", "payments-0"):
            worker = stage.owner(name)
            worker.only = 0
            stage.go(worker, "folded" if name == "orders-0" else "nothing")
            worker.only = 1
            stage.go(worker, "sent")
            worker.producer.land_all()
        new_owner = stage.kill(stage.owner("level2-0"))
        for _ in range(12):
            new_owner.step(lands=True)
        stage.finish()

    held(script, off, topics_change=True)
