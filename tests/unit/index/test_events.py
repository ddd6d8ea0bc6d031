"""Bytes -> event or Rejected: each limit of the input contract, and never an exception."""

import json
import sys
from threading import Thread

import pytest

from streams.index import events as module
from streams.index.event_fields import whole
from streams.index.event_types import (
    PART_REASONS,
    REASONS,
    TOMBSTONE,
    UNKNOWN_TYPE,
    Ignored,
    IncompleteOrder,
    IncompletePayment,
    OrderEvent,
    PaymentEvent,
    Rejected,
)
from streams.index.events import decode_orders, decode_payments
from tests.support.reference.contract import validate

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
    assert not isinstance(alone, Ignored)
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
    control = json.dumps({**PAYMENT, "event_id": "a\nb"}).encode()
    assert decode_payments([control])[0].reason == "control_character"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", "empty"),
        (b"null", "schema"),
        (b"[]", "schema"),
        (b"{", "invalid_json"),
        (raw() + b" {}", "invalid_json"),
        (b"\xef\xbb\xbf", "invalid_json"),
        (with_tail(b'"x":NaN'), "invalid_json"),
        (with_tail(b'"x":Infinity'), "invalid_json"),
        (b"[" * 100_000, "too_deep"),
        (with_tail(b'"x":"' + b"a" * 300_000 + b'"'), "too_large"),
        (raw(type=None), "schema"),
        (raw(type=7), "schema"),
        (
            with_tail(b'"type":"order.paid"').replace(b"order.paid", b"order.placed"),
            "duplicate_key",
        ),
        (raw(event_id=""), "schema"),
        (raw(event_id="x" * 129), "schema"),
        (raw(event_id="\u00e9" * 65), "id_too_long"),
        (raw(event_id="a\nb"), "control_character"),
        (raw(event_id="a\x85b"), "control_character"),
        (raw(type="order.cancelled", order_id="a\x7fb"), "control_character"),
        (raw(type="order.cancelled", order_id=None), "schema"),
        (raw(event_id=None), "schema"),
        (raw(event_id=1.5), "schema"),
        (raw(event_id="\ud83d"), "invalid_utf8"),
        (raw(market="P\ud83dK"), "schema"),
        (raw(currency="PK\ud83d"), "schema"),
        (raw(occurred_at="2026-11-24T10:0\udc80:00Z"), "schema"),
        (raw(type="order.cancelled", placed_at="2026-11-24T10:0\udc80:00Z"), "schema"),
        (raw(type="order.cancelled", placed_at=1795514045000), "schema"),
        (raw(type="order.refunded", placed_at=1795514045000), "schema"),
        (raw(currency=None), "schema"),
        (raw(market=5), "schema"),
        (raw(lines=None), "schema"),
        (raw(lines={}), "schema"),
        (b"\xff\xfe{\x00", "invalid_utf8"),
        (raw(occurred_at="yesterday"), "schema"),
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
        raw(lines=[ORDER["lines"][0]] * 2_000),
        b"\xef\xbb\xbf" + raw(),  # .NET and PowerShell begin with a byte order mark
        raw(sku=5),
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


BROKEN = [
    b'"x":"\xff"', b'"\xff":1', b'"x":"\\n\xff"', b'"x":"\\ud83d"', b'"x":"\\udc00 \\ud83d cut"',
    b'"seller_id":"\\ud83d"', b'"x":{"title":"cut \xf0\x9f"}',
]  # fmt: skip


@pytest.mark.parametrize("tail", BROKEN)
def test_broken_text_in_a_field_that_nobody_reads_costs_nothing(tail):
    # In such a field it once ended the worker, again and again; then it cost the whole order.
    assert used(read(with_tail(tail))) == used(read(raw()))


@pytest.mark.parametrize("label", [b'"boo\xffks"', b'"boo\\ud83dks"'])
def test_broken_text_in_a_label_is_an_unknown_member(label):
    event = read(with_tail(b'"region":' + label))
    assert type(event) is OrderEvent
    assert event.region.startswith("boo")


