"""The input contract: which records are events, and the reason why any other is not."""

from __future__ import annotations

import json

SUM_MAX = 2**63 - 1
RECORD_BYTES_MAX, LINES_MAX, ID_BYTES_MAX, DEPTH_MAX = 256 * 1024, 500, 128, 64
ORDER_TYPES = ("order.placed", "order.cancelled", "order.refunded")
PAYMENT_TYPES = ("payment.captured", "payment.failed", "payment.refunded")


class _TwiceError(ValueError):
    pass


def _pairs(pairs: list) -> dict:
    if len({key for key, _ in pairs}) != len(pairs):
        raise _TwiceError
    return dict(pairs)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def validate(value: bytes | None, *, payments: bool) -> tuple[dict | None, str]:
    """Validate a record by the contract; return (event, "") or (None, reason)."""
    if not value:
        return None, "empty"
    if len(value) > RECORD_BYTES_MAX:
        return None, "too_large"
    if _too_deep(value):
        return None, "too_deep"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None, "invalid_utf8"
    twice = False
    try:
        event = json.loads(text, object_pairs_hook=_pairs, parse_constant=_refuse_constant)
    except _TwiceError:
        twice = True
        event = json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        return None, "invalid_json"
    reason = _check_schema(event, payments=payments)
    if reason:
        return None, reason
    reason = _check_ids(event, payments=payments)
    if reason:
        return None, reason
    return (None, "duplicate_key") if twice else (event, "")


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


def _check_schema(event: object, *, payments: bool) -> str:
    if not isinstance(event, dict):
        return "schema"
    types = PAYMENT_TYPES if payments else ORDER_TYPES
    # Fields are judged in the order of the record, as a streaming decoder meets them.
    for name, found in event.items():
        if name == "type":
            if found not in types:
                return "unknown_type"
        elif not _field_is_legal(name, found, payments=payments):
            return "schema"
    required = ["event_id", "type", "occurred_at", "market", "order_id", "currency"]
    required += ["method", "amount_minor"] if payments else ["lines"]
    return "" if all(name in event for name in required) else "schema"


def _field_is_legal(name: str, found: object, *, payments: bool) -> bool:
    if name in ("event_id", "order_id"):
        return _is_id(found)
    if name == "occurred_at":
        return _is_text(found, 17, 40)
    if name == "placed_at":
        return found is None or _is_text(found, 17, 40)
    if name in ("market", "currency"):
        return isinstance(found, str)
    if payments:
        if name == "method":
            return isinstance(found, str)
        if name == "provider":
            return found is None or isinstance(found, str)
        return name != "amount_minor" or _is_integer(found, 0)
    if name in ("shopper_id", "seller_id"):
        return found is None or _is_id(found)
    if name in ("payment_method", "region", "channel"):
        return found is None or isinstance(found, str)
    if name == "new_shopper":
        return found is None or isinstance(found, bool)
    if name == "lines":
        return isinstance(found, list) and len(found) <= LINES_MAX and all(map(_is_line, found))
    return True


def _is_line(line: object) -> bool:
    return (
        isinstance(line, dict)
        and _is_id(line.get("sku"))
        and isinstance(line.get("category"), str)
        and _is_integer(line.get("quantity"), 1)
        and _is_integer(line.get("unit_price_minor"), 0)
    )


def _is_text(found: object, shortest: int, longest: int) -> bool:
    return isinstance(found, str) and shortest <= len(found) <= longest


def _is_id(found: object) -> bool:
    return _is_text(found, 1, ID_BYTES_MAX)


def _is_integer(found: object, lowest: int) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and lowest <= found <= SUM_MAX


def _check_ids(event: dict, *, payments: bool) -> str:
    ids = [event["event_id"], event["order_id"]]
    if not payments:
        ids += [event.get("shopper_id"), event.get("seller_id")]
        ids += [line["sku"] for line in event["lines"]]
    for text in ids:
        if text is None:
            continue
        if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text):
            return "control_character"
        if len(text.encode()) > ID_BYTES_MAX:
            return "id_too_long"
    return ""
