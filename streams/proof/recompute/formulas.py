"""Sums -> the index values that must be published, by the definitions of docs/methodology.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from streams.index.methodology import Market
from streams.proof.recompute.shopper_registers import estimate
from streams.proof.recompute.sums import Sums

ORDERS, PAYMENTS = "orders", "payments"
"""The input that an index is counted from: each has its own as_of."""
_THREE = (("orders", "count"), ("units", "count"), ("sales", "minor"))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a value must say. ``value`` None: nothing below the line."""

    index: str
    dimension: str
    member: str
    unit: str
    value: int | float | None
    observed: int
    n: int
    basis: str
    lower: float | None = None
    upper: float | None = None

    @property
    def name(self) -> tuple[str, str, str]:
        """(index, dimension, member)."""
        return self.index, self.dimension, self.member


def window_values(market: Market, orders: Sums, payments: Sums) -> Iterator[Expected]:
    """Every index of a live window. ``orders``, ``payments``: sums up to each input's as_of."""
    count, sales = orders.get("orders", 0), orders.get("sales", 0)
    yield from _three("market", "all", orders, "", ORDERS)
    yield _ratio("basket_sales", ("market", "all"), "minor", sales, count, count)
    units = orders.get("units", 0)
    yield _ratio("basket_units", ("market", "all"), "ratio", units, count, count)
    for member in market.categories:
        where, prefix = ("category", member), f"category/{member}/"
        yield from _three(*where, orders, prefix, ORDERS)
        own_orders, own_sales = orders.get(f"{prefix}orders", 0), orders.get(f"{prefix}sales", 0)
        yield _ratio("category_share_by_orders", where, "ratio", own_orders, count, count)
        yield _ratio("category_share_by_sales", where, "ratio", own_sales, sales, count)
    chosen = orders.get("chosen", 0)
    for member in market.methods:
        where, prefix = ("payment_method", member), f"method/{member}/"
        yield from _three(*where, orders, prefix, ORDERS)
        own = orders.get(f"{prefix}orders", 0)
        yield _ratio("payment_chosen_share", where, "ratio", own, chosen, chosen)
    for dimension, members in (("region", market.regions), ("channel", market.channels)):
        for member in members:
            yield from _three(dimension, member, orders, f"{dimension}/{member}/", ORDERS)
    yield from _payment_values(market, payments)


def _payment_values(market: Market, sums: Sums) -> Iterator[Expected]:
    captured, amount = sums.get("payments", 0), sums.get("amount", 0)
    failed = sums.get("failed", 0)
    whole = ("market", "all")
    yield _count("payments", whole, "count", captured, captured)
    yield _count("amount", whole, "minor", amount, captured)
    yield _failure(whole, failed, captured)
    digital = 0
    for member in market.methods:
        where = ("payment_method", member)
        own, own_amount, own_failed = (
            sums.get(f"method/{member}/{what}", 0) for what in ("captured", "amount", "failed")
        )
        yield _count("payments", where, "count", own, own)
        yield _count("amount", where, "minor", own_amount, own)
        yield _ratio("payment_share_by_count", where, "ratio", own, captured, captured, PAYMENTS)
        yield _ratio(
            "payment_share_by_amount", where, "ratio", own_amount, amount, captured, PAYMENTS
        )
        yield _failure(where, own_failed, own)
        digital += own if member in market.digital else 0
    yield _ratio("digital_share", whole, "ratio", digital, captured, captured, PAYMENTS)


