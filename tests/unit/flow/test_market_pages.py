"""Pages counted against the budget: by word of operators, over restarts, within a year."""

from __future__ import annotations

import msgspec
import pytest

from streams.flow.answer_book import MarketAnswers
from streams.flow.market_pages import KEPT_MS, MarketPages
from streams.index.operator_answers import ACKNOWLEDGED, EXPECTED, FALSE_ALARM, Answer
from streams.index.page_budget import PAGED_MAX, PagedIncident, PageLog, count_pages
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS
from tests.support.publications import AS_OF_MS, incident, incident_shift

YEAR_AGO = AS_OF_MS - 365 * DAY_MS


def at(days_ago, dimension="category", member="books", direction=1):
    """An incident that was found so many days ago."""
    shift = incident_shift(dimension, member, direction=direction)
    shift.found_ms = int(AS_OF_MS - days_ago * DAY_MS)
    shift.start_ms = shift.found_ms - 5 * MINUTE_MS
    return incident(shift)


def no_series(_):
    return ()


def counted(*incidents, answers=(), page_days=100.0, since_ms=YEAR_AGO):
    """(counts of 30 days, of 365 days); answers are heard between the incidents, in the order given."""
    book = MarketAnswers()
    pages = MarketPages(book, page_days, no_series)
    pages.step([], since_ms)
    for one in sorted(incidents, key=lambda each: each.found_ms):
        for answer in answers:
            if answer.at_ms <= one.found_ms:
                book.apply_answer(answer)
        pages.step([one], one.found_ms)
    for answer in answers:
        book.apply_answer(answer)
    return pages.counts(AS_OF_MS)


def say(kind, of, **more):
    if kind == EXPECTED:
        more = {"start_ms": of.start_ms, "until_ms": of.found_ms + DAY_MS} | more
    return Answer(of.id, kind, "aisha", of.found_ms + MINUTE_MS, **more)


def words(count):
    return count.pages, count.confirmed, count.false, count.open


def test_pages_are_counted_by_what_operators_said_of_them():
    one, two, three, old = at(1), at(2), at(3), at(100)
    month, year = counted(
        one, two, three, old,
        answers=[say(FALSE_ALARM, one), say(ACKNOWLEDGED, two), say(FALSE_ALARM, old)],
    )  # fmt: skip
    assert (words(month), words(year)) == ((3, 1, 1, 1), (4, 1, 2, 1))
    assert (month.budget, year.budget) == (0.3, 3.65)
    assert (month.covered_days, year.covered_days) == (30.0, 365.0)
    month, _ = counted(one, answers=[say(FALSE_ALARM, one), say(FALSE_ALARM, one, taken_back=True)])
    assert words(month) == (1, 0, 0, 1)


def test_what_paged_after_a_false_alarm_is_open_until_it_is_called_one_too():
    one = at(1)
    more = incident_shift("category", "toys", direction=1)
    more.found_ms = one.found_ms + 10 * MINUTE_MS
    book = MarketAnswers()
    pages = MarketPages(book, 30.0, no_series)
    pages.step([], YEAR_AGO)
    pages.step([one], one.found_ms)
    book.apply_answer(say(FALSE_ALARM, one))
    assert words(pages.counts(AS_OF_MS)[0]) == (1, 0, 1, 0)
    one.shifts.append(more)
    assert pages.step([one], more.found_ms), "news for the record"
    assert not pages.step([one], more.found_ms)
    owner = restored(pages, book, no_series)
    assert words(owner.counts(AS_OF_MS)[0]) == (1, 0, 0, 1)
    book.apply_answer(say(FALSE_ALARM, one)._replace(at_ms=more.found_ms))
    assert words(owner.counts(AS_OF_MS + MINUTE_MS)[0]) == (1, 0, 1, 0)


def test_an_open_page_may_be_false():
    one, two = at(1), at(2)
    (none, _), (false, _), (both, _) = (
        counted(), counted(one, answers=[say(FALSE_ALARM, one)]),
        counted(one, two, answers=[say(FALSE_ALARM, one)]),
    )  # fmt: skip
    assert (none.lower, none.upper) == (0.0, pytest.approx(3.68, abs=0.02))
    assert (false.lower, false.upper) == (0.01, pytest.approx(5.57, abs=0.02))
    assert (both.lower, both.upper) == (false.lower, pytest.approx(7.22, abs=0.02))


def test_what_was_expected_before_it_was_found_did_not_page():
    sale, again, other = at(2), at(1.5), at(1.4, member="toys")
    expected = say(EXPECTED, sale, scope=("category", "books"))
    month, _ = counted(sale, again, other, answers=[expected])
    assert words(month) == (2, 1, 0, 1)
    late = expected._replace(at_ms=again.found_ms + 1)
    month, _ = counted(sale, again, answers=[late])
    assert words(month) == (2, 1, 0, 1), "it had paged by then"
    later = expected._replace(at_ms=again.found_ms + 1, until_ms=again.found_ms + 2 * DAY_MS)
    undone = later._replace(taken_back=True)
    for more in ((later,), (later, undone)):
        month, _ = counted(sale, again, answers=[expected, *more])
        assert month.pages == 1, "what is said later makes no page of it"


