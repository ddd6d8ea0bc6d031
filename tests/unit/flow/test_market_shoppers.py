"""Shoppers of a market through both levels: windows, days and closings equal sketches of the ids."""

from __future__ import annotations

import random

import pytest

from streams.flow.buyers import bought_in
from streams.flow.chunk import SourcePartition
from streams.flow.merged import MINUTE, QUARTER
from streams.flow.wire import partition_of
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, QUARTER_MS, LocalDays, day_name, rfc3339
from streams.index.shoppers import STANDARD_ERROR, estimate, shopper_hash
from tests.support.events import tuned
from tests.support.flow_harness import Flow, order, payment
from tests.support.sketches import sketch_of

T0 = 1_790_000_000_000 // DAY_MS * DAY_MS
KARACHI = LocalDays("Asia/Karachi")


class Shop:
    """PK, selling to shoppers whom it remembers by when they bought."""

    def __init__(self, **changes) -> None:
        self.flow = Flow(tuned(**changes), partitions=2)
        self.sold: list[tuple[int, str | None, bool | None]] = []
        self.rng = random.Random(3)

    def sell(self, at_ms: int, shopper: str | None, new: bool | None = None, **changes) -> None:
        who = {} if shopper is None else {"shopper_id": shopper}
        who |= {} if new is None else {"new_shopper": new}
        number = len(self.sold)
        arrived_ms = changes.pop("arrived_ms", at_ms)
        event = order(f"e{number}", at_ms, **who, **changes)
        self.flow.produce(SourcePartition("orders", number % 2), event, arrived_ms)
        self.sold.append((at_ms, shopper, new))

    def open(self, start_ms: int, end_ms: int, every_ms: int) -> None:
        for at_ms in range(start_ms, end_ms, every_ms):
            who = self.rng.choice([None, f"s{self.rng.randrange(400)}", f"t{at_ms}"])
            self.sell(at_ms, who, self.rng.choice([None, True, False]))

    def run(self, now_ms: int) -> None:
        for number in range(2):
            paid = payment(f"p{now_ms}-{number}", now_ms)
            self.flow.produce(SourcePartition("payments", number), paid, now_ms)
        self.flow.now_ms = now_ms
        self.flow.run()

    def expected(self, start_ms: int, end_ms: int) -> tuple:
        """(shoppers, orders that name one, new, known) by the ids themselves."""
        own = [each for each in self.sold if start_ms <= each[0] < end_ms]
        ids = [who for _, who, _ in own if who is not None]
        sketch = sketch_of([shopper_hash(who) for who in ids])
        known = [new for _, _, new in own if new is not None]
        return estimate(sketch.to_bytes()), len(ids), sum(known), len(known)

    @property
    def market(self):
        partition = partition_of("PK", self.flow.partials_partitions)
        return self.flow.compiles[partition].markets["PK"]

    def shown(self, window: str) -> tuple:
        found = [self.flow.value("PK", f"{name}:market:all:{window}") for name in NAMES]
        return numbers_of(found)

    def day(self, day: str):
        return [self.flow.day_value("PK", name, "market", "all", day) for name in NAMES]


NAMES = ("shoppers", "orders_per_shopper", "new_shopper_share")


def numbers_of(values) -> tuple:
    shoppers, each, new = values
    assert each.value == each.observed / shoppers.value
    assert new.value == new.observed / new.n
    return shoppers.value, each.observed, new.observed, new.n


@pytest.fixture(scope="module")
def shop():
    """Thirty hours, published every forty minutes: within hours and quarters, too."""
    found = Shop()
    for at_ms in range(T0, T0 + 30 * HOUR_MS, 40 * MINUTE_MS):
        found.open(at_ms, at_ms + 40 * MINUTE_MS, 37_000)
        found.run(at_ms + 40 * MINUTE_MS + 4_000)
    return found


def test_windows_are_made_of_the_ids_within_them(shop):
    end_ms = T0 + 30 * HOUR_MS
    assert shop.shown("1h") == shop.expected(end_ms - HOUR_MS, end_ms)
    assert shop.shown("24h") == shop.expected(end_ms - DAY_MS, end_ms)
    assert shop.shown("24h")[0] > 800
    fields = {v.field for v in shop.flow.published["PK"].values if v.index in NAMES}
    assert {field.rpartition(":")[2] for field in fields} == {"1h", "24h"}