def shopper_values(sums: Sums) -> Iterator[Expected]:
    """Who bought: two standard errors of 1.04 / sqrt(4096) make the limits of what is estimated."""
    orders, known, new = (
        sums.get(name, 0) for name in ("shopper_orders", "new_known", "new_shoppers")
    )
    found = estimate(sums.buyers)
    whole = ("market", "all")
    lower, upper = found * (1 - 0.0325), found * (1 + 0.0325)
    if found:
        yield Expected("shoppers", *whole, "count", found, found, orders, ORDERS, lower, upper)
        yield Expected(
            "orders_per_shopper", *whole, "ratio", orders / found, orders, orders, ORDERS,
            orders / upper, orders / lower,
        )  # fmt: skip
    else:
        yield Expected("shoppers", *whole, "count", None, 0, orders, ORDERS)
        yield Expected("orders_per_shopper", *whole, "ratio", None, orders, orders, ORDERS)
    yield _ratio("new_shopper_share", whole, "ratio", new, known, known)


def day_values(market: Market, sums: Sums) -> Iterator[Expected]:
    """Values of a local day by when orders were placed; members with nothing are absent.

    Valid is what was placed less what was cancelled, net less refunds too; of a member only where
    there was any.
    """
    yield from _three("market", "all", sums, "placed/", ORDERS)
    captured = sums.get("payments", 0)
    yield _count("payments", ("market", "all"), "count", captured, captured)
    yield _count("amount", ("market", "all"), "minor", sums.get("amount", 0), captured)
    for dimension, kind, members in (
        ("category", "category", market.categories),
        ("payment_method", "method", market.methods),
    ):
        for member in members:
            prefix = f"{kind}/{member}/placed/"
            if any(sums.get(f"{prefix}{what}", 0) for what, _ in _THREE):
                yield from _three(dimension, member, sums, prefix, ORDERS)
            own_prefix = f"{kind}/{member}/"
            if any(
                sums.get(f"{own_prefix}{ledger}/{what}", 0)
                for ledger in ("cancelled", "refunded")
                for what, _ in _THREE
            ):
                yield from _less(dimension, member, sums, own_prefix)
    yield from _less("market", "all", sums, "")
    unplaced = sums.get("unplaced_payments", 0)
    total = captured + unplaced
    yield _ratio("cohort_coverage", ("market", "all"), "ratio", captured, total, total, PAYMENTS)
    for member in market.methods:
        own = sums.get(f"method/{member}/captured", 0)
        if own:
            where = ("payment_method", member)
            yield _count("payments", where, "count", own, own)
            yield _count("amount", where, "minor", sums.get(f"method/{member}/amount", 0), own)


def _three(dimension: str, member: str, sums: Sums, prefix: str, basis: str) -> Iterator[Expected]:
    n = sums.get(f"{prefix}orders", 0)
    for index, unit in _THREE:
        value = sums.get(f"{prefix}{index}", 0)
        yield Expected(index, dimension, member, unit, value, value, n, basis)


def _less(dimension: str, member: str, sums: Sums, where: str) -> Iterator[Expected]:
    n = [sums.get(f"{where}{name}/orders", 0) for name in ("placed", "cancelled", "refunded")]
    for index, unit in _THREE:
        placed, cancelled, refunded = (
            sums.get(f"{where}{name}/{index}", 0) for name in ("placed", "cancelled", "refunded")
        )
        valid, net = placed - cancelled, placed - cancelled - refunded
        left = n[0] - n[1]
        yield Expected(f"{index}_valid", dimension, member, unit, valid, valid, left, ORDERS)
        left -= n[2]
        yield Expected(f"{index}_net", dimension, member, unit, net, net, left, ORDERS)


def _count(index: str, where: tuple[str, str], unit: str, value: int, n: int) -> Expected:
    return Expected(index, *where, unit, value, value, n, PAYMENTS)


def _failure(where: tuple[str, str], failed: int, captured: int) -> Expected:
    tried = failed + captured
    return _ratio("payment_failure_ratio", where, "ratio", failed, tried, tried, PAYMENTS)


def _ratio(
    index: str,
    where: tuple[str, str],
    unit: str,
    part: int,
    whole: int,
    n: int,
    basis: str = ORDERS,
) -> Expected:
    value = part / whole if whole else None
    return Expected(index, *where, unit, value, part, n, basis)
