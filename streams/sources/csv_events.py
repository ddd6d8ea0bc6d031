"""Generic CSV -> events. One file for each input; columns are named like the fields of the contract.

``orders.csv`` has one row for each line of an order. All rows of one event carry its ``event_id`` and
repeat its other columns; they may appear anywhere in the file. A row without ``quantity`` adds no line
(an order without lines is legal). ``payments.csv`` has one row for each payment. Times are RFC 3339 with
an offset, amounts are minor units, and ``new_shopper`` is true or false. Optional columns may be missing
and optional values empty. Other columns are ignored and named in the tally. A record whose content would
make it a dead letter is left out here and counted under the same reason; so is one of an unknown type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from streams.index.event_types import Ignored, IncompleteOrder, IncompletePayment, Rejected
from streams.index.events import decode_orders, decode_payments, instant_ms
from streams.sources.imports import Imported, Row, SourceError, Tally
from streams.sources.outgoing import Input, Outgoing

LINE_COLUMNS = ("quantity", "unit_price_minor")
LINE_OPTIONAL = ("sku", "category")
ORDER_COLUMNS = ("event_id", "type", "occurred_at", "market", "currency")
ORDER_OPTIONAL = (
    "order_id",
    "placed_at",
    "payment_method",
    "shopper_id",
    "new_shopper",
    "seller_id",
    "region",
    "channel",
    "refund_id",
)
PAYMENT_COLUMNS = (*ORDER_COLUMNS, "amount_minor")
PAYMENT_OPTIONAL = ("order_id", "placed_at", "method", "provider")

_INTEGERS = frozenset(("quantity", "unit_price_minor", "amount_minor"))
_DIGITS_MAX = 19  # decimal digits of the largest 64-bit integer
_BOOLEANS = {"true": True, "false": False}
_encode = msgspec.json.Encoder().encode


class _CsvEvent(NamedTuple):
    occurred_ms: int
    event_id: str
    market: str
    topic: Input
    key: bytes
    value: bytes


def csv_events(orders: Iterable[Row] | None, payments: Iterable[Row] | None) -> Imported:
    """Events of the rows of the two files, either of which may be absent.

    Raises SourceError when a required column is missing.
    """
    tally = Tally()
    events: list[_CsvEvent] = []
    if orders is not None:
        events += _checked("orders", _orders(orders, tally), tally)
    if payments is not None:
        events += _checked("payments", _payments(payments, tally), tally)
    events.sort(key=lambda event: event[:2])
    out = (Outgoing(e.topic, e.key, e.value, e.occurred_ms) for e in events)
    return Imported(len(events), out, tally, frozenset(event.market for event in events))


def _checked(topic: Input, records: Iterator[dict[str, Any]], tally: Tally) -> Iterator[_CsvEvent]:
    decode = decode_orders if topic == "orders" else decode_payments
    for record in records:
        value = _encode(record)
        (event,) = decode([value])
        if isinstance(event, (Rejected, Ignored)):
            tally.skipped[f"{topic}: {event.reason}"] += 1
            continue
        occurred_ms = instant_ms(event.occurred_at)
        if isinstance(event, (IncompleteOrder, IncompletePayment)):
            for reason, part in event.parts.items():
                tally.filled[f"{topic}: {reason} that cannot be counted"] += part.lost
        placed_ms = occurred_ms if event.placed_at is None else instant_ms(event.placed_at)
        if occurred_ms is None or placed_ms is None:
            tally.skipped[f"{topic}: invalid_time"] += 1
        else:
            key = event.order_id or event.event_id
            yield _CsvEvent(occurred_ms, event.event_id, event.market, topic, key.encode(), value)


def _orders(rows: Iterable[Row], tally: Tally) -> Iterator[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    conflicting: set[str] = set()
    allowed = (*ORDER_COLUMNS, *LINE_COLUMNS)
    for row in _rows("orders", rows, allowed, (*ORDER_OPTIONAL, *LINE_OPTIONAL), tally):
        head = _record(row, ORDER_COLUMNS, ORDER_OPTIONAL)
        event_id = row["event_id"]
        record = found.setdefault(event_id, head | {"lines": []})
        if {name: value for name, value in record.items() if name != "lines"} != head:
            conflicting.add(event_id)
        if row["quantity"]:
            record["lines"].append(_record(row, LINE_COLUMNS, LINE_OPTIONAL))
    for event_id, record in found.items():
        if event_id in conflicting:
            tally.skipped["orders: rows of one event differ"] += 1
        else:
            yield record


def _payments(rows: Iterable[Row], tally: Tally) -> Iterator[dict[str, Any]]:
    for row in _rows("payments", rows, PAYMENT_COLUMNS, PAYMENT_OPTIONAL, tally):
        yield _record(row, PAYMENT_COLUMNS, PAYMENT_OPTIONAL)


def _rows(
    table: str, rows: Iterable[Row], required: Iterable[str], optional: Iterable[str], tally: Tally
) -> Iterator[Row]:
    ignored: set[str] | None = None
    for row in rows:
        if ignored is None:
            missing = set(required) - row.keys()
            if missing:
                raise SourceError(f"{table}: expected columns {sorted(missing)}, found {[*row]}")
            ignored = row.keys() - {*required, *optional}
            tally.filled.update(f"{table}: column {name} ignored" for name in sorted(ignored))
        tally.read[table] += 1
        yield row


def _record(
    row: Mapping[str, str], required: Iterable[str], optional: Iterable[str]
) -> dict[str, Any]:
    """Fields as JSON values. A text that is not a number stays text, so that the contract refuses it."""
    record: dict[str, Any] = {name: _value(name, row[name]) for name in required}
    for name in optional:
        if row.get(name):
            record[name] = _value(name, row[name])
    return record


def _value(name: str, text: str) -> Any:
    if name in _INTEGERS and text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX:
        return int(text)
    if name == "new_shopper":
        return _BOOLEANS.get(text.casefold(), text)
    return text
