"""Detectors of a market: live ahead of final, one number a shift, contributors, keeping."""

import math

import msgspec
import numpy as np
import pytest

from streams.flow.shift_watch import (
    FINAL,
    LIVE,
    ExpectedDay,
    ExpectedMinute,
    ShiftWatch,
    WatchedMinute,
    WatchRecord,
)
from streams.index import partials as col
from streams.index.partials import Layout
from streams.index.shift_budget import ShiftRules
from streams.index.shift_clock import MICRO
from tests.support.methodologies import METHODOLOGY

LAYOUT = Layout(METHODOLOGY.markets["PK"])
RATE = 20


class Market:
    """A market of which some members are busy, the others expect nothing."""

    def __init__(self, seed=1):
        self.watch = new_watch()
        self.rng = np.random.default_rng(seed)
        self.busy = {
            at: RATE
            for at, series in enumerate(self.watch.series)
            if series.member in ("all", "books", "computing") and series.dimension != "channel"
        }
        self.rows = {}

    def minute(self, minute, factors=None):
        row = self.rows.get(minute)
        if row is None:
            row = [0] * LAYOUT.live_width
            for at, rate in self.busy.items():
                series = self.watch.series[at]
                factor = (factors or {}).get(series.member, 1.0)
                row[series.column] = int(self.rng.poisson(rate * factor))
            self.rows[minute] = row
        return WatchedMinute(minute, row, self.expected())

    def expected(self):
        expected = np.full(len(self.watch.series), -1.0)
        for at, rate in self.busy.items():
            expected[at] = rate * MICRO
        return ExpectedMinute(expected, np.full(len(expected), 0.005))

    def sums(self, first, until):
        minutes = [m for m in range(int(first), math.ceil(until)) if m in self.rows]
        return [
            (
                sum(self.rows[m][series.column] for m in minutes),
                len(minutes) * self.busy.get(at, 0) * MICRO,
            )
            for at, series in enumerate(self.watch.series)
        ]


def new_watch():
    return ShiftWatch(LAYOUT, ShiftRules(), 1.0)


def jump(minutes, at):
    return {minute: ({"books": 6.0, "all": 2.0} if minute >= at else {}) for minute in minutes}


def test_a_shift_is_confirmed_once_final_minutes_gave_its_number():
    watch = new_watch()
    assert not watch.confirmed(("market", "all", 1))
    watch._final.pages[0] = 2
    assert watch.confirmed(("market", "all", 2))
    assert not watch.confirmed(("market", "all", 3))
    assert not watch.confirmed(("category", "no such", 1))


def test_a_jump_is_found_live_and_confirmed_by_final_minutes_under_the_same_number():
    market = Market()
    found_shifts = []
    for end in range(1, 240):
        for minute in range(max(0, end - 3), end):
            market.minute(minute, jump([minute], 200)[minute])
        final = end - 3
        if final >= 0:
            found_shifts += market.watch.apply_final(market.minute(final), market.sums)
        live = [market.minute(minute) for minute in range(max(0, final + 1), end)]
        found_shifts += market.watch.apply_live(live, market.sums)
    books = [shift for shift in found_shifts if shift.member == "books"]
    assert [(s.event, s.phase, s.number) for s in books] == [("page", LIVE, 1), ("page", FINAL, 1)]
    assert books[0].at == books[1].at <= 206
    assert books[0].start == pytest.approx(200, abs=2)
    assert [shift.contributors for shift in books] == [{}, {}], "its market's members explain none"
    totals = [s for s in found_shifts if s.member == "all"]
    assert totals[0].contributors["category"][0].member == "books"
    assert "payment_failure" not in totals[0].contributors
    status = {(s.series.dimension, s.series.member): s for s in market.watch.statuses(market.sums)}
    assert status["category", "books"].direction == 1
    shown = status["category", "books"].shift
    assert shown.evidence_ratio == books[1].evidence_ratio >= 1
    assert status["market", "all"].shift.contributors == totals[-1].contributors
    assert status["category", "computing"].direction == 0


def failures(*, tried, failing, panes=True):
    """Shifts of cod's failed payments, where 250 a minute are tried and 10 fail.

    From minute 300 on ``tried`` times as many are tried, and ``failing`` times the share fails.
    """
    watch, rng = new_watch(), np.random.default_rng(7)
    places = {(each.dimension, each.member): at for at, each in enumerate(watch.series)}
    captured, failed = places["payment_method", "cod"], places["payment_failure", "cod"]
    watch._final.sizes.size[:] = watch._final.sizes.next_size[:] = 15.0
    watch._final.sizes.pane_size[:] = watch._final.sizes.next_pane_size[:] = 15.0 if panes else 0.0
    expected = np.full(len(watch.series), -1.0)
    expected[captured], expected[failed] = 240 * MICRO, 10 * MICRO
    found = []
    for minute in range(420):
        after = minute >= 300
        level = 250 * rng.gamma(15, 1 / 15) * (tried if after else 1) / 12
        rows = []
        for _ in range(12):
            row = [0] * LAYOUT.live_width
            payments = rng.poisson(level)
            row[watch.series[failed].column] = int(
                rng.binomial(payments, 0.04 * (failing if after else 1))
            )
            row[watch.series[captured].column] = int(payments) - row[watch.series[failed].column]
            rows.append(row)
        whole = [sum(column) for column in zip(*rows, strict=True)]
        noise = np.full(len(expected), 0.005)
        seen = WatchedMinute(minute, whole, ExpectedMinute(expected, noise), rows)
        found += watch.apply_final(seen, lambda *_: [(0, 0)] * len(watch.series))
    shifts = [(each.dimension, each.direction, each.at) for each in found if each.event == "page"]
    assert ("payment_method" in {each for each, _, _ in shifts}) is (tried > 1)
    return [
        (direction, at - 300)
        for dimension, direction, at in shifts
        if dimension != "payment_method"
    ]


