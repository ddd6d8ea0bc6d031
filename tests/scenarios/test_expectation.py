"""Expectations of histories whose answer is known.

Time runs in local days up to the vintage's day D; hours up to the end of D-2 are known::

    D-43 .................................. D-2 | D-1 | D
    <--------------- learnt: 42 days ---------->        <- E
"""

import math

import numpy as np
import pytest
from support.known_histories import BOOKS, ORDERS, SALES, History

from streams.index.hours import LocalHours
from streams.index.learning import (
    WHOLE,
    Factor,
    Shifted,
    factor_at,
    relevel_of,
    with_factor,
)
from streams.index.panes import DAY_MS, day_number

BOOKS_SCOPE = ("category", "books")
CENTRE_DAYS = 15.27
"""From the weighted centre of 42 days with half-life 14 to two days after the last."""


def test_a_steady_market_is_expected_to_go_on():
    history = History()
    vintage = history.vintage()
    for column in (ORDERS, BOOKS, SALES):
        assert history.off(vintage, column) == pytest.approx(0, abs=2e-4)
        assert history.worst_hour(vintage, column) < 1e-3
    assert vintage.learnt_days == (42, 42, 42)
    assert not vintage.warming(ORDERS)


@pytest.mark.parametrize("growth", [0.10, -0.10, 0.02])
def test_growth_is_followed_with_nine_tenths_of_its_slope(growth):
    history = History(growth=growth)
    slope = math.log1p(growth) / 7
    # E is for the level in the middle of D; what the damping takes away is 2 % at +10 % a week.
    vintage = history.vintage()
    assert history.off(vintage) == pytest.approx(math.expm1(-0.1 * slope * CENTRE_DAYS), abs=1e-3)
    assert history.off(vintage, SALES) == pytest.approx(history.off(vintage), abs=1e-3)


def test_growth_does_not_bend_the_week():
    history = History(growth=0.10)
    within_a_day = (
        math.log(1.1) / 7
    )  # the level is the day's: hours of it still rise within the day
    assert history.worst_hour(history.vintage()) < within_a_day


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        ("2026-10-25", 25),  # clocks went back at 02:00 in London
        ("2026-10-26", 24),
        ("2026-03-29", 23),  # and forward at 01:00
        ("2026-11-09", 24),  # the change lies within the six weeks learnt
        ("2026-04-20", 24),
    ],
)
def test_a_change_of_clocks_moves_no_hour_of_the_week(day, hours):
    history = History(day, zone="Europe/London")
    vintage = history.vintage()
    assert len(vintage.expected[ORDERS][history.calendar.own]) == hours
    assert history.off(vintage) == pytest.approx(0, abs=1e-3)
    assert history.worst_hour(vintage) < 2e-3


def test_the_hour_that_is_repeated_is_expected_twice():
    history = History("2026-10-25", zone="Europe/London")
    day = history.vintage().expected[ORDERS][history.calendar.own]
    assert day[1] == day[2]
    cells = [history.hours.cell(ms) for ms in history.hours.hours_of(history.day)]
    assert cells[:4] == [144, 145, 145, 146]


def test_an_hour_that_straddles_midnight_belongs_to_the_day_it_starts_in():
    hours = LocalHours("Asia/Kathmandu")
    day = day_number("2026-11-24")
    own = hours.hours_of(day)
    assert len(own) == 24
    assert own.start - hours.local_days.start_ms(day) == 45 * 60_000
    assert [hours.cell(ms) % 24 for ms in own] == list(range(24))
    assert hours.day_of_hour(own.start) == day
    assert hours.day_of_hour(own.stop) == day + 1


def test_an_eid_week_with_the_operators_factor_teaches_nothing_wrong():
    plain = History()
    eid = History()
    eid.counts[eid.between(-20, -14)] *= 2.5
    factor = Factor(WHOLE, eid.start_of(-20), eid.start_of(-13), 2_500_000)
    known = eid.vintage(factors=[factor])
    assert np.array(known.expected) == pytest.approx(np.array(plain.vintage().expected), rel=1e-3)
    assert eid.off(eid.vintage()) > 0.05, "without the factor the level would be wrong"


def test_an_event_of_unknown_size_is_not_learnt():
    history = History()
    history.counts[history.between(-20, -14)] *= 3.7
    event = Factor(WHOLE, history.start_of(-20), history.start_of(-13), None)
    vintage = history.vintage(factors=[event])
    assert history.off(vintage) == pytest.approx(0, abs=2e-3)
    assert vintage.learnt_days[ORDERS] == 35


