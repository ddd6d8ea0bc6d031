"""Values of each local day from Olist's tables, by polars alone: nothing of streams/ is used.

Orders, units and sales by the day of purchase and category, gross and less cancelled ones;
payments and amounts by the day of the
order's purchase and method. Money in cents, exact: prices are read as text.
"""

from __future__ import annotations

import gzip
import io
import tomllib
from pathlib import Path

import polars as pl
from support.methodologies import OLIST

DAY_GRACE_DAYS = 35


def table(directory: Path, name: str) -> pl.DataFrame:
    """A table, every column as text."""
    packed = directory / f"{name}.csv.gz"
    if packed.exists():
        content = gzip.decompress(packed.read_bytes())
    else:
        content = (directory / f"{name}.csv").read_bytes()
    return pl.read_csv(io.BytesIO(content.removeprefix(b"\xef\xbb\xbf")), infer_schema=False)


def cents(column: str) -> pl.Expr:
    """Integer cents of an amount as text."""
    whole = pl.col(column).str.split_exact(".", 1)
    fraction = whole.struct.field("field_1").fill_null("").str.pad_end(2, "0")
    return whole.struct.field("field_0").cast(pl.Int64) * 100 + fraction.cast(pl.Int64)


def members() -> tuple[set[str], dict[str, str]]:
    """(categories of market BR, payment label -> method)."""
    raw = tomllib.loads(OLIST.read_text())
    methods = {}
    for method, spec in raw["methods"].items():
        methods |= dict.fromkeys([method, *spec.get("aliases", [])], method)
    return set(raw["category_sets"][raw["markets"]["BR"]["categories"]]), methods


def shoppers_of_days(directory: Path) -> dict[str, list[str]]:
    """Number of different people who ordered, by day of purchase. An order is one record."""
    customers = table(directory, "customers").select("customer_id", "customer_unique_id")
    bought = (
        table(directory, "orders")
        .join(customers, on="customer_id", how="inner")
        .group_by(day=pl.col("order_purchase_timestamp").str.slice(0, 10))
        .agg(pl.col("customer_unique_id").unique())
    )
    return dict(bought.iter_rows())


def expected_days(directory: Path) -> dict[tuple[str, str, str, str], int]:
    """Nonzero values by (day, index, dimension, member)."""
    categories, methods = members()
    times = ("order_approved_at", "order_delivered_carrier_date", "order_delivered_customer_date")
    purchased = pl.col("order_purchase_timestamp")
    orders = table(directory, "orders").select(
        "order_id",
        day=purchased.str.slice(0, 10),
        # A cancel counts if it came while the day was open; its time is the latest one known.
        cancelled=(pl.col("order_status") == "canceled")
        & (
            pl.max_horizontal(purchased, *times).str.slice(0, 10).str.to_date()
            <= purchased.str.slice(0, 10).str.to_date() + pl.duration(days=DAY_GRACE_DAYS)
        ),
    )
    products = table(directory, "products").join(
        table(directory, "category_translation"), on="product_category_name", how="left"
    )
    named = products.select(
        "product_id",
        category=pl.coalesce("product_category_name_english", "product_category_name").fill_null(
            ""
        ),
    )
    items = (
        table(directory, "order_items")
        .join(orders, on="order_id")
        .join(named, on="product_id", how="left")
        .with_columns(
            sales=cents("price"),
            member=pl.when(pl.col("category").is_in(sorted(categories)))
            .then(pl.col("category"))
            .otherwise(pl.lit("other")),
        )
    )
    payments = (
        table(directory, "order_payments")
        .join(orders, on="order_id")
        .with_columns(
            amount=cents("payment_value"),
            member=pl.col("payment_type").replace_strict(methods, default="other"),
        )
    )
    found: dict[tuple[str, str, str, str], int] = {}

    def put(index: str, dimension: str, frame: pl.DataFrame, column: str) -> None:
        for row in frame.iter_rows(named=True):
            found[row["day"], index, dimension, row.get("member", "all")] = row[column]

    put("orders", "market", orders.group_by("day").agg(n=pl.len()), "n")
    put("units", "market", items.group_by("day").agg(n=pl.len()), "n")
    put("sales", "market", items.group_by("day").agg(n=pl.col("sales").sum()), "n")
    by_category = items.group_by("day", "member").agg(
        orders=pl.col("order_id").n_unique(), units=pl.len(), sales=pl.col("sales").sum()
    )
    for index in ("orders", "units", "sales"):
        put(index, "category", by_category, index)
    put("payments", "market", payments.group_by("day").agg(n=pl.len()), "n")
    put("amount", "market", payments.group_by("day").agg(n=pl.col("amount").sum()), "n")
    cancelled = items.filter("cancelled")
    lost = orders.filter("cancelled").group_by("day").agg(orders=pl.len())
    lost = lost.join(
        cancelled.group_by("day").agg(units=pl.len(), sales=pl.col("sales").sum()),
        on="day",
        how="left",
    ).fill_null(0)
    lost_by_category = cancelled.group_by("day", "member").agg(
        orders=pl.col("order_id").n_unique(), units=pl.len(), sales=pl.col("sales").sum()
    )
    for dimension, frame in (("market", lost), ("category", lost_by_category)):
        for row in frame.iter_rows(named=True):
            for index in ("orders", "units", "sales"):
                where = (dimension, row.get("member", "all"))
                gross = found.get((row["day"], index, *where), 0)
                found[row["day"], f"{index}_valid", *where] = gross - row[index]
    for (day, index, dimension, member), value in list(found.items()):
        if dimension == "market" and index in ("orders", "units", "sales"):
            found.setdefault((day, f"{index}_valid", dimension, member), value)
    by_method = payments.group_by("day", "member").agg(
        payments=pl.len(), amount=pl.col("amount").sum()
    )
    for index in ("payments", "amount"):
        put(index, "payment_method", by_method, index)
    return {key: value for key, value in found.items() if value}


def expected_levels(directory: Path) -> dict[tuple[str, str, str, str], float]:
    """Level of every ended day against the base of market BR, from the tables alone.

    No order of Olist is refunded, so net is what was not cancelled. The first day is left out: the
    tables hold three hours of it.
    """
    base = tomllib.loads(OLIST.read_text())["markets"]["BR"]["base"]
    days = expected_days(directory)
    net = pl.DataFrame(
        [(key[0], net) for key, net in days.items() if key[1:3] == ("sales_valid", "market")],
        schema=["day", "net"],
        orient="row",
    ).with_columns(day=pl.col("day").str.to_date())
    within = net.filter(pl.col("day").is_between(base["from"], base["to"], closed="left"))
    mean_of = (base["to"] - base["from"]).days
    first = min(key[0] for key in days)
    return {
        (str(day), "sales_level_index", "market", "all"): 100 * own * mean_of / within["net"].sum()
        for day, own in net.iter_rows()
        if first < str(day)
    }
