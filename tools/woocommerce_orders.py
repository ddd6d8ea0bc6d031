"""Orders as WooCommerce's REST API (version 3) gives them: every documented property, invented content.

Written from the properties that the vendor documents, not from any shop's data. ``uv run poe fixtures``
writes the records of ``story`` beside the example's source file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FIXTURE = Path("config/examples/sources/woocommerce.ndjson")
Record = dict[str, Any]

PERSON = {
    "first_name": "Greta",
    "last_name": "Musterfrau",
    "company": "",
    "address_1": "Hauptweg 7",
    "address_2": "",
    "city": "Teststadt",
    "state": "BY",
    "postcode": "80000",
    "country": "DE",
    "email": "greta.musterfrau@example.org",
    "phone": "+49 30 555 0199",
}


def decimal(minor: int) -> str:
    """Text of an amount with two decimals."""
    sign = "-" if minor < 0 else ""
    return f"{sign}{abs(minor) // 100}.{abs(minor) % 100:02}"


def line(
    line_id: int, sku: str, quantity: int, minor: int, tax: int = 0, category: str | None = None
) -> Record:
    """A line item. ``minor``, ``tax``: of all its units."""
    meta: list[Record] = [{"id": 900 + line_id, "key": "_reduced_stock", "value": str(quantity)}]
    if category is not None:
        meta.append(
            {
                "id": 950 + line_id,
                "key": "category",
                "value": category,
                "display_key": "category",
                "display_value": category,
            }
        )
    return {
        "id": line_id,
        "name": f"Article {line_id}",
        "product_id": 100 + line_id,
        "variation_id": 0,
        "quantity": quantity,
        "tax_class": "",
        "subtotal": decimal(minor),
        "subtotal_tax": decimal(tax),
        "total": decimal(minor),
        "total_tax": decimal(tax),
        "taxes": [{"id": 1, "total": decimal(tax), "subtotal": decimal(tax)}] if tax else [],
        "meta_data": meta,
        "sku": sku,
        "price": minor / 100 / quantity if quantity else 0,
        "image": {"id": "", "src": ""},
        "parent_name": None,
    }


def order(
    order_id: int,
    lines: list[Record],
    *,
    status: str = "processing",
    modified: str = "2026-11-24T10:05:00",
    **fields: Any,
) -> Record:
    """A whole order with its lines, shipping of 4.90, and no refunds."""
    goods = sum(round(100 * float(each["total"])) for each in lines)
    taxes = sum(round(100 * float(each["total_tax"])) for each in lines)
    return {
        "id": order_id,
        "parent_id": 0,
        "status": status,
        "currency": "EUR",
        "version": "9.4.0",
        "prices_include_tax": True,
        "date_created": "2026-11-24T11:00:00",
        "date_modified": modified,
        "discount_total": "0.00",
        "discount_tax": "0.00",
        "shipping_total": "4.90",
        "shipping_tax": "0.00",
        "cart_tax": decimal(taxes),
        "total": decimal(goods + taxes + 490),
        "total_tax": decimal(taxes),
        "customer_id": 4711,
        "order_key": f"wc_order_test{order_id}",
        "billing": PERSON,
        "shipping": {**PERSON, "email": None},
        "payment_method": "stripe",
        "payment_method_title": "Card",
        "transaction_id": f"ch_test_{order_id}",
        "customer_ip_address": "192.0.2.7",
        "customer_user_agent": "Test/1.0",
        "created_via": "checkout",
        "customer_note": "Please ring twice",
        "date_completed": None,
        "date_paid": "2026-11-24T11:01:00",
        "cart_hash": "0f" * 16,
        "number": str(order_id),
        "meta_data": [{"id": 1, "key": "_billing_hint", "value": "none"}],
        "line_items": lines,
        "tax_lines": [],
        "shipping_lines": [
            {
                "id": 77,
                "method_title": "Parcel",
                "method_id": "flat_rate",
                "instance_id": "1",
                "total": "4.90",
                "total_tax": "0.00",
                "taxes": [],
                "meta_data": [],
            }
        ],
        "fee_lines": [],
        "coupon_lines": [],
        "refunds": [],
        "payment_url": "https://shop.example/pay",
        "is_editable": False,
        "needs_payment": False,
        "needs_processing": True,
        "date_created_gmt": "2026-11-24T10:00:00",
        "date_modified_gmt": modified,
        "date_completed_gmt": None,
        "date_paid_gmt": "2026-11-24T10:01:00",
        "currency_symbol": "€",
        "_links": {"self": [{"href": f"https://shop.example/wp-json/wc/v3/orders/{order_id}"}]},
        **fields,
    }


UNPAID: Record = {"date_paid": None, "date_paid_gmt": None}


def refund(refund_id: int, minor: int) -> Record:
    """A refund as an order has it: no lines and no time."""
    return {"id": refund_id, "reason": "", "total": decimal(-minor)}


def three_lines() -> list[Record]:
    """Lines of 25.00, 10.00 and 12.00 with tax."""
    return [
        line(1, "TEE-RED-M", 2, 2101, 399, "clothing"),
        line(2, "MUG", 3, 840, 160, "kitchen"),
        line(3, "", 1, 1009, 191),
    ]


def story() -> list[Record]:
    """Records in the order in which a shop may send them, each a line of the fixture."""
    lines = three_lines()
    first, second = refund(5001, 500), refund(5002, 700)
    deposit = order(1002, [line(4, "LAMP", 1, 8000)], status="pending", **UNPAID)
    return [
        order(1001, lines, status="checkout-draft", **UNPAID),
        order(1001, lines, status="pending", **UNPAID),
        order(1001, lines),
        order(1001, lines),
        order(1001, lines, modified="2026-11-25T08:00:00", refunds=[first]),
        order(1001, lines, modified="2026-11-25T09:00:00", refunds=[second, first]),
        order(1001, lines, modified="2026-11-25T08:00:00", refunds=[first]),
        {**deposit, "status": "on-hold", "payment_method": "bacs"},
        {**deposit, "status": "cancelled", "payment_method": "bacs"},
        order(
            1003, lines, status="refunded", modified="2026-11-26T12:00:00",
            refunds=[refund(5003, 5190)],
        ),
        order(1004, [line(5, "PEN", 3, 1000)], customer_id=0),
        order(1004, [line(5, "PEN", 1, 333)], customer_id=0, modified="2026-11-24T18:00:00"),
        {**order(1005, lines), "currency": "JPY"},
        {"id": 1006},
    ]  # fmt: skip


def as_bytes(record: Record) -> bytes:
    """A record as a webhook's body has it."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


if __name__ == "__main__":
    FIXTURE.write_bytes(b"".join(as_bytes(each) + b"\n" for each in story()))
