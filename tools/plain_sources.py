"""Records of the plain examples of source files: CloudEvents, Segment, Google Analytics 4.

Names of fields are those that are documented: CloudEvents 1.0.2, "JSON event format"; Segment's spec of
common fields and of ecommerce events (version 2); Google's "BigQuery Export schema" of Analytics 4, with
whole numbers as text, as BigQuery exports them. All content is invented. ``uv run poe fixtures`` writes
the records beside the source files.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EXAMPLES = Path("config/examples/sources")
Record = dict[str, Any]
PERSON = {
    "name": "Greta Musterfrau",
    "email": "greta.musterfrau@example.org",
    "phone": "+49 30 555 0199",
    "street": "Hauptweg 7",
    "ip": "192.0.2.7",
    "card": "4242424242424242",
}
START_US = 1_795_514_400_000_000
"""2026-11-24T10:00:00Z in microseconds."""


def cloud_event(kind: str, number: int, time: str, data: Record | None, **more: Any) -> Record:
    """An envelope with JSON in it."""
    return {
        "specversion": "1.0",
        "id": f"ce-{number}",
        "source": "/shop/checkout",
        "type": f"com.example.{kind}",
        "time": time,
        "subject": PERSON["name"],
        "datacontenttype": "application/json",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "data": data,
        **more,
    }


def cloud_events() -> list[Record]:
    """Records in the order in which they may come."""
    items = [
        {"itemId": 1, "sku": "TEE", "category": "clothing", "quantity": 2, "unitPrice": 12.5},
        {"itemId": 2, "sku": "MUG", "category": "kitchen", "quantity": 1, "unitPrice": "8.00"},
    ]
    order = {
        "orderId": "A-1",
        "currency": "EUR",
        "placedAt": "2026-11-24T11:00:00+01:00",
        "paymentMethod": "card",
        "customerId": 4711,
        "channel": "web",
        "billing": PERSON,
        "items": items,
    }
    paid = {"orderId": "A-1", "paymentId": "p-1", "currency": "EUR", "amount": 33, "method": "card"}
    back = {"orderId": "A-1", "refundId": "r-1", "currency": "EUR"}
    some = [{"itemId": 1, "quantity": 1}]
    cash_back = back | {"refundId": "r-2", "amount": 5}
    return [
        cloud_event("payment.failed", 1, "2026-11-24T10:00:01Z", paid | {"card": PERSON["card"]}),
        cloud_event("payment.captured", 2, "2026-11-24T10:00:05Z", paid),
        cloud_event("order.placed", 3, "2026-11-24T10:00:06Z", order),
        cloud_event("order.placed", 3, "2026-11-24T10:00:06Z", order),
        cloud_event("stock.changed", 4, "2026-11-24T10:00:07Z", {"sku": "MUG"}),
        cloud_event("order.changed", 5, "2026-11-24T12:00:00Z", order | {"items": items[:1]}),
        cloud_event("refund.created", 6, "2026-11-25T09:00:00Z", back | {"items": some}),
        cloud_event("refund.created", 7, "2026-11-25T10:00:00Z", cash_back),
        cloud_event("order.cancelled", 8, "2026-11-26T09:00:00Z", order | {"items": items[:1]}),
        cloud_event("order.placed", 9, "2026-11-26T10:00:00Z", None, data_base64="eyJhIjoxfQ=="),
    ]  # fmt: skip


def track(event: str, number: int, timestamp: str, **properties: Any) -> Record:
    """A track call, as Segment delivers it."""
    return {
        "type": "track",
        "event": event,
        "messageId": f"ajs-{number}",
        "anonymousId": "0f0f0f0f-1111-4222-8333-444444444444",
        "userId": PERSON["email"],
        "timestamp": timestamp,
        "originalTimestamp": timestamp,
        "sentAt": timestamp,
        "receivedAt": timestamp,
        "context": {
            "ip": PERSON["ip"],
            "traits": {"email": PERSON["email"], "name": PERSON["name"], "phone": PERSON["phone"]},
            "userAgent": "Test/1.0",
        },
        "integrations": {},
        "properties": properties,
    }


def product(number: int, sku: str, price: Any, quantity: int, category: str) -> Record:
    """A product of a track call."""
    return {
        "product_id": f"prod-{number}",
        "sku": sku,
        "name": f"Article {number}",
        "brand": "Test",
        "variant": "red",
        "category": category,
        "price": price,
        "quantity": quantity,
        "url": "https://shop.example/p",
    }


def tracks() -> list[Record]:
    """Records in the order in which they may come."""
    products = [product(1, "TEE", 12.5, 2, "clothing"), product(2, "MUG", 8, 1, "kitchen")]
    order = {
        "order_id": "B-1",
        "affiliation": "web",
        "total": 38.4,
        "revenue": 33,
        "shipping": 4.9,
        "tax": 0.5,
        "discount": 0,
        "currency": "EUR",
        "products": products,
    }
    other = order | {"order_id": "B-2"}
    whole = {"order_id": "B-1", "total": 38.4, "currency": "EUR"}
    part = whole | {"products": [product(1, "TEE", 12.5, 1, "")]}
    return [
        track("Product Viewed", 1, "2026-11-24T09:59:00Z", **products[0]),
        track("Order Completed", 2, "2026-11-24T10:00:00.123Z", **order),
        track("Order Completed", 2, "2026-11-24T10:00:00.123Z", **order),
        track("Order Refunded", 3, "2026-11-25T10:00:00Z", **part),
        track("Order Refunded", 3, "2026-11-25T10:00:00Z", **part),
        track("Order Cancelled", 4, "2026-11-25T11:00:00Z", **other),
        track("Order Completed", 5, "2026-11-25T10:30:00Z", **other),
        track("Order Completed", 6, "2026-11-25T12:00:00Z", **order | {"order_id": "B-3"}),
        track("Order Refunded", 7, "2026-11-26T12:00:00Z", **whole | {"order_id": "B-3"}),
        track("Order Completed", 8, "2026-11-26T13:00:00Z", **order | {"order_id": None}),
        {**track("Order Completed", 9, "2026-11-26T13:00:00Z", **order), "type": "page"},
    ]  # fmt: skip


def row(name: str, after_s: int, transaction: str, items: list[Record], **params: Any) -> Record:
    """A row of the export. ``params``: of the event, as text or whole number."""
    params = {"currency": "EUR", "ga_session_id": 1_795_514_000, **params}
    return {
        "event_date": "20261124",
        "event_timestamp": str(START_US + after_s * 1_000_000 + 456_789),
        "event_name": name,
        "event_params": [
            {
                "key": key,
                "value": {"string_value": found}
                if isinstance(found, str)
                else {"int_value": str(found)},
            }
            for key, found in params.items()
        ],
        "event_bundle_sequence_id": "77",
        "user_id": PERSON["email"],
        "user_pseudo_id": "1234567890.1795514000",
        "user_properties": [{"key": "name", "value": {"string_value": PERSON["name"]}}],
        "device": {"category": "mobile", "language": "de-de"},
        "geo": {"country": "Germany", "region": "Bavaria", "city": "Teststadt"},
        "stream_id": "4711",
        "platform": "WEB",
        "ecommerce": {
            "total_item_quantity": "3",
            "purchase_revenue": 33.0,
            "refund_value": 33.0,
            "transaction_id": transaction,
        },
        "items": items,
    }


def item(number: int, price: float, quantity: int) -> Record:
    """An item of a row."""
    return {
        "item_id": f"SKU-{number}",
        "item_name": f"Article {number}",
        "item_brand": "(not set)",
        "item_variant": "(not set)",
        "item_category": "clothing" if number == 1 else "(not set)",
        "price_in_usd": price * 1.1,
        "price": price,
        "quantity": str(quantity),
        "item_revenue": price * quantity,
    }


def rows() -> list[Record]:
    """Records in the order in which the files may have them."""
    items = [item(1, 12.5, 2), item(2, 8.0, 1)]
    return [
        row("page_view", 0, "(not set)", []),
        row("purchase", 0, "T-1", items, payment_type="card"),
        row("purchase", 0, "T-1", items, payment_type="card"),
        row("purchase", 40, "T-1", items),
        row("purchase", 50, "T-2", items, debug_mode=1),
        row("refund", 86_400, "T-1", [item(1, 12.5, 1)]),
        row("refund", 86_400, "T-1", [item(1, 12.5, 1)]),
        row("purchase", 100, "T-3", items),
        row("refund", 86_500, "T-3", []),
        row("purchase", 120, "(not set)", items),
        row("purchase", 130, "T-4", [item(1, 12.949999809265137, 1)]),
    ]


STORIES = {"cloudevents": cloud_events, "segment": tracks, "ga4": rows}


def as_bytes(record: Record) -> bytes:
    """A record as one line."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


if __name__ == "__main__":
    for name, story in STORIES.items():
        lines = b"".join(as_bytes(each) + b"\n" for each in story())
        (EXAMPLES / f"{name}.ndjson").write_bytes(lines)
