"""Reads an event field by field, and keeps of it what can be counted.

This is the definition of the input contract. The fast decoder (``events``) takes the records that are
exactly as the contract advises. All others come here: numbers written ``1.0`` or ``1e3``, ids that are
numbers, a line that cannot be counted beside others that can, broken text in a field that nobody reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from streams.index.event_types import (
    EVENT_SUM_MAX,
    ID_BYTES_MAX,
    LINE,
    NEGATIVE_PRICE,
    ORDER_TYPES,
    PAYMENT_TYPES,
    PRICE,
    QUANTITY,
    UNKNOWN_TYPE,
    Ignored,
    IncompleteOrder,
    IncompletePayment,
    Line,
    OrderEvent,
    Part,
    Parts,
    PaymentEvent,
    Placement,
    Rejected,
)
from streams.index.instants import parse_instant

DETAIL_CHARACTERS_MAX = 300
_BOM = "\ufeff"
_NUMBER = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?")
_EXPONENT_DIGITS_MAX = 9
_DIGITS_MAX = 20
"""Digits of a number that surely exceeds 63 bits."""
_TOO_LARGE: int = 10**_DIGITS_MAX
_TOKEN_SHOWN = 24
_UNREADABLE_LABEL = "?"
"""A label that names no member: it counts as `other`, and as unknown."""
_INSTANT_LENGTH = range(17, 41)


class _Number(str):
    """The text of a JSON number, so that nothing is rounded, and no number is too long to read."""

    __slots__ = ()


class _RefusedError(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        self.rejected = Rejected(reason, detail[:DETAIL_CHARACTERS_MAX])


_T = TypeVar("_T", OrderEvent, PaymentEvent)


def read_order(value: bytes) -> OrderEvent | Rejected | Ignored:
    """Read a record of the orders topic."""
    return _read(value, ORDER_TYPES, _order)


def read_payment(value: bytes) -> PaymentEvent | Rejected | Ignored:
    """Read a record of the payments topic."""
    return _read(value, PAYMENT_TYPES, _payment)


def _read(
    value: bytes, types: tuple[str, ...], build: Callable[[dict[str, Any]], _T]
) -> _T | Rejected | Ignored:
    tree = None
    try:
        tree, twice = _parse(value)
        if not isinstance(tree, dict):
            _refuse("schema", "an object", tree, "$")
        kind = tree.get("type")
        if type(kind) is not str:
            _refuse("schema", "text", _found(tree, "type"), "$.type")
        if kind not in types:
            return UNKNOWN_TYPE
        if twice:
            twice_named = Rejected("duplicate_key", "an object names one key twice")
            return twice_named._replace(placement=_placement(tree))
        return build(tree)
    except _RefusedError as refused:
        return refused.rejected._replace(placement=_placement(tree))


def _placement(tree: Any) -> Placement | None:
    """Return which order a refused record would have placed."""
    if not isinstance(tree, dict) or tree.get("type") != "order.placed":
        return None
    market = tree.get("market")
    try:
        order_id = _id(tree.get("order_id"), "$.order_id")
    except _RefusedError:
        return None
    return Placement(market, order_id) if type(market) is str else None


# -- JSON ------------------------------------------------------------------------------------------


class _Pairs:
    """Builds objects, and notes whether any named a key twice."""

    def __init__(self) -> None:
        self.twice = False

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            self.twice = True
        return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _parse(value: bytes) -> tuple[Any, bool]:
    """Return the JSON value, and whether an object in it names a key twice.

    Bytes that are not UTF-8 become lone surrogates, as the escapes of unpaired ones do. The fields that
    are read are checked for them; a title that was cut in the middle of a letter costs nothing.
    """
    pairs = _Pairs()
    try:
        text = value.decode(errors="surrogateescape").removeprefix(_BOM)
        tree = json.loads(
            text,
            object_pairs_hook=pairs,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_no_constant,
        )
    except ValueError as error:
        try:
            value.decode()
        except UnicodeDecodeError as broken:
            raise _RefusedError(
                "invalid_utf8", f"{broken.reason} at byte {broken.start}"
            ) from broken
        raise _RefusedError("invalid_json", str(error)) from error
    return tree, pairs.twice


class _Absent:
    """Stands for a field that is not there."""


def _found(tree: dict[str, Any], name: str) -> Any:
    return tree.get(name, _Absent)


def _shown(found: Any) -> str:
    """What was found, without any of a shop's texts."""
    if found is _Absent:
        return "nothing"
    if isinstance(found, _Number):
        return found[:_TOKEN_SHOWN]
    if found is None or isinstance(found, bool):
        return json.dumps(found)
    if isinstance(found, str):
        return "text"
    return "an array" if isinstance(found, list) else "an object"


