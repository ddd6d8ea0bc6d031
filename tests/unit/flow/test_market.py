"""Level 2 of one market: as_of, closings, revisions, what a new owner may rely on."""

import pytest

from streams.flow.market import IDLE_MS
from streams.index.instants import parse_instant as instant_ms
from streams.index.panes import DAY_MS, HOUR_MS
from tests.support.events import T0, tuned
from tests.support.flow_harness import Flow, order, payment

ORDERS, PAYMENTS = "orders", "payments"


def closings(flow: Flow, kind: str, market: str = "PK") -> dict[int, object]:
    return {
        closing.start_ms: closing
        for publication in flow.history
        if publication.market == market
        for closing in publication.closings
        if closing.kind == kind
    }


def everywhere(
    flow: Flow, at_ms: int, name: str, market: str = "PK", currency: str = "PKR"
) -> None:
    """One event in every source partition, arriving when it occurred."""
    flow.now_ms = max(flow.now_ms, at_ms)
    for topic, sps in flow.sps.items():
        build = order if topic == ORDERS else payment
        for sp in sps:
            flow.produce(sp, build(name, at_ms, market=market, currency=currency), at_ms)


def test_an_hour_is_closed_even_when_as_of_leaps_over_its_retention():
    flow = Flow(partitions=1)
    everywhere(flow, T0, "first")
    flow.run(caught_up=False)
    everywhere(flow, T0 + 100 * DAY_MS, "far")
    flow.run(caught_up=False)
    everywhere(flow, T0 + 100 * DAY_MS + HOUR_MS, "later")
    flow.run(caught_up=False)
    assert T0 in closings(flow, "hour")
    values = {value.field: value.value for value in closings(flow, "hour")[T0].values}
    assert values["orders:market:all:1h"] == 1


def test_coverage_that_grows_at_the_same_as_of_is_published():
    # The first row of a market comes from one partition, an earlier one from another partition.
    flow = Flow(partitions=1)
    flow.now_ms = T0 + 600_000
    (orders,) = flow.sps[ORDERS]
    flow.produce(orders, order("a", T0 + 590_000), T0 + 600_000)
    flow.run(caught_up=False)
    assert flow.value("PK", "payment_chosen_share:payment_method:cod:1m").status == "filling"
    flow.produce(
        orders,
        order("c", T0 + 480_000, kind="order.cancelled", placed_at="2026-09-20T00:00:00Z"),
        T0 + 600_000,
    )
    flow.run(caught_up=False)
    value = flow.value("PK", "payment_chosen_share:payment_method:cod:1m")
    assert (value.covered, value.status, value.revision) == (1.0, "no_data", 0)


def test_nothing_is_final_before_the_other_topic_has_a_mark():
    # Orders of a day are folded before the owner of the payments partition has begun.
    flow = Flow(partitions=1)
    (orders,), (payments,) = flow.sps[ORDERS], flow.sps[PAYMENTS]
    flow.produce(payments, payment("p", T0), T0)
    for hour in range(3):
        flow.produce(orders, order(f"o{hour}", T0 + hour * HOUR_MS), T0 + hour * HOUR_MS)
    flow.now_ms = T0 + 2 * HOUR_MS
    flow.fold(orders)
    flow.send_partials(orders)
    flow.flush(orders)
    for partition in flow.compiles:
        flow.apply(partition)
        flow.step(partition)
    assert closings(flow, "hour") == {}
    assert flow.value("PK", "orders:market:all:1m").observed == 0
    flow.run()
    values = {value.field: value.value for value in closings(flow, "hour")[T0].values}
    assert values["payments:market:all:1h"] == 1
    assert all(level.revised_after_final == 0 for level in flow.compiles[2].markets.values())


def test_a_wider_window_is_published_when_the_log_begins_earlier_than_known():
    # Windows that advance by a minute are kept between steps; where the log begins is part of them.
    flow = Flow(partitions=2)
    flow.now_ms = T0 + HOUR_MS
    first, second = flow.sps[ORDERS]
    flow.produce(first, order("now", T0 + HOUR_MS), T0 + HOUR_MS)
    flow.run()
    assert flow.value("PK", "orders:market:all:1h").status == "filling"
    # Records older than the window, read from the second partition only now.
    flow.produce(second, order("old", T0 - HOUR_MS), T0 - HOUR_MS)
    flow.run()
    value = flow.value("PK", "orders:market:all:1h")
    assert (value.covered, value.status, value.value) == (1.0, "ok", 0)


def test_where_the_log_begins_survives_a_takeover_before_the_first_fence_record():
    flow = Flow(partitions=1)
    (orders,) = flow.sps[ORDERS]
    flow.now_ms = T0
    flow.produce(orders, order("a", T0), T0)
    flow.produce(orders, order("b", T0 + HOUR_MS), T0 + HOUR_MS)
    flow.fold(orders)
    flow.send_partials(orders)
    partition = next(p for p, compiled in flow.compiles.items() if "PK" in compiled.markets)
    flow.apply(partition)
    flow._write_table(partition, flow.compiles[partition].table_batch())  # merged, tombstoned
    assert flow.published == {}
    flow.start_compile(partition)
    assert flow.compiles[partition].markets["PK"].ledger.first_ms == {ORDERS: T0}


