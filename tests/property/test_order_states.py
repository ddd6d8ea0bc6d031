"""Any order and repetition of a source's deliveries ends with what each of them says once, in order."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from streams.translate.order_state import advance
from streams.translate.whole_orders import (
    Capture,
    LooseCapture,
    LooseRefund,
    Refund,
    RefundedLine,
    SoldLine,
    WholeOrder,
)
from tests.support.draws import examples

T = 1_795_514_400_000


@st.composite
def histories(draw):
    """The records of one order, in the order in which they were written: it only ever goes on."""
    count = draw(st.integers(0, 3))
    quantities = [draw(st.integers(1, 4)) for _ in range(count)]
    prices = [draw(st.integers(0, 1000)) for _ in range(count)]
    cancelled, refunded = [0] * count, [0] * count
    refunds, captures, records = [], [], []
    is_placed = is_cancelled = False
    for version in range(draw(st.integers(1, 6))):
        step = draw(st.sampled_from(("place", "cancel", "part", "refund", "unit", "capture")))
        is_placed = is_placed or step == "place"
        is_cancelled = is_cancelled or step == "cancel"
        at = draw(st.integers(0, count - 1)) if count else None
        if step == "part" and at is not None:
            cancelled[at] = draw(st.integers(cancelled[at], quantities[at]))
        if step == "unit" and at is not None:
            refunded[at] = draw(st.integers(refunded[at], quantities[at]))
        if step == "refund":
            parts = [RefundedLine(str(at), 1)] if at is not None and draw(st.booleans()) else []
            refunds = [*refunds, Refund(str(version), T + version, parts, 70, draw(st.booleans()))]
        if step == "capture":
            captures = [*captures, Capture(str(version), T + version, 500, "card")]
        lines = [
            SoldLine(str(n), f"sku-{n}", "c", quantities[n], prices[n], cancelled[n], refunded[n])
            for n in range(count)
        ]
        # A paid order that was cancelled may be no order any more in the eyes of its source.
        shown_placed = is_placed and not (is_cancelled and draw(st.booleans()))
        whole = WholeOrder("7", "DE", "EUR", T, shown_placed, is_cancelled, T + version, T + 99)
        whole.lines, whole.refunds, whole.captures = lines, refunds, captures
        records.append(whole)
        if step == "refund" and not refunds[-1].is_limited:
            records.append(LooseRefund("7", refunds[-1]))
        if step == "capture":
            records.append(LooseCapture("7", captures[-1]))
    return records


def stated(records):
    """Events by id, in a run over the records. No id comes twice."""
    state, events = None, {}
    for record in records:
        advanced = advance("shop", state, record, digest=id(record))
        state = advanced.state
        for event in advanced.events:
            body = json.loads(event.value)
            assert body["event_id"] not in events
            events[body["event_id"]] = body
    return events


def totals(events):
    """What the index would make of events: ids that say all, and by article what is taken back."""
    others = (":refund:", ":cancelled")
    whole = {key: event for key, event in events.items() if not any(each in key for each in others)}
    cancelled, refunded = Counter(), Counter()
    for key, event in events.items():
        sums = Counter()
        for line in event.get("lines", ()):
            sums[line["sku"], "units"] += line["quantity"]
            sums[line["sku"], "sales"] += line["quantity"] * line["unit_price_minor"]
        if ":cancelled" in key:
            cancelled |= sums  # of the cancels of an article the largest counts
        elif (
            ":refund:" in key
        ):  # which of two has the odd cent of a line, or its last unit, may differ
            refunded += sums
    return whole, cancelled, refunded


@given(histories(), st.data())
@examples(400)
def test_any_order_and_repetition_states_the_same(records, data):
    in_order = stated(records)
    others = data.draw(st.lists(st.sampled_from(records), max_size=6))
    mixed = data.draw(st.permutations([*records, *others]))
    again = stated(mixed)
    assert totals(again) == totals(in_order)
    for key in again.keys() & in_order.keys():
        assert ":refund:" in key or again[key] == in_order[key]
