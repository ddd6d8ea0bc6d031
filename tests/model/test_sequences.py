"""What broke this code after sequences V1 to V12, found by the model or while it was written."""

from __future__ import annotations

from streams.index.panes import DAY_MS, MINUTE_MS, rfc3339
from tests.model.stage import PANE, Stage, both, held
from tests.model.world import T0


@both("one table key a writer")
def test_a_new_owner_does_not_delete_what_a_zombie_has_written_since(off):
    """A table key that is written twice must not be deleted by somebody who knows its first content.

    The zombie merges r2 under its key and tombstones r2's row. Its heir, which has not read that far,
    merges r3 into the same hour and deletes the zombie's key, as it read it at its takeover. Both end,
    the tombstone is compacted: r2 was in the deleted record alone.
    """

    def script(stage: Stage) -> None:
        stage.rest("payments-0", "payments-1")
        stage.produce("orders-0", "r1")
        stage.produce("orders-1", "r2")
        stage.tick(PANE)
        stage.produce("orders-0", "r3")
        stage.tick(2 * MINUTE_MS)
        stage.produce("orders-0", "x", MINUTE_MS)  # closes r1
        stage.rest("orders-0", "orders-1", "level2-0")
        zombie = stage.owner("level2-0")
        new_owner = stage.pause(zombie)
        stage.rest("level2-0")
        stage.tick(MINUTE_MS)
        stage.produce("orders-0", "y")  # closes r3
        stage.rest("orders-0")
        third = stage.world.partials[0].end
        stage.produce("orders-1", "z")  # closes r2
        stage.rest("orders-1")

        zombie.only = None
        stage.world.rest(zombie)  # merges r2 and r3, tombstones their rows
        while new_owner.compiled.through + 1 < third:  # exactly up to the closing of r3
            new_owner.size, new_owner.only = 1 / 3, 0
            new_owner.step(lands=True)
        new_owner.only = 2
        for _ in range(4):
            new_owner.step(lands=True)
        new_owner.producer.land_all()
        stage.kill(new_owner)
        stage.world.zombies.remove(zombie)
        zombie.die(0)
        stage.compact()
        stage.finish()

    held(script, off, partitions=2)


@both("live by the mark at hand")
def test_a_market_stays_live_though_nobody_read_the_mark_that_showed_it(off):
    """Of a writer's marks compaction keeps the last; what an earlier one has shown must be in it.

    Level 2 is away for longer than the compaction lag. The market was live by the first mark; it had
    its last order a day ago by the one that is left. Not live, ``as_of`` would stand at that order for
    as long as the outage lasts: a frozen index instead of a falling one.
    """

    def script(stage: Stage) -> None:
        worker = stage.owner("orders-0")
        stage.produce("orders-0", "a")
        stage.go(worker, "folded")
        stage.go(worker, "sent 0 rows, 1 marks through 0")
        stage.tick(DAY_MS)
        stage.rest("orders-0")
        stage.compact()
        stage.finish()

    held(script, off)


@both("retention before its closing was acknowledged")
def test_what_retention_drops_was_closed_in_an_acknowledged_publication(off):
    """As_of leaps over the retention of hours: the hour is closed and dropped in one step.

    The journal of that step has not landed when the owner ends. The row's tombstone must not have
    landed either, nor the merged hour be gone: the heir has to close the hour.
    """

    def script(stage: Stage) -> None:
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

    held(script, off)


@both("open rows outlive what was merged of their day")
def test_a_day_is_dropped_whole(off):
    """An import of 1,300 days ago, one partition of which goes on today.

    That partition's part of the old day was merged and is dropped after 1,200 days. The other has not
    closed the day, so its row stayed open, and a new owner published it as the day's value.
    """

    def script(stage: Stage) -> None:
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

    held(script, off, partitions=2, import_market=True)


@both("coverage from kept rows only")
def test_the_log_covers_from_a_row_that_came_after_its_retention(off):
    """A market is live by its orders; of its payments partition only an old one has come.

    Where the log begins must not depend on whether that row was applied before or after ``as_of`` of
    the orders leapt over the retention: payments read 0, known from their first one on.
    """

    def script(stage: Stage) -> None:
        stage.produce("orders-0", "a", market="BB")
        stage.world.settle()
        stage.kill(stage.owner("level2-0"))
        stage.produce("payments-0", "p", market="BB", arrived_ms=T0 - 1_000 * DAY_MS)
        stage.finish()

    held(script, off, import_market=True, import_goes_live=True)