def test_a_factor_multiplies_the_hours_it_covers_and_no_others():
    start = 1_800_000_000_000 // DAY_MS * DAY_MS
    eid = Factor(WHOLE, start, start + DAY_MS, 2_500_000)
    books = Factor(BOOKS_SCOPE, start, start + DAY_MS, 4_000_000)
    unknown = Factor(WHOLE, start + DAY_MS, start + 2 * DAY_MS, None)
    declared = [books, eid, unknown]
    assert factor_at(declared, WHOLE, start) == 2_500_000
    assert factor_at(declared, BOOKS_SCOPE, start) == 4_000_000, "the factor of the member counts"
    assert factor_at(declared, ("category", "toys"), start) == 2_500_000
    assert factor_at(declared, WHOLE, start - 3_600_000) == 1_000_000
    assert factor_at(declared, WHOLE, start + DAY_MS) is None
    again = Factor(WHOLE, start, start + DAY_MS, 1_500_000)
    assert factor_at([*declared, again], WHOLE, start) == 1_500_000, "the last declaration counts"
    assert with_factor(1_000_001, 1_500_000) == 1_500_002


def step(days_ago, ratio=2.0):
    """Books sell ``ratio`` times as much since ``days_ago`` days before D."""
    history = History()
    history.counts[history.between(-days_ago, -2), BOOKS:] *= ratio
    return history, history.start_of(-days_ago)


def test_a_shift_is_not_learnt_while_it_may_pass():
    history, since_ms = step(6)
    vintage = history.vintage(shifts=[Shifted(BOOKS_SCOPE, since_ms, None)])
    assert history.off(vintage, BOOKS) == pytest.approx(0, abs=1e-3)
    assert history.off(history.vintage(), BOOKS) > 0.3, "learnt, it would be half believed"


def test_a_lasting_step_is_adopted_after_seven_days():
    history, since_ms = step(9)
    since = history.between(-9, -2)
    observed = round(history.counts[since, BOOKS].sum())
    expected = round(history.counts[since, BOOKS].sum() / 2 * 1e6)  # by the vintages of those days
    relevel = relevel_of(BOOKS_SCOPE, since_ms, observed, expected)
    assert relevel is not None
    assert relevel.ratio == pytest.approx(2_000_000, rel=1e-4)
    vintage = history.vintage(relevels=[relevel])
    assert history.off(vintage, BOOKS) == pytest.approx(1.0, abs=2e-3)
    assert history.off(vintage, SALES) == pytest.approx(1.0, abs=2e-3)
    assert history.off(vintage, ORDERS) == pytest.approx(0, abs=2e-3)
    assert history.worst_hour(vintage, BOOKS) < 0.01, "the week keeps its shape"


def test_an_outage_is_never_adopted():
    assert relevel_of(BOOKS_SCOPE, 0, 0, 10_000_000) is None


@pytest.mark.parametrize(("days_ago", "warming"), [(32, False), (12, True)])
def test_a_category_that_appears_midway_is_expected_as_it_is_now(days_ago, warming):
    history = History()
    history.counts[history.between(-43, -days_ago - 1), BOOKS:] = 0
    vintage = history.vintage()
    assert vintage.learnt_days == (42, days_ago - 1, days_ago - 1)
    assert vintage.warming(BOOKS) is warming
    assert history.off(vintage, BOOKS) == pytest.approx(0, abs=5e-3)


def test_a_category_of_less_than_a_week_has_no_expectation_yet():
    history = History()
    history.counts[history.between(-43, -8), BOOKS:] = 0
    vintage = history.vintage()
    assert vintage.expected[BOOKS] == ()
    assert vintage.warming(BOOKS)
    assert vintage.expected[ORDERS]


def test_of_a_category_with_an_order_a_week_an_empty_beginning_says_nothing():
    history = History(rate=60, share=0)
    for days_ago in (20, 13, 4):
        history.counts[history.between(-days_ago, -days_ago).start + 12, BOOKS:] = (1, 1_500)
    vintage = history.vintage()
    assert vintage.learnt_days[BOOKS] == 42
    orders = sum(vintage.expected[BOOKS][history.calendar.own]) / 1e6
    sales = sum(vintage.expected[SALES][history.calendar.own]) / 1e6
    assert 3 / 42 * 0.8 < orders < 3 / 42 * 2.0, "more, since they came of late"
    assert sales == pytest.approx(1_500 * orders, rel=0.01)


def test_before_a_week_is_known_nothing_is_expected():
    history = History()
    history.counts[: history.between(-7, -7).start] = 0
    vintage = history.vintage(known_from=history.start_of(-7))
    assert vintage.learnt_days == (6, 6, 6)
    assert vintage.expected == ((), (), ())


def test_a_member_nobody_bought_of_is_expected_to_sell_nothing():
    history = History(share=0)
    vintage = history.vintage()
    assert set(vintage.expected[BOOKS]) == {0}
    assert vintage.noise[BOOKS].hour == 0
