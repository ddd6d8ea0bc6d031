"""Bytes of a record -> event or Rejected. Every limit of the input contract is checked here.

The common case must cost less than two microseconds. msgspec checks types and bounds in C. What msgspec
cannot check (duplicate keys, control characters) is excluded for a whole chunk by counting bytes. Only a
record that the count cannot clear is checked a second time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
import numpy as np

from streams.index.instants import parse_instant

RECORD_BYTES_MAX = 256 * 1024
LINES_MAX = 500
ID_BYTES_MAX = 128
SUM_MAX = 2**63 - 1
DETAIL_CHARACTERS_MAX = 300
_QUOTE = ord('"')
DEPTH_MAX = 64
"""Deepest nesting of a record, its own object included. It lies far below the interpreter's recursion
limit, which counts the caller's frames too: whether a record is legal must not depend on the caller."""
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_BYTES_MAX)]
_Instant = Annotated[str, msgspec.Meta(min_length=17, max_length=40)]
_Minor = Annotated[int, msgspec.Meta(ge=0, le=SUM_MAX)]
_Quantity = Annotated[int, msgspec.Meta(gt=0, le=SUM_MAX)]


class Line(msgspec.Struct, gc=False):
    """One line of an order. ``unit_price_minor`` is in minor units of the order's currency."""

    sku: _Id
    category: str
    quantity: _Quantity
    unit_price_minor: _Minor


class OrderEvent(msgspec.Struct, gc=False):
    """A decoded record of the orders topic. Times are still text."""

    event_id: _Id
    type: Literal["order.placed", "order.cancelled", "order.refunded"]
    occurred_at: _Instant
    market: str
    order_id: _Id
    currency: str
    lines: Annotated[list[Line], msgspec.Meta(max_length=LINES_MAX)]
    placed_at: _Instant | None = None
    payment_method: str | None = None
    shopper_id: _Id | None = None
    new_shopper: bool | None = None
    seller_id: _Id | None = None
    region: str | None = None
    channel: str | None = None


class PaymentEvent(msgspec.Struct, gc=False):
    """A decoded record of the payments topic. Times are still text."""

    event_id: _Id
    type: Literal["payment.captured", "payment.failed", "payment.refunded"]
    occurred_at: _Instant
    market: str
    order_id: _Id
    method: str
    amount_minor: _Minor
    currency: str
    placed_at: _Instant | None = None
    provider: str | None = None


class Rejected(NamedTuple):
    """Why a record is a dead letter: ``reason`` is one of REASONS, ``detail`` says what was found."""

    reason: str
    detail: str


REASONS = (
    "empty", "too_large", "invalid_utf8", "invalid_json", "duplicate_key", "too_deep", "schema",
    "unknown_type", "control_character", "id_too_long", "invalid_time", "unknown_market",
    "wrong_currency", "placed_after_occurred", "placed_at_missing", "overflow", "ahead",
    "pane_limit",
)  # fmt: skip
"""Every reason a dead letter can carry."""

_decode_order = msgspec.json.Decoder(OrderEvent).decode
_decode_payment = msgspec.json.Decoder(PaymentEvent).decode
_decode_any = msgspec.json.Decoder().decode


def decode_orders(values: Sequence[bytes | None]) -> list[OrderEvent | Rejected]:
    """Events of the order records, in order. A record that breaks the contract becomes a Rejected."""
    return _decode_all(values, _decode_order, _order_quotes, order_ids)


