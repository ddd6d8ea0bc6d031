"""A market of given numbers for tests of the board, published step by step by the real store."""

from __future__ import annotations

import json

from support.methodologies import METHODOLOGY
from support.publications import publication, value

from streams.publish.keys import market_keys
from streams.publish.metrics import Metrics
from streams.publish.redis_state import RedisLimits
from streams.publish.redis_store import RedisStore
from streams.reader import DEFAULT_PREFIX

MINUTES = {"1m": 1, "5m": 5, "1h": 60, "24h": 1440}
PRICES = {"mobiles_tablets": 2_126_000, "appliances": 1_670_000, "entertainment": 2_165_000,
          "computing": 622_000, "books": 38_000}  # fmt: skip
WEIGHTS = {
    "mobiles_tablets": 21, "mens_fashion": 18, "womens_fashion": 12, "appliances": 10,
    "superstore": 8.7, "beauty_grooming": 8.2, "soghaat": 7, "other": 7.3, "home_living": 5.4,
    "entertainment": 5.3, "health_sports": 3.6, "kids_baby": 3.3, "computing": 3.1,
    "school_education": 0.7, "books": 0.4,
}  # fmt: skip
CHOSEN = {"cod": 0.456, "wallet": 0.233, "card": 0.21, "voucher": 0.088, "bnpl": 0.009,
          "bank_transfer": 0.004, "other": 0.0}  # fmt: skip
CAPTURED = {"cod": 0.302, "wallet": 0.303, "card": 0.267, "voucher": 0.109, "bnpl": 0.012,
            "bank_transfer": 0.007, "other": 0.0}  # fmt: skip
CHANNELS = {"app": 0.58, "web": 0.33, "marketplace": 0.07, "store": 0.02, "other": 0.0}


