"""Answers in the flow: they silence shifts, change what is learnt, and leave nothing when taken back."""

from __future__ import annotations

import pytest

from streams.flow.answer_book import MarketAnswers
from streams.flow.answered_shifts import PagedShift, is_silenced
from streams.flow.history_book import HistoryBook
from streams.flow.market import MarketCompile
from streams.flow.market_expectation import Observed
from streams.flow.market_shifts import KeptShift, relevels_of
from streams.flow.wire import partition_of
from streams.index.answer_records import answer_record
from streams.index.demand import SCALE
from streams.index.history_records import SeededRow, seed_records
from streams.index.learning import WHOLE
from streams.index.operator_answers import EXPECTED, FALSE_ALARM, NOTE, Answer
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS
from tests.support.flow_harness import METHODOLOGY
from tests.unit.flow.test_market_expectation import DAY, GIVEN, HOURS, TEN, expected_orders
from tests.unit.flow.test_market_shifts import ALL, market, new_flow, play, published

UNTIL = TEN + 6 * HOUR_MS


def say(flow, kind, incident, at_ms=UNTIL - 5 * HOUR_MS, **more):
    """Answer as an operator does, by a record of the topic."""
    if kind == EXPECTED and not more.get("taken_back"):
        more = {"start_ms": TEN + 30 * MINUTE_MS, "until_ms": UNTIL, "factor": 6 * SCALE} | more
    flow.book.answers.apply_record(*answer_record(Answer(incident, kind, "aisha", at_ms, **more)))
    flow.run()


def shown(flow):
    return {
        (status.shift.dimension, status.shift.member): status.shift.direction
        for status in flow.published["PK"].watched
        if status.shift is not None
    }


@pytest.fixture
def jumped():
    flow = new_flow()
    play(flow, [(1.0, 30), (6.0, 12)])
    return flow


def incident(flow):
    """Id of the incident of the market's own shift, which is the first found."""
    return next(kept.incident for kept in market(flow).shifts.kept if kept.dimension == "market")


def test_a_false_alarm_is_over_for_readers_and_its_hours_teach(jumped):
    name = incident(jumped)
    assert shown(jumped)[ALL] == 1
    now_ms = market(jumped).shifts.done_until_ms
    before = market(jumped).shifts.shifted(now_ms)
    assert WHOLE in {each.scope for each in before}
    say(jumped, FALSE_ALARM, name)
    assert ALL not in shown(jumped)
    assert WHOLE not in {each.scope for each in market(jumped).shifts.shifted(now_ms)}
    say(jumped, FALSE_ALARM, name, taken_back=True)
    assert shown(jumped)[ALL] == 1
    assert market(jumped).shifts.shifted(now_ms) == before


def test_what_is_expected_multiplies_what_is_published_and_not_what_is_watched(jumped):
    before = jumped.value("PK", "orders:market:all:5m").expected
    say(jumped, EXPECTED, incident(jumped))
    assert shown(jumped) == {}, "its members shifted with it"
    assert jumped.value("PK", "orders:market:all:5m").expected == pytest.approx(6 * before)
    at_ms = play(jumped, [(6.0, 10)], TEN + 42 * MINUTE_MS)
    assert shown(jumped) == {}
    found = len(published(jumped))
    play(jumped, [(0.0, 15)], at_ms)
    assert shown(jumped)[ALL] == -1, "an outage during a sale pages"
    assert {shift.direction for shift in published(jumped)[found:] if shift.event == "page"} == {-1}
    say(jumped, EXPECTED, incident(jumped), taken_back=True)
    assert jumped.value("PK", "orders:market:all:5m").expected == pytest.approx(before, rel=0.2)


