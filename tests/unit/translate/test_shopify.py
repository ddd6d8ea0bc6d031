"""The example of Shopify: its records become exactly the events that its page says."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path

import pytest

from streams.flow.chunk import SourcePartition
from streams.index.event_types import OrderEvent, PaymentEvent
from streams.index.events import decode_orders, decode_payments
from streams.index.panes import MINUTE_MS
from streams.translate.compiled_source import IgnoredRecord, compile_source
from streams.translate.order_state import advance
from streams.translate.refused_records import RefusedRecord, RefusedRecordError
from streams.translate.whole_orders import kept_by
from tests.support.flow_harness import Flow
from tools.shopify_records import PERSON, Money, Sold, as_bytes, order, refund, transaction
from tools.shopify_schema import EDIT, ORDER, REFUND, TIP, TRANSACTION
from tools.shopify_story import CAP, CARD, FIXTURE, MUGS, SHIRT, at, story, written

ROOT = Path(__file__).parents[3]
SOURCE = compile_source((ROOT / "config/examples/sources/shopify.toml").read_text())
PAGE = (ROOT / "docs/sources/shopify.md").read_text()


class Shop:
    """Feeds bodies of any orders, and keeps what was stated."""

    def __init__(self, source=SOURCE):
        self.source = source
        self.states = {}
        self.events = []

    def send(self, record):
        """Return what a body became: its events, or a word for why it became none."""
        read = self.source.read(as_bytes(record))
        if isinstance(read, IgnoredRecord):
            return "left out: a test" if read.reason == "test" else "left out"
        if isinstance(read, RefusedRecord):
            return f"refused at `{read.path}`"
        (reported,) = read
        order_id = kept_by(reported)
        try:
            advanced = advance(SOURCE.name, self.states.get(order_id), reported)
        except RefusedRecordError as refused:
            return f"refused: {refused.expected}"
        self.states[order_id] = advanced.state
        self.events += advanced.events
        if not advanced.events:
            return "waits for its order" if advanced.state.waits else "nothing"
        return [json.loads(event.value) for event in advanced.events]


def stated(*records):
    """By event id: (units, price) of its lines, or its amount, of all records together."""
    shop = Shop()
    for each in records:
        assert isinstance(shop.send(each), list | str)
    found = {}
    for event in shop.events:
        body = json.loads(event.value)
        event_id = body["event_id"].removeprefix("shopify:")
        assert event_id not in found
        lines = [(each["quantity"], each["unit_price_minor"]) for each in body.get("lines", [])]
        found[event_id] = body.get("amount_minor", lines)
    return found


def as_the_page_writes(became):
    if isinstance(became, str):
        return became
    return "; ".join(_written(event) for event in became)


def _written(event):
    amounts = [
        f"{each['quantity']} x {_major(each['unit_price_minor'])}"
        for each in event.get("lines", [])
    ]
    amounts = amounts or [_major(event["amount_minor"])]
    return f"`{event['event_id'].removeprefix('shopify:')}` {', '.join(amounts)}"


def _major(minor):
    return str(Decimal(minor).scaleb(-2))


def rows_of_the_story():
    """The table of the page, as the records really become it."""
    shop = Shop()
    return [f"| {said} | {as_the_page_writes(shop.send(record))} |" for said, record in story()]


def test_the_fixture_is_what_the_script_writes():
    assert (ROOT / FIXTURE).read_bytes() == written()


def test_the_records_of_the_fixture_become_the_events_that_the_page_says():
    head = "| record | becomes |\n|---|---|\n"
    table = PAGE[PAGE.index(head) + len(head) :].split("\n\n")[0]
    assert table.splitlines() == rows_of_the_story()


def test_a_body_has_the_fields_that_the_vendor_documents_and_no_others():
    for _, record in story()[:-1]:
        fields = next(
            each
            for name, each in (
                ("order_edit", EDIT), ("kind", TRANSACTION), ("refund_line_items", REFUND), ("", ORDER),
            )
            if not name or name in record
        )  # fmt: skip
        assert unknown_of(record, fields) == []


def unknown_of(found, fields, path=""):
    if isinstance(fields, list):
        return [each for element in found for each in unknown_of(element, fields[0], f"{path}[]")]
    if not isinstance(fields, dict) or not fields:
        return []
    names = fields | TIP if "gift_card" in fields else fields
    odd = [f"{path}.{name}" for name in (found.keys() ^ fields.keys()) if name not in TIP]
    return odd + [
        each
        for name, value in found.items()
        if name in names and value is not None
        for each in unknown_of(value, names[name], f"{path}.{name}")
    ]


def test_the_index_takes_each_event_whole():
    shop = Shop()
    for _, record in story():
        shop.send(record)
    assert len(shop.events) == 24
    for event in shop.events:
        decode = decode_orders if event.topic == "orders" else decode_payments
        (decoded,) = decode([event.value])
        assert type(decoded) in (OrderEvent, PaymentEvent)


def test_the_day_of_the_orders_counts_what_was_paid_for_goods_and_what_came_back():
    file = (ROOT / "config/examples/sources/shopify.toml").read_text()
    shop = Shop(compile_source(file.replace('EUR = "HOME"', 'PKR = "PK"')))
    for _, record in story():
        shop.send(json.loads(as_bytes(record).replace(b'"EUR"', b'"PKR"')))
    flow, now_ms = Flow(), 0
    orders = [event for event in shop.events if event.topic == "orders"]
    for event in sorted(orders, key=lambda event: event.timestamp_ms):
        now_ms = event.timestamp_ms + 1_000
        flow.produce(SourcePartition("orders", 0), event.value, now_ms)
    flow.now_ms = now_ms + MINUTE_MS
    flow.run()
    assert not flow.dead
    indices = ("orders", "units", "sales", "units_net", "sales_net")
    found = [flow.day_value("PK", name, "market", "all", "2026-11-24").value for name in indices]
    # Of 188.52 all of 1001 came back, of 1002 15.50, of 1003 10.26, and of 1007 19.17.
    assert found == [7, 20, 18852, 8, 9659]


@pytest.mark.parametrize("seed", range(20))
def test_any_order_and_repetition_takes_the_same_units_and_money(seed):
    draw = random.Random(seed)
    records = [record for _, record in story()]
    mixed = [*records, *draw.choices(records, k=20)]
    draw.shuffle(mixed)
    # An order that first comes after an edit was placed as it was then: 1007 keeps its first delivery.
    first = next(record for record in records if record["id"] == 1007)
    in_order, again = stated(first, *records), stated(first, *mixed)
    assert totals(again) == totals(in_order)
    assert again.keys() == in_order.keys()


def test_all_deliveries_again_become_nothing_in_whichever_order():
    shop, records = Shop(), [record for _, record in story()]
    for record in records:
        shop.send(record)
    known = len(shop.events)
    for record in [*records[::-1], *records]:
        later = record | {"updated_at": at(28, "09:00")} if "updated_at" in record else record
        assert isinstance(shop.send(record), str)
        assert isinstance(shop.send(later), str)
    assert len(shop.events) == known


def totals(found):
    sums = {}
    for event_id, lines in found.items():
        # Which refund has the odd cent, or gives way to the limit, is a matter of order.
        name = event_id.rpartition(":")[0] if ":refund:" in event_id else event_id
        units, minor = sums.get(name, (0, 0))
        if isinstance(lines, int):
            sums[name] = units, minor + lines
        else:
            sums[name] = (
                units + sum(count for count, _ in lines),
                minor + sum(count * price for count, price in lines),
            )
    return sums


def test_what_is_placed_has_the_labels_of_its_order():
    (read,) = SOURCE.read(as_bytes(order(1, [SHIRT, CAP, CARD], gateway="Cash on Delivery (COD)")))
    fields = (read.market, read.payment_method, read.region, read.channel, read.shopper_id)
    assert fields == ("HOME", "cod", "BY", "web", "4711")
    assert [(each.sku, each.category) for each in read.lines] == [
        ("TEE-RED-M", "clothing"),
        ("703", ""),
    ]
    guest = order(1, [], customer=None, payment_gateway_names=[], source_name="3890849")
    (read,) = SOURCE.read(as_bytes(guest))
    assert (read.payment_method, read.channel, read.shopper_id) == (None, "3890849", None)


@pytest.mark.parametrize(
    ("sold", "included", "lines"),
    [
        (Sold(1, "A", 3, 400, discount=200, tax=160), True, [(1, 334), (2, 333)]),
        (Sold(1, "A", 3, 400, discount=200, tax=160), False, [(2, 387), (1, 386)]),
        (Sold(1, "A", 2, 400, discount=800), True, [(2, 0)]),
        (Sold(1, "A", 1, 400, discount=500), True, []),
        (Sold(1, "A", 0, 400), True, []),
        (Sold(1, "A", 1, 400, gift_card=True), True, []),
        (Sold(1, "A", 1, 400, is_tip=True), True, []),
    ],
)
def test_sales_are_what_is_paid_for_goods_with_tax_after_discounts(sold, included, lines):
    assert stated(order(1, [sold], taxes_included=included)) == {"1:placed": lines}


def test_what_was_shown_to_the_shopper_counts_in_its_own_decimals():
    file = (ROOT / "config/examples/sources/shopify.toml").read_text()
    source = compile_source(file.replace('EUR = "HOME"', 'JPY = "JP"\nKWD = "KW"'))
    for currency, market, minor in (("JPY", "JP", 1500), ("KWD", "KW", 1500)):
        money = Money(currency, "USD", 7)
        (read,) = source.read(as_bytes(order(1, [Sold(1, "A", 1, minor)], money=money)))
        assert (read.market, read.currency, read.lines[0].amount_minor) == (market, currency, minor)


def test_two_refunds_of_a_line_take_what_it_cost_and_no_unit_that_an_edit_added():
    parts = [refund(10 + n, 1, [(MUGS, 2)], at=at(25, f"0{n}:00")) for n in range(3)]
    found = stated(order(1, [MUGS]), *parts)
    assert found["1:refund:10"] == [(1, 334), (1, 333)]
    assert found["1:refund:11"] == [(1, 333)]
    assert "1:refund:12" not in found


@pytest.mark.parametrize(
    ("adjustments", "lines"),
    [
        ([], [(1, 1250)]),
        ([("refund_discrepancy", 250, 0)], [(1, 1000)]),
        ([("refund_discrepancy", 1300, 0)], [(1, 0)]),
        ([("refund_discrepancy", -250, -50)], [(1, 1250), (1, 300)]),
        ([("shipping_refund", -400, -90)], [(1, 1250)]),
        ([("refund_discrepancy", -9000, 0)], [(1, 1250), (1, 1250)]),
    ],
)
def test_a_refund_takes_its_units_and_the_money_beyond_them_but_no_shipping(adjustments, lines):
    one = refund(9, 1, [(SHIRT, 1)], at=at(25, "09:00"), adjustments=adjustments)
    assert stated(order(1, [SHIRT]), one)["1:refund:9"] == lines
    assert stated(order(1, [SHIRT], refunds=[one]))["1:refund:9"] == lines
    assert stated(one, order(1, [SHIRT]))["1:refund:9"] == lines


def test_money_in_another_currency_than_its_order_is_refused_or_goes_on_waiting():
    shop, dollars = Shop(), transaction(5, 1, 1690, currency="USD")
    of_dollars = refund(
        6, 1, at=at(25, "09:00"), money=Money("USD"), adjustments=[("refund_discrepancy", -500, 0)]
    )
    assert shop.send(dollars) == "waits for its order"
    assert len(shop.send(order(1, [CAP]))) == 1
    assert shop.states["1"].waits == 1
    for record in (dollars, of_dollars):
        assert shop.send(record) == "refused: an amount in EUR, the currency of its order"
    assert len(shop.send(transaction(7, 1, 1690))) == 1


def leaves(tree, path=()):
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def test_no_personal_field_is_in_an_event_or_a_refusal():
    texts = set(PERSON.values())
    shop = Shop()
    for said, record in story():
        if "orders/edited" not in said and "orders/delete" not in said:
            planted = [
                text
                for text in texts
                if json.dumps(text, ensure_ascii=False)[1:-1] in as_bytes(record).decode()
            ]
            assert planted, said
        became = json.dumps(shop.send(record), ensure_ascii=False)
        assert not [text for text in texts if text in became]
    kept = repr(shop.states)
    assert not [text for text in texts if text in kept]


@pytest.mark.parametrize("number", [0, 2, 6, 11, 19])
def test_what_is_refused_is_shown_by_its_form_whatever_field_holds_a_name(number):
    record = story()[number][1]
    refused = 0
    for path in leaves(record):
        odd = json.loads(as_bytes(record))
        at_place = odd
        for key in path[:-1]:
            at_place = at_place[key]
        at_place[path[-1]] = "Greta Musterfrau 4242"
        read = SOURCE.read(as_bytes(odd))
        if isinstance(read, RefusedRecord):
            refused += 1
            assert "reta" not in read.detail
            assert "4242" not in read.detail
    assert refused > 1
