"""The input contract: which records are events, what of them counts, and why any other is not one."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from fractions import Fraction

from .rules import to_ms

SUM_MAX = 2**63 - 1
EVENT_MAX = 10_000_000_000_000
RECORD_BYTES_MAX, ID_BYTES_MAX, DEPTH_MAX = 256 * 1024, 128, 64
ORDER_TYPES = ("order.placed", "order.cancelled", "order.refunded")
PAYMENT_TYPES = (
    "payment.captured", "payment.failed", "payment.refunded", "payment.refund_failed",
    "payment.disputed", "payment.reversed",
)  # fmt: skip
CORRECTIONS = ("order.cancelled", "order.refunded")
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
HUGE = 10**30


class _Twice(dict):
    """An object that names a key twice."""


def _pairs(pairs: list) -> dict:
    return dict(pairs) if len({key for key, _ in pairs}) == len(pairs) else _Twice(pairs)


def _is_twice(found: object) -> bool:
    if isinstance(found, dict):
        return isinstance(found, _Twice) or any(map(_is_twice, found.values()))
    return isinstance(found, list) and any(map(_is_twice, found))


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _number(token: str) -> int | Fraction:
    """The number of a JSON token, exact; what is beyond 30 digits is only large."""
    mantissa, _, exponent = token.lower().partition("e")
    if not mantissa.strip("-0."):
        return 0
    if abs(int(exponent or 0)) > 400_000:
        return HUGE if int(exponent) > 0 else Fraction(1, HUGE)
    number = Decimal(mantissa).as_tuple()
    power = int(number.exponent) + int(exponent or 0)
    size = len(number.digits) + power
    if size > 30:
        return -HUGE if number.sign else HUGE
    if size < -30:
        return Fraction(1, HUGE)
    found = Fraction(int("".join(map(str, number.digits)) or 0)) * Fraction(10) ** power
    return -found if number.sign else found


class _Token(str):
    __slots__ = ()


def validate(value: bytes | None, *, payments: bool) -> tuple[dict | None, str]:
    """Validate a record by the contract; return (event, "") or (None, reason)."""
    if value is None:
        return None, "ignored"
    if not value:
        return None, "empty"
    if len(value) > RECORD_BYTES_MAX:
        return None, "too_large"
    if _too_deep(value):
        return None, "too_deep"
    try:
        event = _parsed(value)
    except ValueError:
        try:
            value.decode()
        except UnicodeDecodeError:
            return None, "invalid_utf8"
        return None, "invalid_json"
    if not isinstance(event, dict) or not _is_text(event.get("type")):
        return None, "schema"
    if event["type"] not in (PAYMENT_TYPES if payments else ORDER_TYPES):
        return None, "ignored"
    if _is_twice(event):
        return None, "duplicate_key"
    reason = _check(event, payments=payments)
    return (None, reason) if reason else (_readable(event, payments=payments), "")


def _parsed(value: bytes) -> object:
    event = json.loads(
        value.decode(errors="surrogateescape").removeprefix("\ufeff"),
        object_pairs_hook=_pairs,
        parse_constant=_refuse_constant,
        parse_int=_Token,
        parse_float=_Token,
    )
    for name in ("event_id", "order_id", "shopper_id", "seller_id", "refund_id"):
        found = event.get(name) if isinstance(event, dict) else None
        if isinstance(found, _Token) and not found.isdigit():
            number = _number(found)
            if number.denominator == 1 and 0 <= number < 10**20:
                event[name] = _Token(number)
    return event


def placement_of(value: bytes | None) -> tuple[str, str] | None:
    """(market, order id) of a record that would place an order, as far as it can be read."""
    if not value or len(value) > RECORD_BYTES_MAX or _too_deep(value):
        return None
    try:
        event = _parsed(value)
    except ValueError:
        return None
    if not isinstance(event, dict) or event.get("type") != "order.placed":
        return None
    market, order_id = event.get("market"), event.get("order_id")
    if type(market) is not str or id_fault(order_id):
        return None
    return market, str(order_id)


def _is_text(found: object, shortest: int = 0, longest: int = 10**9) -> bool:
    return type(found) is str and shortest <= len(found) <= longest


def _is_whole(found: object) -> bool:
    """Whether it is a text of which no character was cut: one without lone surrogates."""
    return _is_text(found) and not any(0xD800 <= ord(each) <= 0xDFFF for each in found)


def _check(event: dict, *, payments: bool) -> str:
    """Return why the event is refused, or an empty text."""
    reason = id_fault(event.get("event_id"))
    if reason:
        return reason
    if not _is_text(event.get("occurred_at"), 17, 40) or not _is_whole(event.get("market")):
        return "schema"
    if event["type"] in CORRECTIONS:
        reason = id_fault(event.get("order_id"))
        if reason:
            return reason
    if not _is_whole(event.get("currency")):
        return "schema"
    placed = event.get("placed_at")
    if event["type"] in CORRECTIONS and placed not in (None, "") and not _is_text(placed, 17, 40):
        return "schema"
    if not payments:
        lines = event.get("lines")
        empty = lines == [] and event["type"] in CORRECTIONS
        return "" if isinstance(lines, list) and not empty else "schema"
    amount = _integer(event.get("amount_minor"))
    return "schema" if amount is None and event["type"] != "payment.failed" else ""


def id_fault(found: object) -> str:
    if isinstance(found, _Token) and found.isdigit():
        found = str(found)
    if not _is_text(found, 1, ID_BYTES_MAX):
        return "schema"
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in found):
        return "control_character"
    if any(0xD800 <= ord(character) < 0xE000 for character in found):
        return "invalid_utf8"
    return "id_too_long" if len(found.encode()) > ID_BYTES_MAX else ""


def _integer(found: object, lowest: int = 0) -> int | None:
    if not isinstance(found, _Token):
        return None
    number = _number(found)
    if number.denominator != 1 or not lowest <= number <= EVENT_MAX:
        return None
    return int(number)


def _placed_at(event: dict) -> str | None:
    """The text of placed_at; None where it may be left out, and is no time."""
    found = event.get("placed_at") or None
    if event["type"] in CORRECTIONS or found is None:
        return found
    if not _is_text(found, 17, 40) or not RFC_3339.fullmatch(found):
        return None
    try:
        to_ms(found.upper())
    except ValueError:
        return None
    return found


def _label(found: object) -> str | None:
    if found is None:
        return None
    return str(found) if isinstance(found, str) else "no label at all"


def _readable(event: dict, *, payments: bool) -> dict:
    """The fields that count, without the parts that cannot be counted."""
    found = dict(event)
    found["event_id"] = str(event["event_id"])
    found["placed_at"] = _placed_at(event)
    if payments:
        found["method"] = _label(event.get("method"))
        found["amount_minor"] = _integer(event.get("amount_minor")) or 0
        return found
    for name in ("payment_method", "region", "channel"):
        found[name] = _label(event.get(name))
    shopper = event.get("shopper_id")
    found["shopper_id"] = None if id_fault(shopper) else str(shopper)
    refund = event.get("refund_id")
    found["refund_id"] = None if id_fault(refund) else str(refund)
    new = event.get("new_shopper")
    found["new_shopper"] = new if isinstance(new, bool) else None
    found["lines"] = []
    units = sales = 0
    for line in event["lines"]:
        if not isinstance(line, dict):
            continue
        quantity = _integer(line.get("quantity"), 1)
        price = _integer(line.get("unit_price_minor"))
        if quantity is None or price is None:
            continue
        if max(units + quantity, sales + quantity * price) <= EVENT_MAX:
            units, sales = units + quantity, sales + quantity * price
            sku = line.get("sku")
            counted = {"quantity": quantity, "unit_price_minor": price}
            counted["category"] = _label(line.get("category"))
            counted["sku"] = str(sku) if isinstance(sku, str) else ""
            found["lines"].append(counted)
    return found


def _too_deep(value: bytes) -> bool:
    if value.count(b"[") + value.count(b"{") <= DEPTH_MAX:
        return False
    depth, in_string, escaped = 0, False, False
    for character in value:
        if in_string:
            if escaped:
                escaped = False
            elif character == ord("\\"):
                escaped = True
            elif character == ord('"'):
                in_string = False
        elif character == ord('"'):
            in_string = True
        elif character in b"[{":
            depth += 1
            if depth > DEPTH_MAX:
                return True
        elif character in b"]}":
            depth -= 1
    return False
