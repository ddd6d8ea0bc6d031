"""Answers in the flow: they silence shifts, change what is learnt, and leave nothing when taken back."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from msgspec import structs

from streams.flow.answer_book import MarketAnswers
from streams.flow.answered_shifts import PagedShift, silenced_shifts, silencer
from streams.flow.history_book import HistoryBook
from streams.flow.market import MarketCompile
from streams.flow.market_answers import AnsweredShifts, GivenAnswers
from streams.flow.market_expectation import Observed
from streams.flow.market_shifts import MarketShifts, relevels_of, shifted_of
from streams.flow.shifts_record import KeptShift
from streams.flow.wire import partition_of
from streams.index.answer_records import answer_record
from streams.index.demand import SCALE
from streams.index.history_records import SeededRow, seed_records
from streams.index.incidents import note_worse
from streams.index.learning import WHOLE
from streams.index.operator_answers import ACKNOWLEDGED, EXPECTED, FALSE_ALARM, NOTE, Answer
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS
from streams.index.shift_ratio import ratio_interval
from tests.support.flow_harness import METHODOLOGY
from tests.support.publications import AS_OF_MS, incident_shift
from tests.support.publications import incident as incident_of_shifts
from tests.support.publications import status as shown_status
from tests.unit.flow.test_market_expectation import DAY, GIVEN, HOURS, TEN, expected_orders
from tests.unit.flow.test_market_shifts import ALL, market, new_flow, play

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


def incident(flow):
    """Id of the incident of the market's own shift, which is the first found."""
    return next(kept.incident for kept in market(flow).shifts.kept if kept.dimension == "market")


ORDERS = "orders:market:all:5m"


def test_answers_silence_and_teach_and_leave_nothing_when_taken_back():
    answered, other = new_flow(), new_flow()
    for flow in (answered, other):
        play(flow, [(1.0, 10), (6.0, 8)])
    name, shifts = incident(answered), market(answered).shifts
    before, expected = shifts.shifted(shifts.done_until_ms), answered.value("PK", ORDERS).expected
    assert shown(answered)[ALL] == 1
    assert WHOLE in {each.scope for each in before}
    assert answered.published["PK"].answers == {}

    say(answered, FALSE_ALARM, name)
    assert shown(answered) == {}, "over for readers"
    assert shifts.shifted(shifts.done_until_ms) == [], "its hours teach"
    say(answered, FALSE_ALARM, name, taken_back=True)
    assert shown(answered)[ALL] == 1
    assert shifts.shifted(shifts.done_until_ms) == before

    say(answered, EXPECTED, name)
    given = answered.published["PK"].answers[name]
    assert (given.verdict.until_ms, given.silenced_by) == (UNTIL, name)
    assert shown(answered) == {}, "its members shifted with it"
    assert answered.value("PK", ORDERS).expected == pytest.approx(6 * expected)
    answered.start_compile(partition_of("PK", answered.partials_partitions))
    answered.run()
    assert shown(answered) == {}, "a new owner shows the same"
    assert answered.published["PK"].answers == {name: given}
    assert answered.value("PK", ORDERS).expected == pytest.approx(6 * expected)

    end_ms = TEN + 18 * MINUTE_MS
    for flow in (answered, other):
        play(flow, [(6.0, 3), (0.0, 10)], end_ms)
    assert shown(answered)[ALL] == -1, "an outage during a sale pages"
    assert market(answered).shifts.watch.record() == market(other).shifts.watch.record()
    assert market(answered).shifts.kept == market(other).shifts.kept
    say(answered, EXPECTED, name, taken_back=True)
    assert shown(answered) == shown(other)
    for value in (ORDERS, "demand_index_orders:market:all:5m"):
        found, plain = answered.value("PK", value), other.value("PK", value)
        assert (found.value, found.expected, found.lower, found.upper, found.vintage) == (
            plain.value, plain.expected, plain.lower, plain.upper, plain.vintage
        )  # fmt: skip


def test_what_is_usual_again_after_an_expected_event_is_no_suspicion():
    """A jump was over after minutes. For the six hours of its answer, usual orders were suspected."""
    flow = new_flow()
    end_ms = play(flow, [(1.0, 10), (6.0, 8)])
    say(flow, EXPECTED, incident(flow), end_ms)
    began = len(flow.history)
    end_ms = play(flow, [(6.0, 5)], end_ms)
    assert suspected_in(flow, began) == set(), "what is expected is no suspicion of itself"
    end_ms = play(flow, [(1.0, 10)], end_ms)
    assert all(each.over_ms for each in market(flow).shifts.incidents.kept)
    play(flow, [(1.0, 10)], end_ms)
    assert suspected_in(flow, began) == set()


