"""What is stated of an order, record by record: each thing once, whatever comes twice or too early."""

from __future__ import annotations

import json

import pytest

from streams.translate.order_state import STATED_MAX, WAITING_MAX, advance
from streams.translate.refused_records import RefusedRecordError
from streams.translate.stated_events import bounded_id, lines_for
from streams.translate.whole_orders import (
    Capture,
    LooseCapture,
    LoosePayment,
    LooseRefund,
    Refund,
    RefundedLine,
    SoldLine,
    WholeOrder,
)

PLACED_MS = 1_795_514_400_000
DAY_MS = 86_400_000


def lines(**quantities):
    """Lines by id, of 3.33 and a third each unit."""
    return [
        SoldLine(each, f"sku-{each}", "books", count, 1000 * count // 3)
        for each, count in quantities.items()
    ]


def order(version=0, sold=None, **fields):
    return WholeOrder(
        "7",
        "DE",
        "EUR",
        PLACED_MS,
        version_ms=PLACED_MS + version,
        lines=lines(a=3, b=1) if sold is None else sold,
        **fields,
    )


def refund(refund_id, *parts, minor=None, limited=False):
    return Refund(refund_id, PLACED_MS + DAY_MS, list(parts), minor, limited)


class Shop:
    """Feeds records of one order, and keeps what was stated."""

    def __init__(self):
        self.state = None
        self.events = []
        self.added = 0

    def send(self, *records):
        """Return the ids of the events that the records led to."""
        before = len(self.events)
        for each in records:
            advanced = advance("shop", self.state, each)
            self.state = advanced.state
            self.added += advanced.added
            self.events += [json.loads(event.value) for event in advanced.events]
        return [event["event_id"] for event in self.events[before:]]

    def taken(self, number=-1):
        """(quantity, unit price) of each line of an event."""
        found = self.events[number]["lines"]
        return [(line["quantity"], line["unit_price_minor"]) for line in found]


def test_an_order_is_placed_once():
    shop = Shop()
    assert shop.send(order(), order(), order(version=5)) == ["shop:7:placed"]
    assert shop.taken() == [(1, 334), (2, 333), (1, 333)]
    assert shop.events[0]["occurred_at"] == "2026-11-24T10:00:00.000Z"


def test_the_same_bytes_lead_to_nothing_and_the_state_that_was_given_stays():
    first = advance("shop", None, order(), digest=9)
    again = advance("shop", first.state, order(version=8, is_cancelled=True), digest=9)
    assert (again.state, again.events) == (first.state, [])
    advance("shop", first.state, order(is_cancelled=True), digest=10)
    assert [line.cancelled for line in first.state.placed.lines] == [0, 0]


def test_a_draft_is_no_order_until_it_is_placed():
    shop = Shop()
    assert shop.send(order(is_placed=False), order(version=1)) == ["shop:7:placed"]


def test_a_cancel_that_comes_before_its_order_is_stated_after_it():
    shop = Shop()
    assert shop.send(order(version=9, is_placed=False, is_cancelled=True)) == []
    assert shop.state.waits == 1
    assert shop.send(order()) == ["shop:7:placed", "shop:7:cancelled:a=3,b=1"]
    assert shop.state.waits == 0
    assert shop.send(order(version=9, is_cancelled=True)) == []


def test_each_cancel_names_all_units_that_are_cancelled_by_then():
    shop = Shop()
    shop.send(order())
    one, two = lines(a=3, b=1), lines(a=3, b=1)
    one[0].cancelled, two[0].cancelled = 1, 2
    assert shop.send(order(sold=one), order(sold=one)) == ["shop:7:cancelled:a=1"]
    assert shop.taken() == [(1, 334)]
    assert shop.send(order(sold=two), order(sold=one)) == ["shop:7:cancelled:a=2"]
    assert shop.taken() == [(1, 334), (1, 333)]


def test_a_partial_refund_that_comes_twice_counts_once_and_two_partial_refunds_twice():
    shop = Shop()
    first, second = refund("r1", RefundedLine("a", 1)), refund("r2", RefundedLine("a", 1, 100))
    shop.send(order())
    assert shop.send(order(version=1, refunds=[first]), order(version=1, refunds=[first])) == [
        "shop:7:refund:r1"
    ]
    assert shop.taken() == [(1, 334)]
    assert shop.send(order(version=2, refunds=[first, second]), LooseRefund("7", first)) == [
        "shop:7:refund:r2"
    ]
    assert shop.taken() == [(1, 100)]
    assert shop.events[-1]["refund_id"] == "r2"
    assert shop.events[-1]["occurred_at"] == "2026-11-25T10:00:00.000Z"
    assert shop.events[-1]["lines"][0]["sku"] == "sku-a"


def test_a_refund_that_comes_before_its_order_waits_for_it():
    shop = Shop()
    assert shop.send(*[LooseRefund("7", refund("r1", RefundedLine("b", 1)))] * 2) == []
    assert shop.state.waits == 1
    assert shop.send(order()) == ["shop:7:placed", "shop:7:refund:r1"]
    assert shop.events[-1]["placed_at"] == "2026-11-24T10:00:00.000Z"


def test_what_waits_is_bounded():
    shop = Shop()
    for number in range(WAITING_MAX):
        shop.send(LooseRefund("7", refund(f"r{number}", minor=1)))
    with pytest.raises(RefusedRecordError, match="refunds and captures that wait"):
        shop.send(LooseRefund("7", refund("one more", minor=1)))
    assert shop.state.waits == WAITING_MAX
    assert len(shop.send(order())) == 1 + WAITING_MAX


def test_units_refunded_by_line_are_stated_by_their_difference():
    shop = Shop()
    shop.send(order())
    one, two = lines(a=3, b=1), lines(a=3, b=1)
    one[0].refunded, two[0].refunded = 1, 3
    assert shop.send(order(sold=one)) == ["shop:7:refund:a=0-1"]
    assert shop.send(order(sold=two), order(sold=one)) == ["shop:7:refund:a=1-3"]
    assert shop.taken() == [(2, 333)]


def test_a_cancel_after_a_refund_names_the_whole_order():
    shop = Shop()
    shop.send(order(refunds=[refund("r1", RefundedLine("a", 3))]))
    assert shop.send(order(version=2, is_cancelled=True)) == ["shop:7:cancelled:a=3,b=1"]


def test_a_refund_of_an_amount_takes_no_more_than_the_goods():
    shop = Shop()
    parts = [
        refund(f"r{number}", minor=minor, limited=True) for number, minor in enumerate([900, 700])
    ]
    shop.send(order(refunds=parts))
    assert shop.taken(1) == [(1, 900)]
    assert shop.taken(2) == [(1, 433)]
    assert shop.send(order(refunds=[*parts, refund("r9", minor=490, limited=True)])) == []


def test_a_refund_of_everything_names_every_article():
    shop = Shop()
    shop.send(order(refunds=[refund("r1", minor=1823, limited=True)]))
    assert shop.taken() == [(1, 334), (2, 333), (1, 333)]
    assert {line["category"] for line in shop.events[-1]["lines"]} == {"books"}


def test_refunds_of_a_line_take_what_its_units_cost_and_no_more_units_than_it_had():
    shop = Shop()
    parts = [refund(f"r{n}", RefundedLine("a", 2), RefundedLine("added", 1)) for n in range(3)]
    shop.send(order())
    assert shop.send(order(version=1, refunds=parts[:1])) == ["shop:7:refund:r0"]
    assert shop.taken() == [(1, 334), (1, 333)]
    assert shop.send(*[LooseRefund("7", each) for each in parts]) == ["shop:7:refund:r1"]
    assert shop.taken() == [(1, 333)]


@pytest.mark.parametrize(
    ("parts", "adjustment", "taken"),
    [
        ([RefundedLine("b", 1)], 0, [(1, 333)]),
        ([RefundedLine("b", 1)], 200, [(1, 333), (1, 200)]),
        (
            [RefundedLine("a", 3), RefundedLine("b", 1)],
            -400,
            [(1, 334), (1, 300), (1, 299), (1, 0)],
        ),
        ([RefundedLine("b", 1)], -400, [(1, 0)]),
        ([], 50, [(1, 50)]),
        ([], 5000, [(1, 1333)]),
        ([RefundedLine("b", 1)], 5000, [(1, 333), (1, 1000)]),
    ],
)
def test_an_adjustment_adds_to_the_lines_of_a_refund_or_lowers_the_last_within_what_goods_cost(
    parts, adjustment, taken
):
    shop = Shop()
    one = Refund("r1", PLACED_MS, parts, None, True, adjustment)
    shop.send(order(), LooseRefund("7", one))
    assert shop.taken() == taken


def test_limited_refunds_of_lines_and_amounts_together_take_what_goods_cost():
    shop = Shop()
    goodwill = Refund("r1", PLACED_MS, [], None, True, 1300)
    shop.send(order(refunds=[goodwill]))
    everything = Refund("r2", PLACED_MS, [RefundedLine("a", 3), RefundedLine("b", 1)], None, True)
    assert shop.send(LooseRefund("7", everything)) == ["shop:7:refund:r2"]
    assert shop.taken() == [(1, 33), (2, 0), (1, 0)]
    assert shop.send(LooseRefund("7", Refund("r3", PLACED_MS, [], None, True, 10))) == []


def test_money_of_another_currency_is_never_stated_as_that_of_the_order():
    shop = Shop()
    yen = LooseCapture("7", Capture("c1", PLACED_MS, 500, currency="JPY"))
    refunded = LooseRefund("7", Refund("r1", PLACED_MS, [], 5, False, 0, "JPY"))
    assert shop.send(yen, refunded, order()) == ["shop:7:placed"]
    assert shop.state.waits == 2, "where it is seen"
    for each in (yen, refunded):
        with pytest.raises(RefusedRecordError, match="the currency of its order"):
            shop.send(each)
    euros = LooseCapture("7", Capture("c2", PLACED_MS, 500, currency="EUR"))
    assert shop.send(euros) == ["shop:7:capture:c2"]


def test_two_captures_are_two_payments():
    shop = Shop()
    captures = [
        Capture("c1", PLACED_MS + 1, 500, "card"),
        Capture("c2", PLACED_MS - 9, 833, "card"),
    ]
    assert shop.send(LooseCapture("7", captures[0])) == []
    assert shop.send(order(captures=captures), order(version=3, captures=captures)) == [
        "shop:7:placed",
        "shop:7:capture:c1",
        "shop:7:capture:c2",
    ]
    assert [event.get("amount_minor") for event in shop.events] == [None, 500, 833]
    assert shop.events[-1]["occurred_at"] == shop.events[-1]["placed_at"]


def test_a_capture_that_knows_its_market_does_not_wait():
    shop = Shop()
    loose = LooseCapture("7", Capture("c1", PLACED_MS, 500), "DE", "EUR")
    assert shop.send(loose, loose) == ["shop:7:capture:c1"]
    assert "placed_at" not in shop.events[0]


def test_an_edit_that_takes_units_out_is_a_cancel_and_one_that_adds_is_counted():
    shop = Shop()
    shop.send(order(version=5))
    assert shop.send(order(version=4, sold=lines(a=1))) == [], "older than what was stated"
    assert shop.send(order(version=6, sold=lines(a=1))) == ["shop:7:cancelled:a=2,b=1"]
    assert (
        shop.send(order(version=7, sold=lines(a=5, c=1)), order(version=8, sold=lines(a=5))) == []
    )
    assert shop.added == 3


def test_an_order_of_nothing_that_counts_is_cancelled_by_a_line_of_nothing():
    shop = Shop()
    assert shop.send(order(sold=[]), *[order(version=2, sold=[], is_cancelled=True)] * 2) == [
        "shop:7:placed",
        "shop:7:cancelled:",
    ]
    assert shop.taken() == [(0, 0)]


def test_a_correction_has_no_time_before_its_order():
    shop = Shop()
    shop.send(order(is_cancelled=True, taken_back_ms=PLACED_MS - 5))
    assert shop.events[-1]["occurred_at"] == "2026-11-24T10:00:00.000Z"


def test_ids_beyond_128_bytes_are_hashed_and_stay_apart():
    long, other = "é" * 100, "é" * 100 + "x"
    assert len(bounded_id(long).encode()) <= 128
    assert bounded_id(long) != bounded_id(other)
    assert bounded_id(long).startswith("é" * 40)
    shop = Shop()
    shop.send(LooseRefund("7", refund(long, minor=5)), order(refunds=[refund(other, minor=6)]))
    ids = [event["event_id"] for event in shop.events]
    assert len(set(ids)) == 3
    assert all(len(each.encode()) <= 128 for each in ids)


def test_ids_with_the_marks_that_separate_them_stay_apart():
    one = advance("shop", None, WholeOrder("1:placed", "DE", "EUR", PLACED_MS)).events[0]
    assert json.loads(one.value)["event_id"] == "shop:1%3Aplaced:placed"
    assert json.loads(one.value)["order_id"] == "1:placed"


@pytest.mark.parametrize(("quantity", "minor"), [(3, 1000), (7, 6), (1, 0), (4, 400)])
def test_units_of_any_amount_cost_it_exactly(quantity, minor):
    found = lines_for("sku", "", quantity, minor)
    assert sum(line.quantity for line in found) == quantity
    assert sum(line.quantity * line.unit_price_minor for line in found) == minor


def payment(step, each_id, minor, *, total=False, **fields):
    return LoosePayment("p1", step, each_id, PLACED_MS, "DE", "EUR", minor, total, **fields)


def test_what_happens_to_a_payment_is_stated_once_by_its_id_and_waits_for_nothing():
    shop = Shop()
    one = payment("refunded", "r1", 5, order_id="7", method="card", provider="bank")
    assert shop.send(one, one, payment("disputed", "r1", 6)) == [
        "shop:p1:refunded:r1",
        "shop:p1:disputed:r1",
    ]
    first, second = shop.events
    assert (first["type"], first["order_id"], first["method"]) == ("payment.refunded", "7", "card")
    assert (first["amount_minor"], first["provider"], "placed_at" in first) == (5, "bank", False)
    assert (second["order_id"], shop.state.waits) == ("p1", 0)


def test_of_a_total_is_stated_by_how_much_it_grew():
    shop = Shop()
    sent = [payment("captured", "c1", minor, total=True) for minor in (0, 300, 300, 1000, 300)]
    assert shop.send(*sent) == ["shop:p1:captured:c1=0-300", "shop:p1:captured:c1=300-1000"]
    assert [each["amount_minor"] for each in shop.events] == [300, 700]
    assert shop.send(payment("captured", "c2", 5, total=True)) == ["shop:p1:captured:c2=0-5"]
    before = shop.state
    advance("shop", before, payment("captured", "c1", 2_000, total=True))
    assert sorted(before.totals.values()) == [5, 1000], "what was given stays as it is"


def test_one_record_may_say_two_things_of_a_payment():
    found = advance("shop", None, payment("refunded", "r1", 5), digest=9)
    found = advance("shop", found.state, payment("refund_failed", "r1", 5), digest=9)
    assert len(found.events) == 1


def test_what_is_kept_of_a_payment_is_bounded():
    shop = Shop()
    for number in range(STATED_MAX):
        shop.send(payment("captured", f"c{number}", 1, total=number % 2 == 0))
    with pytest.raises(RefusedRecordError, match="at most 500"):
        shop.send(payment("captured", "one more", 1, total=True))
