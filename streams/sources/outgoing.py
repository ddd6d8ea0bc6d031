"""Records of the input contract, encoded as a producer sends them."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from streams.index.event_types import OrderEvent, PaymentEvent
from streams.index.formats import json_reader

Input = Literal["orders", "payments"]
"""The two inputs of the contract. The names of their topics are a setting."""

_encode = msgspec.json.Encoder().encode


class Outgoing(NamedTuple):
    """One record to send. ``key``: the order id. ``timestamp_ms``: the record's own timestamp."""

    topic: Input
    key: bytes
    value: bytes
    timestamp_ms: int


class OrderRecord(OrderEvent, omit_defaults=True, gc=False):
    """An order event as a producer writes it: an unknown field is left out, not null."""


class PaymentRecord(PaymentEvent, omit_defaults=True, gc=False):
    """A payment event as a producer writes it: an unknown field is left out, not null."""


class _Head(msgspec.Struct, gc=False):
    type: str
    market: str


_decode_head = json_reader(_Head)


def order_out(record: OrderRecord, timestamp_ms: int) -> Outgoing:
    """Record of an order event, encoded."""
    return Outgoing("orders", record.order_id.encode(), _encode(record), timestamp_ms)


def payment_out(record: PaymentRecord, timestamp_ms: int) -> Outgoing:
    """Record of a payment event, encoded."""
    return Outgoing("payments", record.order_id.encode(), _encode(record), timestamp_ms)


def head(outgoing: Outgoing) -> tuple[str, str]:
    """(type, market) of an encoded event, to count what was really sent."""
    found = _decode_head(outgoing.value)
    return found.type, found.market
