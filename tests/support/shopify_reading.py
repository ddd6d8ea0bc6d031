"""A second reading of Shopify's bodies, written from docs/sources/shopify.md alone.

It shares nothing with ``streams.translate``: plain JSON, decimals, and the page's sentences one by one.
It is fed bodies that nothing is wrong with, in the order in which they came.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

DIGITS = {"EUR": 2, "JPY": 0, "KWD": 3}
METHODS = {"shopify_payments": "card", "Cash on Delivery (COD)": "cod", "gift_card": "gift_card"}


@dataclass
class Goods:
    """A line that is goods. ``taken``: units that refunds took."""

    article: tuple[str, str]
    units: int
    minor: int
    taken: int = 0

    def cost_of_first(self, units):
        """What its first units cost: those that are a minor unit dearer come first."""
        return units * (self.minor // self.units) + min(units, self.minor % self.units)


@dataclass
class Placed:
    market: str
    currency: str
    at: datetime
    goods: dict[str, Goods]

    @property
    def cost(self):
        return sum(each.minor for each in self.goods.values())


@dataclass
class OrderReading:
    """What is said of one order by the bodies that came."""

    markets: dict[str, str]
    placed: Placed | None = None
    cancelled_at: datetime | None = None
    waiting: list[tuple[str, dict]] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)
    refunded: int = 0
    refunds: dict[str, tuple[datetime, Counter, int]] = field(default_factory=dict)
    captures: dict[str, tuple[datetime, str, int]] = field(default_factory=dict)
    steps: dict[tuple[str, str], tuple[str, datetime, str, int]] = field(default_factory=dict)
    """Payments that failed or were paid back."""

    def take(self, body: bytes) -> str:
        """Take a body; say whether it was ``left out``, ``refused`` or ``read``."""
        record = json.loads(body, parse_float=Decimal)
        kind = record.get("kind")
        is_order, is_refund = "line_items" in record, "refund_line_items" in record
        if not (kind or is_order or is_refund):
            return "left out"
        step = _step(record) if kind else None
        if kind and step is None:
            return "left out"
        tests = [record, *(record.get("transactions") or [])] if is_refund else [record]
        if any(each.get("test") is True for each in tests):
            return "left out"
        if is_order:
            self._take_order(record)
        elif step in ("failed", "refunded"):
            minor = _text_minor(record["amount"], record["currency"])
            said = self.markets[record["currency"]], _time(record), _method(record), minor
            self.steps.setdefault((step, _id(record["id"])), said)
        else:
            said = ("refund" if is_refund else "capture", record)
            if self.placed and self._currency_of(*said) not in ("", self.placed.currency):
                return "refused"
            self._wait(*said)
        if self.placed:
            for said in self.waiting[:]:
                if self._currency_of(*said) in ("", self.placed.currency):
                    self.waiting.remove(said)
                    (self._refund if said[0] == "refund" else self._capture)(said[1])
        return "read"

    def _wait(self, what, record):
        named = what, _id(record["id"])
        if named not in self.seen:
            self.seen.add(named)
            self.waiting.append((what, record))

    def _take_order(self, record):
        if self.placed is None:
            currency = record["presentment_currency"]
            self.placed = Placed(
                self.markets[currency],
                currency,
                _time(record),
                {
                    _id(each["id"]): goods
                    for each in record["line_items"]
                    if (goods := _goods(record, each))
                },
            )
        if record["cancelled_at"]:
            self.cancelled_at = datetime.fromisoformat(record["cancelled_at"])
        for each in sorted(
            record["refunds"], key=lambda each: (len(_id(each["id"])), _id(each["id"]))
        ):
            self._wait("refund", each)

    def _currency_of(self, what, record):
        if what == "capture":
            return record["currency"]
        adjusted = record["order_adjustments"]
        return adjusted[0]["amount_set"]["presentment_money"]["currency_code"] if adjusted else ""

    def _refund(self, record):
        units, minor = Counter(), 0
        for each in record["refund_line_items"]:
            goods = self.placed.goods.get(_id(each["line_item_id"]))
            if goods is not None:
                taken = min(_whole(each["quantity"]), goods.units - goods.taken)
                minor += goods.cost_of_first(goods.taken + taken) - goods.cost_of_first(goods.taken)
                goods.taken += taken
                units[goods.article] += taken
        for each in record["order_adjustments"]:
            if each["kind"] != "shipping_refund":
                minor -= _minor(each["amount_set"]) + _minor(each["tax_amount_set"])
        minor = min(max(minor, 0), self.placed.cost - self.refunded)
        self.refunded += minor
        if units.total() or minor:
            self.refunds[_id(record["id"])] = max(_time(record), self.placed.at), +units, minor

    def _capture(self, record):
        minor = _text_minor(record["amount"], record["currency"])
        self.captures[_id(record["id"])] = (
            max(_time(record), self.placed.at),
            _method(record),
            minor,
        )


def _step(transaction):
    """What a transaction is, or None for one that is left out."""
    kind, status = transaction["kind"], transaction["status"]
    if kind in ("sale", "capture", "authorization") and status in ("failure", "error"):
        return "failed"
    if status == "success":
        return {"sale": "captured", "capture": "captured", "refund": "refunded"}.get(kind)
    return None


def _method(transaction):
    return METHODS.get(transaction["gateway"], transaction["gateway"])


def _goods(order, line):
    if line["gift_card"] is True or line.get("tip"):
        return None
    units = _whole(line["quantity"])
    minor = _minor(line["price_set"]) * units
    minor -= sum(_minor(each["amount_set"]) for each in line["discount_allocations"])
    if order["taxes_included"] is not True:
        minor += sum(_minor(each["price_set"]) for each in line["tax_lines"])
    if units <= 0 or minor < 0:
        return None  # cannot be counted
    sku = line["sku"] or line["variant_id"] or line["product_id"] or ""
    categories = [each["value"] for each in line["properties"] if each["name"] == "_category"]
    return Goods((_id(sku), categories[0] if categories else ""), units, minor)


def _minor(both):
    shown = both["presentment_money"]
    return _text_minor(shown["amount"], shown["currency_code"])


def _text_minor(text, currency):
    scaled = Decimal(text).scaleb(DIGITS.get(currency, 2))
    assert scaled == int(scaled), f"{text} {currency} has too many digits to be read"
    return int(scaled)


def _time(record):
    return datetime.fromisoformat(record["processed_at"] or record["created_at"]).astimezone(UTC)


def _whole(number):
    assert number == int(number)
    return int(number)


def _id(found):
    return found if isinstance(found, str) else str(_whole(found))
