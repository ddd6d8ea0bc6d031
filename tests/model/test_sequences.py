"""Sequences that broke this code after sequences V1 to V12, found by the model or while written."""

from __future__ import annotations

from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, rfc3339
from tests.model.stage import PANE, Stage, both, held
from tests.model.world import T0


@both("one table key a writer")
def test_a_new_owner_does_not_delete_what_a_zombie_has_written_since(off):
    """A worker that knows only the first content of a table key must not delete the key.

    The zombie merges r2 under its key and tombstones r2's row. The new owner has not read that far. It
    merges r3 into the same hour and deletes the zombie's key with the content it read at its takeover.
    Both end and the tombstone is compacted: only the deleted record contained r2.
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
    """Compaction keeps a writer's last mark only, which must repeat the live markets of earlier marks.

    Level 2 is away for longer than the compaction lag. The first mark showed the market live. By the
    mark that is left, its last order came a day ago. If the market were not live, ``as_of`` would stay
    at that order for the whole outage: a frozen index instead of a falling one.
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
    """``as_of`` leaps over the retention of hours, so an hour is closed and dropped in one step.

    The journal of that step has not landed when the owner ends. The row's tombstone must not have
    landed either, and the merged hour must still be there: the new owner has to close the hour.
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
    """One partition of an import of 1,300 days ago goes on today; the other does not.

    The first partition's part of the old day was merged and is dropped after 1,200 days. The other has
    not closed the day. Its row stayed open, and a new owner published it as the day's value.
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
    """A market is live by its orders, and only one old payment of it has come.

    The start of its log must not depend on whether the payment's row was applied before or after
    ``as_of`` of the orders leapt over the retention. Payments read 0, known from the first one on.
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
    """A chain record's row never reached level 2. The new owner's first flush must not retire it."""

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
    """A pane's row waits until ``as_of`` can reach it. Here the event that closes the pane sends it."""

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
    """Rows that are durable without their ids would count a duplicate twice."""

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
    """The zombie's record of the hour waits in its producer while the new owner merges another row."""

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
    """The zombie publishes after the new owner read the high water and before it read the table."""

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
    """An event comes at the end of its day's grace; rows of days are sent with the checkpoint only."""

    def script(stage: Stage) -> None:
        worker = stage.owner("orders-0")
        placed = rfc3339(stage.world.now_ms)
        stage.tick(2 * DAY_MS - PANE)  # the day ended a day ago, less half a minute
        stage.produce("orders-0", "today")  # the first mark of a local day finds rows of days sent
        stage.go(worker, "folded")
        stage.go(worker, "sent", flush=False)
        stage.produce("orders-0", "a", placed_at=placed)
        stage.go(worker, "folded")
        stage.tick(10 * MINUTE_MS)
        stage.go(worker, "nothing to fold", flush=False)
        stage.go(worker, "sent 1 rows, 1 marks", flush=False)
        worker.producer.land_all()
        stage.rest("payments-0", "level2-0")
        stage.finish()

    held(script, off)


@both("the last stable offset taken for the log's end", "inputs read uncommitted")
def test_what_an_open_transaction_holds_changes_no_final_value(off):
    """An event in an open transaction was appended in time, whenever its producer commits.

    Read to the last stable offset, the partition looked read to its end: its pane became final, and the
    commit changed it.
    """

    def script(stage: Stage) -> None:
        stage.produce("orders-0", "a")
        stage.produce("orders-0", "b", producer=1)
        stage.produce("orders-0", "c", producer=2)
        stage.tick(5 * MINUTE_MS)
        stage.rest("orders-0", "payments-0", "level2-0")
        stage.end("orders-0", 2, commits=False)
        stage.tick(5 * MINUTE_MS)
        stage.rest("orders-0", "payments-0", "level2-0")
        stage.end("orders-0", 1, commits=True)
        stage.tick(5 * MINUTE_MS)
        stage.rest("orders-0", "payments-0", "level2-0")
        stage.finish()

    held(script, off)


@both("corrections counted as often as they come", "corrections forgotten by a new owner")
def test_a_new_owner_counts_no_correction_again(off):
    """A shop refunds and cancels an order; a copy of the cancel comes after a takeover."""

    def script(stage: Stage) -> None:
        placed = rfc3339(stage.world.now_ms)
        of_order = {"order_id": "one", "placed_at": placed}
        stage.produce("orders-0", "placed", order_id="one")
        stage.tick(1_000)
        stage.produce("orders-0", "refund", kind="order.refunded", **of_order)
        stage.produce("orders-0", "cancel", kind="order.cancelled", **of_order)
        stage.rest("orders-0")
        stage.kill(stage.owner("orders-0"))
        stage.tick(5 * PANE)
        stage.produce("orders-0", "cancel again", kind="order.cancelled", **of_order)
        stage.rest("orders-0", "payments-0", "level2-0")
        stage.finish()

    held(script, off)


