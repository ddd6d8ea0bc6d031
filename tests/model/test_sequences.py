"""Sequences that broke this code, beyond V1-V12; each was found by the model or while it was written."""

from __future__ import annotations

from streams.index.panes import DAY_MS, MINUTE_MS
from tests.model.test_v import PANE, Stage
from tests.model.world import T0


def test_an_heir_does_not_delete_what_a_zombie_has_written_since():
    """A table key that is written twice must not be deleted by somebody who knows its first content.

    The zombie merges r2 under its key and tombstones r2's row. Its heir, which has not read that far,
    merges r3 into the same hour and deletes the zombie's key, as it read it at its takeover. Both end,
    the tombstone is compacted: r2 was in the deleted record alone.
    """
    stage = Stage(partitions=2)
    stage.rest("payments-0", "payments-1")
    stage.produce("orders-0", "r1")
    stage.produce("orders-1", "r2")
    stage.tick(PANE)
    stage.produce("orders-0", "r3")
    stage.tick(2 * MINUTE_MS)
    stage.produce("orders-0", "x", MINUTE_MS)  # closes r1
    stage.rest("orders-0", "orders-1", "level2-0")
    zombie = stage.owner("level2-0")
    heir = stage.pause(zombie)
    stage.rest("level2-0")
    stage.tick(MINUTE_MS)
    stage.produce("orders-0", "y")  # closes r3
    stage.rest("orders-0")
    third = stage.world.partials[0].end
    stage.produce("orders-1", "z")  # closes r2
    stage.rest("orders-1")

    zombie.only = None
    stage.world.rest(zombie)  # merges r2 and r3, tombstones their rows
    while heir.compiled.through + 1 < third:  # exactly up to the closing of r3
        heir.size, heir.only = 1 / 3, 0
        heir.step(lands=True)
    heir.only = 2
    for _ in range(4):
        heir.step(lands=True)
    heir.producer.land_all()
    stage.kill(heir)
    stage.world.zombies.remove(zombie)
    zombie.die(0)
    stage.compact()
    stage.finish()


def test_a_market_stays_live_though_nobody_read_the_mark_that_showed_it():
    """Of a writer's marks compaction keeps the last; what an earlier one has shown must be in it.

    Level 2 is away for longer than the compaction lag. The market was live by the first mark; it had
    its last order a day ago by the one that is left. Not live, ``as_of`` would stand at that order for
    as long as the outage lasts: a frozen index instead of a falling one.
    """
    stage = Stage()
    worker = stage.owner("orders-0")
    stage.produce("orders-0", "a")
    stage.go(worker, "folded")
    stage.go(worker, "sent 0 rows, 1 marks through 0")
    stage.tick(DAY_MS)
    stage.rest("orders-0")
    stage.compact()
    stage.finish()


def test_what_retention_drops_was_closed_in_an_acknowledged_publication():
    """As_of leaps over the retention of hours: the hour is closed and dropped in one step.

    The journal of that step has not landed when the owner ends. The row's tombstone must not have
    landed either, nor the merged hour be gone: the heir has to close the hour.
    """
    stage = Stage()
    stage.produce("orders-0", "a")
    stage.tick(MINUTE_MS)
    stage.world.settle()
    stage.tick(70 * DAY_MS)
    stage.produce("orders-0", "b")
    stage.rest("orders-0", "payments-0")
    level2 = stage.owner("level2-0")
    level2.only = 0
    stage.go(level2, "applied")
    stage.go(level2, "nothing to apply")
    level2.only = 1
    stage.go(level2, "computed", lands=False)
    stage.go(level2, "journal", lands=False)
    level2.only = 2
    stage.go(level2, "writes", lands=False)
    stage.land(level2, "table")
    stage.go(level2, "2 tombstones", lands=False)
    stage.land(level2, "partials")
    stage.kill(level2)
    stage.compact()
    stage.finish()


def test_a_day_is_dropped_whole():
    """An import of 1,300 days ago, one partition of which goes on today.

    That partition's part of the old day was merged and is dropped after 1,200 days. The other has not
    closed the day, so its row stayed open, and a new owner published it as the day's value.
    """
    stage = Stage(partitions=2, import_market=True)
    long_ago = T0 - 1_300 * DAY_MS
    for name in ("orders-0", "orders-1"):
        stage.produce(name, "a", market="BB", arrived_ms=long_ago)
    stage.world.settle()
    stage.produce("orders-0", "now", market="BB")
    stage.world.settle()
    stage.tick(MINUTE_MS)
    stage.world.settle()
    stage.kill(stage.owner("level2-0"))
    stage.world.settle()
    stage.finish()


def test_the_log_covers_from_a_row_that_came_after_its_retention():
    """A market is live by its orders; of its payments partition only an old one has come.

    Where the log begins must not depend on whether that row was applied before or after ``as_of`` of
    the orders leapt over the retention: payments read 0, known from their first one on.
    """
    stage = Stage(import_market=True, import_goes_live=True)
    stage.produce("orders-0", "a", market="BB")
    stage.world.settle()
    stage.kill(stage.owner("level2-0"))
    stage.produce("payments-0", "p", market="BB", arrived_ms=T0 - 1_000 * DAY_MS)
    stage.finish()
