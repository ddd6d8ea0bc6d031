"""Computes from sums the index values that must be published, as docs/methodology.md defines them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from streams.index.methodology import Market
from streams.proof.recompute.shopper_registers import estimate
from streams.proof.recompute.sums import LATE, WAITING, Sums

ORDERS, PAYMENTS = "orders", "payments"
"""The input that an index is counted from: each has its own as_of."""
_WHOLE = ("market", "all")
_LEDGERS = {"": 0, "_valid": 1, "_net": 2}
"""Ledger of a day -> how many of cancelled and refunded are subtracted."""
_THREE = (("orders", "count"), ("units", "count"), ("sales", "minor"))


@dataclass(frozen=True, slots=True)
class Expected:
    """Fields that a published value must have. ``value`` None: its denominator is 0."""

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
    whole: int | None = None
    """Denominator of ``observed``; None: the value is a count."""

    @property
    def name(self) -> tuple[str, str, str]:
        """(index, dimension, member)."""
        return self.index, self.dimension, self.member


def window_values(market: Market, orders: Sums, payments: Sums) -> Iterator[Expected]:
    """Yield every index of a live window. ``orders``, ``payments``: sums up to each input's as_of."""
    yield from window_values_of(market, *_WHOLE, orders, payments)
    for dimension, members in (
        ("category", market.categories),
        ("payment_method", market.methods),
        ("region", market.regions),
        ("channel", market.channels),
    ):
        for member in members:
            yield from window_values_of(market, dimension, member, orders, payments)


def window_values_of(
    market: Market, dimension: str, member: str, orders: Sums, payments: Sums
) -> Iterator[Expected]:
    """Yield every index of one member of a live window; `market`, `all` is the whole."""
    if dimension == "market":
        yield from _whole_window(market, orders, payments)
    elif dimension == "category":
        yield from _category(member, orders)
    elif dimension == "payment_method":
        yield from _chosen(member, orders)
        yield from _paid_by(member, payments)
    else:
        yield from _three(dimension, member, orders, f"{dimension}/{member}/")


def _whole_window(market: Market, orders: Sums, payments: Sums) -> Iterator[Expected]:
    count = orders.get("orders", 0)
    yield from _three(*_WHOLE, orders, "")
    yield _ratio("basket_sales", _WHOLE, "minor", orders.get("sales", 0), count, count)
    yield _ratio("basket_units", _WHOLE, "ratio", orders.get("units", 0), count, count)
    captured = payments.get("payments", 0)
    yield _count("payments", _WHOLE, "count", captured, captured)
    yield _count("amount", _WHOLE, "minor", payments.get("amount", 0), captured)
    yield _failure(_WHOLE, payments.get("failed", 0), captured)
    digital = sum(
        payments.get(f"method/{member}/captured", 0)
        for member in market.methods
        if member in market.digital
    )
    yield _ratio("digital_share", _WHOLE, "ratio", digital, captured, captured, PAYMENTS)


def _category(member: str, sums: Sums) -> Iterator[Expected]:
    where, prefix = ("category", member), f"category/{member}/"
    count, sales = sums.get("orders", 0), sums.get("sales", 0)
    yield from _three(*where, sums, prefix)
    own_orders, own_sales = sums.get(f"{prefix}orders", 0), sums.get(f"{prefix}sales", 0)
    yield _ratio("category_share_by_orders", where, "ratio", own_orders, count, count)
    yield _ratio("category_share_by_sales", where, "ratio", own_sales, sales, count)


def _chosen(member: str, sums: Sums) -> Iterator[Expected]:
    where, prefix = ("payment_method", member), f"method/{member}/"
    chosen = sums.get("chosen", 0)
    yield from _three(*where, sums, prefix)
    own = sums.get(f"{prefix}orders", 0)
    yield _ratio("payment_chosen_share", where, "ratio", own, chosen, chosen)


def _paid_by(member: str, sums: Sums) -> Iterator[Expected]:
    where = ("payment_method", member)
    captured, amount = sums.get("payments", 0), sums.get("amount", 0)
    own, own_amount, failed = (
        sums.get(f"method/{member}/{what}", 0) for what in ("captured", "amount", "failed")
    )
    yield _count("payments", where, "count", own, own)
    yield _count("amount", where, "minor", own_amount, own)
    yield _ratio("payment_share_by_count", where, "ratio", own, captured, captured, PAYMENTS)
    yield _ratio("payment_share_by_amount", where, "ratio", own_amount, amount, captured, PAYMENTS)
    yield _failure(where, failed, own)


def shopper_values(sums: Sums) -> Iterator[Expected]:
    """Yield the indices of shoppers."""
    return shopper_values_of(estimate(sums.buyers), sums)