def test_limits_are_two_standard_errors_away_and_hold_the_truth(shop):
    value = shop.flow.value("PK", "shoppers:market:all:24h")
    assert value.lower == value.value * (1 - 2 * STANDARD_ERROR)
    assert value.upper == value.value * (1 + 2 * STANDARD_ERROR)
    end_ms = T0 + 30 * HOUR_MS
    ids = {who for at, who, _ in shop.sold if who and end_ms - DAY_MS <= at < end_ms}
    assert value.lower < len(ids) < value.upper
    each = shop.flow.value("PK", "orders_per_shopper:market:all:24h")
    assert each.lower == each.observed / value.upper
    assert each.upper == each.observed / value.lower
    share = shop.flow.value("PK", "new_shopper_share:market:all:24h")
    assert (share.lower, share.upper) == (None, None)


def test_every_hour_closes_with_who_bought_in_it(shop):
    closings = {
        closing.start_ms: closing.values
        for publication in shop.flow.history
        if publication.market == "PK"
        for closing in publication.closings
        if closing.kind == "hour"
    }
    assert len(closings) == 29
    for start_ms, values in closings.items():
        found = [value for value in values if value.index in NAMES]
        assert numbers_of(found) == shop.expected(start_ms, start_ms + HOUR_MS)
        assert {value.phase for value in found} == {"final"}


def test_a_day_is_that_of_the_market_and_final_with_its_last_hour(shop):
    day = KARACHI.day_of(T0 + 12 * HOUR_MS)
    start_ms, end_ms = KARACHI.start_ms(day), KARACHI.end_ms(day)
    found = shop.day(day_name(day))
    assert numbers_of(found) == shop.expected(start_ms, end_ms)
    assert {(value.phase, value.covered, value.revision) for value in found} == {("final", 1.0, 0)}
    today = shop.day(day_name(day + 1))
    until_ms = (T0 + 30 * HOUR_MS) // QUARTER_MS * QUARTER_MS
    assert numbers_of(today) == shop.expected(end_ms, until_ms)
    assert {value.phase for value in today} == {"live"}
    assert today[0].covered == (until_ms - end_ms) / DAY_MS


def test_the_sketches_kept_are_those_of_a_batch_and_few(shop):
    ledger = shop.market.ledger
    for start_ms in range(T0 + 5 * HOUR_MS, T0 + 30 * HOUR_MS, QUARTER_MS):
        bought = bought_in(ledger, start_ms, start_ms + QUARTER_MS)
        sketch = sketch_of(
            [
                shopper_hash(who)
                for at_ms, who, _ in shop.sold
                if who and start_ms <= at_ms < start_ms + QUARTER_MS
            ]
        )
        assert bought.sketch == sketch.to_bytes()
    kept = [slot for slot, merged in ledger.merged.items() if merged.sketch]
    assert sum(kind == MINUTE for kind, _ in kept) < 85
    assert sum(kind == QUARTER for kind, _ in kept) < 110
    assert {kind for kind, _ in kept} == {MINUTE, QUARTER}


@pytest.mark.deep
def test_a_new_owner_shows_the_same_to_the_last_bit(shop):
    before = {v.field: v for v in shop.flow.published["PK"].values if v.index in NAMES}
    days = [shop.day(day_name(KARACHI.day_of(T0 + hours * HOUR_MS))) for hours in (12, 25)]
    for sp in shop.flow.logs:
        shop.flow.start_source(sp)
    partition = partition_of("PK", shop.flow.partials_partitions)
    shop.flow.start_compile(partition)
    shop.flow.step(partition)
    after = {v.field: v for v in shop.flow.published["PK"].values if v.index in NAMES}
    assert after == before
    again = [shop.day(day_name(KARACHI.day_of(T0 + hours * HOUR_MS))) for hours in (12, 25)]
    assert again == days


def late_shop() -> tuple[Shop, int]:
    """A day that ended a minute ago, closed by nobody yet."""
    shop = Shop()
    end_ms = KARACHI.end_ms(KARACHI.day_of(T0 + 12 * HOUR_MS))
    for start_ms in range(end_ms - 2 * HOUR_MS, end_ms, HOUR_MS):
        shop.open(start_ms, start_ms + HOUR_MS, 60_000)
        shop.run(start_ms + HOUR_MS + 20_000)
    return shop, end_ms


