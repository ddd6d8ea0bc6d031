"""The twelve sequences of docs/exactness.md that broke earlier drafts, each as a script.

With all rules in force every script ends exact. With its rule off the model reports a violation.
Sequence V11 is the stated limit: it is shown, not prevented.
"""

from __future__ import annotations

import msgspec
import pytest

from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS
from tests.model.oracle import Violation
from tests.model.stage import PANE, Stage, both, held
from tests.model.world import T0


@both("late acknowledged after the checkpoint")
def test_v01_a_checkpoint_does_not_land_before_the_late_records_it_covers(off):
    def script(stage: Stage) -> None:
        worker = stage.owner("orders-0")
        stage.produce("orders-0", "late", 2 * MINUTE_MS)
        stage.go(worker, "sent")
        worker.wants_flush = True
        for _ in range(2):  # the checkpoint, if nothing holds it back
            worker.step(lands=False)
        if "checkpoint-orders-0" in worker.producer.queues:
            stage.land(worker, "checkpoint")
        stage.kill(worker)
        stage.finish()

    held(script, off)


@both("no rows sent again at recovery")
@pytest.mark.parametrize("closes", [False, True])
def test_v02_rows_of_the_chain_are_sent_again_closed_ones_too(off, closes):
    def script(stage: Stage) -> None:
        worker = stage.owner("orders-0")
        stage.produce("orders-0", "a")
        if closes:
            stage.tick(10 * MINUTE_MS)
            stage.produce("orders-0", "b")
        stage.go(worker, "flush", lands=False)
        stage.land(worker, "checkpoint")
        stage.kill(worker)  # its rows never landed
        stage.finish()

    held(script, off)


@both("writer left out of checkpoint keys", "previous not checked")
def test_v03_a_zombies_record_does_not_replace_its_new_owners(off):
    def script(stage: Stage) -> None:
        worker = stage.owner("orders-0")
        stage.go(worker, "nothing to fold")
        for name in "abc":
            stage.produce("orders-0", name)
        new_owner = stage.pause(worker)
        stage.go(new_owner, "committed 3")  # record 1 of the new owner, through 2
        stage.go(worker, "committed 1", size=1)  # record 1 of the zombie, through 0
        stage.tick(PANE)
        stage.produce("orders-0", "d")
        stage.go(new_owner, "committed 4")  # record 2: the pane of d alone
        new_owner = stage.kill(new_owner)
        stage.produce("orders-0", "b", PANE)  # a duplicate of what record 1 held
        stage.produce("orders-0", "e", PANE)
        stage.finish()

    held(script, off)


@both("writer left out of partial keys", "the last row wins, not the larger through")
def test_v04_a_zombies_older_row_does_not_replace_its_new_owners(off):
    def script(stage: Stage) -> None:
        worker = stage.owner("orders-0")
        stage.produce("orders-0", "a")
        stage.tick(MINUTE_MS)
        stage.go(worker, "folded")
        stage.go(worker, "sent 2", flush=False, lands=False)  # through 0, queued: pane and day
        new_owner = stage.pause(worker)
        stage.produce("orders-0", "b", MINUTE_MS)
        stage.go(new_owner, "folded")
        stage.go(new_owner, "sent 2", flush=False)
        stage.land(new_owner, "partials")  # through 1
        stage.land(worker, "partials")  # through 0, later
        stage.compact()
        level2 = stage.kill(stage.owner("level2-0"))
        stage.go(level2, "journal")
        stage.tick(PANE)
        stage.finish()

    held(script, off)