def used(event) -> tuple:
    """Everything of an order that anybody reads."""
    lines = [(line.category, line.quantity, line.unit_price_minor) for line in event.lines]
    rest = (event.payment_method, event.region, event.channel, event.shopper_id, event.new_shopper)
    return type(event), event.event_id, event.occurred_at, event.market, event.currency, lines, rest


def read(value: bytes | None):
    """The one event of a record; asserted equal alone and beside legal records."""
    (alone,) = decode_orders([value])
    assert decode_orders([raw(), value, raw()])[1] == alone
    return alone


def read_payment(**changes):
    (event,) = decode_payments([json.dumps({**PAYMENT, **changes}).encode()])
    return event


# -- what a real shop sends ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "number"),
    [
        ("1", 1), ("1.0", 1), ("1e3", 1000), ("1E+3", 1000), ("1500e-2", 15), ("1.5e1", 15),
        ("0.0", 0), ("-0", 0), ("0e999999999999", 0), ("-3", -3), ("1.000000", 1), ("12.50", None),
        ("1e-1", None), ("1e-999999999999", None), ("9007199254740993.0", 9007199254740993),
        ("9223372036854775807", 2**63 - 1), ("1e400", 10**20), ("-1e400", -(10**20)),
        ("1" + "0" * 5000, 10**20), ("1e999999999999", 10**20),
    ],
)  # fmt: skip
def test_an_integer_is_one_however_it_is_written(token, number):
    assert whole(token) == number


@pytest.mark.parametrize("quantity", ["1", "1.0", "1e0", "10e-1", "1.00"])
@pytest.mark.parametrize("price", ["1000", "1000.0", "1e3", "1.0E+3"])
def test_quantities_and_prices_are_exact_in_any_notation(quantity, price):
    value = raw().replace(b'"quantity": 1', f'"quantity": {quantity}'.encode())
    value = value.replace(b'"unit_price_minor": 1', f'"unit_price_minor": {price}'.encode())
    (line,) = read(value).lines
    assert (line.quantity, line.unit_price_minor) == (1, 1000)


@pytest.mark.parametrize(
    ("bad", "reason", "path"),
    [
        ({"quantity": 0}, "quantity", "quantity"),
        ({"quantity": -1}, "quantity", "quantity"),
        ({"quantity": 1.5}, "quantity", "quantity"),
        ({"quantity": "1"}, "quantity", "quantity"),
        ({"quantity": None}, "quantity", "quantity"),
        ({"quantity": True}, "quantity", "quantity"),
        ({"quantity": 2**63}, "quantity", "quantity"),
        ({"quantity": 2**63 - 1}, "quantity", "quantity"),
        ({"quantity": 10**13}, "quantity", "quantity"),  # 1 more unit stands before it
        ({"unit_price_minor": -500}, "negative_price", "unit_price_minor"),
        ({"unit_price_minor": 9.99}, "price", "unit_price_minor"),
        ({"unit_price_minor": "9.99"}, "price", "unit_price_minor"),
        ({"unit_price_minor": None}, "price", "unit_price_minor"),
        ({"unit_price_minor": 2**63}, "price", "unit_price_minor"),
        ({"unit_price_minor": 10**13}, "price", "unit_price_minor"),  # 1 minor unit before it
        ({"quantity": 10**7, "unit_price_minor": 10**6}, "price", "unit_price_minor"),
    ],
)
def test_one_line_that_cannot_be_counted_costs_itself_alone(bad, reason, path):
    good = ORDER["lines"][0]
    event = read(raw(lines=[good, {**good, **bad}, {**good, "unit_price_minor": 7}]))
    assert type(event) is IncompleteOrder
    assert [line.unit_price_minor for line in event.lines] == [1, 7]
    (found,) = event.parts.items()
    assert found[0] == reason
    assert reason in PART_REASONS
    assert found[1].lost == 1
    assert found[1].detail.endswith(f" - at `$.lines[1].{path}`")
    assert "9.99" not in found[1].detail or bad == {"unit_price_minor": 9.99}  # no text of a shop


