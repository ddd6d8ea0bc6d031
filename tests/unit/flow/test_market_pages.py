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
    """(counts of 30 days, of 365 days)."""
    book = MarketAnswers()
    pages = MarketPages(book, page_days, no_series)
    pages.step([], since_ms)
    pages.step(incidents, AS_OF_MS)
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


def test_a_new_owner_goes_on_counting_and_an_incident_counts_once():
    pages = MarketPages(MarketAnswers(), 30.0, no_series)
    stop = at(0.1)
    assert pages.step([stop], AS_OF_MS), "news for the record"
    assert not pages.step([stop], AS_OF_MS + MINUTE_MS)
    stop.shifts[0].member = "toys"  # another series leads now
    assert pages.step([stop], AS_OF_MS + 2 * MINUTE_MS)
    owner = MarketPages(MarketAnswers(), 30.0, no_series)
    owner.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(pages.log), type=PageLog))
    assert not owner.step([stop], AS_OF_MS + 3 * MINUTE_MS)
    (month, _), (own, _) = owner.counts(AS_OF_MS), pages.counts(AS_OF_MS)
    assert month == own
    assert month.pages == 1


def test_what_is_kept_is_bounded_by_a_year_and_in_number():
    log = PageLog(1)
    for number in range(PAGED_MAX + 1):
        log.note(PagedIncident(f"PK-{number}-up", "market", "all", "fast", AS_OF_MS + number))
    assert len(log.paged) == PAGED_MAX
    assert count_pages(log, lambda _: "open", 30, 30.0, AS_OF_MS).pages == PAGED_MAX
    pages = MarketPages(MarketAnswers(), 30.0, no_series)
    pages.step([at(1)], AS_OF_MS)
    pages.step([], AS_OF_MS + KEPT_MS)
    assert pages.log.paged == []
