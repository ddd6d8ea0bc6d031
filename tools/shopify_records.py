"""Bodies of Shopify's webhooks: every field of ``tools.shopify_schema``, invented content.

The fields are those that the vendor documents, not any shop's.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from tools.shopify_schema import EDIT, LINE, ORDER, REFUND, TIP, TRANSACTION, Fields

Record = dict[str, Any]

PERSON = {
    "first_name": "Greta",
    "last_name": "Musterfrau",
    "name": "Greta Musterfrau",
    "company": "Musterfrau & Töchter",
    "address1": "Hauptweg 7",
    "address2": "Hinterhaus links",
    "city": "Teststadt",
    "zip": "80331",
    "province": "Bayern-Süd",
    "country": "Musterland",
    "country_name": "Musterland",
    "email": "greta.musterfrau@example.org",
    "contact_email": "greta.musterfrau@example.org",
    "phone": "+49 30 555 0199",
    "note": "Please ring twice at Musterfrau",
    "staff_note": "Greta called",
    "browser_ip": "192.0.2.7",
    "user_agent": "Mozilla/5.0 (Musterphone)",
    "value": "For Greta, with love",
    "credit_card_bin": "424242",
    "credit_card_number": "•••• •••• •••• 4242",
    "credit_card_name": "GRETA MUSTERFRAU",
}
"""By the name of a field: what nobody but the shop may know."""
_DIGITS = {"JPY": 0, "KRW": 0, "KWD": 3}
_TIME = "2026-11-24T11:00:00+01:00"
PLACED = "2026-11-24T11:00:00+01:00"
SHIPPING = 490
_TEXTS = {
    "source_name": "web", "country_code": "DE", "province_code": "BY", "financial_status": "paid",
    "gateway": "shopify_payments", "kind": "sale", "status": "success", "fulfillment_service": "manual",
    "restock_type": "return", "credit_card_company": "Visa", "payment_method_name": "card",
}  # fmt: skip


def filled(fields: Fields, **given: Any) -> Record:
    """An object of these fields: what is given, else something of its type."""
    unknown = given.keys() - fields.keys()
    assert not unknown, f"no such fields: {unknown}"
    currency = given.get("presentment_currency") or given.get("currency") or "EUR"
    return {
        name: given[name] if name in given else _some(name, kind, currency)
        for name, kind in fields.items()
    }


def _some(name: str, kind: Any, currency: str) -> Any:
    if isinstance(kind, dict):
        return {each: _some(each, inner, currency) for each, inner in kind.items()}
    if isinstance(kind, list) or kind.endswith("?"):
        return [] if isinstance(kind, list) else None
    return {
        "boolean": False,
        "currency": currency,
        "decimal": decimal(0, currency),
        "gid": f"gid://shopify/{name}/1",
        "integer": 1,
        "number": 0.19,
        "person": PERSON.get(name),
        "text": _TEXTS.get(name, name),
        "time": _TIME,
    }[kind]


def decimal(minor: int, currency: str = "EUR") -> str:
    """Text of an amount, with the decimals of its currency."""
    digits = _DIGITS.get(currency, 2)
    return f"{Decimal(minor).scaleb(-digits):.{digits}f}"


class Money(NamedTuple):
    """How amounts of an order are written: as the shopper sees them, and as the shop does."""

    currency: str = "EUR"
    shop_currency: str = "EUR"
    rate: int = 1

    def both(self, minor: int) -> Record:
        """An amount in both currencies."""
        shop = {
            "amount": decimal(minor * self.rate, self.shop_currency),
            "currency_code": self.shop_currency,
        }
        shown = {"amount": decimal(minor, self.currency), "currency_code": self.currency}
        return {"shop_money": shop, "presentment_money": shown}

    def shop(self, minor: int) -> str:
        """An amount in the currency of the shop."""
        return decimal(minor * self.rate, self.shop_currency)


EUROS = Money()


class Sold(NamedTuple):
    """A line to be written: ``price`` of one unit, ``discount`` and ``tax`` of all, in minor units."""

    id: int
    sku: str | None
    quantity: int
    price: int
    discount: int = 0
    tax: int = 0
    category: str | None = None
    gift_card: bool = False
    is_tip: bool = False
    current: int | None = None
    """Units that are left; None: all."""

    @property
    def after_discounts(self) -> int:
        """Of all units."""
        return self.price * self.quantity - self.discount


def line(sold: Sold, money: Money = EUROS) -> Record:
    """A line item."""
    discounts = [
        {
            "amount": money.shop(sold.discount),
            "amount_set": money.both(sold.discount),
            "discount_application_index": 0,
        }
    ]
    properties = [{"name": "Engraving", "value": PERSON["value"]}]
    if sold.category is not None:
        properties.append({"name": "_category", "value": sold.category})
    found = filled(
        LINE,
        id=sold.id,
        admin_graphql_api_id=f"gid://shopify/LineItem/{sold.id}",
        current_quantity=sold.quantity if sold.current is None else sold.current,
        fulfillable_quantity=sold.quantity if sold.current is None else sold.current,
        gift_card=sold.gift_card,
        name=f"Article {sold.id}",
        title=f"Article {sold.id}",
        price=money.shop(sold.price),
        price_set=money.both(sold.price),
        product_id=None if sold.is_tip else 600 + sold.id,
        variant_id=None if sold.is_tip else 700 + sold.id,
        properties=properties,
        quantity=sold.quantity,
        sku=sold.sku,
        total_discount_set=money.both(0),
        tax_lines=_tax_lines(sold.tax, money),
        discount_allocations=discounts if sold.discount else [],
    )
    return found | {name: filled(fields) for name, fields in TIP.items() if sold.is_tip}


def _tax_lines(tax: int, money: Money) -> list[Record]:
    fields = {"price": money.shop(tax), "price_set": money.both(tax), "rate": 0.19, "title": "VAT"}
    return [{"channel_liable": False, **fields}] if tax else []


def order(
    order_id: int,
    lines: Sequence[Sold],
    *,
    updated: str = PLACED,
    money: Money = EUROS,
    taxes_included: bool = True,
    gateway: str = "shopify_payments",
    **fields: Any,
) -> Record:
    """A whole order with its lines, shipping of 4.90, and no refunds."""
    goods = sum(each.after_discounts for each in lines)
    tax = sum(each.tax for each in lines)
    total = goods + SHIPPING + (0 if taxes_included else tax)
    discount = sum(each.discount for each in lines)
    sums = {
        "subtotal_price": goods, "total_price": total, "total_tax": tax, "total_discounts": discount,
        "total_line_items_price": goods + discount, "current_subtotal_price": goods,
        "current_total_price": total, "current_total_tax": tax, "current_total_discounts": discount,
    }  # fmt: skip
    given: Record = {name: money.shop(minor) for name, minor in sums.items()}
    given |= {f"{name}_set": money.both(minor) for name, minor in sums.items()}
    shipping = money.both(SHIPPING)
    given |= {
        "total_shipping_price_set": shipping,
        "current_shipping_price_set": shipping,
        "shipping_lines": [
            filled(ORDER["shipping_lines"][0], price=money.shop(SHIPPING), price_set=shipping)
        ],
    }
    return filled(
        ORDER,
        **given
        | {
            "id": order_id,
            "admin_graphql_api_id": f"gid://shopify/Order/{order_id}",
            "name": f"#{order_id}",
            "created_at": PLACED,
            "processed_at": PLACED,
            "updated_at": updated,
            "currency": money.shop_currency,
            "presentment_currency": money.currency,
            "confirmed": True,
            "customer": filled(ORDER["customer"], id=4711),
            "line_items": [line(each, money) for each in lines],
            "payment_gateway_names": [gateway],
            "tax_lines": _tax_lines(tax, money),
            "taxes_included": taxes_included,
        }
        | fields,
    )


def refund(
    refund_id: int,
    order_id: int,
    parts: Sequence[tuple[Sold, int]] = (),
    *,
    at: str,
    money: Money = EUROS,
    adjustments: Sequence[tuple[str, int, int]] = (),
    restock: str = "return",
    **fields: Any,
) -> Record:
    """A refund of units of lines. ``adjustments``: kind, amount, tax; below 0 it was paid back."""
    return filled(
        REFUND,
        **{
            "id": refund_id,
            "order_id": order_id,
            "created_at": at,
            "processed_at": at,
            "admin_graphql_api_id": f"gid://shopify/Refund/{refund_id}",
            "return": None,
            "total_duties_set": money.both(0),
            "order_adjustments": [
                _adjustment(number, refund_id, order_id, money, *each)
                for number, each in enumerate(adjustments, 10 * refund_id)
            ],
            "refund_line_items": [
                _refunded(number, money, restock, *each)
                for number, each in enumerate(parts, 100 * refund_id)
            ],
        }
        | fields,
    )


def _adjustment(
    number: int, refund_id: int, order_id: int, money: Money, kind: str, amount: int, tax: int
) -> Record:
    return filled(
        REFUND["order_adjustments"][0],
        id=number,
        order_id=order_id,
        refund_id=refund_id,
        kind=kind,
        amount=money.shop(amount),
        tax_amount=money.shop(tax),
        amount_set=money.both(amount),
        tax_amount_set=money.both(tax),
    )


def _refunded(number: int, money: Money, restock: str, sold: Sold, units: int) -> Record:
    subtotal = sold.after_discounts * units // sold.quantity
    tax = sold.tax * units // sold.quantity
    return filled(
        REFUND["refund_line_items"][0],
        id=number,
        quantity=units,
        line_item_id=sold.id,
        restock_type=restock,
        subtotal=float(money.shop(subtotal)),
        total_tax=float(money.shop(tax)),
        subtotal_set=money.both(subtotal),
        total_tax_set=money.both(tax),
        line_item=line(sold, money),
    )


def transaction(
    transaction_id: int,
    order_id: int,
    minor: int,
    *,
    at: str = PLACED,
    currency: str = "EUR",
    **fields: Any,
) -> Record:
    """A transaction, a successful sale."""
    settled = {"amount": decimal(0, currency), "currency": currency}
    return filled(
        TRANSACTION,
        **{
            "id": transaction_id,
            "order_id": order_id,
            "created_at": at,
            "processed_at": at,
            "amount": decimal(minor, currency),
            "currency": currency,
            "receipt": {"source": {"name": PERSON["name"], "last4": "4242"}},
            "payment_id": f"#{order_id}.1",
            "admin_graphql_api_id": f"gid://shopify/OrderTransaction/{transaction_id}",
            "total_unsettled_set": {"presentment_money": settled, "shop_money": settled},
        }
        | fields,
    )


def edit(order_id: int, **fields: Any) -> Record:
    """The body of orders/edited."""
    return {"order_edit": filled(EDIT["order_edit"], order_id=order_id, **fields)}


def as_bytes(record: Record) -> bytes:
    """A record as a webhook's body has it."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