def test_a_shift_of_failed_payments_is_silenced_with_the_payments_of_its_method():
    """Both are the method's series where answers are looked up; the count knew only the payments."""
    missing, failing = at(2, "payment_method", "card"), at(1.5, "payment_failure", "card")
    event = say(EXPECTED, missing, scope=("payment_method", "card"))
    month, _ = counted(missing, failing, answers=[event])
    assert words(month) == (1, 1, 0, 0)


def test_what_began_before_the_event_pages_though_it_is_found_in_it():
    sale, own = at(2), at(1.9)
    own.shifts[0].start_ms = sale.start_ms - 10 * HOUR_MS
    month, _ = counted(sale, own, answers=[say(EXPECTED, sale, scope=("category", "books"))])
    assert words(month) == (2, 1, 0, 1)


def test_a_silenced_incident_stays_none_for_a_year_and_pages_when_its_event_is_over():
    """Which series the event was about is forgotten after 60 days."""
    sale, again = at(2, member="toys"), at(1.5)
    event = say(EXPECTED, sale, scope=("category", "toys"))
    book, series = MarketAnswers(), {("category", "books")}
    book.apply_answer(event)
    pages = MarketPages(book, 30.0, lambda _: series)
    pages.step([], YEAR_AGO)
    pages.step([again], again.found_ms)
    pages = restored(pages, book, lambda _: series)
    again.over_ms = again.found_ms + HOUR_MS
    assert not pages.step([again], again.over_ms)
    series.clear()
    assert not pages.step([again], again.over_ms)
    assert [each.pages for each in pages.counts(AS_OF_MS + 90 * DAY_MS)] == [0, 0]
    goes_on, series = at(1.4), {("category", "books")}
    pages = MarketPages(book, 30.0, lambda _: series)
    pages.step([], YEAR_AGO)
    pages.step([goes_on], goes_on.found_ms)
    assert not pages.step([goes_on], event.until_ms - 1)
    book.apply_answer(say(FALSE_ALARM, goes_on))
    assert not pages.step([goes_on], event.until_ms - 1), "answered, it has not paged either"
    book.apply_answer(say(FALSE_ALARM, goes_on, taken_back=True))
    assert pages.counts(event.until_ms - 1)[0].pages == 0
    assert pages.step([goes_on], event.until_ms), "news for the record"
    assert pages.counts(event.until_ms)[0].pages == 1


def test_what_nobody_watched_is_silenced_by_what_was_said_before_it_was_found():
    sale, again = at(2), at(1.5)
    again.over_ms = again.found_ms + HOUR_MS
    event = say(EXPECTED, sale, scope=("category", "books"))
    for said_ms, count in ((event.at_ms, 0), (again.found_ms + 1, 1)):
        book = MarketAnswers()
        book.apply_answer(event._replace(at_ms=said_ms))
        pages = MarketPages(book, 30.0, no_series)
        pages.step([], YEAR_AGO)
        pages.step([again], AS_OF_MS)
        assert pages.counts(AS_OF_MS)[0].pages == count


def test_days_before_the_first_are_not_covered():
    month, year = counted(since_ms=AS_OF_MS - 12 * HOUR_MS)
    assert (month.covered_days, year.covered_days, year.budget) == (0.5, 0.5, 0.005)
    assert MarketPages(MarketAnswers(), 30.0, no_series).counts(AS_OF_MS) == []


def test_days_are_not_counted_from_a_begin_that_a_clock_ahead_has_written():
    pages = MarketPages(MarketAnswers(), 30.0, no_series)
    assert pages.step([], AS_OF_MS + 3 * DAY_MS)
    assert pages.step([], AS_OF_MS)
    assert not pages.step([], AS_OF_MS + DAY_MS)
    assert [each.covered_days for each in pages.counts(AS_OF_MS + DAY_MS)] == [1.0, 1.0]


def restored(pages, book, series_of):
    """A new owner, with what the one before has kept."""
    owner = MarketPages(book, 30.0, series_of)
    owner.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(pages.log), type=PageLog))
    return owner


def test_a_new_owner_goes_on_counting_and_an_incident_counts_once():
    pages = MarketPages(MarketAnswers(), 30.0, no_series)
    stop = at(0.1)
    assert pages.step([stop], AS_OF_MS), "news for the record"
    assert not pages.step([stop], AS_OF_MS + MINUTE_MS)
    owner = restored(pages, MarketAnswers(), no_series)
    assert not owner.step([stop], AS_OF_MS + 3 * MINUTE_MS)
    (month, _), (own, _) = owner.counts(AS_OF_MS), pages.counts(AS_OF_MS)
    assert month == own
    assert month.pages == 1


def test_what_is_kept_is_bounded_by_a_year_and_in_number():
    log = PageLog(1)
    for number in range(PAGED_MAX + 1):
        log.note(PagedIncident(f"PK-{number}-up", AS_OF_MS + number))
    assert len(log.paged) == PAGED_MAX
    assert count_pages(log, lambda _: "open", 30, 30.0, AS_OF_MS).pages == PAGED_MAX
    pages = MarketPages(MarketAnswers(), 30.0, no_series)
    pages.step([at(1)], AS_OF_MS)
    pages.step([], AS_OF_MS + KEPT_MS)
    assert pages.log.paged == []