def _expected(what: str, found: Any, path: str) -> str:
    return f"expected {what}, found {_shown(found)} - at `{path}`"


def _refuse(reason: str, what: str, found: Any, path: str) -> NoReturn:
    raise _RefusedError(reason, _expected(what, found, path))


# -- numbers and texts -----------------------------------------------------------------------------


def whole(token: str) -> int | None:
    """Return the integer that a JSON number is; None when it has a fractional part.

    JSON and JSON Schema know one kind of number: 1, 1.0 and 10e-1 are the same integer. One of more than
    20 digits comes back as 10**20, or its negative: nothing here is that large.
    """
    matched = _NUMBER.fullmatch(token)
    assert matched is not None, "the JSON parser read it"
    sign, ahead, behind, exponent = matched.groups("")
    digits = (ahead + behind).lstrip("0")
    if not digits:
        return 0
    shift = -len(behind)
    if exponent:
        power = exponent.lstrip("+-").lstrip("0")
        size = int(power or 0) if len(power) <= _EXPONENT_DIGITS_MAX else 10**_EXPONENT_DIGITS_MAX
        shift += -size if exponent.startswith("-") else size
    significant = digits.rstrip("0")
    shift += len(digits) - len(significant)
    if shift < 0:
        return None
    number = _TOO_LARGE
    if len(significant) + shift <= _DIGITS_MAX:
        number = int(significant + "0" * shift)
    return -number if sign else number


def _integer(found: Any) -> int | None:
    return whole(found) if isinstance(found, _Number) else None


def _id(found: Any, path: str) -> str:
    """Return an id; a whole number is one too, as the text of its digits."""
    text = str(found) if isinstance(found, str) else ""
    if isinstance(found, _Number) and not found.isdigit():
        number = whole(found)
        text = "" if number is None or not 0 <= number < _TOO_LARGE else str(number)
    if not 1 <= len(text) <= ID_BYTES_MAX:
        _refuse("schema", f"an id of 1 to {ID_BYTES_MAX} bytes", found, path)
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text):  # noqa: PLR2004
        raise _RefusedError("control_character", f"an id holds a control character - at `{path}`")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _RefusedError("invalid_utf8", f"an id is no valid text - at `{path}`") from None
    if size > ID_BYTES_MAX:
        detail = f"an id of {size} bytes, at most {ID_BYTES_MAX} - at `{path}`"
        raise _RefusedError("id_too_long", detail)
    return text


def _text(tree: dict[str, Any], name: str) -> str:
    found = _found(tree, name)
    if type(found) is not str or not _is_whole(found):
        _refuse("schema", "text", found, f"$.{name}")
    return str(found)


def _is_whole(text: str) -> bool:
    """Whether a text can be written as UTF-8: none of its letters was cut."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _instant(tree: dict[str, Any], name: str) -> str:
    found = _found(tree, name)
    # Broken text would end the worker: the parser of instants encodes what it gets.
    if type(found) is not str or len(found) not in _INSTANT_LENGTH or not found.isascii():
        _refuse("schema", "an instant in RFC 3339", found, f"$.{name}")
    return str(found)


class _Reading:
    """Fields that are read where they can be, and the parts that cannot be counted."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self._tree = tree
        self.parts: Parts = {}
        self.units_left = self.sales_left = EVENT_SUM_MAX

    def lose(self, reason: str, detail: str) -> None:
        """Note a part that cannot be counted."""
        lost, first = self.parts.get(reason, (0, detail))
        self.parts[reason] = Part(lost + 1, first[:DETAIL_CHARACTERS_MAX])

    def id(self, name: str) -> str | None:
        """Return an id that may be absent, null or empty."""
        found = self._tree.get(name)
        if found is None or (type(found) is str and not found):
            return None
        try:
            return _id(found, f"$.{name}")
        except _RefusedError as refused:
            self.lose(name, refused.rejected.detail)
            return None

    def label(self, found: Any, path: str) -> str | None:
        """Return a label that may be absent, null or empty; a number is the text of its digits."""
        if found is None or isinstance(found, str):
            return None if found is None else str(found)
        self.lose("label", _expected("text", found, path))
        return _UNREADABLE_LABEL

    def optional_label(self, name: str) -> str | None:
        """Return the label in a field of the event."""
        return self.label(self._tree.get(name), f"$.{name}")

    def flag(self, name: str) -> bool | None:
        """Return a truth value that may be absent or null."""
        found = self._tree.get(name)
        if found is None or isinstance(found, bool):
            return found
        self.lose(name, _expected("true or false", found, f"$.{name}"))
        return None

    def placed_at(self, *, required: bool) -> str | None:
        """Return when the order was placed, if the event says so.

        Where it is required, an unreadable one refuses the event: no other field says the day. Text that
        is no time is then refused by the fold, with its own reason.
        """
        found = self._tree.get("placed_at")
        if found in (None, ""):
            return None
        if required:
            return _instant(self._tree, "placed_at")
        try:
            text = _instant(self._tree, "placed_at")
        except _RefusedError as refused:
            self.lose("placed_at", refused.rejected.detail)
            return None
        if parse_instant(text) is None:
            self.lose("placed_at", _expected("an instant in RFC 3339", found, "$.placed_at"))
            return None
        return text


