"""The plain examples of source files: their records become exactly the events that their pages say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams.index.event_types import OrderEvent, PaymentEvent
from streams.index.events import decode_orders, decode_payments
from streams.translate.compiled_source import IgnoredRecord, compile_source
from streams.translate.order_state import advance
from streams.translate.refused_records import RefusedRecord
from streams.translate.whole_orders import kept_by
from tools.plain_sources import EXAMPLES, PERSON, STORIES, as_bytes

ROOT = Path(__file__).parents[3]
SOURCES = {name: compile_source((ROOT / EXAMPLES / f"{name}.toml").read_text()) for name in STORIES}
GOODS = [(2, 1250), (1, 800)]
TEE, MUG = [(1, 1250)], [(1, 800)]


def translated(name):
    """For each record of a story: its events, or why it has none."""
    source, states, found = SOURCES[name], {}, []
    for record in STORIES[name]():
        read = source.read(as_bytes(record))
        if not isinstance(read, list):
            found.append(read)
            continue
        events = []
        for each in read:
            advanced = advance(name, states.get(kept_by(each)), each)
            states[kept_by(each)] = advanced.state
            events += advanced.events
        found.append(events)
    return found


def short(found):
    if isinstance(found, RefusedRecord | IgnoredRecord):
        return found.path if isinstance(found, RefusedRecord) else found.reason
    shown = []
    for out in found:
        event = json.loads(out.value)
        lines = [(line["quantity"], line["unit_price_minor"]) for line in event.get("lines", ())]
        what = lines or event.get("amount_minor")
        shown.append((event["event_id"].partition(":")[2], what, event["occurred_at"][5:19]))
    return shown


EXPECTED = {
    "cloudevents": [
        [("p-1:failed:ce-1", 3300, "11-24T10:00:01")],
        [],  # waits for its order
        [("A-1:placed", GOODS, "11-24T10:00:00"), ("A-1:capture:p-1", 3300, "11-24T10:00:05")],
        [],  # the same event
        "condition",  # no order
        [("A-1:cancelled:2=1", MUG, "11-24T12:00:00")],  # the mug was taken out
        [("A-1:refund:r-1", TEE, "11-25T09:00:00")],
        [("A-1:refund:r-2", [(1, 500)], "11-25T10:00:00")],  # of an amount
        [("A-1:cancelled:1=2,2=1", GOODS, "11-26T09:00:00")],
        "$.data.currency",  # `data_base64` is not read
    ],
    "segment": [
        "condition",
        [("B-1:placed", GOODS, "11-24T10:00:00")],
        [],
        [("B-1:refund:ajs-3", TEE, "11-25T10:00:00")],
        [],
        [],  # a cancel waits for its order
        [("B-2:placed", GOODS, "11-25T10:30:00"),
         ("B-2:cancelled:prod-1=2,prod-2=1", GOODS, "11-25T11:00:00")],
        [("B-3:placed", GOODS, "11-25T12:00:00")],
        [("B-3:refund:ajs-7", GOODS, "11-26T12:00:00")],  # of everything
        "$.properties.order_id",
        "condition",
    ],
    "ga4": [
        "condition",
        [("T-1:placed", GOODS, "11-24T10:00:00")],
        [],
        [],  # the page was loaded again
        "test",
        [("T-1:refund:1795600800456789", TEE, "11-25T10:00:00")],
        [],
        [("T-3:placed", GOODS, "11-24T10:01:40")],
        [("T-3:refund:1795600900456789", GOODS, "11-25T10:01:40")],
        "$.ecommerce.transaction_id",
        "$.items[0].price",  # 12.949999809265137 EUR
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_a_fixture_is_what_the_script_writes(name):
    written = b"".join(as_bytes(each) + b"\n" for each in STORIES[name]())
    assert (ROOT / EXAMPLES / f"{name}.ndjson").read_bytes() == written


@pytest.mark.parametrize("name", STORIES)
def test_the_records_of_the_fixture_become_the_events_that_the_page_says(name):
    assert [short(each) for each in translated(name)] == EXPECTED[name]


@pytest.mark.parametrize("name", STORIES)
def test_the_index_takes_each_event_whole_and_nobody_is_named(name):
    for found in translated(name):
        shown = repr(found) if isinstance(found, RefusedRecord | IgnoredRecord) else ""
        for out in () if shown else found:
            decode = decode_orders if out.topic == "orders" else decode_payments
            (decoded,) = decode([out.value])
            assert type(decoded) in (OrderEvent, PaymentEvent)
            shown += out.value.decode()
        assert not [text for text in PERSON.values() if text in shown]


def test_what_is_placed_has_the_labels_of_its_order():
    (ga4,) = SOURCES["ga4"].read(as_bytes(STORIES["ga4"]()[1]))
    assert (ga4.region, ga4.channel, ga4.payment_method) == ("Bavaria", "web", "card")
    assert [(line.sku, line.category) for line in ga4.lines] == [
        ("SKU-1", "clothing"),
        ("SKU-2", ""),
    ]
    (segment,) = SOURCES["segment"].read(as_bytes(STORIES["segment"]()[1]))
    assert (segment.channel, segment.shopper_id[:8]) == ("web", "0f0f0f0f")
    assert [(line.sku, line.category) for line in segment.lines] == [
        ("TEE", "clothing"),
        ("MUG", "kitchen"),
    ]
