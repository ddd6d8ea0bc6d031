"""Published values from sums: every index of a window and of a day."""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache

from xxhash import xxh3_64_intdigest

from .counting import Counts
from .rules import MarketRules

SHOPPERS_KEY = int.from_bytes(b"shoppers")
Found = tuple[int | float | None, int | None, int]
"""(value, observed, n)."""


def _divided(above: int, below: int) -> float | None:
    return above / below if below else None


def live_values(counts: Counts, market: MarketRules) -> dict[str, Found]:
    """Every index that any window has: (value, observed, n) by ``index:dimension:member``."""
    found: dict[str, Found] = {}
    orders, sales = counts["orders",], counts["sales",]
    for index in ("orders", "units", "sales"):
        found[f"{index}:market:all"] = _plain(counts[index,], orders)
        for dimension in ("category", "payment_method", "region", "channel"):
            for member in market.members[dimension]:
                behind = counts["orders", dimension, member]
                value = counts[index, dimension, member]
                found[f"{index}:{dimension}:{member}"] = _plain(value, behind)
    for index in ("sales", "units"):
        total = counts[index,]
        found[f"basket_{index}:market:all"] = (_divided(total, orders), total, orders)
    for member in market.members["category"]:
        own = counts["orders", "category", member]
        found[f"category_share_by_orders:category:{member}"] = (_divided(own, orders), own, orders)
        own = counts["sales", "category", member]
        found[f"category_share_by_sales:category:{member}"] = (_divided(own, sales), own, orders)
    chosen, captured, amount = counts["chosen",], counts["payments",], counts["amount",]
    found["payments:market:all"] = _plain(captured, captured)
    found["amount:market:all"] = _plain(amount, captured)
    found["payment_failure_ratio:market:all"] = _failures(counts["failed",], captured)
    digital = 0
    for member in market.members["payment_method"]:
        own = counts["orders", "payment_method", member]
        found[f"payment_chosen_share:payment_method:{member}"] = (
            _divided(own, chosen), own, chosen,
        )  # fmt: skip
        own = counts["payments", "payment_method", member]
        paid = counts["amount", "payment_method", member]
        found[f"payments:payment_method:{member}"] = _plain(own, own)
        found[f"amount:payment_method:{member}"] = _plain(paid, own)
        found[f"payment_share_by_count:payment_method:{member}"] = (
            _divided(own, captured), own, captured,
        )  # fmt: skip
        found[f"payment_share_by_amount:payment_method:{member}"] = (
            _divided(paid, amount), paid, captured,
        )  # fmt: skip
        failed = counts["failed", "payment_method", member]
        found[f"payment_failure_ratio:payment_method:{member}"] = _failures(failed, own)
        digital += own if member in market.digital else 0
    found["digital_share:market:all"] = (_divided(digital, captured), digital, captured)
    return found


def registers_of(counts: Counts) -> tuple[tuple[int, int], ...]:
    """The filled (register, rank) pairs of the shoppers' sketch, by docs/methodology.md.

    A shopper's 64-bit hash is read as text of binary digits. The register is the first 12; the rank
    is the place of the first 1 in the other 52.
    """
    found: dict[int, int] = {}
    for name in counts:
        if name[0] == "shopper" and counts[name]:
            digits = f"{xxh3_64_intdigest(name[1].encode(), SHOPPERS_KEY):064b}"
            register, rank = int(digits[:12], 2), (digits[12:] + "1").index("1") + 1
            found[register] = max(rank, found.get(register, 0))
    return tuple(sorted(found.items()))


@lru_cache(10_000)
def shoppers_estimated(registers: tuple[tuple[int, int], ...]) -> int:
    """Ertl's improved estimator (arXiv:1702.01284, algorithm 6), to the nearest integer."""
    if not registers:
        return 0
    of_rank = Counter(rank for _, rank in registers)
    z = 4096 * _tau(1 - of_rank[53] / 4096)
    for rank in range(52, 0, -1):
        z = (z + of_rank[rank]) * 0.5
    z += 4096 * _sigma((4096 - len(registers)) / 4096)
    return round(0.5 / math.log(2) * 4096 * 4096 / z)


def _sigma(x: float) -> float:
    total, power, weight = x, x * x, 1.0
    while total + power * weight != total:
        total += power * weight
        power, weight = power * power, 2 * weight
    return total


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    total, root, weight = 1 - x, math.sqrt(x), 0.5
    while total - (1 - root) ** 2 * weight != total:
        total -= (1 - root) ** 2 * weight
        root, weight = math.sqrt(root), weight * 0.5
    return total / 3