def suspected_in(flow, began):
    """Series and directions that were suspected in publications since a number of them."""
    return {
        (each.dimension, each.member, each.direction)
        for publication in flow.history[began:]
        for each in publication.suspicions
    }


def test_a_drop_that_was_called_a_false_alarm_and_becomes_an_outage_pages_again():
    flow = new_flow()
    end_ms = play(flow, [(1.0, 10), (0.15, 20)])
    (name,) = (each.id for each in market(flow).shifts.incidents.kept)
    say(flow, FALSE_ALARM, name, end_ms)
    assert shown(flow) == {}
    end_ms = play(flow, [(0.15, 5)], end_ms)
    assert shown(flow) == {}
    play(flow, [(0.0, 15)], end_ms)
    assert shown(flow)[ALL] == -1
    (only,) = market(flow).shifts.incidents.kept
    assert (only.id, only.kind) == (name, "outage")
    assert end_ms < only.stopped_ms <= end_ms + 10 * MINUTE_MS
    assert flow.published["PK"].answers[name].silenced_by is None
    flow.start_compile(partition_of("PK", flow.partials_partitions))
    flow.run()
    assert shown(flow)[ALL] == -1, "a new owner says the same"
    say(flow, FALSE_ALARM, name, only.stopped_ms)
    assert shown(flow) == {}


def test_what_a_new_owner_shows_while_its_detectors_wait_heeds_answers(monkeypatch):
    flow = new_flow()
    play(flow, [(1.0, 10), (6.0, 8)])
    total = frozenset({(*ALL, 1)})
    monkeypatch.setattr(MarketShifts, "_silenced", lambda *_: total)
    monkeypatch.setattr(MarketShifts, "_teach_sizes", lambda *_: True)
    partition = partition_of("PK", flow.partials_partitions)
    flow.start_compile(partition)
    flow.step(partition)
    (going,) = flow.published["PK"].incidents
    assert (going.silenced, going.lead.of_market) == (total, False)


def test_an_outage_from_its_begin_is_one_since_it_began():
    flow = new_flow()
    play(flow, [(1.0, 10), (0.0, 15)])
    (stop,) = market(flow).shifts.incidents.kept
    assert (stop.kind, stop.stopped_ms) == ("outage", stop.lead.start_ms)


# -- which shifts an answer is about ---------------------------------------------------------------

JUMP = "PK-20261124T0512-up"
AT = TEN
BOOKS = ("category", "books")


def incidents_of(*kept):
    return SimpleNamespace(kept=list(kept), shown=lambda: list(kept))


def silenced(shift, *answers, series=(), now_ms=AT + HOUR_MS):
    book = MarketAnswers()
    for answer in answers:
        book.apply_answer(answer)
    return silencer(shift, book, lambda _: set(series), now_ms) is not None


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


def test_readers_see_which_answer_silences_a_later_incident():
    sale = incident_of_shifts(incident_shift("category", "books", direction=1))
    again = incident_shift("category", "books", direction=1)
    again.found_ms += HOUR_MS
    again.start_ms += HOUR_MS
    back = incident_of_shifts(again)
    book = MarketAnswers()
    detected = SimpleNamespace(kept=[], incidents=incidents_of(sale, back), statuses=list)
    answered = AnsweredShifts(book, detected)
    assert answered.given(AS_OF_MS) == {}
    book.apply_answer(
        Answer(
            sale.id, EXPECTED, "aisha", AS_OF_MS,
            start_ms=sale.start_ms, until_ms=AS_OF_MS + 2 * HOUR_MS, scope=BOOKS,
        )
    )  # fmt: skip
    given = answered.given(AS_OF_MS)
    assert given[sale.id].silenced_by == sale.id
    assert given[back.id] == GivenAnswers(None, None, (), sale.id)
    assert answered.given(AS_OF_MS) is given, "nothing changed"
    sale.over_ms = AS_OF_MS
    assert answered.given(AS_OF_MS)[sale.id].silenced_by is None
    after = answered.given(AS_OF_MS + 2 * HOUR_MS)
    assert back.id not in after, "it lasts longer than was expected"


