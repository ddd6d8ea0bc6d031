"""After an operator has set as_of back, a market is watched at once, and nothing of the future stays."""

from __future__ import annotations

import pytest

from streams.flow.shift_watch import FINAL
from streams.flow.shifts_record import decode_shifts
from streams.flow.wire import partition_of
from streams.index.history_records import ClockReset, reset_record
from streams.index.panes import HOUR_MS, MINUTE_MS, of_minute
from tests.unit.flow.test_market_expectation import TEN, Shop
from tests.unit.flow.test_market_shifts import (
    ALL,
    away,
    market,
    new_flow,
    play,
    published,
    stored,
)


class Fast:
    """A market that sold as expected for half an hour; then the broker's clock stood ahead."""

    def __init__(self, ahead_ms=HOUR_MS):
        self.flow = new_flow()
        self.shop = Shop(self.flow)
        self.now_ms = play(self.flow, [(1.0, 30)], TEN, self.shop)
        self.flow.now_ms = self.now_ms + ahead_ms
        self.flow.run()

    @property
    def shifts(self):
        return market(self.flow).shifts

    def play(self, *parts):
        self.now_ms = play(self.flow, parts, self.now_ms, self.shop)

    def declare(self):
        """Reset the clock: marks from before it say nothing."""
        log = self.flow.partials[partition_of("PK", self.flow.partials_partitions)]
        at = "2026-11-24T10:00:00.000Z"
        reset = ClockReset("PK", 1, at, "a broker was fast", partials_end=len(log.records))
        self.flow.book.apply_record(*reset_record(reset))

    def take_over(self):
        self.flow.start_compile(partition_of("PK", self.flow.partials_partitions))


@pytest.fixture
def fast():
    return Fast()


def active(flow):
    return [status.shift for status in flow.published["PK"].watched if status.shift is not None]


def test_nothing_of_the_future_stays_open_after_a_reset(fast):
    """Detection waited until it was where it had been; the false stop was open and paged for an hour."""
    (stop,) = fast.flow.published["PK"].incidents
    assert (stop.state, stop.found_ms > fast.now_ms) == ("open", True)
    fast.declare()
    fast.play((1.0, 2))
    assert active(fast.flow) == []
    assert fast.flow.published["PK"].incidents == []
    page, *_, end = [shift for shift in published(fast.flow) if shift.phase == FINAL]
    assert (page.event, end.event, end.number) == ("page", "end", page.number)
    (kept,) = [kept for kept in fast.shifts.kept if kept.dimension == "market"]
    assert (kept.found_at, kept.end) == (page.at, end.at)
    assert fast.shifts.pages.log.since_ms < fast.now_ms


def test_a_market_is_watched_at_once_after_a_reset_and_its_shifts_have_new_numbers(fast):
    first = max(shift.number for shift in published(fast.flow))
    fast.declare()
    fast.play((1.0, 10))
    assert of_minute(fast.shifts.watch.done_until) < fast.now_ms
    stopped_ms = fast.now_ms
    fast.play((0.0, 6))
    (stop,) = fast.flow.published["PK"].incidents
    assert (stop.state, stop.direction) == ("open", -1)
    assert stop.start_ms == pytest.approx(stopped_ms, abs=MINUTE_MS)
    assert stop.measures.until_ms <= fast.now_ms
    (number,) = [
        shift.number for shift in active(fast.flow) if (shift.dimension, shift.member) == ALL
    ]
    assert number > first


def test_the_record_of_a_generation_counts_more_than_one_that_a_fast_clock_wrote(fast):
    (ahead,) = stored(fast.flow)
    fast.declare()
    fast.play((1.0, 5))
    (own,) = stored(fast.flow)
    done = [decode_shifts(each).watch.done_until for each in (ahead, own)]
    assert done[0] > done[1]
    table = fast.flow.tables[partition_of("PK", fast.flow.partials_partitions)]
    kept, zombie = dict(table), {b"w|PK|fast.1": ahead}
    for records in (zombie | kept, kept | zombie):  # read before the own one, and after it
        table.clear()
        table.update(records)
        fast.take_over()
        assert fast.shifts.watch.done_until == done[1]