def test_what_changes_after_it_was_final_is_counted_and_closed_again():
    # Only wrong arrival times allow this: a partition is read long after its mark covered that time.
    flow = Flow(tuned(day_grace_ms=2 * DAY_MS), partitions=2)
    first, second = flow.sps[ORDERS]
    everywhere(flow, T0, "start")
    flow.run()
    flow.now_ms = T0 + 4 * DAY_MS
    everywhere(flow, flow.now_ms, "far")
    flow.produce(second, order("x", T0 + 1), T0)  # its own watermark lies far ahead: too late
    flow.run()
    assert flow.outcomes["too_late"] == 1
    market = flow.compiles[partition_of_pk(flow)].markets["PK"]
    assert market.revised_after_final == 0
    assert closings(flow, "hour")[T0].values[0].observed == 2
    # The mark of one partition had been caught up by a clock that ran a day ahead.
    flow.now_ms += DAY_MS
    flow.run()
    flow.now_ms -= DAY_MS - HOUR_MS
    flow.produce(first, order("y", flow.now_ms - 60_000), flow.now_ms)
    flow.run()
    assert market.revised_after_final == 1
    hour = (flow.now_ms - 60_000) // HOUR_MS * HOUR_MS
    again = closings(flow, "hour")[hour].values[0]
    assert (again.observed, again.revision, again.phase) == (3, 1, "final")


def partition_of_pk(flow: Flow) -> int:
    return next(p for p, compiled in flow.compiles.items() if "PK" in compiled.markets)


def test_a_new_owner_publishes_what_came_after_the_last_publication_as_a_revision():
    flow = Flow(partitions=1)
    (orders,) = flow.sps[ORDERS]
    partition = partition_of_pk(flow)
    flow.now_ms = T0 + HOUR_MS
    for at_ms in range(T0, T0 + HOUR_MS, 300_000):
        flow.produce(orders, order(f"o{at_ms}", at_ms), at_ms)
    flow.run()
    published = len(flow.history)
    flow.produce(orders, order("late", T0 + HOUR_MS - 305_000), T0 + HOUR_MS - 300_000)
    flow.fold(orders)
    flow.send_partials(orders)
    flow.start_compile(partition)  # the old owner is killed before it applied the row
    market = flow.compiles[partition].markets["PK"]
    assert market.ledger.changed_before(market.progress.newest_ms)
    flow.step(partition)
    assert len(flow.history) == published + 1
    assert flow.value("PK", "orders:market:all:1h").observed == 13


def test_a_takeover_is_not_a_change_of_what_is_final():
    # Days merged after the last publication used to be counted as changed after they were final.
    flow = Flow(tuned(day_grace_ms=2 * DAY_MS), partitions=1)
    everywhere(flow, T0, "a")
    flow.run()
    everywhere(flow, T0 + 5 * DAY_MS, "b")
    flow.run()
    partition = partition_of_pk(flow)
    for merged in flow.compiles[partition].markets["PK"].ledger.merged.values():
        merged.written = False
    flow.compiles[partition].through += 1_000  # marks that changed nothing
    flow._write_table(partition, flow.compiles[partition].table_batch())
    flow.start_compile(partition)
    flow.partials[partition].records.extend([flow.partials[partition].records[-1]] * 1_100)
    flow.apply(partition)
    flow.step(partition)
    assert flow.compiles[partition].markets["PK"].revised_after_final == 0
    assert T0 in closings(flow, "hour")


def test_a_market_nobody_has_seen_makes_nothing_final():
    # All are caught up today, then an import of a market begins years ago.
    flow = Flow(partitions=1)
    flow.now_ms = T0 + 900 * DAY_MS
    (orders,), (payments,) = flow.sps[ORDERS], flow.sps[PAYMENTS]
    flow.run()
    for hour in range(3):
        at_ms = T0 + hour * HOUR_MS
        flow.produce(orders, order(f"o{hour}", at_ms), at_ms)
        flow.produce(payments, payment(f"p{hour}", at_ms), at_ms)
        flow.run()
    assert sorted(closings(flow, "hour")) == [T0]
    assert flow.compiles[partition_of_pk(flow)].markets["PK"].revised_after_final == 0