@both("first flush before the rows were acknowledged")
def test_no_record_is_retired_while_rows_sent_again_are_on_their_way(off):
    """The chain holds a row that never reached level 2; the heir's flush would retire its record."""

    def script(stage: Stage) -> None:
        worker = stage.owner("orders-0")
        stage.produce("orders-0", "a")
        stage.go(worker, "flush", lands=False)
        stage.land(worker, "checkpoint")
        new_owner = stage.kill(worker)
        stage.tick(10 * MINUTE_MS)
        stage.produce("orders-0", "b")  # closes the pane of a
        for _ in range(12):  # up to the flush, if nothing holds it back
            new_owner.step(lands=False)
        if "checkpoint-orders-0" in new_owner.producer.queues:
            stage.land(new_owner, "checkpoint")
        stage.kill(new_owner)
        stage.compact()
        stage.finish()

    held(script, off, chain_length=1)


@both("records retired before their rows were acknowledged")
def test_no_record_is_retired_with_the_flush_that_sends_its_row(off):
    """A pane's row waits until as_of can reach it; here the arrival that closes the pane sends it."""

    def script(stage: Stage) -> None:
        worker = stage.owner("orders-0")
        stage.produce("orders-0", "a")
        stage.go(worker, "committed")
        stage.tick(10 * MINUTE_MS)
        stage.produce("orders-0", "b")
        stage.go(worker, "folded")
        stage.go(worker, "flush", lands=False)
        stage.land(worker, "checkpoint")
        stage.kill(worker)
        stage.compact()
        stage.finish()

    held(script, off, chain_length=1)


@both("ids in a record of their own")
def test_rows_and_ids_are_durable_together(off):
    """Rows without their ids count a duplicate twice."""

    def script(stage: Stage) -> None:
        worker = stage.owner("orders-0")
        stage.produce("orders-0", "a")
        stage.go(worker, "flush", lands=False)
        stage.land(worker, "checkpoint", 1)
        stage.kill(worker)
        stage.produce("orders-0", "a")
        stage.finish()

    held(script, off)


@both("table keys without the writer")
def test_a_zombies_merged_hour_does_not_replace_its_new_owners(off):
    """The zombie's record of the hour waits in its producer while the heir merges another row."""

    def script(stage: Stage) -> None:
        stage.rest("payments-0", "payments-1")
        stage.produce("orders-0", "r1")
        stage.produce("orders-1", "r2")
        stage.tick(2 * MINUTE_MS)
        stage.produce("orders-0", "x")  # closes r1
        stage.rest("orders-0", "orders-1")
        zombie = stage.owner("level2-0")
        stage.go(zombie, "writes", lands=False)
        new_owner = stage.pause(zombie)
        stage.produce("orders-1", "y")  # closes r2
        stage.rest("orders-1", "level2-0")
        stage.land(zombie, "table")
        stage.world.zombies.remove(zombie)
        zombie.die(0)
        stage.kill(new_owner)
        stage.compact()
        stage.finish()

    held(script, off, partitions=2)


@both("published below what the table contains")
def test_a_new_owner_publishes_nothing_older_than_the_table_it_read(off):
    """The zombie goes on after its heir read the highwater and before it read the table."""

    def script(stage: Stage) -> None:
        stage.produce("orders-0", "a")
        stage.world.settle()
        zombie = stage.owner("level2-0")
        new_owner = stage.pause(zombie)
        stage.go(new_owner, "assigned")
        highwater = stage.world.partials[0].end
        stage.tick(2 * PANE)
        stage.produce("orders-0", "b")
        stage.rest("orders-0", "payments-0")
        stage.world.rest(zombie)
        new_owner.only = 0
        stage.go(new_owner, "recovered")
        while new_owner.compiled.through + 1 < highwater:
            new_owner.size = 1 / 3
            new_owner.step(lands=True)
        new_owner.step(lands=True)
        new_owner.only = 1
        new_owner.step(lands=True)
        new_owner.step(lands=True)
        stage.finish()

    held(script, off)


@both("caught up past the close of a day whose row waits")
def test_no_mark_closes_a_day_whose_row_waits_for_the_checkpoint(off):
    """An event of a day at the very end of its grace; rows of days go with the checkpoint only."""

    def script(stage: Stage) -> None:
        worker = stage.owner("orders-0")
        placed = rfc3339(stage.world.now_ms)
        stage.tick(2 * DAY_MS - PANE)  # the day ended a day ago, less half a minute
        stage.produce("orders-0", "a", placed_at=placed)
        stage.go(worker, "folded")
        stage.tick(10 * MINUTE_MS)
        stage.go(worker, "nothing to fold", flush=False)
        stage.go(worker, "sent 1 rows, 1 marks", flush=False)
        worker.producer.land_all()
        stage.rest("payments-0", "level2-0")
        stage.finish()

    held(script, off)
