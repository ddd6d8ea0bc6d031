"""Events on their way out: the input contract's records, encoded as a producer sends them."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from streams.index.events import OrderEvent, PaymentEvent

Input = Literal["orders", "payments"]
"""The two inputs of the contract; what their topics are called is a setting."""

_encode = msgspec.json.Encoder().encode


class Outgoing(NamedTuple):
    """One record to send: ``key`` is the order id, ``timestamp_ms`` the record's own timestamp."""

    topic: Input
    key: bytes
    value: bytes
    timestamp_ms: int


class OrderRecord(OrderEvent, omit_defaults=True, gc=False):
    """An order event as it is written: what is not known is left out, not null."""


class PaymentRecord(PaymentEvent, omit_defaults=True, gc=False):
    """A payment event as it is written: what is not known is left out, not null."""


class _Head(msgspec.Struct, gc=False):
    type: str
    market: str


_decode_head = msgspec.json.Decoder(_Head).decode


def order_out(record: OrderRecord, timestamp_ms: int) -> Outgoing:
    """The order event, encoded."""
    return Outgoing("orders", record.order_id.encode(), _encode(record), timestamp_ms)


def payment_out(record: PaymentRecord, timestamp_ms: int) -> Outgoing:
    """The payment event, encoded."""
    return Outgoing("payments", record.order_id.encode(), _encode(record), timestamp_ms)


def head(outgoing: Outgoing) -> tuple[str, str]:
    """(type, market) of an encoded event, for counting what was really sent."""
    found = _decode_head(outgoing.value)
    return found.type, found.market
