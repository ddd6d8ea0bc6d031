"""Bytes of a record -> event, Rejected or Ignored, fast for the records that are as most are.

The common case must cost less than two microseconds. msgspec checks types and bounds in C. What msgspec
cannot check (duplicate keys, control characters) is excluded for a whole chunk by counting bytes. A
record that neither clears is read field by field (``event_fields``, where the contract is defined).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from streams.index.event_fields import read_order, read_payment
from streams.index.event_types import (
    EVENT_SUM_MAX,
    ID_BYTES_MAX,
    TOMBSTONE,
    Ignored,
    OrderEvent,
    PaymentEvent,
    Rejected,
)
from streams.index.instants import parse_instant

RECORD_BYTES_MAX = 256 * 1024
DEPTH_MAX = 64
"""Deepest nesting of a record, its own object included. It lies far below the interpreter's recursion
limit, which counts the caller's frames too: whether a record is legal must not depend on the caller."""
_PLACED_AT = b'"placed_at"'
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
"""A string, to its quotation mark or the end. One that was cut off matches too: else each escaped mark
within it begins another attempt, and a record of 200 KB held every worker for minutes."""

_decode_order = msgspec.json.Decoder(OrderEvent).decode
_decode_payment = msgspec.json.Decoder(PaymentEvent).decode
_decode_any = msgspec.json.Decoder().decode


def decode_orders(values: Sequence[bytes | None]) -> list[OrderEvent | Rejected | Ignored]:
    """Events of the order records, in order; Rejected or Ignored for a record that is none."""
    return _decode_all(values, _decode_order, _order_quotes, read_order)


def decode_payments(values: Sequence[bytes | None]) -> list[PaymentEvent | Rejected | Ignored]:
    """Events of the payment records, in order; Rejected or Ignored for a record that is none."""
    return _decode_all(values, _decode_payment, _payment_quotes, read_payment)


def _order_quotes(event: OrderEvent) -> int:
    """Quotation marks in an order's JSON if it has only the keys that are decoded.

    Each key and each text has two. (A line has four keys and two texts: 12.) More marks in the record
    mean a key given twice, an unknown field or an escape.
    """
    optional = (
        event.placed_at,
        event.payment_method,
        event.shopper_id,
        event.seller_id,
        event.region,
        event.channel,
        event.refund_id,
    )
    texts = len(optional) - optional.count(None)
    return 26 + 4 * texts + 2 * (event.new_shopper is not None) + 12 * len(event.lines)


def _payment_quotes(event: PaymentEvent) -> int:
    return 30 + 4 * ((event.placed_at is not None) + (event.provider is not None))


