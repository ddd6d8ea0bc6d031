"""Values that a new owner inherits: the days that were published before, and the minutes so far."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter

import pytest

from streams.flow.chunk import SourcePartition
from streams.flow.inherited import INHERITED_DAYS
from streams.flow.publication import Headline
from streams.flow.wire import partition_of
from streams.index.indices import SHOPPER_INDICES
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, LocalDays, day_name, rfc3339
from streams.index.values import Value
from tests.support.bases import based
from tests.support.flow_harness import Flow, order, payment

KARACHI = LocalDays("Asia/Karachi")
FIRST_DAY = KARACHI.day_of(1_795_000_000_000)
DAYS = 40
OPEN_DAYS = 5
PARTITION = partition_of("PK", 3)
CATEGORIES = ("books", "computing", "Mobiles & Tablets")


class Shop:
    """PK over forty days: orders of shoppers, payments, cancels days later, a base of the level."""

    def __init__(self) -> None:
        self.rng = rng = random.Random(5)
        methodology = based("PK", day_name(FIRST_DAY), day_name(FIRST_DAY + 3))
        self.flow = Flow(dataclasses.replace(methodology, day_grace_ms=OPEN_DAYS * DAY_MS))
        self.sold: list[tuple[int, int]] = []
        """(placed at ms, sales in minor units)."""
        for day in range(FIRST_DAY, FIRST_DAY + DAYS):
            for _ in range(4):
                self.sell(KARACHI.start_ms(day) + rng.randrange(DAY_MS))
            if day % 3 == 0:
                self.cancel(KARACHI.end_ms(day) - 1_000, rng.choice(self.sold)[0])
            self.run(KARACHI.end_ms(day) + MINUTE_MS)
        self.end_ms = KARACHI.end_ms(FIRST_DAY + DAYS - 1)
        for minute in range(90):
            for _ in range(rng.randrange(3)):
                self.sell(self.end_ms + minute * MINUTE_MS + rng.randrange(MINUTE_MS))
        self.reach(self.end_ms + 90 * MINUTE_MS + 40_000)

    def reach(self, at_ms: int) -> None:
        """Produce an order and a payment in each partition at ``at_ms``, then run everything."""
        for _ in range(2):
            self.sell(at_ms)
        self.run(at_ms)

    def sell(self, at_ms: int) -> None:
        rng = self.rng
        number, price = len(self.sold), rng.randrange(1, 9_000)
        who = {"shopper_id": f"s{rng.randrange(40)}", "new_shopper": rng.random() < 0.4}
        lines = [(rng.choice(CATEGORIES), 1, price)]
        event = order(f"o{number}", at_ms, lines=lines, payment_method="cod", **who)
        self.flow.produce(SourcePartition("orders", number % 2), event, at_ms)
        paid = payment(f"p{number}", at_ms, amount=price, placed_at=rfc3339(at_ms))
        self.flow.produce(SourcePartition("payments", number % 2), paid, at_ms)
        self.sold.append((at_ms, price))

    def cancel(self, at_ms: int, placed_ms: int) -> None:
        event = order(f"c{at_ms}", at_ms, kind="order.cancelled", placed_at=rfc3339(placed_ms))
        self.flow.produce(SourcePartition("orders", 0), event, at_ms)

    def run(self, now_ms: int) -> None:
        # Imported a year later: what is not live has no detectors, whose minutes would take a minute.
        self.flow.now_ms = now_ms + 365 * DAY_MS
        self.flow.run()

    def new_owner(self) -> None:
        """Start another owner; return its first publication."""
        self.flow.start_compile(PARTITION)
        self.flow.step(PARTITION)

    def published_days(self) -> dict[str, dict[str, int | float | None]]:
        """Values of days that the publications so far give to their readers."""
        found: dict[str, dict[str, int | float | None]] = {}
        for publication in self.flow.history:
            for value in publication.days if publication.market == "PK" else ():
                found.setdefault(value.day or "", {})[name(value)] = value.value
        return found


def name(value: Value) -> str:
    return f"{value.index}:{value.dimension}:{value.member}"


@pytest.fixture(scope="module")
def shop() -> Shop:
    shop = Shop()
    shop.published = shop.published_days()
    shop.new_owner()
    return shop


def test_a_new_owner_publishes_the_days_that_were_published_before(shop):
    first = shop.flow.published["PK"]
    today = FIRST_DAY + DAYS
    days = {day: dict(values) for day, values in first.inherited.days.items()}
    for value in first.days:  # of days that are open
        days.setdefault(value.day, {})[name(value)] = value.value
    inherited = {day_name(day) for day in range(today - INHERITED_DAYS + 1, today + 1)}
    assert days == {day: shop.published[day] for day in inherited}
    assert {name(value) for value in first.days if value.day == day_name(today - 3)} >= {
        "orders:market:all", "sales_level_index:market:all",
    }  # fmt: skip
    assert first.inherited.days[day_name(today - 3)].keys() == {
        f"{index}:market:all" for index in SHOPPER_INDICES
    }
    ended = first.inherited.days[day_name(today - 9)]
    assert {
        "orders:market:all",
        "sales_level_index:market:all",
        "shoppers:market:all",
    } <= ended.keys()


def test_the_headlines_are_the_orders_of_each_minute(shop):
    orders, sales = Counter(), Counter()
    for placed_ms, price in shop.sold:
        end_ms = placed_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS
        orders[end_ms] += 1
        sales[end_ms] += price
    headlines = shop.flow.published["PK"].inherited.headlines
    last_ms = shop.end_ms + 89 * MINUTE_MS
    first_ms = headlines[0].as_of_ms
    assert headlines == [
        Headline(end_ms, orders[end_ms], sales[end_ms])
        for end_ms in range(first_ms, last_ms + 1, MINUTE_MS)
    ]
    assert last_ms - first_ms > 24 * HOUR_MS
    assert sum(each.orders for each in headlines) > 90


def test_inherited_values_are_published_once(shop):
    before = shop.flow.published["PK"]
    shop.reach(shop.end_ms + 92 * MINUTE_MS)
    assert shop.flow.published["PK"] is not before
    assert shop.flow.published["PK"].inherited is None


def test_headlines_are_published_once_orders_were_read():
    """The first publication of a log that nobody had read may be of one topic alone."""
    flow = Flow()
    flow.now_ms = KARACHI.start_ms(FIRST_DAY) + HOUR_MS
    paid = payment("p", flow.now_ms - MINUTE_MS)
    flow.produce(SourcePartition("payments", 0), paid, flow.now_ms)
    payments = flow.sps["payments"]
    for sp in payments:
        flow.fold(sp)
        flow.send_partials(sp)
        flow.flush(sp)
    flow.apply(PARTITION)
    flow.step(PARTITION)
    first = flow.published["PK"].inherited
    assert first == ({}, [])
    orders = flow.sps["orders"][0]
    for minutes in (3, 2):
        at_ms = flow.now_ms - minutes * MINUTE_MS
        flow.produce(orders, order(f"o{minutes}", at_ms), at_ms)
    flow.run()
    headlines = [each.inherited.headlines for each in flow.history if each.inherited is not None]
    # The present minute has a point of its own.
    assert [[each.orders for each in found] for found in headlines] == [[], [1]]
