"""Bytes -> event or Rejected: each limit of the input contract, and never an exception."""

import json
import sys
from threading import Thread

import pytest

from streams.index import events as module
from streams.index.events import (
    REASONS,
    OrderEvent,
    PaymentEvent,
    Rejected,
    decode_orders,
    decode_payments,
)

ORDER = {
    "event_id": "e1",
    "type": "order.placed",
    "occurred_at": "2026-11-24T09:54:05Z",
    "market": "PK",
    "order_id": "o1",
    "currency": "PKR",
    "lines": [{"sku": "s", "category": "c", "quantity": 1, "unit_price_minor": 1}],
}
PAYMENT = {
    "event_id": "e1",
    "type": "payment.captured",
    "occurred_at": "2026-11-24T09:54:05Z",
    "market": "PK",
    "order_id": "o1",
    "method": "cod",
    "amount_minor": 5,
    "currency": "PKR",
}


def raw(**changes) -> bytes:
    return json.dumps({**ORDER, **changes}).encode()


def with_tail(tail: bytes) -> bytes:
    """A legal order with something more before its last brace."""
    return raw()[:-1] + b"," + tail + b"}"


def reason(value: bytes | None) -> str | None:
    """Reason of the rejection, None for an event; asserted equal alone and beside legal records."""
    (alone,) = decode_orders([value])
    beside = decode_orders([raw(), value, raw()])
    assert isinstance(beside[0], OrderEvent)
    assert isinstance(beside[2], OrderEvent)
    assert beside[1] == alone
    if isinstance(alone, Rejected):
        assert alone.reason in REASONS
        return alone.reason
    return None


def test_a_legal_order_decodes():
    (event,) = decode_orders([raw(placed_at="2026-11-24T09:00:00Z", new_shopper=True)])
    assert event.event_id == "e1"
    assert event.lines[0].quantity == 1
    assert event.new_shopper is True


def test_a_legal_payment_decodes_with_and_without_optional_fields():
    full = {**PAYMENT, "provider": "p", "placed_at": "2026-11-24T09:00:00Z"}
    events = decode_payments([json.dumps(PAYMENT).encode(), json.dumps(full).encode()])
    assert [isinstance(event, PaymentEvent) for event in events] == [True, True]
    assert events[1].provider == "p"
    twice = json.dumps(PAYMENT).encode()[:-1] + b',"amount_minor":9}'
    assert decode_payments([twice])[0].reason == "duplicate_key"
    control = json.dumps({**PAYMENT, "order_id": "a\nb"}).encode()
    assert decode_payments([control])[0].reason == "control_character"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"null", "schema"),
        (b"[]", "schema"),
        (b"{", "invalid_json"),
        (raw() + b" {}", "invalid_json"),
        (b"\xef\xbb\xbf" + raw(), "invalid_json"),
        (with_tail(b'"x":NaN'), "invalid_json"),
        (with_tail(b'"x":Infinity'), "invalid_json"),
        (b"[" * 100_000, "too_deep"),
        (with_tail(b'"x":"' + b"a" * 300_000 + b'"'), "too_large"),
        (raw(type="order.lost"), "unknown_type"),
        (raw(event_id=""), "schema"),
        (raw(event_id="x" * 129), "schema"),
        (raw(event_id="\u00e9" * 65), "id_too_long"),
        (raw(event_id="a\nb"), "control_character"),
        (raw(shopper_id="a\x7fb"), "control_character"),
        (raw(seller_id="a\x85b"), "control_character"),
        (raw(event_id=None), "schema"),
        (raw(occurred_at="yesterday"), "schema"),
        (raw(lines=[ORDER["lines"][0]] * 501), "schema"),
        (raw(lines=[{**ORDER["lines"][0], "quantity": 0}]), "schema"),
        (raw(lines=[{**ORDER["lines"][0], "quantity": 2**63}]), "schema"),
        (raw(lines=[{**ORDER["lines"][0], "unit_price_minor": -1}]), "schema"),
        (raw(lines=[{**ORDER["lines"][0], "unit_price_minor": 1.0}]), "schema"),
        (raw().replace(b'"quantity": 1', b'"quantity": 1e400'), "schema"),
        (with_tail(b'"event_id":"e2"'), "duplicate_key"),
        (with_tail(b'"\\u0065vent_id":"e2"'), "duplicate_key"),
        (with_tail(b'"x":1,"x":2'), "duplicate_key"),
        (with_tail(b'"x":{"a":1,"a":2}'), "duplicate_key"),
        (with_tail(b'"x":[{"a":"\\"","\\u0061":2}]'), "duplicate_key"),
        (with_tail(b'"x":1e400,"x":2'), "duplicate_key"),
        (with_tail(b'"region":null,"region":null'), "duplicate_key"),
    ],
)
def test_what_breaks_the_contract_is_rejected_with_its_reason(value, expected):
    assert reason(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        raw(),
        b" \n" + raw() + b"\t",
        raw(lines=[]),
        raw(lines=[ORDER["lines"][0]] * 500),
        raw(event_id="\u00e9" * 64),
        raw(region=None, channel=None, new_shopper=None, placed_at=None),
        raw(category='a "quoted" \\ name'),
        raw(region="\x7f\x00"),  # a label, not an id
        with_tail(b'"x":[1,2,{"y":null,"z":[]}],"w":1e400'),
        with_tail(b'"x":' + b"[" * 60 + b"]" * 60),
        with_tail(b'"x":"' + b"[" * 1000 + b'"'),
        with_tail(b'"x":[' + b",".join([b"[{}]"] * 1000) + b"]"),
        with_tail(b'"x":' + b"1" * 5000),
    ],
)
def test_what_keeps_the_contract_is_an_event(value):
    assert reason(value) is None