@both("foreign records deleted at once")
def test_v05_no_branch_deletes_what_another_needs(off):
    def script(stage: Stage) -> None:
        first = stage.owner("orders-0")
        for record in range(3):  # the base: three records, all alive
            for number in range(60):
                stage.produce("orders-0", f"a{record}-{number}")
            stage.go(first, "committed")
        second = stage.pause(first)
        stage.go(second, "recovered")
        stage.produce("orders-0", "b")
        stage.go(first, "committed", size=1)  # the zombie's branch: base + 4
        stage.produce("orders-0", "c")
        stage.go(second, "committed")  # the new owner's branch: base + 4, which knows more
        third = stage.kill(second)
        stage.go(third, "recovered")
        stage.produce("orders-0", "d")
        stage.go(third, "committed")  # base + 4 + 5; the zombie's 4 is foreign
        third.producer.land_all()
        stage.tick(10 * MINUTE_MS)
        stage.produce("orders-0", "far")  # closes the pane: the zombie retires the base
        stage.go(first, "committed")
        first.producer.land_all()
        stage.kill(third)
        stage.finish()

    held(script, off)


def _quiet_partition(stage: Stage) -> None:
    """orders-0 goes on for ten weeks while orders-1 is quiet with an open pane."""
    stage.rest("payments-0", "payments-1")
    stage.produce("orders-0", "a")
    stage.produce("orders-1", "b")
    stage.rest("orders-0", "orders-1")
    for number in range(5):
        stage.tick(14 * DAY_MS)
        stage.produce("orders-0", f"c{number}")
        stage.rest("orders-0", "level2-0")
        stage.compact()


@both("tombstones before the merged record")
@pytest.mark.deep
def test_v06_rows_outlive_any_silence(off):
    def script(stage: Stage) -> None:
        _quiet_partition(stage)
        level2 = stage.kill(stage.owner("level2-0"))
        stage.rest("level2-0")
        stage.produce("orders-1", "d")
        # A row closes now. Either its tombstone or its merged record lands first:
        stage.rest("orders-1")
        for _ in range(30):
            level2.step(lands=True)
            if "partials-0" in level2.producer.queues:
                break
        if "partials-0" in level2.producer.queues:
            stage.land(level2, "partials-0")
        stage.kill(level2)
        stage.compact()
        stage.finish()

    held(script, off, partitions=2)


@both("merged slot does not name source partitions")
def test_v07_an_import_that_pauses_past_every_retention_goes_on_exactly(off):
    def script(stage: Stage) -> None:
        base = T0 - 1_000 * DAY_MS

        def at(name: str, event_id: str, offset_ms: int) -> None:
            stage.produce(name, event_id, market="BB", arrived_ms=base + offset_ms)

        at("orders-0", "a", 0)
        at("orders-1", "b", 0)
        at("orders-1", "c", 1)
        at("orders-0", "close", 10 * MINUTE_MS)
        stage.world.settle()
        stage.tick(100 * DAY_MS)
        stage.compact()
        level2 = stage.kill(stage.owner("level2-0"))
        stage.go(level2, "journal")
        for number in range(4):
            at("orders-1", f"d{number}", 2 + number)
        stage.world.settle()
        level2 = stage.kill(stage.owner("level2-0"))
        for number in range(8):
            at("orders-1", f"e{number}", 20 + number)
        at("orders-1", "close", 10 * MINUTE_MS)
        stage.world.settle()
        market = stage.owner("level2-0").compiled.markets["BB"]
        hour = base // HOUR_MS * HOUR_MS
        if market.ledger.hour_sum(hour)[0] != 1 + 2 + 4 + 8 + 2:
            raise Violation("P2", str(market.ledger.hour_sum(hour)[0]))
        stage.finish()

    held(script, off, partitions=2, import_market=True)


@both("level 2's clock decides what is final")
def test_v08_level_twos_clock_makes_nothing_final(off):
    def script(stage: Stage) -> None:
        worker, level2 = stage.owner("orders-0"), stage.owner("level2-0")
        stage.produce("orders-0", "a")
        stage.produce("payments-0", "p")
        stage.world.settle()
        stage.produce("orders-0", "b")  # arrives, and the owner of the partition stalls
        stage.tick(2 * HOUR_MS)
        stage.rest("payments-0")
        stage.go(level2, "applied")
        stage.go(level2, "nothing to apply")
        stage.go(worker, "committed")
        stage.finish()

    held(script, off)


