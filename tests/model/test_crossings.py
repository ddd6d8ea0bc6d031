"""Topics that change, resets, transactions, gaps and kills that cross each other."""

from __future__ import annotations

from streams.index.panes import HOUR_MS, MINUTE_MS
from tests.model.stage import PANE, Stage, held
from tests.model.topics import PARTIALS


def _begin(stage: Stage) -> None:
    for name, event_id in (("orders-0", "a"), ("payments-0", "p")):
        stage.produce(name, event_id)
    stage.tick(MINUTE_MS)
    stage.world.settle()


def _reset(stage: Stage) -> None:
    stage.world.do(("clock_reset", "AA"))


def _crosses(script) -> None:
    held(script, None, topics_change=True, resets=True)


def test_a_reset_beside_a_halted_input():
    """A mark since the reset knows how far the payments were; the next, of the halted ones, does not."""

    def script(stage: Stage) -> None:
        stage.produce("payments-0", "p")
        stage.tick(PANE)
        stage.recreate("payments")
        _reset(stage)
        worker = stage.owner("payments-0")
        worker.only = 1
        stage.go(worker, "sent")
        stage.rest("payments-0", "level2-0")
        assert stage.owner("payments-0").halted == "recreated"
        assert stage.world.redis.as_of["AA"] == (1, stage.world.now_ms - PANE)
        stage.finish()

    _crosses(script)


def test_a_partition_is_added_while_a_transaction_holds_another_and_a_reset_is_declared():
    """The owner of the held partition is killed, and the transaction is aborted under the next one."""

    def script(stage: Stage) -> None:
        _begin(stage)
        stage.produce("orders-0", "t", producer=1)
        stage.grow("orders")
        stage.produce("orders-1", "x")
        _reset(stage)
        worker = stage.owner("orders-0")
        for worker.only in (0, 1, 1):
            worker.step(lands=False)
        stage.kill(worker)
        stage.tick(2 * PANE)
        stage.produce("orders-0", "b")
        stage.world.settle()
        generation, held_ms = stage.world.redis.as_of["AA"]
        assert generation == 1
        assert held_ms <= stage.world.now_ms - 2 * PANE, "the transaction is open"
        stage.end("orders-0", 1, commits=False)
        stage.tick(PANE)
        stage.kill(stage.owner("level2-0"))
        stage.world.settle()
        assert stage.world.redis.as_of["AA"][1] > held_ms
        stage.finish()

    _crosses(script)


def test_an_input_goes_with_its_open_transaction_while_the_clock_is_ahead():
    """Its owner is killed before the change is accepted; the new log has an aborted transaction."""

    def script(stage: Stage) -> None:
        _begin(stage)
        stage.produce("orders-0", "t", producer=1)
        stage.world.do(("broker", HOUR_MS))
        stage.recreate("orders")
        stage.produce("orders-0", "u", producer=2)
        stage.produce("orders-0", "b")
        stage.kill(stage.owner("orders-0"))
        stage.world.settle()
        stage.world.do(("broker", 0))
        _reset(stage)
        stage.accept()
        stage.end("orders-0", 2, commits=False)
        stage.kill(stage.owner("level2-0"))
        stage.tick(PANE)
        stage.world.settle()
        stage.shows_generation(1)
        stage.finish()

    _crosses(script)


def test_partials_go_and_a_partition_comes_between_two_resets():
    """The owner of the partials is killed before it hears of the first; the second names new ones."""

    def script(stage: Stage) -> None:
        _begin(stage)
        stage.world.do(("broker", HOUR_MS))
        stage.tick(PANE)
        stage.world.settle()
        stage.world.do(("broker", 0))
        _reset(stage)
        stage.recreate(PARTIALS)
        stage.grow("payments")
        stage.produce("payments-1", "x")
        zombie = stage.owner("level2-0")
        stage.pause(zombie)
        _reset(stage)
        for _ in range(12):
            zombie.step(lands=True)
        stage.tick(PANE)
        stage.compact()
        stage.world.settle()
        stage.shows_generation(2)
        stage.finish()

    _crosses(script)


def test_retention_overtakes_an_input_that_is_then_created_again():
    """The gap is accepted over the owner's death, a partition comes, and the log goes after all."""

    def script(stage: Stage) -> None:
        _begin(stage)
        stage.world.do(("retention", 0, 1))
        stage.produce("orders-0", "b")
        stage.world.settle()
        assert stage.owner("orders-0").halted == "gap"
        _reset(stage)
        stage.accept()
        stage.kill(stage.owner("orders-0"))
        stage.grow("orders")
        stage.produce("orders-1", "x", producer=1)
        stage.world.settle()
        stage.recreate("orders")
        stage.produce("orders-0", "c")
        stage.produce("orders-1", "y")
        stage.kill(stage.owner("orders-1"))
        stage.tick(MINUTE_MS)
        stage.world.settle()
        stage.accept()
        stage.world.settle()
        stage.finish()

    _crosses(script)
