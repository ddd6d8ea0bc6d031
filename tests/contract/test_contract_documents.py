"""docs/contract.md and config/schemas against the code that they describe."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import jsonschema
import msgspec
import pytest
from support.publications import market_values, publication, value

from streams.index.event_types import OrderEvent, PaymentEvent
from streams.index.events import decode_orders, decode_payments
from streams.index.values import WINDOWS_MS, Value
from streams.publish.journal import encode_value
from streams.publish.keys import market_keys, sent_key
from streams.publish.redis_state import OwnedMarket, RedisLimits
from streams.reader import DEFAULT_PREFIX
from tools.contract_doc import with_tables

ROOT = Path(__file__).parents[2]


def schema(name):
    found = json.loads((ROOT / "config" / "schemas" / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def valid(name, document):
    return jsonschema.Draft202012Validator(schema(name)).is_valid(document)


ORDER = {
    "event_id": "e1",
    "type": "order.placed",
    "occurred_at": "2026-11-24T10:00:00Z",
    "market": "PK",
    "order_id": "o1",
    "placed_at": "2026-11-24T10:00:00Z",
    "payment_method": "cod",
    "shopper_id": "s1",
    "new_shopper": True,
    "seller_id": "v1",
    "region": "sindh",
    "channel": "app",
    "currency": "PKR",
    "lines": [{"sku": "x", "category": "books", "quantity": 1, "unit_price_minor": 0}],
}
PAYMENT = {
    "event_id": "e1",
    "type": "payment.captured",
    "occurred_at": "2026-11-24T10:00:00Z",
    "market": "PK",
    "order_id": "o1",
    "placed_at": "2026-11-24T09:00:00Z",
    "method": "cod",
    "provider": "p",
    "amount_minor": 0,
    "currency": "PKR",
}
GONE = object()
MOST = 10**13
LINE = ORDER["lines"][0]


def changed(event, path, new):
    event = copy.deepcopy(event)
    *parents, last = path.split(".")
    at = event
    for name in parents:
        at = at[int(name) if name.isdigit() else name]
    if new is GONE:
        del at[last]
    else:
        at[last] = new
    return event


def counts_whole(decode, event):
    """Whether all of the event counts: it is not refused, and no part of it is lost."""
    (found,) = decode([json.dumps(event).encode()])
    return type(found) in (OrderEvent, PaymentEvent)


ORDER_CASES = [
    ("placed_at", GONE, True), ("payment_method", GONE, True), ("shopper_id", None, True),
    ("new_shopper", GONE, True), ("seller_id", GONE, True), ("region", None, True),
    ("channel", GONE, True), ("unknown", {"a": 1}, True), ("event_id", "x" * 128, True),
    ("lines", [LINE] * 501, True), ("lines", [], True), ("lines.0.quantity", MOST, True),
    ("lines.0.quantity", 2.0, True), ("lines.0.unit_price_minor", 1000.0, True),
    ("lines.0.sku", GONE, True), ("lines.0.sku", "", True), ("lines.0.sku", 5, True),
    ("lines.0.category", GONE, True), ("lines.0.category", "", True), ("lines.0.category", 5, True),
    ("order_id", GONE, True), ("order_id", "", True), ("order_id", 5, True), ("event_id", 7, True),
    ("shopper_id", "", True), ("shopper_id", 7, True), ("seller_id", "\u0000", True),
    ("placed_at", "", True), ("region", "", True), ("region", 4, True),
    ("lines.0.unit_price_minor", MOST, True), ("lines.0.note", 1, True),
    ("event_id", GONE, False), ("type", GONE, False), ("type", "order.lost", False),
    ("occurred_at", GONE, False), ("occurred_at", 1, False), ("market", GONE, False),
    ("order_id", "x" * 129, False), ("event_id", -7, False), ("region", [], False),
    ("order_id", "a\n", False), ("shopper_id", "a\u0085b", False), ("lines.0.category", {}, False),
    ("new_shopper", "yes", False), ("currency", GONE, False), ("currency", None, False),
    ("lines", GONE, False), ("lines", None, False), ("lines", [None], False),
    ("lines.0.quantity", GONE, False), ("lines.0.unit_price_minor", GONE, False),
    ("lines.0.quantity", 0, False), ("lines.0.quantity", 1.5, False),
    ("lines.0.quantity", MOST + 1, False), ("lines.0.quantity", True, False),
    ("lines.0.unit_price_minor", -1, False), ("lines.0.unit_price_minor", MOST + 1, False),
    ("lines.0.unit_price_minor", "1", False),
]  # fmt: skip
PAYMENT_CASES = [
    ("placed_at", GONE, True), ("placed_at", None, True), ("provider", GONE, True),
    ("amount_minor", MOST, True), ("unknown", [], True),
    ("method", GONE, True), ("method", None, True), ("order_id", GONE, True),
    ("amount_minor", 5.0, True), ("provider", 5, True),
    ("event_id", GONE, False), ("type", "order.placed", False), ("method", [], False),
    ("amount_minor", GONE, False), ("amount_minor", -1, False),
    ("amount_minor", MOST + 1, False), ("currency", GONE, False), ("order_id", "a\x7f", False),
    ("occurred_at", "", False),
]  # fmt: skip


@pytest.mark.parametrize(("path", "new", "accepted"), ORDER_CASES)
def test_the_orders_schema_says_what_the_decoder_does(path, new, accepted):
    event = changed(ORDER, path, new)
    assert valid("orders", event) is accepted
    assert counts_whole(decode_orders, event) is accepted


@pytest.mark.parametrize(("path", "new", "accepted"), PAYMENT_CASES)
def test_the_payments_schema_says_what_the_decoder_does(path, new, accepted):
    event = changed(PAYMENT, path, new)
    assert valid("payments", event) is accepted
    assert counts_whole(decode_payments, event) is accepted


def test_the_examples_themselves_are_accepted():
    assert valid("orders", ORDER)
    assert valid("payments", PAYMENT)


@pytest.mark.parametrize("kind", ["order.cancelled", "order.refunded"])
def test_a_cancel_or_refund_needs_the_day_of_its_order(kind):
    event = changed(ORDER, "type", kind)
    assert valid("orders", event)
    assert not valid("orders", changed(event, "placed_at", GONE))
    assert not valid("orders", changed(event, "placed_at", None))
    assert not valid("orders", changed(event, "order_id", GONE))
    assert not counts_whole(decode_orders, changed(event, "order_id", GONE))


def test_the_amount_of_a_failed_payment_is_not_read():
    event = changed(changed(PAYMENT, "type", "payment.failed"), "amount_minor", GONE)
    assert valid("payments", event)
    assert counts_whole(decode_payments, event)


@pytest.mark.parametrize(
    "published",
    [
        value(),
        value("sales", number=2**70, unit="minor"),
        value(number=None, status="filling", covered=0.2),
        value("orders", "market", "all", "day", 3, day="2023-11-14", phase="final"),
    ],
    ids=["window", "wide", "filling", "day"],
)
def test_values_are_what_their_schema_says(published):
    assert valid("value", json.loads(encode_value(published)))


def test_the_value_schema_is_not_blind():
    good = json.loads(encode_value(value()))
    assert not valid("value", {**good, "value": "1"})
    assert not valid("value", {**good, "status": "fine"})
    assert not valid("value", {**good, "status": "filling"})
    assert not valid("value", {name: each for name, each in good.items() if name != "covered"})


def test_the_value_schema_names_the_fields_and_windows_of_the_code():
    properties = schema("value")["properties"]
    assert set(properties) == {field.encode_name for field in msgspec.structs.fields(Value)}
    assert properties["window"]["enum"] == [*WINDOWS_MS, "day"]


@pytest.mark.parametrize("room", [1024 * 1024, 4_096])
def test_a_snapshot_is_what_its_schema_says(room):
    state = OwnedMarket("PK", RedisLimits(60_000, snapshot_bytes_max=room))
    state.take_publication(publication(market_values("PK", ["books", "toys"])))
    assert valid("snapshot", json.loads(state.full("2026-11-24T10:00:00.000Z").snapshot))


def test_the_snapshot_schema_holds_the_value_schema():
    own = schema("value")
    del own["$schema"], own["title"]
    assert schema("snapshot")["$defs"]["value"] == own


def test_the_tables_of_the_contract_are_those_of_the_code():
    text = (ROOT / "docs" / "contract.md").read_text()
    assert with_tables(text) == text, "run `uv run poe contract`"


def test_a_contract_without_markers_is_reported():
    with pytest.raises(ValueError, match="put it back"):
        with_tables("no tables here")


def test_the_contract_names_every_key():
    text = (ROOT / "docs" / "contract.md").read_text()
    for key in (*market_keys("PK", DEFAULT_PREFIX), sent_key("PK", DEFAULT_PREFIX)):
        assert f"`{key}`" in text


def test_the_example_value_is_one():
    text = (ROOT / "docs" / "contract.md").read_text()
    example = text.partition("```json\n")[2].partition("```")[0]
    found = msgspec.json.decode(example, type=Value)
    assert json.loads(encode_value(found)) == json.loads(example)