def test_windows_reach_back_no_further_than_rows_are_kept():
    # The orders of four days are imported before the first payment is read, the partition of which
    # was caught up: its minutes are not kept, and its windows must not read as "nothing was paid".
    flow = Flow(partitions=1)
    flow.now_ms = T0 + 900 * DAY_MS
    (orders,), (payments,) = flow.sps[ORDERS], flow.sps[PAYMENTS]
    for hour in range(96):
        flow.produce(orders, order(f"o{hour}", T0 + hour * HOUR_MS), T0 + hour * HOUR_MS)
    flow.run()
    for hour in range(48):
        flow.produce(payments, payment(f"p{hour}", T0 + hour * HOUR_MS), T0 + hour * HOUR_MS)
    flow.run()
    value = flow.value("PK", "payments:market:all:24h")
    assert (value.status, value.value, value.covered) == ("filling", None, 0.0)
    assert flow.value("PK", "orders:market:all:24h").value == 24
    for hour in range(48, 96):
        flow.produce(payments, payment(f"p{hour}", T0 + hour * HOUR_MS), T0 + hour * HOUR_MS)
    flow.run()
    value = flow.value("PK", "payments:market:all:24h")
    assert (value.status, value.value, value.covered) == ("ok", 24, 1.0)


def test_a_closing_names_only_members_with_something_in_the_hour():
    # With every member an hour of Olist's two years is 800 values, nearly all 0: 2 GB of journal
    # for 20,000 orders, and most of the time that their import takes.
    flow = Flow(partitions=1)
    for number in range(2):
        everywhere(flow, T0 + number * (HOUR_MS + 200_000), f"e{number}")
        flow.run(caught_up=False)
    closed = closings(flow, "hour")[T0].values
    members = {(value.dimension, value.member) for value in closed}
    assert members == {
        ("market", "all"),
        ("category", "mobiles_tablets"),
        ("payment_method", "cod"),
        ("region", "other"),
        ("channel", "other"),
    }
    assert {value.index for value in closed if value.dimension == "market"} >= {
        "orders", "units", "sales", "payments", "amount", "payment_failure_ratio", "digital_share",
    }  # fmt: skip


def test_windows_are_computed_once_an_as_of_unless_something_in_them_changed():
    flow = Flow(partitions=1)
    everywhere(flow, T0, "first")
    everywhere(flow, T0 + 60_000, "second")
    flow.run(caught_up=False)
    partition = partition_of_pk(flow)
    market = flow.compiles[partition].markets["PK"]
    shown = flow.published["PK"]

    market.replayed()  # everything is due, nothing is new
    (again,) = flow.compiles[partition].step(flow.now_ms)
    assert again.values is shown.values
    assert again.changed == []

    (orders,) = flow.sps[ORDERS]
    flow.produce(orders, order("late", T0 + 30_000), T0 + 60_000)
    flow.run(caught_up=False)
    late = flow.published["PK"]
    assert late.as_of_ms == shown.as_of_ms
    assert late.values is not shown.values
    counted = {value.field: value.observed for value in shown.values}
    recounted = {value.field: value.observed for value in late.changed}
    name = "orders:market:all:5m"
    assert recounted[name] == counted[name] + 1


def test_days_go_out_with_the_next_as_of_or_once_it_stands_still():
    flow = Flow(partitions=1)
    placed = "2026-09-20T00:00:00Z"
    everywhere(flow, instant_ms(placed), "zeroth")
    everywhere(flow, T0, "first")
    everywhere(flow, T0 + 60_000, "second")
    flow.run(caught_up=False)
    (orders,) = flow.sps[ORDERS]
    before = len(flow.history)

    def cancel(of):
        event = order(of, T0 + 60_000, kind="order.cancelled", placed_at=placed)
        flow.produce(orders, event, T0 + 60_000)
        flow.run(caught_up=False)

    cancel("c")  # of an older day: no pane of the live book changes
    assert len(flow.history) == before
    flow.now_ms += IDLE_MS
    flow.run(caught_up=False)
    (late,) = flow.history[before:]
    assert late.days

    cancel("d")
    assert len(flow.history) == before + 1
    flow.now_ms -= 2 * IDLE_MS  # a clock that is set back holds nothing up
    flow.run(caught_up=False)
    assert len(flow.history) == before + 2

    cancel("e")
    everywhere(flow, T0 + 70_000, "third")
    flow.run(caught_up=False)
    assert flow.history[-1].as_of_ms > late.as_of_ms
    assert flow.history[-1].days


@pytest.mark.parametrize("moved_ms", [IDLE_MS, -2 * IDLE_MS])
def test_changes_within_a_minute_are_journaled_once_as_of_stands_still(moved_ms):
    """A clock that is set back holds nothing up either."""
    flow = Flow(partitions=1)
    for number, at_ms in enumerate((T0, T0 + 60_000, T0 + 66_000, T0 + 70_500)):
        everywhere(flow, at_ms, f"at{number}")
        flow.run(caught_up=False)
    assert flow.history[-1].journal_changed is None
    before = len(flow.history)
    flow.run(caught_up=False)
    assert len(flow.history) == before
    flow.now_ms += moved_ms
    flow.run(caught_up=False)
    (late,) = flow.history[before:]
    assert "orders:market:all:5m" in {value.field for value in late.journal_changed}
