"""How large an incident is: now, since it began, and whom it affects."""

from __future__ import annotations

import msgspec
import pytest

from streams.index.incident_measures import SeriesSums, difference, measure
from streams.index.shift_ratio import ratio_interval

ALL, BOOKS = ("market", "all"), ("category", "books")
START = 29_000_000
STOP = ratio_interval(96, 1_000.0, 0.0025)


def sums_of(rates, *, until, amount=250, noise=0.0025):
    """Sums of series that count ``rates`` ((dimension, member): [events a minute]) and expect 100."""

    def sums(first, end):
        found = []
        for (dimension, member), counted in rates.items():
            minutes = range(first, end)
            observed = sum(counted[minute - START] for minute in minutes)
            expected = 100.0 * len(minutes)
            found.append(
                SeriesSums(
                    dimension, member, observed, expected, observed * 90, expected * amount, noise
                )
            )
        return found

    return until, sums


def measured(lead, direction, rates, minutes, shifted=()):
    until, sums = sums_of(rates, until=START + minutes)
    observed = sum(rates[lead][:minutes])
    interval = ratio_interval(observed, 100.0 * minutes, 0.0025)
    return measure(lead, direction, interval, (START, until), frozenset(shifted), sums)


def test_a_stop_is_sized_with_the_error_of_the_expectation_and_in_money():
    found = measured(ALL, -1, {ALL: [0] * 10}, 10)
    assert (found.now.observed, found.now.expected, found.now_minutes) == (0, 100, 1)
    assert found.stopped
    missed = found.difference
    assert missed.events == -1_000
    half = 1.96 * (1_000 + 0.05**2 * 1_000**2) ** 0.5  # of what would have come: s = 5 %
    assert (missed.lower, missed.upper) == pytest.approx((-1_000 - half, -1_000 + half))
    assert missed.amount_minor == -250_000, "at the expected amount of an order, 250"
    assert (missed.lower_minor, missed.upper_minor) == (-278_989, -221_011)


def test_what_is_missed_has_the_error_of_what_would_have_come_and_of_its_start():
    """Of 1,007 orders that were expected none came: "missed 1,007 (1,005 to 1,009)"."""
    own = SeriesSums("market", "all", 0, 1_007.0, None, None, 1e-6)
    found = difference(0.0, 1_007.0, own)
    half = 1.96 * (1_007 + 1e-6 * 1_007**2) ** 0.5
    assert (found.lower, found.upper) == pytest.approx((-1_007 - half, -1_007 + half))
    assert half > 62
    dated = difference(0.0, 1_007.0, own, step_part=1 / 12)
    assert dated.upper == pytest.approx(found.upper + 1_007 / 12)
    assert dated.lower == pytest.approx(found.lower - 1_007 / 12)
    jump = difference(6_000.0, 1_000.0, own, step_part=0.1)
    assert jump.upper == pytest.approx(5_000 + 1.96 * 1_001**0.5 + 500, abs=0.1)


def test_now_is_the_last_minute_and_says_when_it_is_back():
    found = measured(ALL, -1, {ALL: [0] * 9 + [96]}, 10)
    assert not found.stopped
    assert found.is_back(STOP)
    still = measured(ALL, -1, {ALL: [0] * 9 + [60]}, 10)
    assert not still.is_back(STOP)
    jump = measured(BOOKS, 1, {ALL: [100] * 10, BOOKS: [400] * 9 + [105]}, 10)
    assert jump.is_back(ratio_interval(3_705, 1_000.0, 0.0025))


@pytest.mark.parametrize(("before", "now"), [(400, 0), (0, 600)])
def test_what_turned_into_the_other_way_is_not_back(before, now):
    """A jump that became a stop was said to look as usual again, at 0 orders."""
    turned = measured(ALL, 1 if before else -1, {ALL: [before] * 9 + [now]}, 10)
    assert not turned.is_back(STOP)


@pytest.mark.parametrize(
    ("shifted", "now", "back"),
    [
        ((0, 60.0), 0, False),  # it goes on
        ((0, 60.0), 1, False),  # a stray order
        ((2, 60.0), 2, False),  # nobody can tell
        ((0, 60.0), 2, True),
        ((30, 60.0), 3, False),
        ((360, 60.0), 3, True),
        ((360, 60.0), 18, False),
        ((360, 60.0), 0, False),  # nothing is not as usual
        ((0, 60.0), 18, False),  # a stop that turned into a jump
    ],
)
def test_few_events_are_back_when_they_contradict_the_shift_and_not_what_is_expected(
    shifted, now, back
):
    """An incident of fewer than 10 orders an hour was never said to be back."""
    found = measured(ALL, -1, {ALL: [0] * 10}, 10)
    few = msgspec.structs.replace(found, now=ratio_interval(now, 3.0, 0.0025))
    assert few.is_back(ratio_interval(*shifted, 0.0025)) is back


def test_a_market_affects_the_members_that_are_as_far_off():
    rates = {
        ALL: [10] * 10,
        ("category", "books"): [0] * 10,
        ("category", "toys"): [95] * 10,
        ("region", "sindh"): [0] * 10,
        ("region", "punjab"): [20] * 10,
    }
    found = measured(ALL, -1, rates, 10)
    assert [(each.dimension, each.affected, each.of) for each in found.affected] == [
        ("category", 1, 2), ("region", 2, 2),
    ]  # fmt: skip
    assert [each.member for each in found.affected[1].members] == ["sindh", "punjab"]


def test_a_member_affects_only_what_is_shifted_itself():
    rates = {ALL: [150] * 10, BOOKS: [600] * 10, ("region", "sindh"): [160] * 10}
    found = measured(BOOKS, 1, rates, 10, shifted=[BOOKS])
    (only,) = found.affected
    assert (only.dimension, only.affected, only.of) == ("category", 1, 1)
    assert found.difference.events == 5_000


def test_the_span_called_now_grows_until_enough_is_expected_and_never_past_the_start():
    until, sums = sums_of({ALL: [0] * 60}, until=START + 60)

    def fewer(first, end):
        return [each._replace(expected=each.expected / 50) for each in sums(first, end)]

    interval = ratio_interval(0, 120.0, 0.0025)
    found = measure(ALL, -1, interval, (START, until), frozenset(), fewer)
    assert (found.now_minutes, found.now.expected) == (15, 30)
    young = measure(ALL, -1, interval, (START, START + 3), frozenset(), fewer)
    assert (young.now_minutes, young.now.expected) == (3, 6)
    assert not young.stopped, "too few are expected to tell"


def test_minutes_of_which_nothing_is_expected_are_counted_all_the_same():
    until, sums = sums_of({ALL: [4] * 10}, until=START + 10)

    def none(first, end):
        return [each._replace(expected=0.0) for each in sums(first, end)]

    interval = ratio_interval(40, 120.0, 0.0025)
    found = measure(ALL, -1, interval, (START, until), frozenset(), none)
    assert (found.now, found.now_minutes, found.now_observed) == (None, 10, 40)


def test_payments_that_do_not_fail_because_none_are_tried_are_not_affected():
    """ "Affected: failed payments: all methods" was said of an outage."""
    failed, more = ("payment_failure", "card"), ("payment_failure", "cod")
    method = ("payment_method", "card")
    rates = {ALL: [0] * 10, method: [0] * 10, failed: [0] * 10, more: [300] * 10}
    found = measured(ALL, -1, rates, 10, shifted=[failed, more])
    assert [(each.dimension, each.members[0].member) for each in found.affected] == [
        ("payment_method", "card"),
        ("payment_failure", "cod"),
    ]
    assert found.affected[1].of == 1