@pytest.mark.parametrize("line", [None, 5, "x", [], [1]])
def test_a_line_that_is_no_object_costs_itself_alone(line):
    event = read(raw(lines=[line, *ORDER["lines"]]))
    assert len(event.lines) == 1
    assert event.parts.keys() == {"line"}


def test_an_order_whose_every_line_is_bad_counts_as_an_order_without_sales():
    event = read(raw(lines=[{**ORDER["lines"][0], "quantity": 0}] * 3))
    assert event.lines == []
    assert event.parts["quantity"].lost == 3


def test_a_quantity_beyond_any_float_costs_its_line():
    assert read(raw().replace(b'"quantity": 1', b'"quantity": 1e400')).parts["quantity"].lost == 1


@pytest.mark.parametrize("sku", [{}, {"sku": ""}, {"sku": None}, {"sku": 5}, {"sku": "s" * 200}])
@pytest.mark.parametrize("category", [{}, {"category": ""}, {"category": None}])
def test_what_is_not_used_need_not_be_there(sku, category):
    line = {"quantity": 2, "unit_price_minor": 3}
    event = read(raw(lines=[{**line, **sku, **category}]))
    assert type(event) is OrderEvent
    assert [(each.category, each.quantity) for each in event.lines] == [("", 2)]


def test_the_smallest_order_has_six_fields_and_the_smallest_payment_too():
    order = {name: value for name, value in ORDER.items() if name != "order_id"}
    order["lines"] = [{"quantity": 1, "unit_price_minor": 5}]
    event = read(json.dumps(order).encode())
    assert (type(event), event.order_id) == (OrderEvent, "")
    for name in order:
        assert reason(json.dumps({**order, name: None}).encode()) == "schema"
    payment = {name: PAYMENT[name] for name in PAYMENT if name not in ("order_id", "method")}
    (event,) = decode_payments([json.dumps(payment).encode()])
    assert (type(event), event.method, event.order_id) == (PaymentEvent, "", "")
    for name in payment:
        (event,) = decode_payments([json.dumps({**payment, name: None}).encode()])
        assert event.reason == "schema"
    failed = {**payment, "type": "payment.failed", "amount_minor": None}
    (event,) = decode_payments([json.dumps(failed).encode()])
    assert (type(event), event.amount_minor) == (PaymentEvent, 0)


@pytest.mark.parametrize("guest", ["", None])
def test_a_guest_has_no_shopper(guest):
    assert read(raw(shopper_id=guest)).shopper_id is None


def test_numbers_are_ids_as_their_digits():
    event = read(raw(event_id=12, order_id=34, shopper_id=56))
    assert (event.event_id, event.order_id, event.shopper_id) == ("12", "34", "56")
    assert type(event) is OrderEvent


@pytest.mark.parametrize(
    ("number", "text"),
    [("12.0", "12"), ("1.2e1", "12"), ("120e-1", "12"), ("-0", "0"), ("9" * 20 + ".0", "9" * 20)],
)
def test_an_id_that_is_a_whole_number_is_its_digits_however_it_is_written(number, text):
    value = raw(event_id="?", order_id="?", shopper_id="?").replace(b'"?"', number.encode())
    event = read(value)
    assert type(event) is OrderEvent
    assert (event.event_id, event.order_id, event.shopper_id) == (text, text, text)
    assert (
        validate(value, payments=False)[0].items() >= {"event_id": text, "order_id": text}.items()
    )


@pytest.mark.parametrize("number", ["12.5", "-1", "-1.0", "1e20", "1e999999999999"])
def test_an_id_that_is_no_whole_number_of_20_digits_is_refused(number):
    value = raw(event_id="?").replace(b'"?"', number.encode())
    assert read(value).reason == validate(value, payments=False)[1] == "schema"


