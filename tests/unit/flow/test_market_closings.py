"""A step returns what it closed and how far; the market records it after the step."""

from streams.flow.changed_slots import ChangedSlots
from streams.flow.merged import DAY_KIND, HOUR
from streams.flow.wire import partition_of
from streams.index.panes import DAY_MS, HOUR_MS
from tests.support.flow_harness import ORDERS, Flow, order

T0 = 1_790_000_000_000 // DAY_MS * DAY_MS  # a midnight UTC; 05:00 in Karachi


def market_after(hours: int):
    """A market of one order an hour, published; the hours before the last ones are closed."""
    flow = Flow(partitions=1)
    (orders,) = flow.sps[ORDERS]
    for number in range(hours + 1):
        at_ms = flow.now_ms = T0 + number * HOUR_MS
        flow.produce(orders, order(f"o{number}", at_ms), at_ms)
        flow.run()
    return flow.compiles[partition_of("PK", flow.partials_partitions)].markets["PK"]


def test_a_step_returns_how_far_it_closed_and_writes_nothing_down():
    market = market_after(3)
    until_ms = market.progress.hours_until
    market.progress.final_ms += HOUR_MS
    closed = [market.closings.step(ChangedSlots()) for _ in range(2)]
    assert market.progress.hours_until == until_ms
    assert closed[0] == closed[1]
    assert closed[0].hours_until == until_ms + HOUR_MS
    assert [each.start_ms for each in closed[0].closings] == [until_ms]
    assert closed[0].days_until == market.progress.days_until
    market._close(ChangedSlots())
    assert market.progress.hours_until == until_ms + HOUR_MS
    assert market.closings.step(ChangedSlots()).closings == []


def test_what_changed_after_it_was_final_is_closed_again_and_counted():
    market = market_after(3)
    start_ms = market.progress.hours_until - HOUR_MS
    changed = ChangedSlots(panes=frozenset({start_ms, start_ms + 5_000, start_ms + HOUR_MS}))
    closed = market.closings.step(changed)
    assert [each.start_ms for each in closed.closings] == [start_ms]
    assert closed.revised == 1
    assert {value.revision for value in closed.closings[0].values} == {1}


def test_what_an_earlier_owner_left_is_closed_again_but_was_not_revised():
    market = market_after(3)
    start_ms = market.progress.hours_until - HOUR_MS
    day = market.ledger.local_days.day_of(T0)
    changed = ChangedSlots(closings_due=frozenset({(HOUR, start_ms), (DAY_KIND, day)}))
    closed = market.closings.step(changed)
    assert [each.kind for each in closed.closings] == ["day", "hour"]
    assert closed.revised == 0
    assert {value.revision for value in closed.closings[1].values} == {0}