@both("refused orders are not remembered", "corrections forgotten by a new owner")
def test_a_new_owner_subtracts_no_order_that_was_refused(off):
    """One order is refused and cancelled; the other is placed again, counts, and is cancelled."""

    def script(stage: Stage) -> None:
        placed = rfc3339(stage.world.now_ms)
        stage.produce("orders-0", "another")
        for name in ("refused", "mended"):
            stage.produce("orders-0", name, order_id=name, currency="XXX")
        stage.produce("orders-0", "mended again", order_id="mended")
        stage.rest("orders-0")
        stage.kill(stage.owner("orders-0"))
        stage.tick(5 * PANE)
        for name in ("refused", "mended"):
            of_order = {"order_id": name, "placed_at": placed}
            stage.produce("orders-0", f"cancel {name}", kind="order.cancelled", **of_order)
        stage.rest("orders-0", "payments-0", "level2-0")
        stage.finish()

    held(script, off)


@both("an abort marker ends nothing")
def test_a_fetch_may_begin_inside_an_aborted_transaction(off):
    """Its first offset lies before the fetch; the same producer commits its next one."""

    def script(stage: Stage) -> None:
        stage.produce("orders-0", "a", producer=1)
        stage.produce("orders-0", "b")
        stage.produce("orders-0", "c", producer=1)
        stage.end("orders-0", 1, commits=False)
        stage.produce("orders-0", "d", producer=1)
        stage.end("orders-0", 1, commits=True)
        stage.go(stage.owner("orders-0"), "folded 0 through 0", size=1)
        stage.finish()

    held(script, off)


@both("a worker's own clock believed")
def test_a_worker_whose_clock_steps_an_hour_ahead_claims_nothing(off):
    """The stamp on its mark caps the claim at now; yet an event came since it last read the log."""

    def script(stage: Stage) -> None:
        stage.produce("orders-0", "a")
        stage.rest("orders-0", "payments-0", "level2-0")
        worker = stage.owner("orders-0")
        worker.skew_ms = HOUR_MS
        stage.produce("orders-0", "b")
        stage.tick(5 * MINUTE_MS)
        worker.only = 1
        stage.go(worker, "sent")
        worker.producer.land_all()
        stage.rest("payments-0", "level2-0")
        worker.skew_ms = -HOUR_MS
        stage.rest("orders-0")
        stage.finish()

    held(script, off)


@both("late orders reach no day", "corrections forgotten by a new owner")
def test_a_late_order_counts_once_in_its_day_over_a_takeover(off):
    """A shop was cut off. Its order comes late, again after a takeover, and is cancelled."""

    def script(stage: Stage) -> None:
        late_ms = 20 * MINUTE_MS
        placed = rfc3339(stage.world.now_ms - late_ms)
        stage.produce("orders-0", "in time")
        stage.produce("orders-0", "late", late_ms, order_id="one")
        stage.rest("orders-0")
        stage.kill(stage.owner("orders-0"))
        stage.produce("orders-0", "late", late_ms, order_id="one")
        of_order = {"order_id": "one", "placed_at": placed}
        stage.produce("orders-0", "cancel", kind="order.cancelled", **of_order)
        stage.rest("orders-0", "payments-0", "level2-0")
        stage.finish()

    held(script, off)


@both("floors of panes that gave way forgotten")
def test_a_pane_that_gave_way_does_not_open_again_for_a_new_owner(off):
    """Three panes may be open. A fourth closes the oldest for good, behind a floor in the checkpoint."""

    def script(stage: Stage) -> None:
        for number, event_id in enumerate("abcd"):
            stage.produce("orders-0", event_id, MINUTE_MS - number * PANE)
        stage.rest("orders-0")
        stage.kill(stage.owner("orders-0"))
        stage.produce("orders-0", "e", MINUTE_MS)
        stage.finish()

    held(script, off, few_panes=True)


@both("doubts forgotten by a new owner")
def test_what_is_doubted_goes_to_the_new_owner(off):
    """Two orders an hour ahead were doubted before a takeover; the third agrees with them after it.

    So an order of now is too late from then on: for every owner, or two would send different rows.
    """

    def script(stage: Stage) -> None:
        stage.produce("orders-0", "a")
        for name in ("b", "c"):
            stage.produce("orders-0", name, arrived_ms=T0 + HOUR_MS)
        stage.world.settle()
        stage.kill(stage.owner("orders-0"))
        stage.produce("orders-0", "d", arrived_ms=T0 + HOUR_MS)
        stage.produce("orders-0", "e")
        stage.finish()

    held(script, off, stray_clocks=True)
