"""A second reading of Stripe's events, written from docs/sources/stripe.md and docs/sources.md alone.

It shares no code with ``streams.translate``. A record is refused with one path, left out, or says steps
of a payment.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

LARGEST = 10_000_000_000_000
LAST_SECOND = 4_102_444_799  # of 2099
WRITTEN_WITH_00 = {"ISK", "UGX"}
THREE_DECIMALS = {"BHD", "JOD", "KWD", "OMR", "TND"}
CAPTURES = ("charge.succeeded", "charge.captured", "charge.updated")
REFUNDS = ("refund.created", "refund.updated", "refund.failed")
DISPUTES = tuple(
    f"charge.dispute.{each}"
    for each in ("created", "updated", "closed", "funds_withdrawn", "funds_reinstated")
)
NO_DISPUTE = ("warning_needs_response", "warning_under_review", "warning_closed", "prevented")
CONTAINERS = (
    "data", "data.object", "data.object.metadata", "data.object.payment_method_details",
    "data.object.payment_method_details.card", "data.object.payment_method_details.card.wallet",
    "data.object.destination_details",
)  # fmt: skip
ORDER_KEYS = ("order_id", "orderId", "order_number")
WALLET = "data.object.payment_method_details.card.wallet.type"


class Step(NamedTuple):
    payment: str
    step: str
    id: str
    minor: int
    currency: str
    order: str
    method: str
    second: Decimal


class RefusedError(Exception):
    """With the path."""


class ByHand:
    """Reads events and adds up what they say. ``markets``: currencies in small letters."""

    def __init__(self, markets: set[str], methods: dict[str, str]) -> None:
        self.markets = markets
        self.methods = methods
        self.stated: set[tuple] = set()
        self.captured: Counter = Counter()
        self.counts: Counter = Counter()
        self.sums: Counter = Counter()

    def take(self, event: dict) -> str:
        """Return ``""`` if it was read, ``left out``, or the path at which it is refused."""
        try:
            steps = self.read(event)
        except RefusedError as refused:
            return f"$.{refused}".removesuffix(".")
        if steps is None:
            return "left out"
        for each in steps:
            self._state(each)
        return ""

    def _state(self, each: Step) -> None:
        minor = each.minor
        if each.step == "captured":
            minor -= self.captured[each.payment, each.id]
            if minor <= 0:
                return
            self.captured[each.payment, each.id] = each.minor
        elif (each.payment, each.step, each.id) in self.stated:
            return
        self.stated.add((each.payment, each.step, each.id))
        key = each.payment, each.step, each.currency, each.order, each.method
        self.sums[key] += minor
        if each.step != "captured":  # how many events a total makes is no matter of money
            self.counts[key] += 1

    def read(self, event: dict) -> list[Step] | None:
        for path in CONTAINERS:
            if not isinstance(at(event, path), dict | None):
                raise RefusedError(path)
        kind, of = at(event, "type"), at(event, "data.object")
        if kind not in (*CAPTURES, "charge.failed", *REFUNDS, *DISPUTES):
            return None
        what = of.get("object")
        if what == "refund" and empty(of.get("balance_transaction")):
            return None
        if what == "dispute" and of.get("status") in NO_DISPUTE:
            return None
        if at(event, "livemode") is not True and at(event, "livemode") != "true":
            return None
        if what not in ("charge", "refund", "dispute"):
            raise RefusedError
        if what == "refund":
            steps = ["refunded"]
            if not empty(of.get("failure_balance_transaction")):
                steps.append("refund_failed")
        elif what == "dispute":
            steps = ["disputed", *["reversed"] * (of.get("status") == "lost")]
        else:
            steps = ["failed" if kind == "charge.failed" else "captured"]
        currency = self._currency(of.get("currency"))
        amount = "amount_captured" if steps == ["captured"] else "amount"
        minor = money(of.get(amount), currency, f"data.object.{amount}")
        own = "id" if what == "charge" else "charge"
        payment = an_id(of.get("payment_intent"), "data.object.payment_intent")
        payment = payment or an_id(of.get(own), f"data.object.{own}")
        if not payment:
            raise RefusedError("data.object.payment_intent")
        each = an_id(of.get("id"), "data.object.id")
        if not each:
            raise RefusedError("data.object.id")
        second = a_second(event.get("created"))
        order = payment
        for key in ORDER_KEYS:
            found = (of.get("metadata") or {}).get(key)
            if not empty(found):
                order = an_id(found, "data.object.metadata.order_id")
                break
        method = self._method(event, what)
        return [Step(payment, step, each, minor, currency, order, method, second) for step in steps]

    def _currency(self, found: Any) -> str:
        if not isinstance(found, str) or found not in self.markets:
            raise RefusedError("data.object.currency")
        return found.upper()

    def _method(self, event: dict, what: str) -> str:
        paths = ["data.object.payment_method_details.type"]
        if what == "refund":
            paths = ["data.object.destination_details.type"]
        elif what == "charge":
            paths.insert(0, WALLET)
        for path in paths:
            found = at(event, path)
            if empty(found):
                continue
            if isinstance(found, bool | list | dict):
                raise RefusedError(path)
            text = text_of(found)
            return self.methods.get(text, text)
        return ""


def at(event: Any, path: str) -> Any:
    for name in path.split("."):
        event = event.get(name) if isinstance(event, dict) else None
    return event


def empty(found: Any) -> bool:
    return found is None or found == ""


def text_of(found: Any) -> str:
    return str(int(found)) if isinstance(found, Decimal) and found == int(found) else str(found)


def an_id(found: Any, path: str) -> str:
    """A text or a whole number; nothing for nothing."""
    if empty(found):
        return ""
    if isinstance(found, bool | list | dict):
        raise RefusedError(path)
    if isinstance(found, Decimal) and found != int(found):
        raise RefusedError(path)
    text = text_of(found)
    if any(ord(each) < 32 or 127 <= ord(each) < 160 for each in text):
        raise RefusedError(path)
    return text


def a_second(found: Any) -> Decimal:
    if isinstance(found, bool) or not isinstance(found, int | Decimal | str) or empty(found):
        raise RefusedError("created")
    try:
        second = Decimal(found)
    except InvalidOperation:
        raise RefusedError("created") from None
    if "E" in str(second) or not 0 <= second < LAST_SECOND + 1:
        raise RefusedError("created")
    return second


def money(found: Any, currency: str, path: str) -> int:
    """Minor units of ISO 4217."""
    if isinstance(found, bool) or not isinstance(found, int | Decimal | str) or empty(found):
        raise RefusedError(path)
    try:
        units = Decimal(found)
    except InvalidOperation:
        raise RefusedError(path) from None
    if units != int(units):
        raise RefusedError(path)
    if currency in WRITTEN_WITH_00:
        units /= 100
    elif currency == "MGA":
        units *= 100
    elif currency in THREE_DECIMALS and units % 10:
        raise RefusedError(path)
    if units != int(units) or not 0 <= units <= LARGEST:
        raise RefusedError(path)
    return int(units)