@both("fence record after Redis")
def test_v09_a_new_owners_floor_is_no_lower_than_redis(off):
    def script(stage: Stage) -> None:
        stage.produce("orders-0", "a")
        stage.world.settle()
        level2 = stage.owner("level2-0")
        stage.tick(HOUR_MS)
        stage.rest("orders-0", "payments-0")
        stage.go(level2, "redis took AA")
        level2 = stage.kill(level2)
        # The partition's new owner is not caught up: its mark has less progress, yet it replaces
        # the old one since its `through` is larger.
        new_owner = stage.kill(stage.owner("orders-0"))
        stage.produce("orders-0", "b", MINUTE_MS, arrived_ms=T0 + 2 * MINUTE_MS)
        stage.produce("orders-0", "c", MINUTE_MS, arrived_ms=T0 + 2 * MINUTE_MS)
        stage.go(new_owner, "folded", size=1)
        stage.go(new_owner, "sent", flush=False, size=1)
        new_owner.producer.land_all()
        stage.go(level2, "journal")
        stage.finish()

    held(script, off, fast_clocks=True)


@both("arrival of a chunk from its first record")
def test_v10_each_record_arrives_when_it_says(off):
    _two_markets(off)


@both("one watermark for all markets")
def test_v10_each_market_has_its_own_watermark(off):
    _two_markets(off)


def _two_markets(off: str | None) -> None:
    def script(stage: Stage) -> None:
        for number in range(3):
            stage.tick(1_000)
            stage.produce("orders-0", f"a{number}")
            old = T0 - 1_000 * DAY_MS + number * MINUTE_MS
            stage.produce("orders-0", f"b{number}", market="BB", arrived_ms=old)
        stage.world.settle()
        stage.finish()

    held(script, off, import_market=True)


def test_v11_an_emptied_redis_may_take_an_older_value_from_a_paused_publisher():
    """The stated limit. Readers keep their own high water; the owner's next publication corrects it."""
    stage = Stage()
    stage.produce("orders-0", "a")
    stage.world.settle()
    zombie = stage.owner("level2-0")
    stage.tick(PANE)
    stage.rest("orders-0", "payments-0")
    stage.go(zombie, "fence record of AA")  # the next thing it does is to write to Redis
    older = stage.world.oracle._through[id(stage.world.oracle._publications[-1])]
    new_owner = stage.pause(zombie)
    zombie.only = 1  # it still publishes, but applies nothing more
    stage.tick(PANE)
    stage.rest("orders-0", "payments-0")
    stage.go(new_owner, "redis took AA")
    newer = stage.world.redis.fences["AA"]
    stage.world.redis.fences.clear()  # FLUSHALL, or a restart without persistence
    with pytest.raises(Violation, match="P3"):
        stage.go(zombie, "redis took AA")
    stage.world.redis.fences["AA"] = msgspec.structs.replace(
        newer, as_of_ms=newer.as_of_ms - PANE, applied=older
    )
    stage.tick(PANE)
    stage.rest("orders-0", "payments-0")
    stage.go(new_owner, "redis took AA")
    assert stage.world.redis.fences["AA"].follows(newer)


@both("writer left out of partial keys")
def test_v12_a_zombies_older_day_row_does_not_replace_its_new_owners(off):
    def script(stage: Stage) -> None:
        worker = stage.owner("orders-0")
        stage.produce("orders-0", "a")
        stage.go(worker, "folded")
        stage.go(worker, "flush", lands=False)  # its day row, through 0, waits in the producer
        stage.pause(worker)
        for name in "bc":
            stage.produce("orders-0", name)
        stage.rest("orders-0")  # through 2
        stage.land(worker, "partials")
        stage.compact()
        stage.tick(PANE)
        level2 = stage.kill(stage.owner("level2-0"))
        stage.go(level2, "journal")
        stage.finish()

    held(script, off)