UNREADABLE_TIMES = [
    1795514045000, 1795514045.5, "1795514045000", "2026-11-24", "2026-11-24T10:00:00",
    "yesterday, at noon", "2026-02-30T10:00:00Z", "2026-11-24T10:0\udc80:00Z", "24/11/2026 10:00:00 PKT",
    True, [], {"$date": 5},
]  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "part"),
    [
        ({"shopper_id": "x" * 129}, "shopper_id"),
        ({"shopper_id": "a\x7fb"}, "shopper_id"),
        ({"shopper_id": "\ud83d"}, "shopper_id"),
        ({"shopper_id": {"id": 5}}, "shopper_id"),
        ({"new_shopper": 1}, "new_shopper"),
        ({"new_shopper": "yes"}, "new_shopper"),
        ({"region": True}, "label"),
        ({"channel": ["web"]}, "label"),
        ({"payment_method": {}}, "label"),
        ({"order_id": "x" * 129}, "order_id"),
        ({"refund_id": "x" * 129}, "refund_id"),
        *(({"placed_at": placed_at}, "placed_at") for placed_at in UNREADABLE_TIMES),
    ],
)
def test_a_field_that_cannot_be_read_is_left_out_and_said(bad, part):
    event = read(raw(**bad))
    assert type(event) is IncompleteOrder
    assert event.parts.keys() == {part}
    assert f"`$.{next(iter(bad))}`" in event.parts[part].detail
    assert event.shopper_id is None
    assert event.new_shopper is None
    assert len(event.lines) == 1


def test_a_label_may_be_a_number():
    event = read(raw(region=17, lines=[{**ORDER["lines"][0], "category": 5}]))
    assert (type(event), event.region, event.lines[0].category) == (OrderEvent, "17", "5")
    event = read_payment(method=[1])
    assert (type(event), event.parts.keys()) == (IncompletePayment, {"label"})


@pytest.mark.parametrize(
    "value",
    [
        raw(type="order.updated"), raw(type="order.paid", lines=None, event_id=5), b'{"type":"x"}',
        raw(type=""), with_tail(b'"x":1,"x":2').replace(b"order.placed", b"order.shipped"),
        raw(type="payment.captured"),
    ],
)  # fmt: skip
def test_a_record_of_another_type_is_ignored_whatever_it_holds(value):
    assert read(value) is UNKNOWN_TYPE


def test_a_tombstone_is_ignored():
    assert read(None) is TOMBSTONE
    assert decode_payments([None]) == [TOMBSTONE]


@pytest.mark.parametrize(
    ("value", "placement"),
    [
        (raw(lines=None, order_id="o-1"), ("PK", "o-1")),
        (raw(event_id="", order_id=7), ("PK", "7")),
        (with_tail(b'"x":1,"x":2').replace(b"order_id", b"order_ie"), None),
        (raw(lines=None, order_id=""), None),
        (raw(lines=None, order_id="o-1", market=5), None),
        (raw(lines=None, order_id="o-1", type="order.cancelled"), None),
        (b"[]", None),
        (b"{", None),
    ],
)
def test_a_refusal_says_which_order_it_would_have_placed(value, placement):
    found = read(value)
    assert isinstance(found, Rejected)
    assert found.placement == placement


def test_a_refusal_names_the_path_and_no_text_of_the_shop():
    found = read(raw(event_id={"secret": "secret"}))
    detail = "expected an id of 1 to 128 bytes, found an object - at `$.event_id`"
    assert found[:2] == ("schema", detail)
    found = read(raw(occurred_at=1790000000))
    assert found.detail == "expected an instant in RFC 3339, found 1790000000 - at `$.occurred_at`"
    found = read(b"[]")
    assert found.detail == "expected an object, found an array - at `$`"


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


@pytest.mark.parametrize("end", [b"", b"\\", b'"', b'"]}'])
def test_a_text_that_was_cut_is_looked_through_once(end):
    # With an attempt at each escaped mark this took minutes, and nothing else ran meanwhile.
    within = b'\\"[' * 60_000
    assert module._depth(b'[{"' + within + end) == 2
    assert reason(b'{"type":"order.placed","raw":"' + within + end.rstrip(b"]")) == "invalid_json"


def test_instant_ms_is_the_parsers():
    assert module.instant_ms("1970-01-01T00:00:01Z") == 1000
    assert module.instant_ms("no") is None
