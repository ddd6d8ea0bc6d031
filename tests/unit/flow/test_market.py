"""Level 2 of one market: as_of, closings, revisions, what a new owner may rely on."""

from streams.index.panes import DAY_MS, HOUR_MS
from tests.support.events import T0
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