def test_detectors_go_on_as_if_nobody_had_answered(jumped):
    other = new_flow()
    play(other, [(1.0, 30), (6.0, 12)])
    say(jumped, EXPECTED, incident(jumped))
    for flow in (jumped, other):
        play(flow, [(6.0, 8), (1.0, 8)], TEN + 42 * MINUTE_MS)
    assert market(jumped).shifts.watch.record() == market(other).shifts.watch.record()
    assert market(jumped).shifts.kept == market(other).shifts.kept
    say(jumped, EXPECTED, incident(jumped), taken_back=True)
    other.run()
    assert shown(jumped) == shown(other)
    for name in ("orders:market:all:5m", "demand_index_orders:market:all:5m"):
        found, plain = jumped.value("PK", name), other.value("PK", name)
        assert (found.value, found.expected, found.lower, found.upper, found.vintage) == (
            plain.value, plain.expected, plain.lower, plain.upper, plain.vintage
        )  # fmt: skip


def test_a_new_owner_shows_and_learns_the_same(jumped):
    say(jumped, EXPECTED, incident(jumped))
    now_ms = market(jumped).shifts.done_until_ms
    shifted = market(jumped).shifts.shifted(now_ms)
    expected = jumped.value("PK", "orders:market:all:5m").expected
    jumped.start_compile(partition_of("PK", jumped.partials_partitions))
    jumped.run()
    assert shown(jumped) == {}
    assert market(jumped).shifts.shifted(now_ms) == shifted
    assert jumped.value("PK", "orders:market:all:5m").expected == expected


# -- which shifts an answer is about ---------------------------------------------------------------

JUMP = "PK-20261124T0512-up"
AT = TEN
BOOKS = ("category", "books")


def silenced(shift, *answers, series=(), now_ms=AT + HOUR_MS):
    book = MarketAnswers()
    for answer in answers:
        book.apply_answer(answer)
    return is_silenced(shift, book, lambda _: set(series), now_ms)


def expected(**more):
    about = {"start_ms": AT, "until_ms": AT + 6 * HOUR_MS, "scope": BOOKS} | more
    return Answer(JUMP, EXPECTED, "aisha", AT, **about)


def later(series=BOOKS, direction=1, clock="fast", start_ms=AT + HOUR_MS, incident="PK-other-up"):
    return PagedShift(incident, series, direction, clock, start_ms)


def test_the_cause_pages_no_more_until_it_ends():
    assert silenced(later(incident=JUMP, series=("region", "west")), expected())
    assert silenced(later(), expected()), "it came back: the same series, in the same direction"
    assert not silenced(later(direction=-1, incident="PK-other-down"), expected())
    assert not silenced(later(series=("category", "toys")), expected())
    assert silenced(later(series=("category", "toys")), expected(), series={("category", "toys")})
    assert silenced(later(series=("category", "toys")), expected(scope=WHOLE))
    assert silenced(later(series=("category", "toys")), expected(), series={WHOLE})
    assert not silenced(later(start_ms=AT - HOUR_MS), expected()), "it began before"
    assert not silenced(later(), expected(), now_ms=AT + 6 * HOUR_MS), (
        "it lasts longer than expected"
    )
    assert not silenced(later(incident=JUMP), expected(), now_ms=AT + 6 * HOUR_MS)


def test_a_drift_of_the_days_of_an_event_stays_silent_after_it():
    drift = later(clock="drift", start_ms=AT - 10 * HOUR_MS)
    assert silenced(drift, expected(), now_ms=AT + DAY_MS)
    assert not silenced(drift._replace(start_ms=AT + 7 * HOUR_MS), expected(), now_ms=AT + DAY_MS)


def test_a_false_alarm_is_about_its_own_incident_alone():
    false = Answer(JUMP, FALSE_ALARM, "aisha", AT)
    assert silenced(later(incident=JUMP), false)
    assert not silenced(later(), false)
    assert not silenced(later(incident=JUMP), Answer(JUMP, NOTE, "aisha", AT, text="hm"))


# -- what is learnt --------------------------------------------------------------------------------

WEEK_AGO = HOURS.hours_of(DAY - 7).start
PLANTED = range(WEEK_AGO + 10 * HOUR_MS, WEEK_AGO + 14 * HOUR_MS, HOUR_MS)
SAID = "PK-20261117T0512-up"


