"""Holds events against the contract as workers will, so that none that is accepted is a dead letter.

The decoders are the workers' own, and so are the words of each refusal. What is added here is the order
of the checks of `flow/fold_orders` and `flow/fold_payments`, as far as no state is needed.
tests/unit/door/test_event_checks.py holds the door and the fold equal.

Two refusals nobody can foresee: a sum of a day that would pass 63 bits, and what the methodology says
by the time the event is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from streams.flow.order_checks import placed_instant
from streams.flow.set_aside import ahead, placed, refused
from streams.index.event_types import (
    ORDER_TYPES,
    PAYMENT_TYPES,
    Ignored,
    IncompleteOrder,
    IncompletePayment,
    OrderEvent,
    Parts,
    PaymentEvent,
    Rejected,
)
from streams.index.events import decode_orders, decode_payments
from streams.index.formats import json_reader
from streams.index.instants import parse_instant
from streams.index.methodology import Market
from streams.sources.outgoing import Input, Outgoing

UNKNOWN_TYPE = Rejected(
    "unknown_type",
    f"expected one of {', '.join(ORDER_TYPES + PAYMENT_TYPES)}, found another type - at `$.type`",
)
"""Workers ignore other types; a sender of one is told."""
_AT = re.compile(r" - at `\$([^`]*)`$")
_PLACES = {
    "unknown_market": ".market",
    "wrong_currency": ".currency",
    "ahead": ".occurred_at",
    "placed_after_occurred": ".placed_at",
    "placed_at_missing": ".placed_at",
}


class Checked(NamedTuple):
    """An event that counts: its record, its market, and its parts that cannot be counted."""

    record: Outgoing
    market: str
    parts: Parts


class _TypeHead(msgspec.Struct):
    type: str = ""


_head = json_reader(_TypeHead)
_Decoded = OrderEvent | PaymentEvent | Rejected | Ignored


class EventChecks:
    """The contract, with the markets of one methodology."""

    def __init__(self, markets: Mapping[str, Market], ahead_ms: int) -> None:
        self._markets = markets
        self._ahead_ms = ahead_ms

    def check(self, values: Sequence[bytes | Rejected], now_ms: int) -> list[Checked | Rejected]:
        """What each event is. ``now_ms``: the instant at which they are taken to arrive."""
        found: list[Checked | Rejected] = [
            each if isinstance(each, Rejected) else UNKNOWN_TYPE for each in values
        ]
        for at, event in _decoded(values):
            value = values[at]
            assert isinstance(value, bytes)
            found[at] = self._checked(event, value, now_ms)
        return found

    def _checked(self, event: _Decoded, value: bytes, now_ms: int) -> Checked | Rejected:
        if isinstance(event, Ignored):
            return UNKNOWN_TYPE
        wrong = event if isinstance(event, Rejected) else self._wrong(event, now_ms)
        if wrong is not None:
            return wrong
        assert not isinstance(event, Rejected)
        # A copy must come to the partition of the first, where its id is known.
        key = (event.order_id or event.event_id).encode()
        topic: Input = "orders" if isinstance(event, OrderEvent) else "payments"
        parts = event.parts if isinstance(event, (IncompleteOrder, IncompletePayment)) else {}
        return Checked(Outgoing(topic, key, value, now_ms), event.market, parts)

    def _wrong(self, event: OrderEvent | PaymentEvent, now_ms: int) -> Rejected | None:
        """Why a worker would refuse a decoded event, in its order of the checks."""
        market = self._markets.get(event.market)
        occurred_ms = parse_instant(event.occurred_at)
        if market is None or occurred_ms is None or event.currency != market.currency:
            return refused(event, market, occurred_ms)
        if occurred_ms > now_ms + self._ahead_ms:
            return ahead(occurred_ms, now_ms)
        found: int | Rejected | None = None
        if isinstance(event, OrderEvent):
            found = placed_instant(event, occurred_ms, self._ahead_ms)
        elif event.placed_at is not None:
            found = placed(event.placed_at, occurred_ms, self._ahead_ms)
        return found if isinstance(found, Rejected) else None


def _decoded(values: Sequence[bytes | Rejected]) -> list[tuple[int, _Decoded]]:
    """Each event with its place, decoded many at a time as workers do."""
    payments: list[tuple[int, bytes]] = []
    others: list[tuple[int, bytes]] = []
    for at, value in enumerate(values):
        if isinstance(value, bytes):
            (payments if _type_of(value) in PAYMENT_TYPES else others).append((at, value))
    decoded: list[tuple[int, _Decoded]] = []
    for (at, value), order in zip(others, decode_orders([v for _, v in others]), strict=True):
        # A payment whose type only the careful reader finds, behind a byte order mark.
        decoded.append((at, decode_payments([value])[0] if isinstance(order, Ignored) else order))
    found = decode_payments([value for _, value in payments])
    decoded += zip((at for at, _ in payments), found, strict=True)
    return decoded


def _type_of(value: bytes) -> str:
    try:
        return _head(value).type
    except msgspec.DecodeError:
        return ""


def place_of(rejected: Rejected, root: str) -> tuple[str, str]:
    """(path of the field, detail without it). ``root``: where the event itself stands."""
    found = _AT.search(rejected.detail)
    if rejected.reason == "cloud_event":
        root = "$"
    if found is not None:
        return root + found[1], rejected.detail[: found.start()]
    if rejected.reason == "invalid_time":
        by = ".placed_at" if rejected.detail.startswith("placed_at") else ".occurred_at"
        return root + by, rejected.detail
    return root + _PLACES.get(rejected.reason, ""), rejected.detail
