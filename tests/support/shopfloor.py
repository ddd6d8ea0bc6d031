"""A market of given numbers, published step by step by the real store, for tests of the board."""

from __future__ import annotations

import json

from support.publications import publication, value

from streams.index.methodology import parse
from streams.publish.keys import market_keys
from streams.publish.metrics import Metrics
from streams.publish.redis_state import RedisLimits
from streams.publish.redis_store import RedisStore
from streams.reader import DEFAULT_PREFIX
from streams.settings import default_config

METHODOLOGY = parse(default_config("methodology.toml").read_text())
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
    """Publishes one market; ``rate`` is its usual orders a minute.

    ``usual``: values carry an expectation (the methodology's part of the contract).
    ``factors``: of categories whose demand is not as usual. ``covered``: the longest window.
    """

    def __init__(
        self, url, market="PK", *, rate=980, usual=False, prefix=DEFAULT_PREFIX, covered="5m"
    ):
        self.market, self.rate, self.usual, self.covered = market, rate, usual, covered
        self.factors = {}
        self.step = 0
        self.keys = market_keys(market, prefix)
        self.values = []
        metrics = Metrics(markets=[market], version="0", edition=1, methodology="0")
        self.store = RedisStore(url, metrics, prefix=prefix, limits=RedisLimits(60_000))

    async def publish(self, as_of_ms, now_ms=None):
        """One step; ``now_ms`` is what published_at says, by default 3 s after ``as_of_ms``."""
        self.step += 1
        self.values = list(self._values(as_of_ms))
        return await self.store.publish(
            publication(self.values, market=self.market, as_of_ms=as_of_ms, applied=self.step),
            as_of_ms + 3_000 if now_ms is None else now_ms,
        )

    def text(self, index, dimension="market", member="all", window="1m"):
        """The number published, as the contract's text."""
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
                usual = self.rate * weight / total * minutes
                factor = self.factors.get(name, 1) if minutes == 1 else 1
                own = round(usual * factor * self._wave(name, minutes))
                price = PRICES.get(name, 90_000)
                rows.append((name, own, own * price + 37, usual, usual * price))
                orders, units, sales = orders + own, units + own, sales + own * price + 37
            usual_all = self.rate * minutes
            known = self.usual
            yield new("orders", "market", "all", orders, usual=usual_all if known else None)
            yield new("units", "market", "all", units)
            yield new("sales", "market", "all", sales, unit="minor")
            yield new("basket_sales", "market", "all", sales / max(orders, 1), unit="minor")
            yield new("payments", "market", "all", round(orders * 0.71))
            yield new("amount", "market", "all", round(sales * 0.69), unit="minor")
            yield new("digital_share", "market", "all", 0.5891, unit="ratio")
            yield new("payment_failure_ratio", "market", "all", 0.0388, unit="ratio")
            if known:
                yield new(
                    "demand_index_orders", "market", "all", 100 * orders / usual_all, unit="index"
                )
            for name, own, own_sales, usual, usual_sales in rows:
                about = ("category", name)
                yield new("orders", *about, own, usual=usual if known else None)
                yield new(
                    "sales", *about, own_sales, unit="minor", usual=usual_sales if known else None
                )
                yield new("category_share_by_orders", *about, own / max(orders, 1), unit="ratio")
                yield new(
                    "category_share_by_sales", *about, own_sales / max(sales, 1), unit="ratio"
                )
                if known:
                    yield new("demand_index_orders", *about, 100 * own / usual, unit="index")
            for name in code.methods:
                about = ("payment_method", name)
                yield new("payment_chosen_share", *about, CHOSEN.get(name, 0.0), unit="ratio")
                yield new("payment_share_by_count", *about, CAPTURED.get(name, 0.0), unit="ratio")
                yield new("payment_share_by_amount", *about, CAPTURED.get(name, 0.0), unit="ratio")
                failed = None if name in ("cod", "other") else 0.041
                yield new("payment_failure_ratio", *about, failed, unit="ratio")
            for place, name in enumerate(code.regions):
                usual = self.rate * minutes * 0.5 ** (place + 1)
                own = round(usual * self._wave(name, minutes))
                yield new("orders", "region", name, own, usual=usual if known else None)
                yield new("sales", "region", name, own * 310_000, unit="minor")
            for name, share in CHANNELS.items():
                yield new("orders", "channel", name, round(orders * share))
                yield new("sales", "channel", name, round(sales * share), unit="minor")


def _maker(market, as_of_ms, window, covered, minutes):
    def new(index, dimension, member, number, unit="count", usual=None):
        status = "filling" if not covered else "no_data" if number is None else "ok"
        made = value(
            index, dimension, member, window, number if covered else None,
            market=market, as_of_ms=as_of_ms, unit=unit, status=status, n=1,
            covered=1.0 if covered else 0.004 * minutes**0.5,
        )  # fmt: skip
        if usual is None or not covered:
            return made
        spread = 0.08 + 1.6 / usual**0.5
        lower, upper = max(usual * (1 - spread), 0.0), usual * (1 + spread)
        return type(made)(
            **{name: getattr(made, name) for name in made.__struct_fields__}
            | {"expected": usual, "lower": lower, "upper": upper, "vintage": "2026-11-24"}
        )

    return new


def shift_record(**more):
    """What stands in the HASH ``:shifts`` under ``category:beauty_grooming``."""
    return json.dumps(
        {
            "v": 1, "market": "PK", "dimension": "category", "member": "beauty_grooming",
            "direction": "up", "ratio": 5.9, "ratio_lower": 5.3, "ratio_upper": 6.4,
            "start": "2026-11-24T14:02:00.000Z", "evidence": 1.8,
        }
        | more
    )  # fmt: skip