def _decode_all(
    values: Sequence[bytes | None],
    decode: Callable[[bytes], Any],
    quotes_of: Callable[[Any], int],
    read: Callable[[bytes], Any],
) -> list[Any]:
    try:
        joined = b"".join(values)  # type: ignore[arg-type]
        if _is_plain(joined) and max(map(len, values), default=0) <= RECORD_BYTES_MAX:  # type: ignore[arg-type]
            events = list(map(decode, values))  # type: ignore[arg-type]
            if joined.count(b'"') == sum(map(quotes_of, events)):
                return _without_parts(events, values, joined, read)
    except (TypeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # one record is bad: decode one by one to find it
    return [_decode_one(value, decode, quotes_of, read) for value in values]


def _without_parts(
    events: list[Any],
    values: Sequence[bytes | None],
    joined: bytes,
    read: Callable[[bytes], Any],
) -> list[Any]:
    """Events, each with an uncountable part that msgspec cannot see read again without that part.

    A cancel or refund without lines is read again too, and refused.
    """
    texts = {event.placed_at for event in events} if _PLACED_AT in joined else set()
    are_times = all(text is None or parse_instant(text) is not None for text in texts)
    if are_times and (read is read_payment or not any(map(_has_uncountable_lines, events))):
        return events
    return [
        read(value) if value is not None and _has_such_a_part(event) else event
        for event, value in zip(events, values, strict=True)
    ]


def _has_such_a_part(event: OrderEvent | PaymentEvent) -> bool:
    has_lines = isinstance(event, OrderEvent) and _has_uncountable_lines(event)
    return has_lines or _has_unreadable_time(event)


def _has_uncountable_lines(event: OrderEvent) -> bool:
    """Whether the lines are worth too much, or a cancel or refund has none."""
    units = sales = 0
    for line in event.lines:
        units += line.quantity
        sales += line.quantity * line.unit_price_minor
    if not units:
        return event.type != "order.placed"
    return units > EVENT_SUM_MAX or sales > EVENT_SUM_MAX


def _has_unreadable_time(event: OrderEvent | PaymentEvent) -> bool:
    if event.placed_at is None or event.type in ("order.cancelled", "order.refunded"):
        return False
    return parse_instant(event.placed_at) is None


def _is_plain(joined: bytes) -> bool:
    """True when no id can hold a control character or be longer in bytes than in characters."""
    return joined.isascii() and b"\\" not in joined and b"\x7f" not in joined


def _decode_one(
    value: bytes | None,
    decode: Callable[[bytes], Any],
    quotes_of: Callable[[Any], int],
    read: Callable[[bytes], Any],
) -> Any:
    if value is None:
        return TOMBSTONE
    refused = _unread(value)
    if refused is not None:
        return refused
    try:
        event = decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return read(value)
    has_ids = _is_plain(value) or all(map(_is_id, _ids(event)))
    once = value.count(b'"') == quotes_of(event) or _names_each_key_once(value)
    return event if has_ids and once and not _has_such_a_part(event) else read(value)


def _unread(value: bytes) -> Rejected | None:
    """Return why the bytes are refused before anything is read."""
    if not value:
        return Rejected("empty", "expected a JSON object, found no bytes")
    if len(value) > RECORD_BYTES_MAX:
        return Rejected("too_large", f"{len(value)} bytes, at most {RECORD_BYTES_MAX}")
    if value.count(b"[") + value.count(b"{") > DEPTH_MAX and _depth(value) > DEPTH_MAX:
        return Rejected("too_deep", f"nested deeper than {DEPTH_MAX}")
    return None


def _depth(value: bytes) -> int:
    """How deep the brackets outside strings nest, up to where a text stops being JSON."""
    depth = deepest = 0
    for character in _STRING.sub(b"", value):
        if character in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in b"]}":
            depth -= 1
    return deepest


def _ids(event: Any) -> tuple[str | None, ...]:
    if isinstance(event, OrderEvent):
        return event.event_id, event.order_id, event.shopper_id, event.refund_id
    return event.event_id, event.order_id


def _is_id(text: str | None) -> bool:
    """Whether the text of an id has no control character and is short enough in bytes too."""
    if text is None:
        return True
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text):  # noqa: PLR2004
        return False
    return len(text.encode()) <= ID_BYTES_MAX


def _names_each_key_once(value: bytes) -> bool:
    """Whether no object names a key twice; False when counting cannot tell.

    Unknown fields are legal and common, so decode them generically and count again. Without a backslash
    each quotation mark delimits a key or a string, and equal counts prove that no key was given twice.
    """
    if b"\\" in value:
        return False
    try:
        return value.count(b'"') == 2 * _count_strings(_decode_any(value))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False  # a number beyond any float, or broken text, in a field that nobody reads


def _count_strings(value: Any) -> int:
    if isinstance(value, str):
        return 1
    if isinstance(value, dict):
        return len(value) + sum(map(_count_strings, value.values()))
    if isinstance(value, list):
        return sum(map(_count_strings, value))
    return 0


def instant_ms(text: str) -> int | None:
    """UTC epoch ms of an RFC 3339 text; None when the text is not RFC 3339."""
    return parse_instant(text)
