"""Draws orders with numpy: one market, one block of time, one cohort at a time."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.index.event_types import Line
from streams.index.slugs import slug
from streams.shops.simulate_options import SECOND_MS, ShopOptions
from streams.shops.simulate_profile import Profile

PAYMENT_FIRST_MAX_MS = 90 * SECOND_MS
PAYMENT_MAX_MS = 120 * SECOND_MS
"""A payment comes at most this long after its order, even one that is tried again."""
REPEATED_MAX_MS = 30 * SECOND_MS
"""A duplicate comes at most this long after the original."""
SLOTS = 5
"""Events that an order can have; each has its own delay and repetition."""

_SKU_POPULARITY = 0.8  # Zipf exponent: some articles sell far more often than others
_ROWS = 14  # uniform numbers that an order needs, see draw

Floats = NDArray[np.float64]


def cumulated(weights: Iterable[float]) -> Floats:
    """Cumulated shares, the last one exactly 1."""
    sums: Floats = np.cumsum(np.fromiter(weights, dtype=np.float64))
    sums /= sums[-1]
    sums[-1] = 1.0
    return sums


def _pick(shares: Floats, uniform: Floats) -> list[int]:
    picked: list[int] = np.searchsorted(shares, uniform, side="right").tolist()
    return picked


class Piece(NamedTuple):
    """A stretch of a block in which nothing changes.

    ``orders``: orders expected. ``categories``: cumulated shares of the categories.
    """

    start_ms: int
    end_ms: int
    orders: float
    categories: Floats


class Wanted(NamedTuple):
    """Orders to draw: ``counts`` of them in each of the pieces. Their ids begin with ``prefix``."""

    pieces: Sequence[Piece]
    counts: NDArray[np.int64]
    on_delivery: bool
    prefix: str


class Catalogue:
    """What a market sells: articles, list prices, methods, regions. It does not depend on the seed."""

    def __init__(self, profile: Profile, code: str) -> None:
        self.code = code
        self.market = profile.markets[code]
        self.basket = profile.basket
        self.payments = profile.payments
        self.category_names = list(profile.categories)
        self.category_slugs = [slug(name) for name in self.category_names]
        self.category_items: Floats = np.array(
            [category.items for category in profile.categories.values()], dtype=np.float64
        )
        count = profile.basket.skus_per_category
        self.skus = [f"{name}-{n}" for name in self.category_slugs for n in range(count)]
        self.labels = [name for name in self.category_names for _ in range(count)]
        self.prices = np.concatenate(
            [self._prices(profile, name, index) for index, name in enumerate(profile.categories)]
        )
        self.sku_shares = cumulated((n + 1) ** -_SKU_POPULARITY for n in range(count))
        self.line_weights = np.array(profile.basket.lines, dtype=np.float64)
        self.line_shares = cumulated(self.line_weights)
        self.quantity_shares = cumulated(profile.basket.quantities)
        self.discounts = np.array(profile.basket.discounts_percent)
        methods = profile.payments.methods
        self.methods = {
            late: [name for name, method in methods.items() if method.on_delivery is late]
            for late in (False, True)
        }
        self.method_shares = {
            late: cumulated(methods[name].count for name in names)
            for late, names in self.methods.items()
        }
        self.regions = list(self.market.regions)
        self.region_weights = list(self.market.regions.values())
        self.region_shares = cumulated(self.region_weights)
        self.channels = list(profile.channels)
        self.channel_weights = list(profile.channels.values())
        self.channel_shares = cumulated(self.channel_weights)

    def positions(self, category: str) -> list[int]:
        """Rows of ``category_items`` that a slug stands for; ``all`` stands for every row."""
        slugs = self.category_slugs
        return [i for i, name in enumerate(slugs) if category in (name, "all")]

    def _prices(self, profile: Profile, name: str, index: int) -> NDArray[np.int64]:
        """List prices in minor units: quantiles of the category's log-normal, in random order."""
        category, count = profile.categories[name], profile.basket.skus_per_category
        normal = NormalDist(0, category.sigma)
        spread = np.exp([normal.inv_cdf((n + 0.5) / count) for n in range(count)])
        order = np.random.default_rng([zlib.crc32(self.code.encode()), index])
        prices = order.permutation(spread) * category.median * self.market.price_scale
        return np.maximum(np.rint(prices), 1).astype(np.int64) * 100


@dataclass(slots=True)
class Orders:
    """Drawn orders by time of placing, one list for each attribute. Times are UTC epoch ms."""

    ids: list[str]
    placed_ms: list[int]
    lines: list[list[Line]]
    amounts: list[int]
    methods: list[str]
    regions: list[str]
    channels: list[str]
    shoppers: list[str]
    new: list[bool]
    sellers: list[str]
    first_ms: list[int]
    """Time from the order to the first attempt to pay it."""
    second_ms: list[int]
    """Time from the order to the second attempt to pay it."""
    failed: list[bool]
    retried: list[bool]
    follow: list[float]
    """Place of a later event within its block, 0..1."""
    delays_ms: list[list[int]]
    """Time from an event until it is sent, slots x orders; empty when no event is delayed."""
    repeats_ms: list[list[int]]
    """Time from sending an event to sending its duplicate, slots x orders; 0: it has no duplicate.
    Empty when no event has one."""

    def __len__(self) -> int:
        return len(self.ids)