def shopper_values(counts: Counts) -> dict[str, tuple]:
    """Shoppers of a span: (value, observed, n, lower, upper) by ``index:dimension:member``."""
    orders, known = counts["shopper_orders",], counts["new_known",]
    shoppers = shoppers_estimated(registers_of(counts))
    low, high = shoppers * (1 - 0.0325), shoppers * (1 + 0.0325)
    some = bool(shoppers)
    return {
        "shoppers:market:all": (
            shoppers or None, shoppers, orders, low if some else None, high if some else None,
        ),
        "orders_per_shopper:market:all": (
            _divided(orders, shoppers), orders, orders,
            orders / high if some else None, orders / low if some else None,
        ),
        "new_shopper_share:market:all": (
            _divided(counts["new_shoppers",], known), counts["new_shoppers",], known, None, None,
        ),
    }  # fmt: skip


SHOPPER_INDICES = ("shoppers", "orders_per_shopper", "new_shopper_share")
PAYMENT_INDICES = (
    "payments",
    "amount",
    "payment_failure_ratio",
    "payment_share_by_count",
    "payment_share_by_amount",
    "digital_share",
)
"""Indices that are counted from the payments topic and follow its as_of."""


def _plain(value: int, behind: int) -> Found:
    return value, value, behind


def _failures(failed: int, captured: int) -> Found:
    return _divided(failed, failed + captured), failed, failed + captured


LEDGERS = {"": (), "_valid": ("cancelled_",), "_net": ("cancelled_", "refunded_")}
"""Ledger of a day -> what is subtracted from its placed orders."""


def day_values(counts: Counts, market: MarketRules) -> dict[str, Found]:
    """Values of a day. Members without counts are left out, as are valid and net that equal gross."""
    found = {name: each[:3] for name, each in day_orders(counts, market).items()}
    payments, unplaced = counts["payments",], counts["unplaced_payments",]
    found["payments:market:all"] = _plain(payments, payments)
    found["amount:market:all"] = _plain(counts["amount",], payments)
    found["cohort_coverage:market:all"] = (
        _divided(payments - unplaced, payments), payments - unplaced, payments,
    )  # fmt: skip
    for member in market.members["payment_method"]:
        payments = counts["payments", "payment_method", member]
        if payments:
            found[f"payments:payment_method:{member}"] = _plain(payments, payments)
            amount = counts["amount", "payment_method", member]
            found[f"amount:payment_method:{member}"] = _plain(amount, payments)
    return found


def day_orders(counts: Counts, market: MarketRules) -> dict[str, tuple]:
    """Orders of a day: (value, observed, n, lower, upper) by ``index:dimension:member``.

    The limits are the value without late orders and with what waits subtracted, and the value; None
    where there is neither.
    """
    found: dict[str, tuple] = {}
    for dimension in ("market", "category", "payment_method"):
        for member in ("all",) if dimension == "market" else market.members[dimension]:
            where = () if dimension == "market" else (dimension, member)
            for ledger, less in LEDGERS.items():
                names = ("",) if not ledger else ("cancelled_", "refunded_")
                if not where or _any(counts, names, where):
                    for index, each in _of_ledger(counts, less, where).items():
                        found[f"{index}{ledger}:{dimension}:{member}"] = each
    return found


def _any(counts: Counts, names: tuple, where: tuple) -> bool:
    return any(
        counts[f"{beside}{name}{index}", *where]
        for beside in ("", "late_", "waiting_")
        for name in names
        for index in ("orders", "units", "sales")
    )


def _of_ledger(counts: Counts, less: tuple, where: tuple) -> dict[str, tuple]:
    def subtracted(index: str, beside: str = "") -> int:
        return sum(counts[f"{beside}{each}{index}", *where] for each in less)

    found, least = {}, {}
    for index in ("orders", "units", "sales"):
        placed, late = counts[index, *where], counts[f"late_{index}", *where]
        found[index] = placed + late - subtracted(index)
        least[index] = placed - subtracted(index) - subtracted(index, "waiting_")
    sure = found == least
    return {
        index: (value, value, found["orders"], *((None, None) if sure else (least[index], value)))
        for index, value in found.items()
    }
