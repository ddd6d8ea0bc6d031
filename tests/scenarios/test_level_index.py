"""The level index: warming until its base is over, revised by what revises the base, re-referenced."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from support.bases import based
from support.flow_harness import METHODOLOGY, Flow, order

from streams.flow.chunk import SourcePartition
from streams.flow.wire import partition_of
from streams.index.panes import DAY_MS, HOUR_MS, rfc3339
from streams.index.values import Value
from streams.publish.journal import journal_records

NOON = 1_794_873_600_000 + 7 * HOUR_MS
"""2026-11-17 in Karachi."""
BASE = based("PK", "2026-11-17", "2026-11-19")
PARTITION = partition_of("PK", 3)


class Shop:
    """PK, a sale now and then; the clock is the time of the last event."""

    def __init__(self, methodology=BASE) -> None:
        self.flow = Flow(methodology)
        self.sold = 0

    def sell(self, day: int, minor: int, hour: int = 0) -> int:
        """At noon of a day after 17 November, or ``hour`` hours later; when."""
        return self._send(NOON + day * DAY_MS + hour * HOUR_MS, minor, "order.placed")

    def cancel(self, day: int, minor: int, placed_ms: int, kind="order.cancelled") -> None:
        self._send(NOON + day * DAY_MS + HOUR_MS, minor, kind, placed_at=rfc3339(placed_ms))

    def _send(self, at_ms: int, minor: int, kind: str, **extra) -> int:
        self.sold += 1
        event = order(f"e{self.sold}", at_ms, kind=kind, lines=[("books", 1, minor)], **extra)
        self.flow.produce(SourcePartition("orders", 0), event, at_ms)
        self.flow.now_ms = at_ms + 10_000
        self.flow.run()
        return at_ms

    def new_owner(self, methodology=None) -> None:
        self.flow.methodology = methodology or self.flow.methodology
        self.flow.start_compile(PARTITION)
        self.flow.step(PARTITION)

    def level(self, day: str) -> Value:
        found = self.flow.day_value("PK", "sales_level_index", "market", "all", day)
        assert found is not None, day
        return found

    def levels(self, *days: str) -> list[float | None]:
        return [self.level(f"2026-11-{day}").value for day in days]

    def revisions(self, since: int = 0) -> list[tuple]:
        return [
            (each.value.day[-2:], each.previous, each.value.value, each.cause, each.value.revision)
            for publication in self.flow.history[since:]
            for each in publication.revisions
            if each.value.index == "sales_level_index"
        ]

    def bases(self) -> list[dict]:
        """What the journal says of bases, and what they are called."""
        found = []
        for publication in self.flow.history:
            for record in journal_records(publication, "journal"):
                content = json.loads(record.value)
                if content["kind"] == "base":
                    found += [{"base": content["base"], **each} for each in content["bases"]]
        return found


@pytest.fixture
def shop() -> Shop:
    """1,000 on the 17th, 3,000 on the 18th, 4,400 on the 19th; it is the 20th."""
    shop = Shop()
    shop.sell(-1, 500, hour=3)
    for day, minor in enumerate((1_000, 3_000, 4_400, 100)):
        shop.sell(day, minor)
    return shop


def test_a_day_is_warming_until_the_base_is_over():
    shop = Shop()
    shop.sell(-1, 500, hour=3)
    shop.sell(0, 1_000)
    first = shop.level("2026-11-16")
    assert (first.value, first.status, first.covered) == (None, "filling", 0.375)
    shop.sell(1, 3_000)
    waiting = shop.level("2026-11-17")
    assert (waiting.value, waiting.status, waiting.observed) == (None, "warming", 1_000)
    assert (waiting.expected, waiting.vintage, waiting.revision) == (None, None, 0)
    shop.sell(2, 4_400)
    assert shop.levels("17", "18") == [50.0, 150.0]
    assert shop.revisions() == [
        ("17", None, 50.0, "definition", 1),
    ]
    assert shop.flow.day_value("PK", "sales_level_index", "market", "all", "2026-11-19") is None


def test_a_level_says_what_it_is_against(shop):
    value = shop.level("2026-11-19")
    assert (value.value, value.unit, value.observed, value.expected) == (
        220.0,
        "index",
        4_400,
        2_000,
    )
    assert (value.vintage, value.n, value.status) == ("2026-11-17/2026-11-18", 1, "ok")
    assert (value.phase, value.window, value.as_of) == ("live", "day", "2026-11-19T19:00:00.000Z")


def test_a_cancel_revises_its_day_at_once_and_the_base_on_the_next_day(shop):
    sold_ms = NOON + DAY_MS
    seen = len(shop.flow.history)
    shop.cancel(3, 1_000, sold_ms)
    assert shop.levels("17", "18", "19") == [50.0, 100.0, 220.0]
    assert shop.revisions(seen) == [("18", 150.0, 100.0, "cancel", 1)]
    seen = len(shop.flow.history)
    shop.sell(4, 300)
    assert shop.levels("17", "18", "19", "20") == [200 / 3, 400 / 3, 880 / 3, 20 / 3]
    assert shop.revisions(seen) == [
        ("17", 50.0, 200 / 3, "definition", 2),
        ("18", 100.0, 400 / 3, "definition", 2),
        ("19", 220.0, 880 / 3, "definition", 1),
    ]
    assert shop.level("2026-11-20").revision == 0, "the 20th was never shown against the first base"
    assert [each["base"] for each in shop.bases()] == [
        "2026-11-17/2026-11-18",
        "2026-11-17/2026-11-18.2",
    ]
    first, second = shop.bases()
    assert (first["net_minor"], first["days"], first["previous"]) == (4_000, 2, None)
    assert (first["cause"], first["link"], first["final"]) == ("definition", None, False)
    assert (second["net_minor"], second["link"]) == (3_000, 4_000 / 3_000)
    assert second["previous"] == first["base"]


def test_a_new_owner_goes_on_with_the_base_that_was_published(shop):
    shop.cancel(3, 1_000, NOON + DAY_MS)
    seen, before = len(shop.flow.history), shop.levels("17", "18", "19")
    shop.new_owner()
    assert shop.levels("17", "18", "19") == before == [50.0, 100.0, 220.0]
    assert shop.revisions(seen) == []
    assert len(shop.bases()) == 1
    shop.sell(4, 300)
    assert shop.levels("17", "18", "19") == [200 / 3, 400 / 3, 880 / 3]
    assert shop.bases()[-1]["previous"] == "2026-11-17/2026-11-18"


@pytest.mark.deep
def test_a_base_is_fixed_when_its_days_are_final(shop):
    shop.cancel(3, 1_000, NOON + DAY_MS)
    shop.sell(37, 300)
    last = shop.bases()[-1]
    assert (last["final"], last["net_minor"]) == (True, 3_000)
    assert shop.level("2026-11-18").phase == "final"
    assert shop.level("2026-11-20").phase == "live"
    published = len(shop.bases())
    shop.new_owner()
    shop.sell(38, 300)
    assert len(shop.bases()) == published
    closed = [
        value
        for publication in shop.flow.history
        for closing in publication.closings
        for value in closing.values
        if value.index == "sales_level_index"
    ]
    assert {(value.day, value.value) for value in closed} >= {("2026-11-18", 400 / 3)}


@pytest.mark.deep
def test_the_base_outlives_the_days_that_it_is_made_of(shop):
    shop.sell(37, 300)
    for day in (1_300, 1_301, 1_302):
        shop.sell(day, 2_000)
    days = shop.flow.compiles[PARTITION].markets["PK"].ledger.days()
    assert min(days) > BASE.markets["PK"].base.end
    shop.new_owner()
    shop.sell(1_303, 2_600)
    shop.sell(1_304, 1)
    assert shop.level("2030-06-12").value == 130.0
    assert shop.level("2030-06-12").vintage == "2026-11-17/2026-11-18"


def test_re_referencing_multiplies_by_one_factor(shop):
    old = shop.levels("17", "18", "19")
    seen = len(shop.flow.history)
    shop.new_owner(based("PK", "2026-11-18", "2026-11-20"))
    new = shop.levels("17", "18", "19")
    assert new == [100 * 1_000 / 3_700, 100 * 3_000 / 3_700, 100 * 4_400 / 3_700]
    last = shop.bases()[-1]
    link = Fraction(4_000 * 2, 7_400 * 2)
    assert last["link"] == float(link) == 100 / ((150.0 + 220.0) / 2)
    assert new == [float(Fraction(each) * link) for each in old]
    assert (last["base"], last["previous"]) == (
        "2026-11-18/2026-11-19.2",
        "2026-11-17/2026-11-18",
    )
    assert shop.revisions(seen) == [
        ("17", 50.0, new[0], "definition", 2),
        ("18", 150.0, new[1], "definition", 1),
        ("19", 220.0, new[2], "definition", 1),
    ]
    again = len(shop.flow.history)
    shop.new_owner()
    assert shop.levels("17", "18", "19") == new
    assert shop.revisions(again) == []


def test_the_old_base_counts_until_the_new_one_is_over(shop):
    shop.new_owner(based("PK", "2026-11-19", "2026-11-21"))
    assert shop.levels("17", "18", "19") == [50.0, 150.0, 220.0]
    shop.sell(4, 50)
    assert shop.level("2026-11-19").value == 100 * 4_400 * 2 / 4_500
    assert shop.bases()[-1]["link"] == (4_000 * 2) / (4_500 * 2)


def test_days_before_the_log_make_no_base():
    shop = Shop(based("PK", "2026-11-16", "2026-11-18"))
    for day in range(-1, 4):
        shop.sell(day, 1_000)
    assert {shop.level(f"2026-11-{day}").status for day in (17, 18, 19)} == {"warming"}


def test_a_base_can_be_stated_where_the_log_does_not_hold_it():
    shop = Shop(based("PK", "2025-01-01", "2026-01-01", net_minor=365 * 800))
    shop.sell(-1, 500, hour=3)
    shop.sell(0, 1_000)
    shop.sell(1, 0)
    value = shop.level("2026-11-17")
    assert (value.value, value.status, value.expected) == (125.0, "ok", 800.0)
    assert value.revision == 0
    assert shop.bases()[0]["final"]


def test_net_sales_of_nothing_are_no_base():
    shop = Shop()
    shop.sell(-1, 500, hour=3)
    for day in range(3):
        shop.sell(day, 0)
    value = shop.level("2026-11-18")
    assert (value.value, value.status, value.expected) == (None, "no_data", 0.0)


def test_a_market_without_a_base_has_no_level_index():
    shop = Shop(METHODOLOGY)
    for day in range(-1, 3):
        shop.sell(day, 1_000)
    assert shop.flow.day_value("PK", "sales_level_index", "market", "all", "2026-11-17") is None
    assert shop.flow.day_value("PK", "sales_net", "market", "all", "2026-11-17").value == 1_000