def learnt(*answers, times=3.0, relevelled=False):
    """The vintage of a week after four hours at ``times`` the demand, and a shift found in them."""
    book = HistoryBook(METHODOLOGY.markets)
    hours = {}
    for hour_ms in range(TEN - 46 * DAY_MS, TEN, HOUR_MS):
        count = round(expected_orders(hour_ms) * (times if hour_ms in PLANTED else 1))
        three = {"orders": count, "units": count, "sales": 100 * count}
        hours[hour_ms] = [
            SeededRow("market", "all", **three, payments=count, amount=100 * count),
            SeededRow("category", "mobiles_tablets", **three),
        ]
    for record in seed_records("PK", "s1", hours, GIVEN):
        book.apply_record(*record)
    for answer in answers:
        book.answers.apply_record(*answer_record(answer))
    found = MarketCompile(
        METHODOLOGY.markets["PK"], METHODOLOGY, {"orders": [], "payments": []}, book.markets["PK"]
    )
    start, end = (PLANTED.start // MINUTE_MS, PLANTED.stop // MINUTE_MS)
    kept = KeptShift(*ALL, 1, "fast", start, start + 5, end=end, incident=SAID)
    if relevelled:
        kept.relevelled_at, kept.ratio = end, 3 * SCALE
    found.shifts.kept = [kept] if times != 1.0 else []
    observed = Observed(
        found.ledger, None, None, found.shifts.shifted, found.shifts.relevels, found.shifts.answered
    )
    found.expectation.take_history()
    for _ in range(3):
        found.expectation.learn(observed, TEN, TEN, again=True, awaited=False)
    return found.expectation.held[DAY]


def of_orders(held):
    return list(held.vintage.expected[0]), held.vintage.learnt_days[0]


def about(kind, **more):
    if kind == EXPECTED and not more.get("taken_back"):
        event = {"start_ms": PLANTED.start, "until_ms": PLANTED.stop, "factor": 3 * SCALE}
        more = event | more
    return Answer(SAID, kind, "aisha", PLANTED.stop, **more)


def test_the_week_after_a_false_alarm_is_learnt_as_if_there_had_been_no_shift():
    silent, false, undone = (
        learnt(),
        learnt(about(FALSE_ALARM)),
        learnt(about(FALSE_ALARM), about(FALSE_ALARM, taken_back=True)),
    )
    assert of_orders(false) != of_orders(silent)
    ten = silent.vintage.target_ms.index(TEN)
    assert of_orders(false)[0][ten] > 1.05 * of_orders(silent)[0][ten], "it is what is usual then"
    assert undone == silent


def test_the_week_after_an_expected_event_is_learnt_after_division_by_its_factor():
    plain, silent, factored = learnt(times=1.0), learnt(), learnt(about(EXPECTED))
    assert of_orders(factored)[0] == pytest.approx(of_orders(plain)[0], rel=1e-3)
    assert of_orders(factored) != of_orders(silent), "the hours of a shift teach nothing"
    assert learnt(about(EXPECTED), about(EXPECTED, taken_back=True)) == silent
    unknown = learnt(about(EXPECTED, factor=None))
    assert of_orders(unknown) == of_orders(silent), "of unknown size, it teaches nothing"


def test_a_vintage_is_learnt_again_when_the_answer_changes():
    assert learnt().basis != learnt(about(FALSE_ALARM)).basis
    assert learnt(about(NOTE, text="hm")).basis == learnt().basis


def test_what_was_answered_is_not_the_new_level():
    book = MarketAnswers()
    start = PLANTED.start // MINUTE_MS
    kept = KeptShift(*ALL, 1, "fast", start, start + 5, start + 600, start + 600, 3 * SCALE)
    kept.incident = SAID
    assert relevels_of([kept], TEN, book) != []
    book.apply_answer(about(EXPECTED))
    assert relevels_of([kept], TEN, book) == []
    book.apply_answer(about(EXPECTED, taken_back=True))
    assert relevels_of([kept], TEN, book) != []