def draw(
    catalogue: Catalogue, random: np.random.Generator, wanted: Wanted, options: ShopOptions
) -> Orders:
    """Draw the orders of a cohort in a block; ``wanted`` asks for at least one.

    ``random`` must be fresh: the orders depend on all that was drawn from it.
    """
    pieces, counts, on_delivery = wanted.pieces, wanted.counts, wanted.on_delivery
    n = int(counts.sum())
    uniform = random.random((_ROWS, n))
    normal = random.standard_normal(n)
    starts = np.repeat([piece.start_ms for piece in pieces], counts)
    lengths = np.repeat([piece.end_ms - piece.start_ms for piece in pieces], counts)
    placed = np.sort(starts + (uniform[0] * lengths).astype(np.int64))

    sizes = np.searchsorted(catalogue.line_shares, uniform[1], side="right") + 1
    lines, amounts = _lines(catalogue, random, pieces, counts, sizes)

    new = uniform[2] < catalogue.basket.new_shoppers
    ids = [f"{wanted.prefix}{number}" for number in range(n)]
    # Squared: some customers buy far more often than others.
    regular = (uniform[3] ** 2 * catalogue.market.shoppers).astype(np.int64).tolist()
    is_new = new.tolist()
    payments = catalogue.payments
    first = np.exp(normal * payments.delay_sigma) * (payments.delay_median_s * SECOND_MS)
    first = np.clip(first, SECOND_MS, PAYMENT_FIRST_MAX_MS)
    second = first + 5 * SECOND_MS + uniform[4] * (PAYMENT_MAX_MS - first - 5 * SECOND_MS)
    sellers = (uniform[5] ** 2 * catalogue.market.sellers).astype(np.int64).tolist()
    methods = catalogue.methods[on_delivery]
    delays, repeats = _disorder(random, n, options)
    return Orders(
        ids=ids,
        placed_ms=placed.tolist(),
        lines=lines,
        amounts=amounts,
        methods=[methods[i] for i in _pick(catalogue.method_shares[on_delivery], uniform[6])],
        regions=[catalogue.regions[i] for i in _pick(catalogue.region_shares, uniform[7])],
        channels=[catalogue.channels[i] for i in _pick(catalogue.channel_shares, uniform[8])],
        shoppers=[
            f"n-{ids[i]}" if is_new[i] else f"{catalogue.code}-{regular[i]}" for i in range(n)
        ],
        new=is_new,
        sellers=[f"{catalogue.code}-s{seller}" for seller in sellers],
        first_ms=first.astype(np.int64).tolist(),
        second_ms=second.astype(np.int64).tolist(),
        failed=(uniform[9] < payments.failed).tolist(),
        retried=(uniform[10] < payments.retried).tolist(),
        follow=uniform[11].tolist(),
        delays_ms=delays,
        repeats_ms=repeats,
    )


def _lines(
    catalogue: Catalogue,
    random: np.random.Generator,
    pieces: Sequence[Piece],
    counts: NDArray[np.int64],
    sizes: NDArray[np.int64],
) -> tuple[list[list[Line]], list[int]]:
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    uniform = random.random((5, total))
    categories = np.empty(total, dtype=np.int64)
    begin, orders = 0, 0
    for piece, count in zip(pieces, counts.tolist(), strict=True):
        orders += count
        end = int(ends[orders - 1]) if orders else 0
        categories[begin:end] = np.searchsorted(
            piece.categories, uniform[0, begin:end], side="right"
        )
        begin = end
    articles = categories * catalogue.basket.skus_per_category
    articles += np.searchsorted(catalogue.sku_shares, uniform[1], side="right")
    prices = catalogue.prices[articles]
    kind = (uniform[3] * len(catalogue.discounts)).astype(np.int64)
    percent = np.where(uniform[2] < catalogue.basket.discounted, catalogue.discounts[kind], 0)
    prices = prices * (100 - percent) // 100
    quantities = np.searchsorted(catalogue.quantity_shares, uniform[4], side="right") + 1
    amounts: list[int] = np.add.reduceat(prices * quantities, ends - sizes).tolist()
    chosen = articles.tolist()
    flat = list(
        map(
            Line,
            [catalogue.skus[article] for article in chosen],
            [catalogue.labels[article] for article in chosen],
            quantities.tolist(),
            prices.tolist(),
        )
    )
    bounds = ends.tolist()
    return [flat[a:b] for a, b in zip([0, *bounds[:-1]], bounds, strict=True)], amounts


def _disorder(
    random: np.random.Generator, n: int, options: ShopOptions
) -> tuple[list[list[int]], list[list[int]]]:
    delays: list[list[int]] = []
    repeats: list[list[int]] = []
    if options.out_of_order:
        which, how = random.random((2, SLOTS, n))
        longest = options.out_of_order_max_s * SECOND_MS
        delays = np.where(which < options.out_of_order, how * longest, 0).astype(int).tolist()
    if options.duplicates:
        which, how = random.random((2, SLOTS, n))
        later = 1 + how * (REPEATED_MAX_MS - 1)
        repeats = np.where(which < options.duplicates, later, 0).astype(int).tolist()
    return delays, repeats