@pytest.mark.parametrize("tail", [b'"x":"\xff"', b'"\xff":1', b'"x":"\\n\xff"', b'"region":"\xff"'])
def test_invalid_utf8_is_a_dead_letter_wherever_it_stands(tail):
    # In a field nobody reads it used to end the worker, again and again: poison, not a bug.
    assert reason(with_tail(tail)) == "invalid_utf8"


def test_a_number_too_long_to_convert_hides_no_duplicate_key():
    digits = b"1" * (sys.get_int_max_str_digits() + 1)
    assert reason(with_tail(b'"x":' + digits + b',"event_id":"e2"')) == "duplicate_key"
    assert reason(with_tail(b'"x":"\\n","y":' + digits + b',"event_id":"e2"')) == "duplicate_key"


@pytest.mark.parametrize("depth", [62, 63, 64, 65, 300, 900, 5_000])
def test_the_limit_of_nesting_does_not_depend_on_how_deep_the_caller_stands(depth):
    # The decoders stop at the interpreter's recursion limit, which counts the caller's frames too:
    # a zombie and the new owner could then disagree on one record.
    value = with_tail(b'"x":' + b"[" * depth + b"]" * depth)
    doubled = with_tail(b'"event_id":"e2","x":' + b"[" * depth + b"]" * depth)

    def from_below(frames: int) -> tuple:
        if frames:
            return from_below(frames - 1)
        return reason(value), reason(doubled)

    found: list = []
    for frames in (0, 400, 800):
        thread = Thread(target=lambda frames=frames: found.append(from_below(frames)))
        thread.start()
        thread.join()
    assert len(found) == 3
    assert len(set(found)) == 1
    expected = (None, "duplicate_key") if depth < module.DEPTH_MAX else ("too_deep", "too_deep")
    assert found[0] == expected


def test_instant_ms_is_the_parsers():
    assert module.instant_ms("1970-01-01T00:00:01Z") == 1000
    assert module.instant_ms("no") is None