def test_an_owner_that_finds_the_generation_in_the_fence_record_alone_begins_anew_too(fast):
    (ahead,) = stored(fast.flow)
    fast.declare()
    fast.play((1.0, 2))
    table = fast.flow.tables[partition_of("PK", fast.flow.partials_partitions)]
    (key,) = [key for key in table if key.startswith(b"w|PK|")]
    table[key] = ahead  # a crash has lost the record of the new generation
    fast.take_over()
    assert fast.shifts.done_until_ms > fast.now_ms
    fast.play((1.0, 2))
    assert fast.shifts.done_until_ms < fast.now_ms
    assert active(fast.flow) == []


def test_while_a_reset_leaves_nothing_final_what_is_kept_waits_with_its_numbers(fast):
    fast.declare()
    flow = fast.flow
    flow.now_ms = fast.now_ms + MINUTE_MS
    partition = partition_of("PK", flow.partials_partitions)
    for sp in flow.sps["payments"]:  # the orders are halted
        flow.send_partials(sp)
    flow.apply(partition)
    flow.step(partition)
    assert (active(flow), flow.published["PK"].incidents) == ([], [])
    assert fast.shifts.done_until_ms == 0
    kept, pages = fast.shifts.kept, fast.shifts.pages.log
    assert kept[0].end == kept[0].found_at
    fast.take_over()
    assert (fast.shifts.kept, fast.shifts.pages.log) == (kept, pages)
    fast.play((1.0, 2), (0.0, 8))
    assert {shift.number for shift in active(flow)} == {2}


def test_minutes_that_a_clock_more_than_a_day_ahead_had_dropped_are_no_outage():
    fast = Fast(30 * HOUR_MS)
    fast.flow.run()
    before = len(published(fast.flow))
    fast.declare()
    fast.play((1.0, 10))
    away(fast.flow, [(1.0, 30)], fast.now_ms)
    fast.flow.run()
    assert fast.flow.published["PK"].fence.generation == 1
    assert market(fast.flow).ledger.minute_sum(fast.now_ms + 10 * MINUTE_MS) is None
    assert {shift.event for shift in published(fast.flow)[before:]} == {"end"}
    assert all(status.warming for status in fast.flow.published["PK"].watched)
    assert fast.flow.published["PK"].suspicions == []


def test_a_shift_from_before_the_fast_clock_is_over_at_the_reset_and_found_again(fast):
    flow = new_flow()
    fast.flow, fast.shop = flow, Shop(flow)
    fast.now_ms = play(flow, [(1.0, 30), (6.0, 12)], TEN, fast.shop)
    (jump,) = flow.published["PK"].incidents
    flow.now_ms = fast.now_ms + HOUR_MS
    flow.run()
    fast.declare()
    fast.play((6.0, 1))
    (over,) = flow.published["PK"].incidents
    assert (over.id, over.state) == (jump.id, "over")
    assert over.over_ms <= flow.now_ms
    fast.play((6.0, 8))
    assert [each.direction for each in active(flow)][:1] == [1]
    assert flow.published["PK"].incidents[-1].state == "open"


def test_a_reset_of_a_market_that_was_not_ahead_leaves_its_detectors_as_they_are():
    fast = Fast.__new__(Fast)
    fast.flow = new_flow()
    fast.shop = Shop(fast.flow)
    fast.now_ms = play(fast.flow, [(1.0, 30), (6.0, 12)], TEN, fast.shop)
    (jump,) = fast.flow.published["PK"].incidents
    fast.declare()
    fast.play((6.0, 2))
    (same,) = fast.flow.published["PK"].incidents
    assert (same.id, same.state) == (jump.id, "open")
    assert {shift.number for shift in active(fast.flow)} == {1}
