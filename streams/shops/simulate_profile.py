"""What simulated shops sell and to whom: config/examples/demo/simulator.toml, checked."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from streams.settings import Problem, SettingsError, example

SIGMA_MIN, SIGMA_MAX = 0.3, 1.2
"""Limits for the spread of prices within a category. The published mean of some categories is ten times
their median (a few wholesale orders). A spread that wide would drown every test of sales in noise."""


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Outcomes(_Spec, frozen=True):
    """Outcomes of orders: shares of all orders, delays in hours."""

    cancelled: float
    refunded: float
    cancelled_after_h: list[float]
    delivered_after_h: list[float]
    refunded_after_h: list[float]


class Basket(_Spec, frozen=True):
    """Contents of an order: weights of its numbers of lines, of quantities, and its discounts."""

    lines: list[float]
    quantities: list[float]
    skus_per_category: int
    discounted: float
    discounts_percent: list[int]
    new_shoppers: float


class Method(_Spec, frozen=True):
    """A payment method. ``count``: its weight. ``on_delivery``: captured when the parcel arrives."""

    count: float
    on_delivery: bool = False


class Payments(_Spec, frozen=True):
    """How orders are paid. Delays are in seconds; methods have the names that a source uses."""

    failed: float
    retried: float
    delay_median_s: float
    delay_sigma: float
    methods: dict[str, Method]


class Category(_Spec, frozen=True):
    """One category: items sold, their median price in PKR and their total value in PKR."""

    items: float
    median: float
    value: float

    @property
    def sigma(self) -> float:
        """Sigma of the log-normal with this median and mean, within SIGMA_MIN and SIGMA_MAX."""
        ratio = self.value / self.items / self.median
        sigma = math.sqrt(2 * math.log(ratio)) if ratio > 1 else 0.0
        return min(max(sigma, SIGMA_MIN), SIGMA_MAX)


class Shape(_Spec, frozen=True):
    """Relative demand by month, local hour and weekday from Monday."""

    months: list[float]
    hours: list[float]
    weekdays: list[float]


class MarketProfile(_Spec, frozen=True):
    """One market. ``price_scale``: its currency units for one PKR. ``weight``: share of all orders."""

    currency: str
    time_zone: str
    weight: float
    price_scale: float
    shoppers: int
    sellers: int
    regions: dict[str, float]


class Profile(_Spec, frozen=True):
    """Everything that decides what simulated shops sell, to whom and when."""

    outcomes: Outcomes
    basket: Basket
    payments: Payments
    categories: dict[str, Category]
    shape: Shape
    channels: dict[str, float]
    markets: dict[str, MarketProfile]


def load_profile(path: Path | None = None) -> Profile:
    """Load the profile from a TOML file (None: the shipped file). Raises SettingsError."""
    path = path or example("demo", "simulator.toml")
    try:
        profile = msgspec.toml.decode(path.read_bytes(), type=Profile)
    except (OSError, msgspec.DecodeError) as error:
        problem = Problem("simulator profile", str(path), "command line", f"a profile ({error})")
        raise SettingsError([problem]) from error
    _check(profile, path)
    return profile


def _check(profile: Profile, path: Path) -> None:
    outcomes, basket, payments, shape = (
        profile.outcomes,
        profile.basket,
        profile.payments,
        profile.shape,
    )
    shares = (outcomes.cancelled, outcomes.refunded, payments.failed, payments.retried)
    weights = (
        basket.lines,
        basket.quantities,
        [method.count for method in payments.methods.values()],
        [category.items for category in profile.categories.values()],
        list(profile.channels.values()),
        [market.weight for market in profile.markets.values()],
        *(list(market.regions.values()) for market in profile.markets.values()),
        shape.months,
        shape.hours,
        shape.weekdays,
    )
    delays = (
        outcomes.cancelled_after_h,
        outcomes.delivered_after_h,
        outcomes.refunded_after_h,
    )
    rules = (
        ("outcomes, payments", all(0 <= share <= 1 for share in shares), "shares from 0 to 1"),
        ("outcomes", outcomes.cancelled + outcomes.refunded <= 1, "a sum of at most 1"),
        ("weights", all(min(w, default=0) > 0 for w in weights), "at least one, all above 0"),
        ("outcomes", all(min(d, default=0) > 0 for d in delays), "delays, all above 0"),
        ("shape.months", len(shape.months) == 12, "twelve"),  # noqa: PLR2004
        ("shape.hours", len(shape.hours) == 24, "24"),  # noqa: PLR2004
        ("shape.weekdays", len(shape.weekdays) == 7, "seven"),  # noqa: PLR2004
        ("basket.discounts_percent", all(0 < d < 100 for d in basket.discounts_percent), "1..99"),  # noqa: PLR2004
        ("basket.discounts_percent", bool(basket.discounts_percent), "at least one"),
        (
            "payments.methods",
            {m.on_delivery for m in payments.methods.values()} == {True, False},
            "methods paid at once and on delivery",
        ),
    )
    problems = [
        Problem(f"simulator {name}", None, f"file {path}", expected)
        for name, holds, expected in rules
        if not holds
    ]
    if problems:
        raise SettingsError(problems)