def decode_orders_unproven(
    values: Sequence[bytes | None],
) -> tuple[list[OrderEvent | Rejected], list[int] | None]:
    """Decode orders like ``decode_orders``, but do not prove that no key was given twice.

    The second part holds the number of quotation marks in each record. The caller has the event's fields
    at hand anyway and compares the number with what the event accounts for (``learn_shape``). The second
    part is None when every record is already checked.
    """
    try:
        joined = b"".join(values)  # type: ignore[arg-type]
        if not values or not _is_plain(joined):
            return decode_orders(values), None
        events: list[OrderEvent | Rejected] = list(map(_decode_order, values))  # type: ignore[arg-type]
    except (TypeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decode_orders(values), None  # one record is bad: decode one by one to find it
    sizes = np.fromiter(map(len, values), np.intp, len(values))  # type: ignore[arg-type]
    if int(sizes.max()) > RECORD_BYTES_MAX:
        return decode_orders(values), None
    marks = (np.frombuffer(joined, np.uint8) == _QUOTE).view(np.uint8)
    starts = np.cumsum(sizes) - sizes
    return events, np.add.reduceat(marks, starts, dtype=np.uint32).tolist()


def recheck_order(value: bytes | None) -> Rejected | None:
    """Check a record again whose event does not account for all its quotation marks.

    Such a record has an unknown field, an escape, or a key given twice. None when it is legal.
    """
    found = _decode_one(value, _decode_order, _order_quotes, order_ids)
    return found if isinstance(found, Rejected) else None


def decode_payments(values: Sequence[bytes | None]) -> list[PaymentEvent | Rejected]:
    """Events of the payment records, in order. A record that breaks the contract becomes a Rejected."""
    return _decode_all(values, _decode_payment, _payment_quotes, payment_ids)


SHAPES: Final[dict[tuple[Any, ...], int]] = {}
"""Profile of an order -> quotation marks in its JSON without its lines; see ``learn_shape``."""
_SHAPES_MAX = 50_000


def learn_shape(profile: tuple[Any, ...]) -> int:
    """Quotation marks in an order's JSON, without its lines, if it has only the keys that are decoded.

    Each key and each string value has two. (A line has four keys and two strings: 12.) More marks in the
    record mean a duplicate key, an unknown field or an escape; ``recheck_order`` says which.
    ``profile``: (payment_method, region, channel, new_shopper, and whether shopper_id, seller_id,
    placed_at are absent).
    """
    method, region, channel, new_shopper, *absent = profile
    strings = sum(label is not None for label in (method, region, channel)) + absent.count(False)
    quotes = 26 + 4 * strings + 2 * (new_shopper is not None)
    if len(SHAPES) >= _SHAPES_MAX:
        SHAPES.clear()
    SHAPES[profile] = quotes
    return quotes


def _order_quotes(event: OrderEvent) -> int:
    profile = (
        event.payment_method,
        event.region,
        event.channel,
        event.new_shopper,
        event.shopper_id is None,
        event.seller_id is None,
        event.placed_at is None,
    )
    return (SHAPES.get(profile) or learn_shape(profile)) + 12 * len(event.lines)


def _payment_quotes(event: PaymentEvent) -> int:
    return 30 + 4 * ((event.placed_at is not None) + (event.provider is not None))


def order_ids(event: OrderEvent) -> list[str | None]:
    """Every field of an order event that is an id by the contract."""
    return [
        event.event_id,
        event.order_id,
        event.shopper_id,
        event.seller_id,
        *(line.sku for line in event.lines),
    ]


def payment_ids(event: PaymentEvent) -> list[str | None]:
    """Every field of a payment event that is an id by the contract."""
    return [event.event_id, event.order_id]


def _decode_all(
    values: Sequence[bytes | None],
    decode: Callable[[bytes], Any],
    quotes_of: Callable[[Any], int],
    ids_of: Callable[[Any], list[str | None]],
) -> list[Any]:
    try:
        joined = b"".join(values)  # type: ignore[arg-type]
        if _is_plain(joined) and max(map(len, values), default=0) <= RECORD_BYTES_MAX:  # type: ignore[arg-type]
            events = list(map(decode, values))  # type: ignore[arg-type]
            if joined.count(b'"') == sum(map(quotes_of, events)):
                return events
    except (TypeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # one record is bad: decode one by one to find it
    return [_decode_one(value, decode, quotes_of, ids_of) for value in values]


def _is_plain(joined: bytes) -> bool:
    """True when no id can hold a control character or be longer in bytes than in characters."""
    return joined.isascii() and b"\\" not in joined and b"\x7f" not in joined


def _decode_one(  # noqa: PLR0911 - one return per reason
    value: bytes | None,
    decode: Callable[[bytes], Any],
    quotes_of: Callable[[Any], int],
    ids_of: Callable[[Any], list[str | None]],
) -> Any:
    if not value:
        return Rejected("empty", "expected a JSON object, found no value")
    if len(value) > RECORD_BYTES_MAX:
        return Rejected("too_large", f"{len(value)} bytes, at most {RECORD_BYTES_MAX}")
    if value.count(b"[") + value.count(b"{") > DEPTH_MAX and _depth(value) > DEPTH_MAX:
        return Rejected("too_deep", f"nested deeper than {DEPTH_MAX}")
    try:
        value.decode()  # the decoder validates only the fields that it keeps
        event = decode(value)
    except UnicodeDecodeError as error:
        return Rejected("invalid_utf8", f"{error.reason} at byte {error.start}")
    except msgspec.ValidationError as error:
        reason = "unknown_type" if "`$.type`" in str(error) else "schema"
        return Rejected(reason, str(error)[:DETAIL_CHARACTERS_MAX])
    except msgspec.DecodeError as error:
        return Rejected("invalid_json", str(error)[:DETAIL_CHARACTERS_MAX])
    if b"\\" in value or not value.isascii() or b"\x7f" in value:
        rejected = _check_ids(ids_of(event))
        if rejected is not None:
            return rejected
    if value.count(b'"') != quotes_of(event) and _has_duplicate_key(value):
        return Rejected("duplicate_key", "an object names one key twice")
    return event


def _depth(value: bytes) -> int:
    """How deep the brackets outside strings nest. For text that is not JSON, some upper bound."""
    depth = deepest = 0
    for character in _STRING.sub(b"", value):
        if character in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in b"]}":
            depth -= 1
    return deepest


def _check_ids(ids: list[str | None]) -> Rejected | None:
    for text in ids:
        if text is None:
            continue
        if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text):  # noqa: PLR2004
            return Rejected("control_character", "an id holds a control character")
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            return Rejected("invalid_utf8", "an id holds a lone surrogate")
        if size > ID_BYTES_MAX:
            return Rejected("id_too_long", f"an id of {size} bytes, at most {ID_BYTES_MAX}")
    return None


def _has_duplicate_key(value: bytes) -> bool:
    if b"\\" not in value:
        # Unknown fields are legal and common, so decode them generically and count again. Without
        # a backslash each quotation mark delimits a key or a string, and equal counts prove that no
        # key was given twice. This is five times cheaper than the hook below.
        try:
            if value.count(b'"') == 2 * _count_strings(_decode_any(value)):
                return False
        except msgspec.DecodeError:
            pass  # the number exceeds any float, in a field that nobody reads
    try:
        # Numbers stay text: a number of 5,000 digits is legal in a field that nobody reads.
        json.loads(value, object_pairs_hook=_refuse_duplicates, parse_int=str, parse_float=str)
    except _DuplicateKeyError:
        return True
    return False


def _count_strings(value: Any) -> int:
    if isinstance(value, str):
        return 1
    if isinstance(value, dict):
        return len(value) + sum(map(_count_strings, value.values()))
    if isinstance(value, list):
        return sum(map(_count_strings, value))
    return 0


class _DuplicateKeyError(Exception):
    pass


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DuplicateKeyError
    return found


def instant_ms(text: str) -> int | None:
    """UTC epoch ms of an RFC 3339 text; None when the text is not RFC 3339."""
    return parse_instant(text)
