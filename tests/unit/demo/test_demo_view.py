"""When a demo calls a market live: with both of its topics, not with the one read first."""

from __future__ import annotations

import pytest
from support.publications import AS_OF_MS, value

from streams.demo.demo_view import shows_demand
from streams.index.panes import rfc3339
from streams.index.values import Snapshot
from streams.operate.market_views import MarketView, ViewState


def market(index, number, status="ok"):
    return value(index, "market", "all", number=number, status=status)


def view(*values, state=ViewState.LIVE):
    at = rfc3339(AS_OF_MS)
    return MarketView("PK", state, Snapshot("PK", at, at, 2, "live", list(values)), b"{}", 0, 0, {})


@pytest.mark.parametrize("orders", [0, 1_500])
def test_orders_and_payments_show_demand_even_in_a_minute_without_orders(orders):
    assert shows_demand(view(market("orders", orders), market("payments", 9)))


@pytest.mark.parametrize(
    "values",
    [
        (market("payments", 9),),
        (market("orders", 9),),
        (market("orders", None, "no_data"), market("payments", 9)),
        (market("orders", 9), market("payments", None, "filling")),
    ],
)
def test_one_topic_alone_is_not_yet_live(values):
    assert not shows_demand(view(*values))


def test_old_values_and_no_values_are_not_live():
    both = (market("orders", 9), market("payments", 9))
    assert not shows_demand(view(*both, state=ViewState.STALE))
    assert not shows_demand(MarketView("PK", ViewState.ABSENT, None, None, None, None, {}))