@pytest.mark.parametrize("panes", [True, False])
def test_failed_payments_are_judged_given_the_payments_that_were_tried(panes):
    """Of 4.6 times the payments 3.7 % failed, where 4 % do, and that paged as failures."""
    assert failures(tried=4.6, failing=0.037 / 0.04, panes=panes) == []
    ((direction, after),) = failures(tried=1.0, failing=5.0, panes=panes)
    assert (direction, 0 < after <= 6) == (1, True)
    ((direction, after),) = failures(tried=4.6, failing=5.0, panes=panes)
    assert (direction, 0 < after <= 6) == (1, True), "more than its share of what is tried"
    assert failures(tried=1.0, failing=0.0, panes=panes)[0][0] == -1, "a fall is as in any series"


def test_a_late_event_withdraws_a_shift_that_was_only_live():
    market = Market()
    for minute in range(200):
        market.watch.apply_final(market.minute(minute), market.sums)
    empty = [0] * LAYOUT.live_width
    silent = [WatchedMinute(minute, empty, market.expected()) for minute in range(200, 208)]
    assert {s.direction for s in market.watch.apply_live(silent, market.sums)} == {-1}
    full = [market.minute(minute) for minute in range(200, 208)]
    assert market.watch.apply_live(full, market.sums) == []
    assert {s.direction for s in market.watch.statuses(market.sums)} == {0}


def test_detection_that_begins_anew_ends_what_goes_on_and_its_next_number_is_news():
    market = Market()
    for minute in range(60):
        market.watch.apply_final(market.minute(minute, jump([minute], 50)[minute]), market.sums)
    ended = market.watch.begin_anew(55, market.sums)
    assert {(each.event, each.phase, each.number) for each in ended} == {("end", FINAL, 1)}
    assert {(each.member, each.at) for each in ended} >= {("books", 55)}
    assert all(status.shift is None for status in market.watch.statuses(market.sums))
    market.watch.begin(55)

    def live():
        minutes = [market.minute(minute, jump([minute], 55)[minute]) for minute in range(55, 70)]
        return [
            (each.member, each.number) for each in market.watch.apply_live(minutes, market.sums)
        ]

    assert ("books", 2) in live()
    assert live() == []
    market.watch.begin_anew(60, market.sums)
    market.watch.begin(60)
    assert ("books", 2) in live(), "the one that was only live is forgotten"


def test_the_stored_state_depends_neither_on_live_minutes_nor_on_the_owner():
    one, other = Market(seed=3), Market(seed=3)
    for minute in range(300):
        factors = jump([minute], 250)[minute]
        one.watch.apply_final(one.minute(minute, factors), one.sums)
    for minute in range(120):
        other.watch.apply_final(other.minute(minute), other.sums)
        other.watch.apply_live([other.minute(minute + 1)], other.sums)
    kept = msgspec.msgpack.encode(other.watch.record())
    new_owner = new_watch()
    new_owner.restore(msgspec.msgpack.decode(kept, type=WatchRecord))
    for minute in range(100, 300):  # it reads some minutes again
        factors = jump([minute], 250)[minute]
        new_owner.apply_final(other.minute(minute, factors), other.sums)
    assert msgspec.msgpack.encode(new_owner.record()) == msgspec.msgpack.encode(one.watch.record())


def test_detectors_sleep_while_the_market_is_filling_or_a_member_is_warming():
    market = Market()
    row = [0] * LAYOUT.live_width
    for minute in range(600):
        market.watch.apply_final(WatchedMinute(minute, row, None), market.sums)
    assert max(status.evidence_ratio for status in market.watch.statuses(market.sums)) == 0.0
    n = len(market.watch.series)
    nothing = ExpectedMinute(np.full(n, -1.0), np.zeros(n))
    for minute in range(600, 700):
        market.watch.apply_final(WatchedMinute(minute, row, nothing), market.sums)
    assert max(status.evidence_ratio for status in market.watch.statuses(market.sums)) == 0.0
    assert market.watch.done_until == 700


def test_the_total_drifts_by_days():
    market = Market()
    found = []
    for day in range(20):
        market.watch.apply_final(market.minute(day * 1440), market.sums)
        expected = ExpectedDay(day * 1440, 32_500, 28_800 * MICRO, 0.002, 0.005)
        found += market.watch.apply_final_day(expected, market.sums)
    assert [(s.member, s.clock, s.event, s.direction) for s in found[:1]] == [
        ("all", "drift", "page", 1)
    ]
    assert market.watch.series[0].column == col.ORDERS