def test_a_late_order_revises_the_day_with_its_cause_once():
    shop, end_ms = late_shop()
    day = day_name(KARACHI.day_of(end_ms - 1))
    before = shop.day(day)
    shop.sell(end_ms - 1_000, "somebody else", True, arrived_ms=end_ms + 60_000)
    shop.run(end_ms + 70_000)
    after = shop.day(day)
    assert after[0].observed == before[0].observed + 1
    assert [value.revision for value in after] == [1, 1, 1]
    told_of = [
        (revision.value.index, revision.previous, revision.cause)
        for publication in shop.flow.history
        for revision in publication.revisions
        if revision.value.day == day and revision.value.index in NAMES
    ]
    assert told_of == [(name, old.value, "late") for name, old in zip(NAMES, before, strict=True)]
    partition = partition_of("PK", shop.flow.partials_partitions)
    shop.flow.start_compile(partition)
    shop.flow.step(partition)
    assert shop.day(day) == after


@pytest.mark.deep
def test_the_closing_of_a_day_weeks_later_has_who_bought_on_it():
    shop, end_ms = late_shop()
    day = day_name(KARACHI.day_of(end_ms - 1))
    shown = shop.day(day)
    for days in (1, 10, 36):
        shop.open(end_ms + days * DAY_MS, end_ms + days * DAY_MS + HOUR_MS, 600_000)
        shop.run(end_ms + days * DAY_MS + HOUR_MS)
    (closing,) = (
        closing
        for publication in shop.flow.history
        for closing in publication.closings
        if closing.kind == "day" and closing.end_ms == end_ms
    )
    found = [value for value in closing.values if value.index in NAMES]
    assert numbers_of(found) == numbers_of(shown)
    assert {(value.phase, value.window, value.day) for value in found} == {("final", "day", day)}


def test_a_day_that_is_closed_again_months_later_has_who_bought_on_it():
    """The first publication was of orders alone; the payments of 200 days came after it."""
    shop = Shop()
    day, later_ms = KARACHI.day_of(T0), T0 + 200 * DAY_MS
    for start_ms in (T0, later_ms):
        shop.open(start_ms, start_ms + HOUR_MS, 60_000)
    shop.flow.now_ms = later_ms + HOUR_MS
    shop.flow.run()
    for number in range(2):
        event = payment(f"p{number}", T0 + HOUR_MS, placed_at=rfc3339(T0))
        shop.flow.produce(SourcePartition("payments", number), event, T0 + HOUR_MS)
    shop.run(later_ms + HOUR_MS)
    closings = [
        closing
        for publication in shop.flow.history
        for closing in publication.closings
        if closing.kind == "day" and closing.start_ms == KARACHI.start_ms(day)
    ]
    assert [len([v for v in each.values if v.index in NAMES]) for each in closings] == [3, 3]
    paid = [
        each.value
        for each in closings[1].values
        if (each.index, each.member) == ("payments", "all")
    ]
    assert paid == [2]
    for closing in closings:
        found = [value for value in closing.values if value.index in NAMES]
        assert numbers_of(found) == shop.expected(T0, T0 + HOUR_MS)


def test_without_ids_there_are_no_shoppers_and_no_day_of_them():
    shop = Shop()
    shop.open(T0, T0, 1)
    for minute in range(90):
        shop.sell(T0 + minute * MINUTE_MS, None)
    shop.run(T0 + 90 * MINUTE_MS + 3_000)
    for name in NAMES:
        value = shop.flow.value("PK", f"{name}:market:all:1h")
        assert (value.value, value.status, value.lower) == (None, "no_data", None)
        value = shop.flow.value("PK", f"{name}:market:all:24h")
        assert (value.value, value.status) == (None, "filling")
    assert shop.day(day_name(KARACHI.day_of(T0))) == [None, None, None]


def test_a_window_hardly_covered_has_no_value_and_no_limits():
    shop = Shop()
    shop.open(T0, T0 + 20 * MINUTE_MS, 10_000)
    shop.run(T0 + 20 * MINUTE_MS + 3_000)
    value = shop.flow.value("PK", "shoppers:market:all:1h")
    assert (value.status, value.value, value.lower, value.upper) == ("filling", None, None, None)
    assert value.observed == shop.expected(T0, T0 + 20 * MINUTE_MS)[0]
    assert value.covered == pytest.approx(20 / 60)
