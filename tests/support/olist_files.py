"""A small directory of files in the form that Olist publishes."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path

ORDER_COLUMNS = (
    "order_id,customer_id,order_status,order_purchase_timestamp,order_approved_at,"
    "order_delivered_carrier_date,order_delivered_customer_date"
)


def write_olist(directory: Path, orders: int) -> None:
    """Write ``orders`` orders, one an hour from 2018-01-01, each of two items and one payment."""
    start = datetime(2018, 1, 1)  # noqa: DTZ001 - Olist's times are naive
    bought = [str(start + timedelta(hours=n)) for n in range(orders)]
    approved = [str(start + timedelta(hours=n, minutes=10)) for n in range(orders)]
    ids = range(orders)
    statuses = ["canceled" if n % 10 == 9 else "delivered" for n in ids]
    tables = {
        "orders": (
            ORDER_COLUMNS,
            [(f"o{n}", f"c{n}", statuses[n], bought[n], approved[n], "", "") for n in ids],
        ),
        "customers": (
            "customer_id,customer_unique_id,customer_state",
            [(f"c{n}", f"u{n % 7}", "SP") for n in ids],
        ),
        "order_items": (
            "order_id,order_item_id,product_id,seller_id,price",
            [(f"o{n}", str(k), f"p{k}", "s1", f"{n}.{k}0") for n in ids for k in (1, 2)],
        ),
        "order_payments": (
            "order_id,payment_sequential,payment_type,payment_value",
            [(f"o{n}", "1", "boleto" if n % 4 == 0 else "credit_card", f"{n}.99") for n in ids],
        ),
        "products": ("product_id,product_category_name", [("p1", "brinquedos"), ("p2", "")]),
        "category_translation": (
            "product_category_name,product_category_name_english",
            [("brinquedos", "toys")],
        ),
    }
    for name, (header, rows) in tables.items():
        with (directory / f"{name}.csv").open("w", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(header.split(","))
            writer.writerows(rows)
