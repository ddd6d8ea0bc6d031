"""What an incident is called follows the series that leads it, at each step of the detectors."""

from __future__ import annotations

import pytest

from streams.flow.answer_book import MarketAnswers
from streams.flow.answered_shifts import silencer_of
from streams.flow.market_incidents import MarketIncidents
from streams.flow.shift_watch import LIVE, ActiveShift, FoundShift, SeriesStatus
from streams.index.incident_measures import SeriesSums
from streams.index.operator_answers import FALSE_ALARM, Answer
from streams.index.panes import MINUTE_MS
from streams.index.shift_ratio import ratio_interval
from streams.index.shift_series import WatchedSeries

T0 = 29_000_000
ALL, MOBILES, TOYS = ("market", "all"), ("category", "mobiles"), ("category", "toys")
EXPECTED = {ALL: 1_000, MOBILES: 300, TOYS: 200}
"""Events a minute."""
NOISE = 0.000_4


class Day:
    """A market whose series have the ratios that a test gives, minute by minute."""

    def __init__(self):
        self.incidents = MarketIncidents("BD")
        self.minute = 0
        self._counted = {series: [] for series in EXPECTED}

    def play(self, minutes, ratios, shifts, ended=()):
        """``shifts``: series -> (start, found) of those that go on; ``ended``: (series, start)."""
        for _ in range(minutes):
            for series, counted in self._counted.items():
                counted.append(round(ratios.get(series, 1.0) * EXPECTED[series]))
            self.minute += 1
            self.incidents.note_found(self._end(*each) for each in ended)
            statuses = [self._status(series, *when) for series, when in shifts.items()]
            self.incidents.step(statuses, T0 + self.minute, self._sums, lambda _: True)
            ended = ()
        return self.incidents.shown()

    def _interval(self, series, start):
        counted = self._counted[series][start : self.minute]
        expected = float(EXPECTED[series] * len(counted))
        return ratio_interval(float(sum(counted)), expected, NOISE)

    def _status(self, series, start, found):
        shift = ActiveShift(
            *series, 1, -1, "fast", T0 + start, T0 + found, 2.0, self._interval(series, start)
        )
        return SeriesStatus(WatchedSeries(*series, 0), 0.0, shift, warming=False)

    def _end(self, series, start):
        interval = self._interval(series, start)
        at = T0 + self.minute
        return FoundShift(*series, "end", 1, LIVE, -1, "fast", T0 + start, at, 0.0, interval)

    def _sums(self, first, until):
        first, until = first - T0, until - T0
        return [
            SeriesSums(
                *series,
                sum(counted[first:until]),
                float(EXPECTED[series] * (until - first)),
                None,
                None,
                NOISE,
            )
            for series, counted in self._counted.items()
        ]


def silencer(incident, at_minute, now):
    """Answer by which an incident is silenced that was called a false alarm at a minute."""
    answers = MarketAnswers()
    answers.apply_answer(Answer(incident.id, FALSE_ALARM, "aisha", (T0 + at_minute) * MINUTE_MS))
    return silencer_of(incident, answers, lambda _: set(), (T0 + now) * MINUTE_MS)


def test_a_market_that_never_stopped_is_no_outage_because_a_category_is():
    """Mobiles stopped; then the market was found at 70 %: "orders had all but stopped"."""
    day, ratios = Day(), {MOBILES: 0.0, ALL: 0.7}
    day.play(10, {}, {})
    (stop,) = day.play(5, ratios, {MOBILES: (10, 12)})
    assert (stop.lead.member, stop.kind) == ("mobiles", "outage")
    (found,) = day.play(5, ratios, {MOBILES: (10, 12), ALL: (10, 16)})
    assert (found.lead.dimension, found.kind, found.stopped_ms) == ("market", "drop", 0)
    assert [shift.stopped_ms > 0 for shift in found.shifts] == [True, False]
    (found,) = day.play(5, {MOBILES: 0.0, ALL: 0.0}, {MOBILES: (10, 12), ALL: (10, 16)})
    assert found.kind == "outage"


def test_a_stronger_category_that_takes_the_lead_has_not_stopped_with_the_first():
    day = Day()
    day.play(10, {}, {})
    (stop,) = day.play(2, {TOYS: 0.0}, {TOYS: (10, 11)})
    assert (stop.lead.member, stop.kind) == ("toys", "outage")
    # Toys come back in part, and Mobiles are the larger fall.
    (found,) = day.play(60, {TOYS: 0.6, MOBILES: 0.4}, {TOYS: (10, 11), MOBILES: (12, 15)})
    assert (found.lead.member, found.kind) == ("mobiles", "drop")


def test_an_outage_stays_one_when_it_comes_back_in_part_and_more_joins():
    day = Day()
    day.play(10, {}, {})
    day.play(10, {ALL: 0.0, MOBILES: 0.0}, {ALL: (10, 12)})
    (found,) = day.play(10, {ALL: 0.5, MOBILES: 0.5}, {ALL: (10, 12), MOBILES: (10, 21)})
    assert (found.lead.dimension, found.kind) == ("market", "outage")
    assert found.stopped_ms == found.lead.start_ms


@pytest.mark.parametrize("first", [0.02, 0.3])
def test_a_member_that_stopped_with_its_market_was_known_to_who_answered_the_market(first):
    """Its stop is seen later than its market's; that is no outage after the answer."""
    day = Day()
    day.play(10, {}, {})
    day.play(1, {ALL: first, TOYS: 1.0}, {})
    (found,) = day.play(9, {ALL: 0.0, TOYS: 0.0}, {ALL: (10, 12), TOYS: (10, 18)})
    toys = found.shifts[1]
    assert toys.stopped_ms == max(toys.start_ms, found.stopped_ms)
