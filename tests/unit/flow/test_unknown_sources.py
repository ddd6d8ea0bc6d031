"""Days of a source that is not read to its end: no value, rather than the half that was read."""

from __future__ import annotations

import pytest

from streams.flow.chunk import SourcePartition
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS
from tests.support.bases import based
from tests.support.flow_harness import ORDERS, PAYMENTS, Flow, order, payment

NOON = 1_795_003_200_000
"""17:00 in Karachi, on 2026-11-18."""
DAY = "2026-11-18"
BOTH = tuple(
    (SourcePartition(topic, number), event)
    for topic, event in ((ORDERS, order), (PAYMENTS, payment))
    for number in (0, 1)
)
OF_TOPIC = {ORDERS: ("orders", "units", "sales_net"), PAYMENTS: ("payments", "amount")}


def opened(*, empty: str = "") -> Flow:
    """Every source partition holds an event, but those of ``empty``; none was read."""
    flow = Flow()
    for sp, event in BOTH:
        if sp.topic != empty:
            flow.produce(sp, event(str(sp), NOON), NOON)
    flow.now_ms = NOON + MINUTE_MS
    return flow


def read(flow: Flow, *sps: SourcePartition) -> None:
    for sp in sps:
        flow.fold(sp)
        flow.send_partials(sp)
        flow.flush(sp)
    show(flow)


def show(flow: Flow) -> None:
    flow.now_ms += 10_000
    for partition in range(flow.partials_partitions):
        flow.apply(partition)
        flow.step(partition)


def shown(flow: Flow, topic: str) -> set[int | None]:
    found = [flow.day_value("PK", name, "market", "all", DAY) for name in OF_TOPIC[topic]]
    return {None if value is None else value.n for value in found}


@pytest.mark.parametrize(("half", "whole"), [(PAYMENTS, ORDERS), (ORDERS, PAYMENTS)])
def test_a_day_has_no_values_of_an_input_of_which_a_partition_was_never_read(half, whole):
    """One partition halted from the start of an edition: half of the day's payments looked like all."""
    flow = opened()
    of = {topic: [sp for sp, _ in BOTH if sp.topic == topic] for topic in (half, whole)}
    read(flow, *of[whole], of[half][0])
    assert (shown(flow, half), shown(flow, whole)) == ({None}, {2})
    read(flow, of[half][1])
    assert (shown(flow, half), shown(flow, whole)) == ({2}, {2})


def test_a_day_of_an_input_that_was_read_and_is_empty_has_zero():
    flow = opened(empty=PAYMENTS)
    read(flow, *flow.logs)
    assert (shown(flow, PAYMENTS), shown(flow, ORDERS)) == ({0}, {2})


def test_an_owner_shows_what_was_not_known_to_the_one_before_it():
    """No row of the day changes again: that its source is known is what shows it."""
    flow = opened()
    *known, last = flow.logs
    assert last.topic == PAYMENTS
    read(flow, *known)
    flow.fold(last)
    flow.flush(last)  # the day's row, and no mark
    show(flow)
    assert shown(flow, PAYMENTS) == {None}
    for partition in range(flow.partials_partitions):
        flow.start_compile(partition)
    flow.send_partials(last)
    show(flow)
    assert shown(flow, PAYMENTS) == {2}


def test_payments_that_are_not_known_when_a_day_is_over_are_no_revisions_of_it():
    """Its last partition came days later: the half that was read, which nobody saw, counted as shown."""
    flow = opened()
    *known, last = flow.logs
    read(flow, *known)
    flow.now_ms += DAY_MS
    read(flow, *known)
    read(flow, last)
    assert shown(flow, PAYMENTS) == {2}
    assert not [each for publication in flow.history for each in publication.revisions]


def test_payments_that_are_read_after_the_orders_are_no_revisions_of_days():
    """An import: each of a day's payments was a revision, of 0 at first."""
    flow = Flow()
    for day in range(3):
        at_ms = NOON + day * DAY_MS
        for sp, event in BOTH:
            for number in range(2):
                flow.produce(sp, event(f"{sp} {day} {number}", at_ms + number), at_ms)
    flow.now_ms = NOON + 3 * DAY_MS
    orders, payments = ([sp for sp in flow.logs if sp.topic == each] for each in (ORDERS, PAYMENTS))
    read(flow, *orders)
    for _ in range(6):
        for sp in payments:
            flow.fold(sp, flow.levels[sp].through + 2)
            flow.send_partials(sp)
            flow.flush(sp)
        show(flow)
    assert (shown(flow, PAYMENTS), shown(flow, ORDERS)) == ({4}, {4})
    assert not [each for publication in flow.history for each in publication.revisions]


def test_a_day_that_ends_between_two_checkpoints_ends_whole():
    """An import passes midnights faster than rows of days went: what still came was a revision."""
    flow = opened()
    for number in range(16):
        at_ms = NOON + (number // 4 * 24 + number % 4) * HOUR_MS
        for sp, event in BOTH:
            flow.produce(sp, event(f"{sp} {number}", at_ms), at_ms)
    flow.now_ms = NOON + 30 * DAY_MS
    for number in range(17):
        for sp in flow.logs:
            flow.fold(sp, flow.levels[sp].through + 2)
            flow.send_partials(sp)
            if number % 5 == 1:
                flow.flush(sp)
        show(flow)
    assert shown(flow, ORDERS) == {10}
    assert not [each for each in flow.history for found in each.revisions if found.value.day]


def test_an_input_that_stands_still_ends_no_day():
    """Orders were read up to noon, payments past midnight: the day had a level, from half its orders."""
    flow = Flow(based("PK", "2026-11-16", "2026-11-17", net_minor=100))
    orders = [sp for sp in flow.logs if sp.topic == ORDERS]
    payments = [sp for sp in flow.logs if sp.topic == PAYMENTS]
    for number, sp in enumerate(orders):
        flow.produce(sp, order(f"{number}", NOON - DAY_MS), NOON - DAY_MS)
        flow.produce(sp, order(f"{number} noon", NOON), NOON)
    for number, sp in enumerate(payments):
        flow.produce(sp, payment(f"{number}", NOON), NOON)
    flow.now_ms = NOON + MINUTE_MS
    read(flow, *orders, *payments)
    flow.now_ms += DAY_MS
    read(flow, *payments)
    assert flow.day_value("PK", "orders", "market", "all", DAY).value == 2
    assert level(flow) is None
    for number, sp in enumerate(orders):
        flow.produce(sp, order(f"{number} evening", NOON + HOUR_MS), NOON + HOUR_MS)
    read(flow, *orders)
    assert level(flow) == 400
    assert not [each for publication in flow.history for each in publication.revisions]


def level(flow: Flow) -> float | None:
    found = flow.day_value("PK", "sales_level_index", "market", "all", DAY)
    return None if found is None else found.value