def shopper_values_of(found: int, sums: Sums) -> Iterator[Expected]:
    """Yield the indices of shoppers, given ``found`` different ones.

    The limits of an estimate are two standard errors of 1.04 / sqrt(4096).
    """
    orders, known, new = (
        sums.get(name, 0) for name in ("shopper_orders", "new_known", "new_shoppers")
    )
    lower, upper = found * (1 - 0.0325), found * (1 + 0.0325)
    if found:
        yield Expected("shoppers", *_WHOLE, "count", found, found, orders, ORDERS, lower, upper)
        yield Expected(
            "orders_per_shopper", *_WHOLE, "ratio", orders / found, orders, orders, ORDERS,
            orders / upper, orders / lower, found,
        )  # fmt: skip
    else:
        yield Expected("shoppers", *_WHOLE, "count", None, 0, orders, ORDERS)
        yield _ratio("orders_per_shopper", _WHOLE, "ratio", orders, 0, orders)
    yield _ratio("new_shopper_share", _WHOLE, "ratio", new, known, known)


def day_values(market: Market, sums: Sums) -> Iterator[Expected]:
    """Yield the values of a local day, by when orders were placed. Members with nothing are absent.

    Valid is placed less cancelled; net is valid less refunded. A member has them only if any of its
    orders was cancelled or refunded.
    """
    yield from day_values_of(*_WHOLE, sums)
    for dimension, kind, members in (
        ("category", "category", market.categories),
        ("payment_method", "method", market.methods),
    ):
        for member in members:
            prefix = f"{kind}/{member}/"
            if _any(sums, prefix, "placed"):
                yield from _ledger(dimension, member, sums, prefix, "")
            if _any(sums, prefix, "cancelled", "refunded"):
                yield from _less(dimension, member, sums, prefix)
    for member in market.methods:
        if sums.get(f"method/{member}/captured", 0):
            yield from _paid_of_day("payment_method", member, sums)


def day_values_of(dimension: str, member: str, sums: Sums) -> Iterator[Expected]:
    """Yield every index of one member of a local day, whether it had anything or not."""
    kind = {"market": "", "payment_method": f"method/{member}/"}
    prefix = kind.get(dimension, f"{dimension}/{member}/")
    yield from _ledger(dimension, member, sums, prefix, "")
    yield from _less(dimension, member, sums, prefix)
    if dimension in kind:
        yield from _paid_of_day(dimension, member, sums)
    if dimension == "market":
        total = sums.get("payments", 0)
        placed = total - sums.get("unplaced_payments", 0)
        yield _ratio("cohort_coverage", _WHOLE, "ratio", placed, total, total, PAYMENTS)


def _any(sums: Sums, prefix: str, *ledgers: str) -> bool:
    return any(
        sums.get(f"{prefix}{kept}{ledger}/{what}", 0)
        for kept in ("", LATE, WAITING)
        for ledger in ledgers
        for what, _ in _THREE
    )


def _paid_of_day(dimension: str, member: str, sums: Sums) -> Iterator[Expected]:
    where, names = (dimension, member), ("payments", "amount")
    if dimension == "payment_method":
        names = f"method/{member}/captured", f"method/{member}/amount"
    captured, amount = (sums.get(name, 0) for name in names)
    yield _count("payments", where, "count", captured, captured)
    yield _count("amount", where, "minor", amount, captured)


def _three(dimension: str, member: str, sums: Sums, prefix: str) -> Iterator[Expected]:
    n = sums.get(f"{prefix}orders", 0)
    for index, unit in _THREE:
        value = sums.get(f"{prefix}{index}", 0)
        yield Expected(index, dimension, member, unit, value, value, n, ORDERS)


def _less(dimension: str, member: str, sums: Sums, where: str) -> Iterator[Expected]:
    for ledger in ("_valid", "_net"):
        yield from _ledger(dimension, member, sums, where, ledger)


def _ledger(dimension: str, member: str, sums: Sums, where: str, ledger: str) -> Iterator[Expected]:
    """Yield orders, units and sales of gross, valid or net.

    Limits: the value if every late order is a copy and every correction that waits is of an order that
    counts; and the value. Where there is neither, there are none.
    """
    less = ("cancelled", "refunded")[: _LEDGERS[ledger]]

    def summed(index: str, *names: str) -> int:
        return sum(sums.get(f"{where}{name}/{index}", 0) for name in names)

    values = {
        index: summed(index, "placed", f"{LATE}placed") - summed(index, *less)
        for index, _ in _THREE
    }
    doubtful = {
        index: summed(index, f"{LATE}placed", *(f"{WAITING}{each}" for each in less))
        for index, _ in _THREE
    }
    for index, unit in _THREE:
        value = values[index]
        found = Expected(
            f"{index}{ledger}", dimension, member, unit, value, value, values["orders"], ORDERS
        )
        if any(doubtful.values()):
            found = replace(found, lower=float(value - doubtful[index]), upper=float(value))
        yield found


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
    return Expected(index, *where, unit, value, part, n, basis, whole=whole)
