"""An ``as_of`` that had run ahead, and the operator's way back (decision 0121)."""

from __future__ import annotations

from streams.index.panes import HOUR_MS, MINUTE_MS
from tests.model.stage import PANE, Stage, both, held
from tests.model.topics import PARTIALS


def _an_hour_ahead(stage: Stage) -> None:
    """Let the clock of the partials' broker run an hour ahead until it is seen, and set it right."""
    for name, event_id in (("orders-0", "a"), ("payments-0", "p")):
        stage.produce(name, event_id)
    stage.tick(MINUTE_MS)
    stage.world.settle()
    stage.world.do(("broker", HOUR_MS))
    for _ in range(2):  # the first acknowledgement tells the workers what time it is
        stage.tick(1_000)
        stage.world.settle()
    _, as_of_ms = stage.world.redis.as_of["AA"]
    assert as_of_ms > stage.world.now_ms + HOUR_MS // 2
    stage.world.do(("broker", 0))
    for _ in range(2):
        stage.tick(1_000)
        stage.world.settle()


@both(
    "generation left out of versions",
    "a generation begins where the last one was",
    "marks from before a reset count",
)
def test_a_reset_brings_as_of_back_to_now(off):
    """The partitions are quiet: the false marks are the best of all, until a mark knows more."""

    def script(stage: Stage) -> None:
        _an_hour_ahead(stage)
        stage.world.do(("clock_reset", "AA"))
        stage.tick(PANE)
        stage.world.settle()
        assert "AA" in stage.world.redis.fences
        stage.finish()

    held(script, off, resets=True)


@both("a new owner takes as_of of any generation", "marks from before a reset count")
def test_neither_zombie_nor_new_owner_falls_behind_a_reset(off):
    """The zombie has published an hour ahead and reads of the reset last; the new owner first."""

    def script(stage: Stage) -> None:
        _an_hour_ahead(stage)
        zombie = stage.owner("level2-0")
        new_owner = stage.pause(zombie)
        stage.world.do(("clock_reset", "AA"))
        stage.tick(PANE)
        stage.produce("orders-0", "b")
        stage.world.settle()
        for zombie.only in (0, 0, 1, 1, 1, 1, 3, 0, 1, 1, 1, 1):
            zombie.step(lands=True)
        stage.kill(new_owner)
        stage.tick(PANE)
        stage.world.settle()
        stage.shows_generation(1)
        stage.finish()

    held(script, off, resets=True)


@both("only the last mark of a source partition counts after a reset")
def test_a_reset_that_is_heard_late_counts_every_mark_since_it(off):
    """A zombie's mark is the last one before the owner of the partials hears of the reset.

    An owner that heard of it first, or that began later, was further than one that did not.
    """

    def script(stage: Stage) -> None:
        stage.produce("payments-0", "p")
        stage.world.settle()
        zombie = stage.owner("payments-0")
        stage.pause(zombie)
        stage.tick(2 * PANE)
        stage.produce("payments-0", "q")
        stage.world.do(("clock_reset", "AA"))
        stage.rest("payments-0")
        zombie.only = 1
        stage.go(zombie, "sent")
        zombie.producer.land_all()
        stage.rest("level2-0")
        stage.finish()

    held(script, off, resets=True)


@both("marks from before a reset count")
def test_a_reset_counts_no_mark_of_partials_that_are_gone(off):
    """They are created again right before the reset, and the owner of the old ones hears of it first.

    The new generation began an hour ahead: the false marks were in no log any more.
    """

    def script(stage: Stage) -> None:
        _an_hour_ahead(stage)
        stage.recreate(PARTIALS)
        stage.world.do(("clock_reset", "AA"))
        level2 = stage.owner("level2-0")
        for level2.only in (4, 1, 1, 1, 1):  # reads the history, publishes
            level2.step(lands=True)
        stage.tick(PANE)
        stage.world.settle()
        stage.shows_generation(1)
        stage.finish()

    held(script, off, topics_change=True, resets=True)
