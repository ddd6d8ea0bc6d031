"""Hourly counts that simulated shops would have had, for ``ecindex.history``; no events are drawn.

The means follow from the profile, curve and rate that the simulation of events uses. The noise around
them is that of the simulation too: orders are Poisson, their parts multinomial, units and money normal
with the variance of a sum over orders. The counts are a pure function of profile, options and hours; no
IO, no clock.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.index.history_records import SeededRow, seed_records
from streams.index.indices import ALL, CATEGORY, CHANNEL, MARKET, METHOD, REGION
from streams.index.methodology import OTHER, Market
from streams.index.panes import HOUR_MS
from streams.index.series import MEASURES
from streams.shops.simulate_draw import Catalogue
from streams.shops.simulate_market import Cohort, Curve, cohorts_of, orders_per_ms
from streams.shops.simulate_options import ShopOptions
from streams.shops.simulate_profile import Profile
from streams.shops.simulator import block_length_ms
from streams.sources.seed_rows import members_of

WEEK_HOURS = 168
_PARTS_OF_HOUR = 4
_GIVEN = sorted(
    [(dimension, measure) for dimension in (MARKET, METHOD) for measure in MEASURES]
    + [(each, measure) for each in (CATEGORY, REGION, CHANNEL) for measure in MEASURES[:3]]
)

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


class Hours(NamedTuple):
    """Hours ``[start_ms, end_ms)`` that a seed covers."""

    start_ms: int
    end_ms: int

    @classmethod
    def before(cls, now_ms: int, weeks: int) -> Hours:
        """Return the whole hours of the last ``weeks``."""
        end_ms = now_ms // HOUR_MS * HOUR_MS
        return cls(end_ms - weeks * WEEK_HOURS * HOUR_MS, end_ms)


class SimulatedSeed(NamedTuple):
    """Records of one market for ``ecindex.history``; the record that completes the seed is the last."""

    records: list[tuple[bytes, bytes]]
    given: list[tuple[str, str]]
    hours: Hours


class _DeliveryLag(NamedTuple):
    """Time from an order to its delivery, in hours and ms, and the share of the orders that it takes."""

    hours: int
    ms: int
    share: float


class Moments(NamedTuple):
    """Mean and mean square of a quantity in one order or one line."""

    mean: float
    square: float


def simulated_seeds(
    profile: Profile, options: ShopOptions, markets: Mapping[str, Market], hours: Hours
) -> dict[str, SimulatedSeed]:
    """Seeds by market. They contain no planted shift or outage.

    ``options`` must come from ``options.checked(profile)``.
    """
    block_ms = block_length_ms(options.rate_per_s)
    cohorts = cohorts_of(profile, options.lag_scale, block_ms)
    deliveries = _deliveries(cohorts, block_ms)
    earlier = max((each.hours + 1 for each in deliveries), default=0)
    open_hours = Hours(hours.start_ms - earlier * HOUR_MS, hours.end_ms)
    name = _name(profile, options, hours)
    seeds: dict[str, SimulatedSeed] = {}
    for code in options.markets:
        expected = _expected(profile, options, code, open_hours)
        expected *= orders_per_ms(profile, options, code, cohorts)
        random = np.random.default_rng([options.seed, zlib.crc32(code.encode()), hours.start_ms])
        orders = random.poisson(expected)
        drawn = _Drawn(
            Catalogue(profile, code), random, orders[earlier:], orders[:earlier], deliveries
        )
        records = seed_records(code, name, _rows(drawn, markets[code], hours), _GIVEN)
        seeds[code] = SimulatedSeed(records, _GIVEN, hours)
    return seeds


def _name(profile: Profile, options: ShopOptions, hours: Hours) -> str:
    given = (options.seed, options.rate_per_s, options.markets, options.season, hours, profile)
    return hashlib.sha256(msgspec.json.encode(given)).hexdigest()[:12]


def _expected(profile: Profile, options: ShopOptions, code: str, hours: Hours) -> Floats:
    """Length of each hour in ms, times the mean of the market's curve in it."""
    curve = Curve.of(profile.shape, profile.markets[code].time_zone, options.season)
    step_ms = HOUR_MS // _PARTS_OF_HOUR
    parts = np.array(
        [curve.at(at + step_ms // 2) for at in range(hours.start_ms, hours.end_ms, step_ms)]
    )
    lengths: Floats = parts.reshape(-1, _PARTS_OF_HOUR).sum(axis=1) * step_ms
    return lengths


def _rows(drawn: _Drawn, market: Market, hours: Hours) -> dict[int, list[SeededRow]]:
    columns = list(_by_member(drawn, market))
    return {
        hour_ms: [
            SeededRow(dimension, member, *counts[at]) for dimension, member, counts in columns
        ]
        for at, hour_ms in enumerate(range(hours.start_ms, hours.end_ms, HOUR_MS))
    }


def _by_member(drawn: _Drawn, market: Market) -> Iterator[tuple[str, str, list[list[int]]]]:
    """Yield (dimension, member, counts: hours x measures). Labels become members as in the index."""
    finders = members_of(market)
    for dimension, labels in drawn.labels().items():
        sums: dict[str, Counts] = {}
        for label, counts in labels.items():
            member = finders[dimension](label) or OTHER
            sums[member] = sums[member] + counts if member in sums else counts
        for member, counts in sums.items():
            yield dimension, member, counts.tolist()


def _deliveries(cohorts: Sequence[Cohort], block_ms: int) -> list[_DeliveryLag]:
    """Deliveries of the orders that are paid on delivery; those without one are cancelled before."""
    late = [cohort for cohort in cohorts if cohort.on_delivery]
    total = sum(cohort.share for cohort in late)
    return [
        _DeliveryLag(*divmod(each.blocks * block_ms, HOUR_MS), cohort.share / total)
        for cohort in late
        for each in cohort.follow_ups
        if each.kind == "delivered"
    ]


class _Drawn:
    """Drawn counts of one market's hours, by the profile's labels; columns as in ``MEASURES``.

    ``earlier``: orders of the hours before, of which deliveries are still to be paid.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        random: np.random.Generator,
        orders: Counts,
        earlier: Counts,
        deliveries: Sequence[_DeliveryLag],
    ) -> None:
        self._catalogue = catalogue
        self._random = random
        self._orders = orders
        self._earlier = earlier
        self._deliveries = deliveries
        sizes = catalogue.line_weights
        self._sizes = sizes / sizes.sum()
        self._lines_mean = float(self._sizes @ np.arange(1, len(sizes) + 1))
        items = catalogue.category_items
        self._shares = items / items.sum()
        self._units, self._sales = _of_lines(catalogue)

    def labels(self) -> dict[str, dict[str, Counts]]:
        """Counts (hours x measures) by dimension and label."""
        catalogue = self._catalogue
        categories = self._categories()
        methods = self._methods()
        total = sum(categories.values(), np.zeros((len(self._orders), 3), dtype=np.int64))
        total[:, 0] = self._orders
        paid = sum(methods.values(), np.zeros((len(self._orders), 6), dtype=np.int64))[:, 3:]
        return {
            MARKET: {ALL: np.concatenate([total, paid], axis=1)},
            CATEGORY: categories,
            METHOD: methods,
            REGION: self._split(catalogue.regions, catalogue.region_weights),
            CHANNEL: self._split(catalogue.channels, catalogue.channel_weights),
        }

    def _categories(self) -> dict[str, Counts]:
        found: dict[str, Counts] = {}
        size = np.arange(1, len(self._sizes) + 1)
        for at, name in enumerate(self._catalogue.category_names):
            share = self._shares[at]
            holds = 1 - float(self._sizes @ (1 - share) ** size)
            lines = self._orders * (self._lines_mean * share)
            orders = self._random.binomial(self._orders, holds)
            units = self._summed(lines, self._units, orders)
            found[name] = _table(orders, units, self._summed(lines, self._sales[at]))
        return found

    def _methods(self) -> dict[str, Counts]:
        payments = self._catalogue.payments
        names = list(payments.methods)
        counts = [method.count for method in payments.methods.values()]
        chosen = self._split(names, counts)
        earlier = dict(zip(names, self._parts(self._earlier, counts), strict=True))
        sales = self._of_order(self._sales_of_line())
        kept = 1 - payments.failed + payments.failed * payments.retried
        for name, method in payments.methods.items():
            orders = chosen[name][:, 0]
            if method.on_delivery:
                captured, failed = self._delivered(np.concatenate([earlier[name], orders])), 0.0
            else:
                captured, failed = self._random.binomial(orders, kept), payments.failed
            failures = self._random.binomial(orders, failed)
            amount = self._summed(captured, sales)
            chosen[name] = np.concatenate(
                [chosen[name], _table(captured, amount, failures)], axis=1
            )
        return chosen

    def _delivered(self, orders: Counts) -> Counts:
        """Deliveries in each hour. ``orders``: of the earlier hours and of these."""
        captured = np.zeros(len(self._orders), dtype=np.int64)
        shares = [each.share for each in self._deliveries]
        taken = self._random.multinomial(orders, [*shares, max(0.0, 1 - sum(shares))]).T
        for each, own in zip(self._deliveries, taken, strict=False):
            next_hour = self._random.binomial(own, each.ms / HOUR_MS)
            first = len(self._earlier) - each.hours
            until = first + len(captured)
            captured += (own - next_hour)[first:until] + next_hour[first - 1 : until - 1]
        return captured

    def _parts(self, orders: Counts, weights: Sequence[float]) -> Counts:
        """Draw how many of the orders of each hour have each of the labels: labels x hours."""
        shares = np.array(weights, dtype=np.float64)
        parts: Counts = self._random.multinomial(orders, shares / shares.sum()).T
        return parts

    def _split(self, names: Sequence[str], weights: Sequence[float]) -> dict[str, Counts]:
        parts = self._parts(self._orders, weights)
        units, sales = self._of_order(self._units), self._of_order(self._sales_of_line())
        return {
            name: _table(part, self._summed(part, units, part), self._summed(part, sales))
            for name, part in zip(names, parts, strict=True)
        }

    def _sales_of_line(self) -> Moments:
        """Moments of the value of a line of any category."""
        means = np.array([each.mean for each in self._sales])
        squares = np.array([each.square for each in self._sales])
        return Moments(float(self._shares @ means), float(self._shares @ squares))

    def _of_order(self, line: Moments) -> Moments:
        """Moments of an order: the sum of its independent lines."""
        sizes = np.arange(1, len(self._sizes) + 1)
        pairs = float(self._sizes @ (sizes * (sizes - 1)))
        return Moments(
            self._lines_mean * line.mean, self._lines_mean * line.square + pairs * line.mean**2
        )

    def _summed(self, count: Floats | Counts, each: Moments, at_least: Counts | int = 0) -> Counts:
        """Draw the sum of Poisson many parts: its mean is n m, its variance n times the mean square.

        ``count``: n in each hour. ``each``: moments of a part, m its mean.
        """
        noise = self._random.standard_normal(len(self._orders))
        summed = count * each.mean + np.sqrt(count * each.square) * noise
        rounded: Counts = np.maximum(np.rint(summed), at_least).astype(np.int64)
        return rounded


def _of_lines(catalogue: Catalogue) -> tuple[Moments, list[Moments]]:
    """Moments of a line's units, and of its value in minor units for each category."""
    basket = catalogue.basket
    quantities = np.array(basket.quantities) / sum(basket.quantities)
    pieces = np.arange(1, len(quantities) + 1)
    units = Moments(float(quantities @ pieces), float(quantities @ pieces**2))
    percents = [0, *basket.discounts_percent]
    n = len(basket.discounts_percent)
    chances = np.array([1 - basket.discounted, *[basket.discounted / n] * n])
    prices = np.array([catalogue.prices * (100 - percent) // 100 for percent in percents])
    means, squares = chances @ prices, chances @ (prices.astype(np.float64) ** 2)
    popular = np.diff(catalogue.sku_shares, prepend=0.0)
    per = basket.skus_per_category
    return units, [
        Moments(
            units.mean * float(popular @ means[at : at + per]),
            units.square * float(popular @ squares[at : at + per]),
        )
        for at in range(0, len(catalogue.prices), per)
    ]


def _table(*columns: Counts) -> Counts:
    return np.stack(columns, axis=1)
