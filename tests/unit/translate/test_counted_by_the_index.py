"""What is stated of an order counts in the index as its source meant it, cancel by cancel."""

from __future__ import annotations

import pytest

from streams.flow.chunk import SourcePartition
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS
from streams.translate.order_state import advance
from streams.translate.whole_orders import Refund, RefundedLine, SoldLine, WholeOrder
from tests.support.flow_harness import Flow

START = 1_795_000_000_000 // DAY_MS * DAY_MS + 6 * HOUR_MS
DAY = "2026-11-18"
ORDERS = SourcePartition("orders", 0)
INDICES = ("orders", "sales", "units_valid", "sales_valid", "units_net", "sales_net")


def whole(version, books, mugs, *, cancelled=False, refunds=()):
    """An order of books, 4 for 10.01, and 2 mugs for 3.00; by now so many are left."""
    lines = [
        SoldLine("1", "book", "books", books, 1001 * books // 4),
        SoldLine("2", "mug", "computing", mugs, 150 * mugs),
    ]
    return WholeOrder(
        "7", "PK", "PKR", START, True, cancelled, START + version * 1_000,
        lines=[line for line in lines if line.quantity], refunds=list(refunds),
    )  # fmt: skip


def refund(refund_id, *parts, minor=None):
    return Refund(refund_id, START + 2_000, list(parts), minor)


MUG = refund("r1", RefundedLine("2", 1, 100))


@pytest.mark.parametrize(
    ("versions", "counted"),
    [
        ([whole(0, 4, 2)], (1, 1301, 6, 1301, 6, 1301)),
        ([whole(0, 4, 2), whole(1, 3, 2), whole(2, 1, 2)], (1, 1301, 3, 550, 3, 550)),
        ([whole(0, 4, 2), whole(2, 1, 2), whole(1, 3, 2)], (1, 1301, 3, 550, 3, 550)),
        ([whole(0, 4, 2), whole(1, 4, 0)], (1, 1301, 4, 1001, 4, 1001)),
        ([whole(0, 4, 2), whole(1, 4, 2, refunds=[MUG])], (1, 1301, 6, 1301, 5, 1201)),
        (
            [whole(0, 4, 2), whole(1, 4, 2, refunds=[MUG]), whole(2, 3, 2, refunds=[MUG])],
            (1, 1301, 5, 1050, 4, 950),
        ),
        (
            [whole(1, 4, 2, refunds=[MUG, refund("r2", minor=50)]), whole(2, 4, 2, cancelled=True)],
            (1, 1301, 0, 0, 0, 0),
        ),
    ],
)
def test_an_order_counts_as_it_is_in_the_end(versions, counted):
    flow, state, now_ms = Flow(), None, START
    for each in versions * 2:
        now_ms += 1_000
        advanced = advance("shop", state, each)
        state = advanced.state
        for event in advanced.events:
            flow.produce(ORDERS, event.value, now_ms)
    flow.now_ms = now_ms + MINUTE_MS
    flow.run()
    found = tuple(flow.day_value("PK", name, "market", "all", DAY).value for name in INDICES)
    assert found == counted
    assert not flow.dead