def test_what_live_shifts_are_silenced_by_is_no_open_page():
    """An answer about the books silences the toys of the same incident: they never paged."""
    shifts = market(new_flow()).shifts
    sale = incident_of_shifts(
        incident_shift("category", "books", direction=1),
        incident_shift("category", "toys", direction=1),
    )
    again = incident_shift("category", "toys", direction=1)
    again.found_ms += HOUR_MS
    shifts.incidents.kept = [sale]
    shifts.pages.step([], AS_OF_MS - DAY_MS)
    shifts.pages.step(shifts.incidents.kept, sale.found_ms)
    shifts._answers.apply_answer(
        Answer(
            sale.id, EXPECTED, "aisha", sale.found_ms,
            start_ms=sale.start_ms, until_ms=AS_OF_MS + DAY_MS, scope=BOOKS,
        )
    )  # fmt: skip
    shifts.incidents.kept = [sale, incident_of_shifts(again)]
    shifts.pages.step(shifts.incidents.kept, AS_OF_MS + HOUR_MS)
    month, _ = shifts.pages.counts(AS_OF_MS + HOUR_MS)
    assert (month.pages, month.confirmed, month.open) == (1, 1, 0)


def test_a_drift_of_the_days_of_an_event_stays_silent_after_it():
    drift = later(clock="drift", start_ms=AT - 10 * HOUR_MS)
    assert silenced(drift, expected(), now_ms=AT + DAY_MS)
    assert not silenced(drift._replace(start_ms=AT + 7 * HOUR_MS), expected(), now_ms=AT + DAY_MS)


def test_a_false_alarm_is_about_its_own_incident_alone():
    false = Answer(JUMP, FALSE_ALARM, "aisha", AT)
    assert silenced(later(incident=JUMP), false)
    assert not silenced(later(), false)
    assert not silenced(later(incident=JUMP), Answer(JUMP, NOTE, "aisha", AT, text="hm"))


# -- what comes after a false alarm ----------------------------------------------------------------

FEWER = ratio_interval(800, 1_000.0, 0.0)


def joined(dimension="category", member="books", *, minutes, interval=FEWER, **more):
    """A shift that began ten minutes before it was found, ``minutes`` after the market's was."""
    at_ms = AS_OF_MS + minutes * MINUTE_MS
    shift = incident_shift(dimension, member, at_ms=at_ms, **more)
    shift.interval = interval
    return shift


def paging_after(*shifts, kind=FALSE_ALARM, minutes=1, stopped_ms=0, **said):
    """Members that page after an answer, that many minutes after the first shift was found."""
    shown = incident_of_shifts(*shifts, stopped_ms=stopped_ms)
    statuses = [
        shown_status(shift.dimension, shift.member, direction=shift.direction)
        for shift in shifts
        if not shift.over_ms
    ]
    detected = SimpleNamespace(kept=[], incidents=incidents_of(shown), statuses=lambda: statuses)
    book = MarketAnswers()
    answered = AnsweredShifts(book, detected)
    book.apply_answer(Answer(shown.id, kind, "aisha", shown.found_ms + minutes * MINUTE_MS, **said))
    now_ms = AS_OF_MS + DAY_MS
    paging = [each.series.member for each in answered.paging(now_ms) if each.shift is not None]
    by = answered.given(now_ms)[shown.id].silenced_by
    assert (by is None) == bool(paging), "the card says what the alerts do"
    return paging


def test_a_false_alarm_of_a_market_silences_what_the_market_explains():
    total, small = joined("market", "all", minutes=0), ratio_interval(2, 5.0, 0.0)
    assert paging_after(total) == []
    assert paging_after(total, joined(minutes=30)) == []
    assert paging_after(total, joined(minutes=30, interval=small)) == []
    assert paging_after(joined(minutes=-1), total) == [], "found by then"


def test_what_shifts_later_and_is_not_explained_by_the_false_alarm_pages():
    """A category that stopped days after a false alarm of its market joined it, and paged nobody."""
    total, stop = joined("market", "all", minutes=0), ratio_interval(0, 300.0, 0.0)
    assert paging_after(total, joined(minutes=3_000, interval=stop)) == ["books"]
    assert paging_after(total, joined(minutes=-1, interval=stop)) == [], "it was on the card"
    total.over_ms = AS_OF_MS + 60 * MINUTE_MS
    assert paging_after(total, joined(minutes=60)) == []
    assert paging_after(total, joined(minutes=80)) == ["books"], "the market was back"
    toys = joined(member="toys", minutes=0)
    assert paging_after(toys, joined(minutes=3)) == ["books"], "members explain nobody"
    assert paging_after(toys, joined("market", "all", minutes=3), joined(minutes=5)) == [
        "all", "books",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [FALSE_ALARM, EXPECTED])