# -- events ----------------------------------------------------------------------------------------


def _order(tree: dict[str, Any]) -> OrderEvent:
    kept = _Reading(tree)
    kind = tree["type"]
    fields: dict[str, Any] = {
        "event_id": _id(_found(tree, "event_id"), "$.event_id"),
        "type": kind,
        "occurred_at": _instant(tree, "occurred_at"),
        "market": _text(tree, "market"),
        "order_id": _order_id(tree, kept, required=kind != "order.placed"),
        "currency": _text(tree, "currency"),
        "placed_at": kept.placed_at(required=kind != "order.placed"),
        "lines": _lines(tree, kept, required=kind != "order.placed"),
        "payment_method": kept.optional_label("payment_method"),
        "shopper_id": kept.id("shopper_id"),
        "new_shopper": kept.flag("new_shopper"),
        "region": kept.optional_label("region"),
        "channel": kept.optional_label("channel"),
        "refund_id": kept.id("refund_id"),
    }
    return IncompleteOrder(**fields, parts=kept.parts) if kept.parts else OrderEvent(**fields)


def _order_id(tree: dict[str, Any], kept: _Reading, *, required: bool) -> str:
    if required:
        return _id(_found(tree, "order_id"), "$.order_id")
    return kept.id("order_id") or ""


def _lines(tree: dict[str, Any], kept: _Reading, *, required: bool) -> list[Line]:
    """Return the lines that can be counted. A cancel or refund has to say what it takes back."""
    found = _found(tree, "lines")
    if not isinstance(found, list):
        _refuse("schema", "an array", found, "$.lines")
    if required and not found:
        raise _RefusedError(
            "schema", "expected the lines that are taken back, found an empty array - at `$.lines`"
        )
    lines = (_line(each, f"$.lines[{at}]", kept) for at, each in enumerate(found))
    return [line for line in lines if line is not None]


def _line(found: Any, path: str, kept: _Reading) -> Line | None:
    if not isinstance(found, dict):
        kept.lose(LINE, _expected("an object", found, path))
        return None
    quantity = _integer(found.get("quantity"))
    if quantity is None or not 0 < quantity <= kept.units_left:
        what = _expected(
            f"a whole number above 0, and at most {EVENT_SUM_MAX} units in an order",
            _found(found, "quantity"),
            f"{path}.quantity",
        )
        kept.lose(QUANTITY, what)
        return None
    price = _integer(found.get("unit_price_minor"))
    if price is None or not 0 <= quantity * price <= kept.sales_left:
        what = _expected(
            f"a whole number of minor units, 0 or more, and at most {EVENT_SUM_MAX} in an order",
            _found(found, "unit_price_minor"),
            f"{path}.unit_price_minor",
        )
        kept.lose(NEGATIVE_PRICE if price is not None and price < 0 else PRICE, what)
        return None
    kept.units_left -= quantity
    kept.sales_left -= quantity * price
    category = kept.label(found.get("category"), f"{path}.category")
    sku = found.get("sku")
    return Line(str(sku) if isinstance(sku, str) else "", category or "", quantity, price)


def _payment(tree: dict[str, Any]) -> PaymentEvent:
    kept = _Reading(tree)
    failed = tree["type"] == "payment.failed"
    fields: dict[str, Any] = {
        "event_id": _id(_found(tree, "event_id"), "$.event_id"),
        "type": tree["type"],
        "occurred_at": _instant(tree, "occurred_at"),
        "market": _text(tree, "market"),
        "order_id": _order_id(tree, kept, required=False),
        "currency": _text(tree, "currency"),
        "placed_at": kept.placed_at(required=False),
        "amount_minor": _amount(tree, required=not failed),
        "method": kept.optional_label("method") or "",
    }
    return IncompletePayment(**fields, parts=kept.parts) if kept.parts else PaymentEvent(**fields)


def _amount(tree: dict[str, Any], *, required: bool) -> int:
    amount = _integer(tree.get("amount_minor"))
    if amount is not None and 0 <= amount <= EVENT_SUM_MAX:
        return amount
    if required:
        what = f"a whole number of minor units, 0 or more, at most {EVENT_SUM_MAX}"
        _refuse("schema", what, _found(tree, "amount_minor"), "$.amount_minor")
    return 0
