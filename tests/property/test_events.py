"""The fast decoder, the reader of fields and the reference take the same from any record."""

import json

from hypothesis import given
from hypothesis import strategies as st

from streams.index.event_fields import read_order, read_payment
from streams.index.event_types import Ignored, Line, Rejected
from streams.index.events import decode_orders, decode_payments
from tests.support.draws import examples
from tests.support.reference.contract import validate

GOOD = {
    "event_id": "e1",
    "type": "order.placed",
    "occurred_at": "2026-11-24T09:54:05Z",
    "market": "PK",
    "order_id": "o1",
    "currency": "PKR",
    "placed_at": "2026-11-24T09:54:05Z",
    "payment_method": "cod",
    "shopper_id": "s",
    "new_shopper": True,
    "seller_id": "x",
    "region": "punjab",
    "channel": "web",
    "lines": [{"sku": "s", "category": "c", "quantity": 1, "unit_price_minor": 1}],
    "method": "cod",
    "provider": "p",
    "amount_minor": 5,
}
TOKENS = (
    "10000000000000", "1e13", "10000000000001", "5000000000001",
    "0", "-0", "1", "1.0", "1.5", "1e3", "10e-1", "-1", "-1.0", "1e400", "1e-400", "9223372036854775807",
    "9223372036854775808", "9223372036854775807.0", "1" + "0" * 40, "0.0e99999999999", "null", "true",
    '""', '"x"', '"1"', '"\\ud83d"', '"a\\n"', '"চাল"', '"' + "é" * 65 + '"', "[]", "{}", "[1]",
    '{"a":1,"a":2}', '"order.updated"', '"order.cancelled"', '"payment.failed"',
    '"2026-11-24T09:54:05Z"', "1795514045000", '"1795514045000"', '"2026-11-24 at about noon"',
    '"2026-02-30T09:54:05Z"', '"2026-11-24T09:54:05"', '"2026-11-24T09:54:05.000+05:00"',
    '"2026-11-24T09:54:0\\udc80Z"',
)  # fmt: skip


@st.composite
def records(draw) -> bytes:
    event = {name: json.dumps(value) for name, value in GOOD.items()}
    for name in draw(st.lists(st.sampled_from([*GOOD, "note"]), max_size=3)):
        if draw(st.booleans()):
            event.pop(name, None)
        else:
            event[name] = draw(st.sampled_from(TOKENS))
    lines = []
    for _ in range(draw(st.integers(0, 3))):
        line = {name: json.dumps(value) for name, value in GOOD["lines"][0].items()}
        for name in draw(st.lists(st.sampled_from([*line, "note"]), max_size=2)):
            line[name] = draw(st.sampled_from(TOKENS))
        lines.append("{" + ",".join(f'"{name}":{token}' for name, token in line.items()) + "}")
    if "lines" in event and event["lines"].startswith("[{"):
        event["lines"] = (
            "[" + ",".join([*lines, *draw(st.sampled_from([[], ["5"], ["null"]]))]) + "]"
        )
    if draw(st.booleans()):
        event["type"] = '"payment.captured"'
    pairs = [f'"{name}":{token}' for name, token in event.items()]
    if draw(st.integers(0, 9)) == 0:
        pairs.append(draw(st.sampled_from(pairs)))
    value = ("{" + ",".join(pairs) + "}").encode()
    return draw(
        st.sampled_from(
            [value, value, value, b"\xef\xbb\xbf" + value, value.replace(b"x", b"\xff")]
        )
    )


def as_dict(event, *, payments: bool) -> dict:
    """The event's fields that anybody reads."""
    if payments:
        names = ["event_id", "type", "occurred_at", "market", "currency", "placed_at", "method"]
        found = {name: getattr(event, name) or None for name in names}
        return found | {"amount_minor": event.amount_minor}
    names = ["event_id", "type", "occurred_at", "market", "currency", "placed_at", "payment_method"]
    names += ["shopper_id", "region", "channel"]
    found = {name: getattr(event, name) or None for name in names}
    found["new_shopper"] = event.new_shopper
    found["lines"] = [(each.category, each.quantity, each.unit_price_minor) for each in event.lines]
    return found


def by_reference(event: dict, *, payments: bool) -> dict:
    found = {name: event.get(name) or None for name in event}
    if payments:
        wanted = as_dict(_Fields(found | {"amount_minor": event["amount_minor"]}), payments=True)
        if event["type"] == "payment.failed":
            wanted["amount_minor"] = event["amount_minor"]
        return wanted
    found["new_shopper"] = event["new_shopper"]
    found["lines"] = [
        Line("", each["category"] or "", each["quantity"], each["unit_price_minor"])
        for each in event["lines"]
    ]
    return as_dict(_Fields(found), payments=False)


class _Fields:
    def __init__(self, fields: dict) -> None:
        self._fields = fields

    def __getattr__(self, name: str):
        return self._fields.get(name)


def unreadable_labels_alike(found: dict) -> dict:
    """The reader and the reference have each their own text for a label that is none."""
    for name in ("payment_method", "region", "channel", "method"):
        if found.get(name) in ("?", "no label at all"):
            found[name] = "?"
    found["lines"] = [
        ("?" if category in ("?", "no label at all") else category, *rest)
        for category, *rest in found.get("lines", ())
    ]
    return found


@examples(400)
@given(records(), st.booleans())
def test_every_way_to_read_a_record_finds_the_same(value, payments):
    decode, read = (decode_payments, read_payment) if payments else (decode_orders, read_order)
    (fast,) = decode([value])
    careful = read(value)
    event, reason = validate(value, payments=payments)
    if isinstance(careful, Ignored):
        assert fast == careful
        assert reason == "ignored"
    elif isinstance(careful, Rejected):
        assert fast == careful
        assert reason == careful.reason
    else:
        assert type(fast) is type(careful)
        assert as_dict(fast, payments=payments) == as_dict(careful, payments=payments)
        expected = unreadable_labels_alike(by_reference(event, payments=payments))
        assert unreadable_labels_alike(as_dict(careful, payments=payments)) == expected
