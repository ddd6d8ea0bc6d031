"""What may happen to an order on Shopify, as bodies: drawn, mixed, repeated, and some of them spoilt.

A spoilt body was changed so that it must be refused; with it comes the path that the refusal must name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

from tools.shopify_records import Money, Record, Sold, as_bytes, order, refund, transaction

CURRENCIES = ("EUR", "EUR", "JPY", "KWD")
READ = {
    "id", "order_id", "line_item_id", "quantity", "presentment_currency", "currency", "taxes_included",
    "test", "cancelled_at", "processed_at", "created_at", "updated_at", "kind", "status", "gateway",
    "gift_card", "sku", "variant_id", "product_id", "name", "value", "amount", "currency_code", "tip",
    "source_name", "province_code",
}  # fmt: skip
"""Names of fields that are read somewhere: noise goes there in the money of the shop alone."""
NOISE = (None, True, 7, -1.5, "x", "12.345678", [], {}, "2026-02-30T10:00:00Z")
STEPS = (
    *["refund"] * 4, "money", "pay", "pay", "fail", "repay", "dollars", "void", "more", "line", "cancel",
    "update",
)  # fmt: skip
_BEGINS_MINUTES = 660
"""Of the day: when the first body of a history was written, as its order was placed."""


class Body(NamedTuple):
    """``refused_at``: the path that its refusal must name; None: nothing is wrong with it."""

    raw: bytes
    refused_at: str | None = None


@dataclass
class _Order:
    draw: Random
    number: int
    money: Money
    lines: list[Sold]
    fields: Record
    refunds: list[Record] = field(default_factory=list)
    minutes: int = _BEGINS_MINUTES
    bodies: list[Record] = field(default_factory=list)

    def now(self) -> str:
        return f"2026-11-24T{self.minutes // 60:02}:{self.minutes % 60:02}:00+01:00"

    def tell(self) -> None:
        """The order, as it is now."""
        refunds = [json.loads(as_bytes(each)) for each in self.refunds]
        told = order(
            self.number,
            self.lines,
            updated=self.now(),
            money=self.money,
            refunds=refunds,
            **self.fields,
        )
        self.bodies.append(told)

    def step(self) -> None:
        self.minutes += 1
        getattr(self, f"_{self.draw.choice(STEPS)}")()
        if self.draw.random() < 0.6:
            self.tell()

    def _give_back(self, parts: Any, adjustments: Any) -> None:
        made = refund(
            self.number * 100 + len(self.bodies), self.number, parts, at=self.now(), money=self.money,
            adjustments=adjustments,
        )  # fmt: skip
        made["transactions"] = [self._transaction("refund", 5)] if self.draw.random() < 0.5 else []
        self.refunds.append(made)
        self.bodies.append(made)

    def _refund(self) -> None:
        sold = [each for each in self.lines if each.quantity > 0]
        parts = [
            (each, self.draw.randint(0, each.quantity + 1))
            for each in self.draw.sample(sold, self.draw.randint(0, len(sold)))
        ]
        kinds = self.draw.choices(
            ("refund_discrepancy", "shipping_refund"), k=self.draw.randint(0, 2)
        )
        self._give_back(
            parts,
            [(kind, self.draw.randint(-900, 900), self.draw.choice((0, 0, -19))) for kind in kinds],
        )

    def _money(self) -> None:
        self._give_back([], [("refund_discrepancy", -self.draw.randint(1, 9000), 0)])

    def _transaction(self, kind: str, minor: int, **fields: Any) -> Record:
        gateway = self.draw.choice(
            ("shopify_payments", "gift_card", "Cash on Delivery (COD)", "adyen")
        )
        made = transaction(
            self.number * 1000 + len(self.bodies), self.number, minor, at=self.now(),
            currency=self.money.currency, kind=kind, gateway=gateway, test=self.fields["test"],
        )  # fmt: skip
        return made | fields

    def _pay(self) -> None:
        kind = self.draw.choice(("sale", "capture"))
        paid = self._transaction(kind, self.draw.randint(0, 99_999))
        if self.draw.random() < 0.3:
            paid["processed_at"] = None
        self.bodies.append(paid)

    def _dollars(self) -> None:
        self.bodies.append(self._transaction("sale", 500) | {"currency": "USD", "amount": "5.00"})

    def _fail(self) -> None:
        kind = self.draw.choice(("sale", "capture", "authorization"))
        status = self.draw.choice(("failure", "error"))
        self.bodies.append(self._transaction(kind, self.draw.randint(0, 99_999), status=status))

    def _repay(self) -> None:
        self.bodies.append(self._transaction("refund", self.draw.randint(0, 99_999)))

    def _void(self) -> None:
        kind = self.draw.choice(("authorization", "void", "refund", "sale"))
        status = {"sale": "pending", "refund": "failure"}.get(kind, "success")
        self.bodies.append(self._transaction(kind, 500, status=status, amount="none"))

    def _more(self) -> None:
        if self.lines:
            at = self.draw.randrange(len(self.lines))
            self.lines[at] = self.lines[at]._replace(quantity=self.lines[at].quantity + 1)

    def _line(self) -> None:
        self.lines.append(_sold(self.draw, self.number * 10 + len(self.lines)))

    def _cancel(self) -> None:
        self.fields = {**self.fields, "cancelled_at": self.now()}
        self.tell()

    def _update(self) -> None:
        self.tell()


def history(draw: Random, number: int) -> list[Body]:
    """Bodies of one order, in the order in which they come."""
    currency = draw.choice(CURRENCIES)
    money = Money(currency, draw.choice(("EUR", "USD", "JPY")), draw.randint(1, 9))
    lines = [_sold(draw, number * 10 + at) for at in range(draw.randint(0, 4))]
    fields: Record = {"taxes_included": draw.random() < 0.5, "test": draw.random() < 0.05}
    if draw.random() < 0.2:
        fields["processed_at"] = None
    made = _Order(draw, number, money, lines, fields)
    made.tell()
    for _ in range(draw.randint(0, 7)):
        made.step()
    made.bodies += draw.choices(made.bodies, k=draw.randint(0, 3))
    if draw.random() < 0.5:
        draw.shuffle(made.bodies)
    bodies = [Body(as_bytes(_with_noise(draw, each))) for each in made.bodies]
    if not fields["test"]:
        for _ in range(draw.randint(0, 2)):
            spoilt = _spoilt(draw, json.loads(as_bytes(draw.choice(made.bodies))))
            if spoilt is not None:
                bodies.insert(draw.randint(0, len(bodies)), spoilt)
    return bodies


def _sold(draw: Random, line_id: int) -> Sold:
    quantity, price = draw.choice((0, 1, 2, 3, 3, 7, 7)), draw.randint(0, 9_999)
    some = draw.randint(0, price * quantity)
    discount = draw.choice((0, 0, some, some, some, price * quantity + 1))
    return Sold(
        line_id,
        draw.choice((None, "", "A", "B", "Ü-7")),
        quantity,
        price,
        discount,
        draw.choice((0, draw.randint(0, 999))),
        draw.choice((None, "books", "clothing")),
        draw.random() < 0.1,
        draw.random() < 0.05,
    )


# -- fields that nobody reads ----------------------------------------------------------------------


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = []
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, dict | list):
            found += _places(value, (*path, key))
        elif key not in READ or "shop_money" in path or path[:1] == ("client_details",):
            found.append((*path, key))
    return found


def _put(tree: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        tree = tree[key]
    tree[path[-1]] = value


def _with_noise(draw: Random, record: Record) -> Record:
    """The same body with anything in up to four fields that nobody reads."""
    noisy = json.loads(as_bytes(record))
    places = [path for path in _places(noisy) if isinstance(path[-1], str)]
    for path in draw.sample(places, min(len(places), draw.randint(0, 4))):
        _put(noisy, path, draw.choice(NOISE))
    return noisy


# -- what must be refused --------------------------------------------------------------------------

_NO_ID = (None, 1.5, "a\nb")
_NO_TIME = ("yesterday", "2026-13-01T10:00:00Z", 7)
_NO_UNITS = (1.5, "two")
_NO_MONEY = ("0.00005", "1,50", "EUR 5", True)


def _spoilt(draw: Random, record: Record) -> Body | None:
    """The body with one field that must be refused."""
    if "line_items" in record:
        choices = _wrong_in_order(record)
    elif "refund_line_items" in record:
        choices = [(("order_id",), _NO_ID), *_wrong_in_refund(record)]
    elif record["kind"] in ("sale", "capture") and record["status"] == "success":
        choices = [
            (("id",), _NO_ID),
            (("order_id",), _NO_ID),
            (("amount",), (*_NO_MONEY, None, "-5.00")),
            (("currency",), (None, "EURO", "€")),
            (("processed_at",), _NO_TIME),
        ]
    else:
        return None
    path, values = draw.choice(choices)
    _put(record, path, draw.choice(values))
    return Body(as_bytes(record), _written(path, record))


def _written(path: tuple[Any, ...], record: Record) -> str:
    """A path as refusals write it. Of what a sum is made, the path is named as the file has it."""
    text, here = "$", record
    for before, key in pairwise(("", *path)):
        here = here[key]
        if not isinstance(key, int):
            text += f".{key}"
        elif before in ("discount_allocations", "tax_lines"):
            text += "[]"
        elif before == "order_adjustments" and path[-1] == "currency_code":
            text += "[first]"
        elif before == "order_adjustments":
            text += "[kind=shipping_refund]" if here["kind"] == "shipping_refund" else "[]"
        else:
            text += f"[{key}]"
    # A quantity below 0 is a whole number, but none of a refunded line.
    return text.removesuffix(".quantity") if here == -1 else text


def _wrong_in_order(record: Record) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    shown = record["presentment_currency"]
    found: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = [
        (("id",), _NO_ID),
        # Fils of a thousand would be refused as cents before the currency is.
        (("presentment_currency",), (None, 7) if shown == "KWD" else (None, "USD", 7)),
        (("updated_at",), _NO_TIME),
        (("processed_at",), _NO_TIME),
        (("cancelled_at",), _NO_TIME),
        (("line_items",), ({}, "none")),
    ]
    for at, line in enumerate(record["line_items"]):
        if line["gift_card"] or line.get("tip"):
            continue
        inside = ("line_items", at)
        found += [
            ((*inside, "quantity"), (*_NO_UNITS, None)),
            ((*inside, "price_set", "presentment_money", "amount"), (*_NO_MONEY, None)),
        ]
        if line["quantity"] > 0 and not line["discount_allocations"]:
            found.append(((*inside, "id"), _NO_ID))
        amount = ("presentment_money", "amount")
        found += [
            ((*inside, "discount_allocations", number, "amount_set", *amount), _NO_MONEY)
            for number in range(len(line["discount_allocations"]))
        ]
        if not record["taxes_included"]:
            found += [
                ((*inside, "tax_lines", number, "price_set", *amount), _NO_MONEY)
                for number in range(len(line["tax_lines"]))
            ]
    for at, each in enumerate(record["refunds"]):
        found += [(("refunds", at, *path), values) for path, values in _wrong_in_refund(each)]
    return [each for each in found if each[0][-1] != "currency_code"]  # an order says its own


def _wrong_in_refund(record: Record) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    found: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = [
        (("id",), _NO_ID),
        (("processed_at",), _NO_TIME),
    ]
    for at in range(len(record["refund_line_items"])):
        inside = ("refund_line_items", at)
        found += [((*inside, "quantity"), (*_NO_UNITS, -1)), ((*inside, "line_item_id"), _NO_ID)]
    for at in range(len(record["order_adjustments"])):
        inside = ("order_adjustments", at)
        found += [
            ((*inside, name, "presentment_money", "amount"), _NO_MONEY)
            for name in ("amount_set", "tax_amount_set")
        ]
        if at == 0:
            found.append(
                ((*inside, "amount_set", "presentment_money", "currency_code"), ("EURO", "€"))
            )
    return found
