"""Two markets with the same events, of which one is edited: what no edit touches is to stay equal."""

from __future__ import annotations

import csv
import random
from itertools import count

from streams.clock import now_ms
from streams.index.panes import HOUR_MS, rfc3339
from tests.support.flow_harness import order, payment

EDITED, CONTROL = "PK", "QK"
ORDERS_AN_HOUR = 200
SAID = {
    "Books": 30, "Computing": 20, "garden gnomes": 10, "Gnomes": 10, "Mobiles": 8, "tablets": 8,
    "kurta": 8, "womens fashion": 10, "Mens Fashion": 10,
}  # fmt: skip
"""Labels of categories by weight. Each is said so often that none is cut from old hours."""
METHODS = {"cod": 5, "card": 3, "jazz pay": 2}

_CATEGORIES = """
[category_sets]
twins = ["books", "computing", "mobiles", "mens_fashion", "womens_fashion"]
"""
_MARKET = """
[markets.{code}]
name = "{code}"
currency = "PKR"
time_zone = "Asia/Karachi"
categories = "twins"
regions = ["punjab", "sindh"]
{more}
"""


def methodology_text(demo: str, **more: str) -> str:
    """The methodology of the demo with the two markets; ``more``: further lines of a market."""
    head, _, _ = demo.partition("[category_sets]")
    return f"{head}{_CATEGORIES}" + "".join(
        _MARKET.format(code=code, more=more.get(code, "")) for code in (EDITED, CONTROL)
    )


def write_seed(path, until_ms: int) -> None:
    """Six weeks of hours of both markets."""
    weights = sum(SAID.values())
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["market", "hour", "dimension", "member", "orders", "payments"])
        for hour_ms in range(until_ms - 46 * 24 * HOUR_MS, until_ms, HOUR_MS):
            for code in (EDITED, CONTROL):
                hour = rfc3339(hour_ms)
                writer.writerow([code, hour, "", "", ORDERS_AN_HOUR, ORDERS_AN_HOUR])
                for label, member in (("Books", "books"), ("Computing", "computing")):
                    own = round(ORDERS_AN_HOUR * SAID[label] / weights)
                    writer.writerow([code, hour, "category", member, own, ""])


class Twins:
    """Sends each event to both markets; the same seed draws the same shop."""

    def __init__(self, installed, seed: int = 7):
        self.installed = installed
        self.sent = 0
        """Events, of both topics and both markets."""
        self._dice = random.Random(seed)
        self._numbers = count()
        self._waiting: list = []

    async def trade(self, producer, begin_ms: int, end_ms: int, times: float = 1.0) -> None:
        """Send the orders of a time at their own times, with payments, cancels and refunds."""
        at_ms = begin_ms
        while at_ms < end_ms:
            await self._one(producer, at_ms)
            each_ms = HOUR_MS / ORDERS_AN_HOUR / times
            at_ms += max(1, round(self._dice.uniform(0.5, 1.5) * each_ms))
        for sent in self._waiting:
            await sent
        self._waiting.clear()

    async def _one(self, producer, at_ms: int) -> None:
        dice, number = self._dice, next(self._numbers)
        labels = dice.choices(list(SAID), list(SAID.values()), k=dice.choice((1, 1, 1, 2, 3)))
        lines = [(label, dice.randint(1, 3), dice.randint(1, 999)) for label in labels]
        (method,) = dice.choices(list(METHODS), list(METHODS.values()))
        region = dice.choice(["punjab", "sindh", "nowhere"])
        shopper = f"shopper-{dice.randrange(400)}"
        after = dice.random()
        paid = dice.random() < 0.6
        for code in (EDITED, CONTROL):
            name = f"{code}-{number}"
            placed = order(
                name, at_ms, market=code, lines=lines, payment_method=method, region=region,
                shopper_id=shopper,
            )  # fmt: skip
            await self._send(producer, "orders", placed, at_ms)
            if paid:
                kind = "payment.failed" if after > 0.9 else "payment.captured"
                event = payment(name, at_ms, market=code, kind=kind, method=method)
                await self._send(producer, "payments", event, at_ms)
            if after < 0.1:
                kind = "order.cancelled" if after < 0.05 else "order.refunded"
                undone = placed | {"event_id": f"{name}-x", "type": kind}
                undone["placed_at"] = placed["occurred_at"]
                await self._send(producer, "orders", undone, at_ms)

    async def _send(self, producer, topic, event, at_ms: int) -> None:
        sent = await self.installed.send(producer, topic, event, at_ms=min(at_ms, now_ms()))
        self._waiting.append(sent)
        self.sent += 1
