"""Shows what docs/guarantees.md does not promise: when one of these fails, that page is out of date."""

from streams.index.panes import DAY_MS, HOUR_MS
from tests.support.events import T0
from tests.support.flow_harness import Flow, order, payment

ORDERS, PAYMENTS = "orders", "payments"
MINUTE_MS = 60_000


def orders_of_the_day(flow: Flow) -> int:
    value = flow.day_value("PK", "orders", "market", "all", "2026-09-21")
    return 0 if value is None else value.value


def both(flow: Flow, at_ms: int, name: str) -> None:
    """An order and a payment in the first partition of each topic, arriving as they occur."""
    flow.now_ms = max(flow.now_ms, at_ms)
    flow.produce(flow.sps[ORDERS][0], order(name, at_ms), at_ms)
    flow.produce(flow.sps[PAYMENTS][0], payment(name, at_ms), at_ms)


def test_the_same_event_in_two_partitions_counts_twice():
    # Ids are compared within one source partition. Two keys for one event, or a topic whose
    # partitions were added to, put its copies into two.
    flow = Flow(partitions=2)
    flow.now_ms = T0 + 60_000
    event = order("twice", T0 + 60_000)
    for sp in flow.sps[ORDERS]:
        flow.produce(sp, event, T0 + 60_000)
        flow.produce(sp, event, T0 + 60_000)
    flow.run()
    assert flow.outcomes["duplicate"] == 2
    assert flow.outcomes["accepted"] == 2


def test_the_same_id_at_another_time_counts_again():
    flow = Flow(partitions=1)
    flow.now_ms = T0 + 60_000
    for occurred_ms in (T0 + 40_000, T0 + 50_000):
        flow.produce(flow.sps[ORDERS][0], order("id", occurred_ms), T0 + 60_000)
    flow.run()
    assert flow.outcomes["accepted"] + flow.outcomes["late"] == 2
    assert flow.outcomes["duplicate"] == 0


def test_three_orders_in_a_row_of_a_producer_an_hour_fast_make_other_events_too_late():
    # Under CreateTime the record's timestamp is its producer's; LogAppendTime stamps all by one clock.
    flow = Flow(partitions=1)
    (sp,) = flow.sps[ORDERS]
    flow.now_ms = T0 + HOUR_MS
    flow.produce(sp, order("before", T0), T0, doubtful=True)
    for name in ("fast", "as fast", "as fast again"):
        flow.produce(sp, order(name, T0 + HOUR_MS), T0 + HOUR_MS, doubtful=True)
    flow.produce(sp, order("right", T0 + MINUTE_MS), T0 + MINUTE_MS, doubtful=True)
    flow.run()
    assert [record.reason for record in flow.late] == ["day_only"]


def test_the_stamp_of_a_broker_that_is_an_hour_fast_makes_other_events_too_late():
    flow = Flow(partitions=1)
    (sp,) = flow.sps[ORDERS]
    flow.now_ms = T0 + HOUR_MS
    flow.produce(sp, order("stamped by it", T0), T0 + HOUR_MS)
    flow.produce(sp, order("right", T0 + MINUTE_MS), T0 + MINUTE_MS)
    flow.run()
    assert [record.reason for record in flow.late] == ["day_only"] * 2


def test_a_partition_that_begins_with_a_fast_producer_believes_it():
    flow = Flow(partitions=1)
    (sp,) = flow.sps[ORDERS]
    flow.now_ms = T0 + HOUR_MS
    flow.produce(sp, order("fast", T0 + HOUR_MS), T0 + HOUR_MS, doubtful=True)
    flow.produce(sp, order("right", T0 + MINUTE_MS), T0 + MINUTE_MS, doubtful=True)
    flow.run()
    assert [record.reason for record in flow.late] == ["day_only"]


def test_an_old_event_after_its_partition_was_caught_up_changes_what_was_final():
    # Under CreateTime a record may arrive now and say that it arrived an hour ago: it is not too
    # late by its own partition's log, but everybody has gone on. The hour is closed again.
    flow = Flow(partitions=1)
    both(flow, T0 + 10 * MINUTE_MS, "a")
    flow.run()
    flow.now_ms = T0 + HOUR_MS + 10 * MINUTE_MS
    flow.run()
    flow.produce(flow.sps[ORDERS][0], order("old", T0 + 30 * MINUTE_MS), T0 + 30 * MINUTE_MS)
    flow.now_ms += 5_000
    flow.run()
    closings = [
        {value.field: value.value for value in closing.values}["orders:market:all:1h"]
        for publication in flow.history
        for closing in publication.closings
        if closing.kind == "hour" and closing.start_ms == T0
    ]
    assert closings == [1, 2]
    assert (
        sum(
            market.revised_after_final
            for c in flow.compiles.values()
            for market in c.markets.values()
        )
        == 1
    )


def test_a_cancellation_after_35_days_does_not_change_its_day():
    flow = Flow(partitions=1)
    both(flow, T0 + HOUR_MS, "a")
    flow.run(caught_up=False)
    late_ms = T0 + 37 * DAY_MS
    (sp,) = flow.sps[ORDERS]
    cancelled = order("c", late_ms, kind="order.cancelled", placed_at="2026-09-21T01:00:00Z")
    flow.produce(sp, cancelled, late_ms)
    flow.now_ms = late_ms
    flow.run(caught_up=False)
    assert flow.outcomes["day_closed"] == 1
    assert orders_of_the_day(flow) == 1