class Floor:
    """Publishes one market that expects ``rate`` orders a minute.

    ``expecting``: values carry an expectation (an optional part of the contract). ``factors`` multiply
    the demand of categories, ``times`` that of the whole market. ``covered`` is the longest window that
    the log covers.
    """

    def __init__(
        self, url, market="PK", *, rate=980, expecting=False, prefix=DEFAULT_PREFIX, covered="5m"
    ):
        self.market, self.rate, self.covered = market, rate, covered
        self.expecting = expecting
        self.factors = {}
        self.times = 1.0
        self.incidents = []
        self.answers = {}
        self.pages = []
        self.suspicions = []
        self.others = []
        self.watched = []
        self.step = 0
        self.keys = market_keys(market, prefix)
        self.values = []
        metrics = Metrics(markets=[market], version="0", edition=1, methodology="0")
        self.store = RedisStore(
            url, metrics, prefix=prefix, limits=RedisLimits(60_000), timeout_s=3.0
        )

    async def publish(self, as_of_ms, now_ms=None):
        """Publish one step. ``now_ms`` becomes published_at, by default 3 s after ``as_of_ms``."""
        self.step += 1
        self.values = list(self._values(as_of_ms))
        return await self.store.publish(
            publication(
                self.values,
                market=self.market,
                as_of_ms=as_of_ms,
                applied=self.step,
                incidents=self.incidents,
                answers=self.answers,
                pages=self.pages,
                suspicions=self.suspicions,
                others=self.others,
                watched=self.watched,
            ),
            as_of_ms + 3_000 if now_ms is None else now_ms,
        )

    def text(self, index, dimension="market", member="all", window="1m"):
        """The published value of an index, with its number as the contract's text."""
        field = f"{index}:{dimension}:{member}:{window}"
        (found,) = (each for each in self.values if each.field == field)
        return found

    async def close(self):
        await self.store.close()

    def _wave(self, name, minutes):
        # No randomness: a screenshot taken twice is the same.
        seed = sum(map(ord, name)) + self.step * 7
        return 1 + ((seed * 7919 % 201) - 100) / (900 * minutes**0.5)

    def _values(self, as_of_ms):
        code = METHODOLOGY.markets[self.market]
        weights = {name: WEIGHTS.get(name, 1) for name in code.categories}
        total = sum(weights.values())
        for window, minutes in MINUTES.items():
            covered = list(MINUTES).index(window) <= list(MINUTES).index(self.covered)
            new = _maker(self.market, as_of_ms, window, covered, minutes)
            orders = units = sales = 0
            rows = []
            for name, weight in weights.items():
                expected = self.rate * weight / total * minutes
                factor = self.factors.get(name, 1) if minutes == 1 else 1
                own = round(expected * factor * self.times * self._wave(name, minutes))
                price = PRICES.get(name, 90_000)
                rows.append((name, own, own * price + 37, expected, expected * price))
                orders, units, sales = orders + own, units + own, sales + own * price + 37
            expected_all = self.rate * minutes
            known = self.expecting
            yield new("orders", "market", "all", orders, expected=expected_all if known else None)
            yield new("units", "market", "all", units)
            yield new("sales", "market", "all", sales, unit="minor")
            yield new("basket_sales", "market", "all", sales / max(orders, 1), unit="minor")
            yield new("payments", "market", "all", round(orders * 0.71))
            yield new("amount", "market", "all", round(sales * 0.69), unit="minor")
            yield new("digital_share", "market", "all", 0.5891, unit="ratio")
            yield new("payment_failure_ratio", "market", "all", 0.0388, unit="ratio")
            if known:
                yield new(
                    "demand_index_orders",
                    "market",
                    "all",
                    100 * orders / expected_all,
                    unit="index",
                )
            for name, own, own_sales, expected, expected_sales in rows:
                about = ("category", name)
                yield new("orders", *about, own, expected=expected if known else None)
                yield new(
                    "sales",
                    *about,
                    own_sales,
                    unit="minor",
                    expected=expected_sales if known else None,
                )
                yield new("category_share_by_orders", *about, own / max(orders, 1), unit="ratio")
                yield new(
                    "category_share_by_sales", *about, own_sales / max(sales, 1), unit="ratio"
                )
                if known:
                    yield new("demand_index_orders", *about, 100 * own / expected, unit="index")
            for name in code.methods:
                about = ("payment_method", name)
                yield new("payment_chosen_share", *about, CHOSEN.get(name, 0.0), unit="ratio")
                yield new("payment_share_by_count", *about, CAPTURED.get(name, 0.0), unit="ratio")
                yield new("payment_share_by_amount", *about, CAPTURED.get(name, 0.0), unit="ratio")
                failed = None if name in ("cod", "other") else 0.041
                yield new("payment_failure_ratio", *about, failed, unit="ratio")
            for place, name in enumerate(code.regions):
                expected = self.rate * minutes * 0.5 ** (place + 1)
                own = round(expected * self.times * self._wave(name, minutes))
                yield new("orders", "region", name, own, expected=expected if known else None)
                yield new("sales", "region", name, own * 310_000, unit="minor")
            for name, share in CHANNELS.items():
                yield new("orders", "channel", name, round(orders * share))
                yield new("sales", "channel", name, round(sales * share), unit="minor")


def _maker(market, as_of_ms, window, covered, minutes):
    def new(index, dimension, member, number, unit="count", expected=None):
        status = "filling" if not covered else "no_data" if number is None else "ok"
        made = value(
            index, dimension, member, window, number if covered else None,
            market=market, as_of_ms=as_of_ms, unit=unit, status=status, n=1,
            covered=1.0 if covered else 0.004 * minutes**0.5,
        )  # fmt: skip
        if expected is None or not covered:
            return made
        spread = 0.08 + 1.6 / expected**0.5
        lower, upper = max(expected * (1 - spread), 0.0), expected * (1 + spread)
        return type(made)(
            **{name: getattr(made, name) for name in made.__struct_fields__}
            | {"expected": expected, "lower": lower, "upper": upper, "vintage": "2026-11-24"}
        )

    return new


def shift_record(**more):
    """JSON of a shift, as the HASH ``:shifts`` holds it under ``category:beauty_grooming``."""
    return json.dumps(
        {
            "v": 1, "market": "PK", "dimension": "category", "member": "beauty_grooming",
            "direction": "up", "ratio": 5.9, "ratio_lower": 5.3, "ratio_upper": 6.4,
            "start": "2026-11-24T14:02:00.000Z", "evidence": 1.8,
        }
        | more
    )  # fmt: skip
