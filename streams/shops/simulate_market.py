"""The shop of one market: how many orders a block of time holds, and what becomes of them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.index.panes import HOUR_MS
from streams.shops.simulate_draw import (
    PAYMENT_MAX_MS,
    Catalogue,
    Orders,
    Piece,
    Wanted,
    cumulated,
    draw,
)
from streams.shops.simulate_events import Writer
from streams.shops.simulate_options import SECOND_MS, ShopOptions
from streams.shops.simulate_profile import Outcomes, Profile, Shape
from streams.sources.outgoing import Outgoing

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Fate = tuple[tuple[Literal["delivered", "order.cancelled", "order.refunded"], float], ...]
"""Later events of an order: (kind, hours after it was placed) of each."""


class FollowUp(NamedTuple):
    """An event that each order of a cohort has ``blocks`` blocks after it was placed."""

    kind: Literal["delivered", "order.cancelled", "order.refunded"]
    blocks: int


class Cohort(NamedTuple):
    """Orders that have one fate. ``share``: their share of all orders."""

    number: int
    share: float
    on_delivery: bool
    follow_ups: tuple[FollowUp, ...]


def cohorts_of(profile: Profile, lag_scale: float, block_ms: int) -> list[Cohort]:
    """A cohort for every fate that an order can have. The shares sum to 1."""
    methods = profile.payments.methods.values()
    total = sum(method.count for method in methods)
    late = sum(method.count for method in methods if method.on_delivery) / total
    # No order is undone before it could be paid, so that no refund comes before its payment.
    soonest = PAYMENT_MAX_MS // block_ms + 2
    shares: dict[tuple[bool, tuple[FollowUp, ...]], float] = {}
    for on_delivery, part in ((False, 1 - late), (True, late)):
        for share, fate in _fates(profile.outcomes):
            follow_ups: list[FollowUp] = []
            earliest = soonest
            for kind, hours in fate:
                if kind == "delivered" and not on_delivery:
                    continue
                blocks = max(earliest, round(hours * HOUR_MS * lag_scale / block_ms))
                follow_ups.append(FollowUp(kind, blocks))
                earliest = blocks + 1
            key = on_delivery, tuple(follow_ups)
            shares[key] = shares.get(key, 0.0) + share * part
    return [
        Cohort(number, share, on_delivery, follow_ups)
        for number, ((on_delivery, follow_ups), share) in enumerate(shares.items())
    ]


def slowest_delivery_ms(profile: Profile, lag_scale: float) -> int:
    """Time from an order until it is delivered at the latest."""
    return round(max(profile.outcomes.delivered_after_h, default=0.0) * HOUR_MS * lag_scale)


def _fates(outcomes: Outcomes) -> Iterator[tuple[float, Fate]]:
    """Yield (share of orders, their fate)."""
    delivered, cancelled = outcomes.delivered_after_h, outcomes.cancelled_after_h
    kept = 1 - outcomes.cancelled - outcomes.refunded
    for number, hours in enumerate(delivered):
        yield kept / len(delivered), (("delivered", hours),)
        later = outcomes.refunded_after_h[number % len(outcomes.refunded_after_h)]
        refunded: Fate = (("delivered", hours), ("order.refunded", hours + later))
        yield outcomes.refunded / len(delivered), refunded
    for hours in cancelled:
        yield outcomes.cancelled / len(cancelled), (("order.cancelled", hours),)


@dataclass(frozen=True, slots=True)
class Curve:
    """Relative demand of one market at any time. The mean over a week is 1."""

    zone: ZoneInfo
    week: tuple[float, ...]
    months: tuple[float, ...]

    @classmethod
    def of(cls, shape: Shape, zone: str, season: str) -> Curve:
        """Curve of a season (``Season`` in simulate_options)."""
        flat = season == "flat"
        week = [1.0 if flat else day * hour for day in shape.weekdays for hour in shape.hours]
        mean = sum(week) / len(week)
        months = shape.months if season == "year" else [1.0] * 12
        return cls(ZoneInfo(zone), tuple(value / mean for value in week), tuple(months))

    def at(self, instant_ms: int) -> float:
        """Relative demand at an instant, linear between the middles of hours: no jump on the hour."""
        local = (_EPOCH + timedelta(milliseconds=instant_ms)).astimezone(self.zone)
        minutes = local.weekday() * 1_440 + local.hour * 60 + local.minute + local.second / 60
        hour, part = divmod(minutes / 60 - 0.5, 1)
        hours = len(self.week)
        before, after = self.week[int(hour) % hours], self.week[(int(hour) + 1) % hours]
        return (before + (after - before) * part) * self.months[local.month - 1]


Counts = NDArray[np.int64]


class Blocks(NamedTuple):
    """Length of a block, when the shops opened, and since when their orders are in the log."""

    length_ms: int
    opened_ms: int
    logged_ms: int


class MarketShop:
    """Draws and writes the events of one market, block by block."""

    def __init__(
        self,
        profile: Profile,
        code: str,
        options: ShopOptions,
        cohorts: Sequence[Cohort],
        blocks: Blocks,
    ) -> None:
        self._catalogue = Catalogue(profile, code)
        market = profile.markets[code]
        self._curve = Curve.of(profile.shape, market.time_zone, options.season)
        self._writer = Writer(
            code, market.currency, options.outages, blocks.opened_ms, blocks.logged_ms
        )
        self._options = options
        self._cohorts = cohorts
        self._block_ms = blocks.length_ms
        self._opened_block = blocks.opened_ms // blocks.length_ms
        self._orders_per_ms = orders_per_ms(profile, options, code, cohorts)
        self._seed = (options.seed, zlib.crc32(code.encode()))
        # Ids of different simulations must differ, or the index would take them for duplicates.
        tag = hashlib.blake2b(msgspec.json.encode(options), digest_size=3).hexdigest()
        self._prefix = f"{code}{tag}"
        self._categories = cumulated(self._catalogue.category_items)
        self._shares = [cohort.share for cohort in cohorts]
        self._cut_block = -1
        self._cut: list[Piece] = []

    def events_of(self, block: int) -> list[Outgoing]:
        """Write the events of a block: orders, payments, and later events of earlier orders."""
        out: list[Outgoing] = []
        counts = self._counts(block)
        for cohort in self._cohorts:
            orders = self._orders(block, cohort, counts)
            if orders is not None:
                out += self._writer.placed(orders)
                if not cohort.on_delivery:
                    out += self._writer.paid_at_once(orders)
            for follow_up in cohort.follow_ups:
                source = block - follow_up.blocks
                orders = self._orders(source, cohort, self._counts(source))
                if orders is not None:
                    out += self._follow(orders, follow_up, cohort, block * self._block_ms)
        return out

    def _follow(
        self, orders: Orders, follow_up: FollowUp, cohort: Cohort, start_ms: int
    ) -> list[Outgoing]:
        if follow_up.kind == "delivered":
            return self._writer.delivered(orders, start_ms, self._block_ms)
        if cohort.on_delivery:
            paid = [follow_up.kind == "order.refunded"] * len(orders)
        else:
            tries = zip(orders.failed, orders.retried, strict=True)
            paid = [not failed or retried for failed, retried in tries]
        return self._writer.undone(orders, follow_up.kind, start_ms, self._block_ms, paid)

    def _counts(self, block: int) -> Counts | None:
        """Orders placed in a block, cohorts x pieces; None before the shops opened."""
        if block < self._opened_block:
            return None
        random = np.random.default_rng([*self._seed, block])
        expected = [piece.orders for piece in self._pieces(block)]
        return random.poisson(np.outer(self._shares, expected))

    def _orders(self, block: int, cohort: Cohort, counts: Counts | None) -> Orders | None:
        # At low rates most cohorts of most blocks are empty: this check saves drawing them.
        if counts is None or not counts[cohort.number].any():
            return None
        random = np.random.default_rng([*self._seed, block, cohort.number])
        prefix = f"{self._prefix}-{block:x}-{cohort.number:x}-"
        wanted = Wanted(self._pieces(block), counts[cohort.number], cohort.on_delivery, prefix)
        return draw(self._catalogue, random, wanted, self._options)

    def _pieces(self, block: int) -> list[Piece]:
        if block != self._cut_block:
            self._cut_block, self._cut = block, self._cut_up(block)
        return self._cut

    def _cut_up(self, block: int) -> list[Piece]:
        start_ms, end_ms = block * self._block_ms, (block + 1) * self._block_ms
        code = self._catalogue.code
        outages = [one for one in self._options.outages if one.market == code]
        shifts = [one for one in self._options.shifts if one.market == code]
        edges = {start_ms, end_ms}
        edges |= {at for outage in outages for at in (outage.start_ms, outage.end_ms)}
        edges |= {at for shift in shifts for at in (shift.start_ms, shift.end_ms or start_ms)}
        cuts = sorted(edge for edge in edges if start_ms <= edge <= end_ms)
        pieces: list[Piece] = []
        for begin, end in pairwise(cuts):
            expected = (end - begin) * self._orders_per_ms * self._curve.at((begin + end) // 2)
            if any(one.start_ms <= begin < one.end_ms for one in outages):
                expected = 0.0
            categories = self._categories
            active = [
                one
                for one in shifts
                if one.start_ms <= begin and (one.end_ms is None or begin < one.end_ms)
            ]
            if active:
                items = self._catalogue.category_items.copy()
                for one in active:
                    items[self._catalogue.positions(one.category)] *= one.factor
                # The number of lines of other categories does not change.
                expected *= items.sum() / self._catalogue.category_items.sum()
                categories = cumulated(items) if items.sum() > 0 else categories
            pieces.append(Piece(begin, end, expected, categories))
        return pieces


def orders_per_ms(
    profile: Profile, options: ShopOptions, code: str, cohorts: Sequence[Cohort]
) -> float:
    """Mean orders of one market a millisecond, over a week."""
    orders = options.rate_per_s / SECOND_MS / _immediate_events(profile, cohorts)
    orders *= profile.markets[code].weight
    return orders / sum(profile.markets[other].weight for other in options.markets)


def _immediate_events(profile: Profile, cohorts: Sequence[Cohort]) -> float:
    """Mean events of an order within two minutes: placed, and one or two attempts to pay."""
    at_once = sum(cohort.share for cohort in cohorts if not cohort.on_delivery)
    return 1 + at_once * (1 + profile.payments.failed * profile.payments.retried)