def test_a_second_stop_is_not_what_was_said_of_the_first_before_it_was_found(kind):
    """A market stood still again, since a minute before its first stop was called expected."""
    event = {"until_ms": AS_OF_MS + 2 * DAY_MS, "scope": WHOLE, "factor": SCALE // 2}
    said = event if kind == EXPECTED else {}
    first = joined("market", "all", minutes=0)
    first.number = 0  # statuses have the second, which goes on
    first.stopped_ms, first.over_ms = first.start_ms, AS_OF_MS + 5 * MINUTE_MS
    second = joined("market", "all", minutes=20)
    second.stopped_ms = second.start_ms
    assert second.start_ms < AS_OF_MS + 12 * MINUTE_MS < second.found_ms
    assert paging_after(first, second, kind=kind, minutes=18, **said) == ["all"]
    assert paging_after(first, second, kind=kind, minutes=21, **said) == []
    assert paging_after(second, kind=kind, minutes=1, **said) == []


def acknowledged_after(*shifts, minutes=1, again=None, stopped_ms=0):
    """(acknowledgement that holds, the one that holds no more), as readers see them."""
    shown = incident_of_shifts(*shifts, stopped_ms=stopped_ms)
    note_worse(shown, [each for each in shown.shifts if each.stopped_ms], frozenset())
    detected = SimpleNamespace(kept=[], incidents=incidents_of(shown), statuses=list)
    book = MarketAnswers()
    answered = AnsweredShifts(book, detected)
    for each in (minutes, again):
        if each is not None:
            at_ms = shown.found_ms + each * MINUTE_MS
            book.apply_answer(Answer(shown.id, ACKNOWLEDGED, "aisha", at_ms))
    given = answered.given(AS_OF_MS + DAY_MS)[shown.id]
    at = [
        each and (each.at_ms - shown.found_ms) // MINUTE_MS
        for each in (given.acknowledged, given.acknowledged_before)
    ]
    return tuple(at)


def test_an_acknowledgement_holds_for_what_was_known_when_it_was_given():
    """Who has taken on a category has not taken on the outage of its market an hour later."""
    books, total = joined(minutes=0), joined("market", "all", minutes=60)
    assert acknowledged_after(books) == (1, None)
    assert acknowledged_after(books, joined(member="toys", minutes=60)) == (1, None)
    assert acknowledged_after(books, total) == (None, 1)
    assert acknowledged_after(books, total, minutes=61) == (61, None), "it was known"
    assert acknowledged_after(books, total, again=61) == (61, None), "by the same person, once more"
    assert acknowledged_after(joined("market", "all", minutes=0), joined(minutes=60)) == (1, None)
    drop, stop_ms = joined("market", "all", minutes=0), AS_OF_MS + 60 * MINUTE_MS
    assert acknowledged_after(drop, stopped_ms=stop_ms) == (None, 1)
    assert acknowledged_after(drop, stopped_ms=drop.start_ms) == (1, None)
    assert acknowledged_after(books, again=2) == (1, None), "delivered twice, it is the first"
    total.over_ms = AS_OF_MS + 80 * MINUTE_MS
    assert acknowledged_after(books, total) == (None, 1), "and nobody has taken that on since"


def test_answers_are_judged_by_the_copies_that_are_shown_beside_them():
    kept = incident_of_shifts(joined(minutes=0))
    copy = structs.replace(kept, worsened_ms=kept.found_ms + 2 * MINUTE_MS)
    incidents = SimpleNamespace(kept=[kept], shown=lambda: [copy])
    book = MarketAnswers()
    book.apply_answer(Answer(kept.id, ACKNOWLEDGED, "aisha", kept.found_ms + MINUTE_MS))
    detected = SimpleNamespace(kept=[], incidents=incidents, statuses=list)
    given = AnsweredShifts(book, detected).given(AS_OF_MS)[kept.id]
    assert (given.acknowledged, given.acknowledged_before.by) == (None, "aisha")


def test_what_pages_beyond_a_false_alarm_leaves_the_incident_open():
    toys, books = joined(member="toys", minutes=0), joined(minutes=3)
    shown = incident_of_shifts(toys, books)
    book = MarketAnswers()
    detected = SimpleNamespace(kept=[], incidents=incidents_of(shown), statuses=list)
    answered = AnsweredShifts(book, detected)

    def after(minutes):
        at_ms = shown.found_ms + minutes * MINUTE_MS
        book.apply_answer(Answer(shown.id, FALSE_ALARM, "aisha", at_ms))
        quiet = silenced_shifts(shown, book, lambda _: set(), AS_OF_MS)
        return sorted(member for _, member, _ in quiet), answered.given(AS_OF_MS)[shown.id]

    quiet, given = after(1)
    assert (quiet, given.silenced_by, given.beyond_verdict) == (["toys"], None, True)
    toys.over_ms = books.over_ms = shown.over_ms = AS_OF_MS
    quiet, given = after(2)
    assert (quiet, given.beyond_verdict) == (["toys"], True), "as it was at its end"
    toys.over_ms = books.over_ms = shown.over_ms = 0
    quiet, given = after(3)
    assert (quiet, given.silenced_by, given.beyond_verdict) == ([], shown.id, False)
    shown.shifts.append(joined("payment_failure", "card", minutes=5))
    assert answered.given(AS_OF_MS)[shown.id].silenced_by == shown.id, "that is good news"


def test_an_outage_that_comes_after_an_answer_pages_unless_it_is_what_is_expected():
    total = joined("market", "all", minutes=0)
    later_ms = AS_OF_MS + HOUR_MS
    assert paging_after(total, stopped_ms=later_ms) == ["all"]
    assert paging_after(total, stopped_ms=total.start_ms) == []
    assert paging_after(total, stopped_ms=later_ms, minutes=70) == [], "said again"
    event = {"kind": EXPECTED, "start_ms": total.start_ms, "until_ms": AS_OF_MS + 2 * DAY_MS}
    assert paging_after(total, **event, factor=SCALE // 2) == []
    assert paging_after(total, **event, factor=SCALE // 2, stopped_ms=later_ms) == ["all"]
    assert paging_after(total, **event, stopped_ms=later_ms) == ["all"]
    assert paging_after(total, **event, factor=0, stopped_ms=later_ms) == []


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
    assert false.basis != silent.basis, "so it is learnt again when the answer changes"
    ten = silent.vintage.target_ms.index(TEN)
    assert of_orders(false)[0][ten] > 1.05 * of_orders(silent)[0][ten], "it is what is usual then"
    assert undone == silent


def test_the_week_after_an_expected_event_is_learnt_after_division_by_its_factor():
    plain, silent, factored = learnt(times=1.0), learnt(), learnt(about(EXPECTED))
    assert of_orders(factored)[0] == pytest.approx(of_orders(plain)[0], rel=1e-3)
    assert of_orders(factored) != of_orders(silent), "the hours of a shift teach nothing"
    assert learnt(about(EXPECTED), about(EXPECTED, taken_back=True)) == silent
    unknown = learnt(about(EXPECTED, factor=None), about(NOTE, text="hm"))
    assert of_orders(unknown) == of_orders(silent), "of unknown size, it teaches nothing"


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


def untaught(answer, *, hours=(0, 4), relevelled_at=None, before_ms=TEN):
    """Spans that teach nothing, in hours after the event began; the event lasts four of them."""
    first = PLANTED.start // MINUTE_MS
    start, end = (first + 60 * hour for hour in hours)
    kept = KeptShift(*ALL, 1, "fast", start, start + 5, end, incident=SAID)
    if relevelled_at is not None:
        kept.relevelled_at = first + 60 * relevelled_at
    book = MarketAnswers()
    book.apply_answer(answer)
    return [
        tuple(
            None if each is None else (each - PLANTED.start) / HOUR_MS
            for each in (found.start_ms, found.end_ms)
        )
        for found in shifted_of([kept], before_ms, book)
    ]


def test_what_a_shift_lasts_before_and_after_its_expected_event_teaches_nothing():
    known, unknown = about(EXPECTED), about(EXPECTED, factor=None)
    assert untaught(known) == []
    assert untaught(known, hours=(-1, 6)) == [(-1, 0), (4, 6)]
    assert untaught(known, hours=(-2, -1)) == [(-2, -1)]
    assert untaught(known, hours=(5, 6)) == [(5, 6)]
    going = PLANTED.start + 6 * HOUR_MS
    assert untaught(known, hours=(1, 9), before_ms=going) == [(4, None)], "it goes on"
    assert untaught(unknown, hours=(-1, 6)) == [(-1, 6)]
    assert untaught(about(FALSE_ALARM), hours=(-1, 6)) == []


def test_only_a_shift_that_became_the_level_lasts_until_the_end_of_its_event():
    unknown = about(EXPECTED, factor=None)
    assert untaught(unknown, hours=(0, 2), relevelled_at=2) == [(0, 4)], "it was adopted, not over"
    assert untaught(unknown, hours=(0, 6), relevelled_at=6) == [(0, 6)]
    assert untaught(unknown, hours=(0, 2), relevelled_at=1) == [(0, 2)], "it was only looked at"
