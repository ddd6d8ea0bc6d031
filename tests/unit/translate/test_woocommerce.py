"""The example of WooCommerce: its records become exactly the events that its page says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.index.event_types import OrderEvent, PaymentEvent
from streams.index.events import decode_orders, decode_payments
from streams.translate.compiled_source import IgnoredRecord, compile_source
from streams.translate.order_state import advance
from tools.woocommerce_orders import (
    FIXTURE,
    PERSON,
    UNPAID,
    as_bytes,
    line,
    order,
    refund,
    story,
    three_lines,
)

ROOT = Path(__file__).parents[3]
SOURCE = compile_source((ROOT / "config/examples/sources/woocommerce.toml").read_text())


def stated(*records):
    """For each record: its events as (id, lines as (quantity, price) or amount)."""
    states, found = {}, []
    for record in records:
        read = SOURCE.read(as_bytes(record))
        if not isinstance(read, list):
            found.append(read.reason if isinstance(read, IgnoredRecord) else read.path)
            continue
        advanced = advance(SOURCE.name, states.get(read[0].id), read[0])
        states[read[0].id] = advanced.state
        found.append([_short(json.loads(event.value)) for event in advanced.events])
    return found


def _short(event):
    if "amount_minor" in event:
        return event["event_id"], event["amount_minor"]
    lines = [(each["quantity"], each["unit_price_minor"]) for each in event["lines"]]
    return event["event_id"], lines


GOODS = [(2, 1250), (1, 334), (2, 333), (1, 1200)]
"""Lines of 25.00, 10.00 and 12.00: three mugs for 10.00 are one for 3.34 and two for 3.33."""


def test_the_fixture_is_what_the_script_writes():
    assert (ROOT / FIXTURE).read_bytes() == b"".join(as_bytes(each) + b"\n" for each in story())


def test_the_records_of_the_fixture_become_the_events_that_the_page_says():
    assert stated(*story()) == [
        "condition",  # a draft
        [],  # waits for its payment
        [("woocommerce:1001:placed", GOODS), ("woocommerce:1001:capture:paid", 5190)],
        [],  # the same delivery
        [("woocommerce:1001:refund:5001", [(1, 500)])],
        [("woocommerce:1001:refund:5002", [(1, 700)])],
        [],  # an older delivery comes last
        [("woocommerce:1002:placed", [(1, 8000)])],
        [("woocommerce:1002:cancelled:4=1", [(1, 8000)])],
        [
            ("woocommerce:1003:placed", GOODS),
            ("woocommerce:1003:refund:5003", GOODS),
            ("woocommerce:1003:capture:paid", 5190),
        ],
        [
            ("woocommerce:1004:placed", [(1, 334), (2, 333)]),
            ("woocommerce:1004:capture:paid", 1490),
        ],
        [("woocommerce:1004:cancelled:5=2", [(1, 334), (1, 333)])],
        "$.line_items[0].total",  # 21.01 is no amount of yen
        "condition",  # a deleted order
    ]


def test_the_index_takes_each_event_whole():
    state = None
    for record in (story()[2], story()[5], order(1001, three_lines(), status="cancelled")):
        advanced = advance(SOURCE.name, state, SOURCE.read(as_bytes(record))[0])
        state = advanced.state
        for event in advanced.events:
            decode = decode_orders if event.topic == "orders" else decode_payments
            (decoded,) = decode([event.value])
            assert type(decoded) in (OrderEvent, PaymentEvent)
            assert event.key == b"1001"


def test_what_is_placed_has_the_labels_of_its_order():
    (read,) = SOURCE.read(as_bytes(order(1, three_lines())))
    fields = (read.market, read.payment_method, read.region, read.channel, read.shopper_id)
    assert fields == ("HOME", "card", "BY", "web", "4711")
    assert [(each.sku, each.category) for each in read.lines] == [
        ("TEE-RED-M", "clothing"),
        ("MUG", "kitchen"),
        ("103-0", ""),
    ]
    (guest,) = SOURCE.read(as_bytes(order(1, [], customer_id=0, payment_method="ideal")))
    assert (guest.shopper_id, guest.payment_method) == (None, "ideal")


@pytest.mark.parametrize(
    ("status", "paid", "placed", "cancelled"),
    [
        ("pending", False, False, False),
        ("failed", False, False, True),
        ("cancelled", False, False, True),
        ("on-hold", False, True, False),
        ("processing", True, True, False),
        ("completed", True, True, False),
        ("refunded", True, True, False),
        ("cancelled", True, True, True),
        ("trash", True, True, True),
        ("in-production", True, True, False),
    ],
)
def test_a_status_places_an_order_or_cancels_it(status, paid, placed, cancelled):
    fields = {} if paid else UNPAID
    (read,) = SOURCE.read(as_bytes(order(1, three_lines(), status=status, **fields)))
    assert (read.is_placed, read.is_cancelled) == (placed, cancelled)
    assert bool(read.captures) is paid


def test_refunds_beyond_the_goods_are_shipping_and_are_not_subtracted():
    refunds = [refund(9, 4000), refund(10, 1190)]
    (events,) = stated(order(1, three_lines(), refunds=refunds[::-1]))
    assert events[1:3] == [
        ("woocommerce:1:refund:9", [(1, 4000)]),
        ("woocommerce:1:refund:10", [(1, 700)]),
    ]


def test_no_personal_field_is_read():
    texts = [str(each) for each in PERSON.values() if len(each) > 2]
    for record in story():
        read = SOURCE.read(as_bytes(record))
        assert not any(text in repr(read) for text in [*texts, "192.0.2.7", "ring twice"])


def test_an_amount_that_is_finer_than_a_cent_is_refused_with_its_path():
    record = order(1, [{**line(1, "A", 1, 100), "total_tax": "0.195"}])
    refused = SOURCE.read(as_bytes(record))
    assert refused.detail == (
        "woocommerce: expected an amount in EUR with at most 2 decimals, found the text '9.999' - at "
        "`$.line_items[0].total_tax`"
    )
