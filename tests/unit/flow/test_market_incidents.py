"""What an incident is called follows the series that leads it, at each step of the detectors."""

from __future__ import annotations

import msgspec
import pytest

from streams.flow.answer_book import MarketAnswers
from streams.flow.answered_shifts import silencer_of
from streams.flow.market_incidents import MarketIncidents
from streams.flow.shift_watch import LIVE, ActiveShift, FoundShift, SeriesStatus
from streams.index.incident_measures import SeriesSums
from streams.index.incidents import Incident
from streams.index.operator_answers import FALSE_ALARM, Answer
from streams.index.panes import MINUTE_MS, rfc3339
from streams.index.shift_ratio import ratio_interval
from streams.index.shift_series import WatchedSeries
from streams.publish.incident_records import published_incident
from streams.publish.incident_words import MarketNaming, say_incident, timeline_of

T0 = 29_000_000
ALL, MOBILES, TOYS = ("market", "all"), ("category", "mobiles"), ("category", "toys")
FAILED = ("payment_failure", "card")
EXPECTED = {ALL: 1_000, MOBILES: 300, TOYS: 200, FAILED: 500}
"""Events a minute."""
NOISE = 0.000_4
KEPT_MINUTES = 1_500
"""Minutes that the ledger keeps."""


class Day:
    """A market whose series have the ratios that a test gives, minute by minute."""

    def __init__(self):
        self.incidents = MarketIncidents("BD")
        self.silenced = frozenset()
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
            self.incidents.step(
                statuses, T0 + self.minute, self._sums, lambda _: True, lambda _: self.silenced
            )
            ended = ()
        return self.incidents.shown()

    def _interval(self, series, start):
        counted = self._counted[series][int(start) : self.minute]
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
                sum(counted[max(first, self.minute - KEPT_MINUTES) : until]),
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
    shown = published_incident(found)
    assert (shown.kind, shown.stopped) == ("drop", rfc3339(found.stopped_ms)), "how it is now"
    words = say_incident(shown, MarketNaming("Bangladesh"))
    assert words.headline == "Bangladesh: orders had all but stopped, and are at 50 % of usual"
    (over,) = day.play(1, {}, {}, [(ALL, 10), (MOBILES, 10)])
    assert published_incident(over).kind == "outage"


@pytest.mark.parametrize("first", [0.02, 0.3])
def test_a_member_that_stopped_with_its_market_was_known_to_who_answered_the_market(first):
    """Its stop is seen later than its market's; that is no outage after the answer."""
    day = Day()
    day.play(10, {}, {})
    day.play(1, {ALL: first, TOYS: 1.0}, {})
    (found,) = day.play(9, {ALL: 0.0, TOYS: 0.0}, {ALL: (10, 12), TOYS: (10, 18)})
    toys = found.shifts[1]
    assert toys.stopped_ms == max(toys.start_ms, found.stopped_ms)


def test_what_is_said_follows_what_goes_on_and_what_is_over_is_history():
    """A market was back within 30 minutes and one category was not: the market was said to come back."""
    day = Day()
    day.play(10, {}, {})
    members = {ALL: (10, 12), MOBILES: (10, 13), TOYS: (10, 13)}
    (stop,) = day.play(30, dict.fromkeys(EXPECTED, 0.0), members)
    assert (stop.kind, stop.lead.dimension) == ("outage", "market")
    (stop,) = day.play(2, {TOYS: 0.0}, members)
    assert (stop.state, stop.lead.dimension) == ("returning", "market"), "not confirmed yet"
    (back,) = day.play(1, {TOYS: 0.0}, {MOBILES: (10, 13), TOYS: (10, 13)}, [(ALL, 10)])
    assert (back.id, back.state, back.lead.member) == (stop.id, "open", "toys"), "Mobiles look back"
    (back,) = day.play(60, {TOYS: 0.0}, {TOYS: (10, 13)}, [(MOBILES, 10)])
    assert (back.lead.member, back.kind, back.state) == ("toys", "outage", "open")
    words = say_incident(published_incident(back), MarketNaming("Bangladesh"))
    assert words.headline == "Toys (category, Bangladesh): orders have all but stopped"
    assert words.now == (
        "Now: 0 orders in the last minute, 200 usual. The market as a whole was back by 22:03 UTC: "
        "3,000 orders since 21:30 UTC, 33,000 usual."
    )
    assert words.affected == "Over: Mobiles (category)."
    (over,) = day.play(1, {}, {}, [(TOYS, 10)])
    words = say_incident(published_incident(over), MarketNaming("Bangladesh"))
    assert words.headline == "Bangladesh: orders had all but stopped"
    assert words.now.endswith("at most. The market's fall was over by 19 Feb 22:03 UTC.")


def test_a_market_is_back_only_if_nothing_contradicts():
    """Its jump was over because it had stopped: "the market as a whole was back", at 0 orders."""
    day = Day()
    day.play(10, {}, {})
    members = {ALL: (10, 12), TOYS: (10, 13)}
    day.play(10, {ALL: 0.5, TOYS: 0.5}, members)
    left = {TOYS: (10, 13)}
    (lost,) = day.play(1, {ALL: 0.0, TOYS: 0.5}, left, [(ALL, 10)])
    words = say_incident(published_incident(lost), MarketNaming("Bangladesh"))
    over = "The market's fall was over by 21:41 UTC: 5,000 orders since 21:30 UTC, 11,000 usual."
    assert words.now.endswith(f" {over} It had 0 orders in the last minute, 1,000 usual.")
    (back,) = day.play(1, {TOYS: 0.5}, left)
    words = say_incident(published_incident(back), MarketNaming("Bangladesh"))
    assert "The market as a whole was back by" in words.now
    suspected = published_incident(back, again="up")
    words = say_incident(suspected, MarketNaming("Bangladesh"))
    assert words.now.endswith(
        f" {over} It had 1,000 orders in the last minute, 1,000 usual. A rise of it is seen since."
    )


def test_how_large_a_market_s_outage_was_is_known_when_its_minutes_are_not():
    day = Day()
    day.play(10, {}, {})
    members = {ALL: (10, 12), TOYS: (10, 13)}
    day.play(30, dict.fromkeys(EXPECTED, 0.0), members)
    day.play(3, {TOYS: 0.0}, members)
    (back,) = day.play(1, {TOYS: 0.0}, {TOYS: (10, 13)}, [(ALL, 10)])
    size = back.market_measures
    assert (size.difference.events, size.until_ms) == (-30_000, (T0 + 44) * MINUTE_MS)
    day.play(KEPT_MINUTES, {TOYS: 0.0}, {TOYS: (10, 13)})
    (over,) = day.play(1, {}, {}, [(TOYS, 10)])
    assert (over.state, over.kind, over.measures) == ("over", "outage", size)


def test_a_market_that_falls_again_is_measured_anew():
    day = Day()
    day.play(10, {}, {})
    members = {ALL: (10, 12), TOYS: (10, 13)}
    day.play(10, dict.fromkeys(EXPECTED, 0.0), members)
    (back,) = day.play(2, {TOYS: 0.0}, {TOYS: (10, 13)}, [(ALL, 10)])
    assert back.market_measures.until_ms == (T0 + 21) * MINUTE_MS
    (again,) = day.play(3, dict.fromkeys(EXPECTED, 0.0), members)
    assert (again.lead.dimension, again.measures.until_ms) == ("market", (T0 + 25) * MINUTE_MS)
    (over,) = day.play(1, {}, {}, [(ALL, 10), (TOYS, 10)])
    assert over.measures.until_ms == (T0 + 26) * MINUTE_MS


def test_it_began_with_its_first_shift_whichever_leads():
    """The timeline had "found" before "began": the market, which led, began after its category."""
    day = Day()
    day.play(10, {}, {})
    ratios = {MOBILES: 0.0, ALL: 0.7}
    day.play(6, ratios, {MOBILES: (10, 12)})
    (found,) = day.play(4, ratios, {MOBILES: (10, 12), ALL: (14, 16)})
    shown = published_incident(found)
    assert (shown.dimension, shown.began) == ("market", rfc3339((T0 + 10) * MINUTE_MS))
    assert shown.size.since == rfc3339((T0 + 14) * MINUTE_MS)
    words = say_incident(shown, MarketNaming("Bangladesh"))
    assert words.size.startswith("Since 21:34 UTC: 4,200 orders, 6,000 usual")
    assert timeline_of(shown, None) == [
        (what, rfc3339((T0 + minute) * MINUTE_MS))
        for what, minute in (
            ("first of it began", 10), ("first of it found", 12), ("began", 14), ("found", 16),
        )
    ]  # fmt: skip


@pytest.mark.parametrize(("start", "step_minutes"), [(10, 1), (10.25, 1 / 12)])
def test_what_is_missed_is_known_to_a_step_of_the_start(start, step_minutes):
    """Of a stop whose start is dated by minutes, a minute's orders may be missed more or less."""
    day = Day()
    day.incidents = MarketIncidents("BD", 5_000)
    day.play(10, {}, {})
    (stop,) = day.play(5, {ALL: 0.0}, {ALL: (start, 12)})
    missed, expected = stop.measures.difference, 1_000 * (15 - int(start))
    half = 1.96 * (expected + NOISE * expected**2) ** 0.5
    step = expected * step_minutes / (15 - start)
    assert missed.events == -expected
    assert missed.upper == pytest.approx(half + step - expected)


def test_answers_to_a_market_hold_for_the_members_that_are_back_later():
    day = Day()
    day.play(10, {}, {})
    members = {ALL: (10, 12), TOYS: (10, 16)}
    (stop,) = day.play(30, dict.fromkeys(EXPECTED, 0.0) | {TOYS: 0.04}, members)
    assert silencer(stop, 13, 40) is not None, "the market explains Toys, found later"
    (back,) = day.play(5, {TOYS: 0.04}, {TOYS: (10, 16)}, [(ALL, 10)])
    assert (back.lead.member, back.kind) == ("toys", "outage")
    assert silencer(back, 13, 45) is not None
    assert silencer(back, 11, 45) is None


def test_what_pages_after_a_false_alarm_leads_with_its_own_size():
    """It was told under the name, and with the numbers, of what had been called a false alarm."""
    day, shifts = Day(), {MOBILES: (10, 12), TOYS: (10, 14)}
    day.play(10, {}, {})
    (first,) = day.play(6, {MOBILES: 0.0, TOYS: 0.5}, shifts)
    assert (first.lead.member, first.kind) == ("mobiles", "outage")
    day.silenced = frozenset({(*MOBILES, 1)})
    (shown,) = day.play(1, {MOBILES: 0.0, TOYS: 0.5}, shifts)
    assert (shown.lead.member, shown.kind, shown.measures.difference.events) == (
        "toys", "drop", -100.0 * 7,
    )  # fmt: skip
    (kept,) = day.incidents.kept
    assert (kept.lead.member, kept.silenced) == ("mobiles", frozenset()), "it knows of no answer"
    (over,) = day.play(1, {}, {}, [(MOBILES, 10), (TOYS, 10)])
    assert (over.state, over.lead.member) == ("over", "toys")
    missed = over.measures.difference.events
    assert missed < -600
    (over,) = day.play(90, {}, {})
    assert over.measures.difference.events == missed
    day.silenced = frozenset()
    (again,) = day.play(1, {}, {})
    assert again.lead.member == "mobiles", "taken back"


def restored(day):
    """Let a new owner go on from the record; it has no answers yet."""
    record = msgspec.json.encode(day.incidents.kept)
    day.incidents = MarketIncidents("BD")
    day.incidents.restore(msgspec.json.decode(record, type=list[Incident]))
    return day.incidents


def test_a_new_owner_heeds_answers_before_its_first_step_and_whatever_it_has_shown_before():
    """After a restart a card was called by what had been called a false alarm, until it changed."""
    day, shifts = Day(), {MOBILES: (10, 12), TOYS: (10, 14)}
    day.play(10, {}, {})
    day.play(6, {MOBILES: 0.0, TOYS: 0.5}, shifts)
    day.silenced = frozenset({(*MOBILES, 1)})
    (going,) = day.play(1, {MOBILES: 0.0, TOYS: 0.5}, shifts)
    incidents = restored(day)
    assert incidents.shown()[0].lead.member == "mobiles"
    incidents.heed(lambda _: day.silenced)
    (shown,) = incidents.shown()
    assert (shown.lead.member, shown.silenced) == (going.lead.member, going.silenced)
    assert shown.measures is None, "those of Mobiles"
    assert incidents.kept[0].lead.member == "mobiles"
    (over,) = day.play(1, {}, {}, [(MOBILES, 10), (TOYS, 10)])
    missed = over.measures.difference.events
    for _ in range(2):
        incidents = restored(day)
        incidents.heed(lambda _: day.silenced)
        (shown,) = day.play(1, {}, {})
        assert (shown.lead.member, shown.measures.difference.events) == ("toys", missed)
    incidents.restore(incidents.kept)
    (shown,) = day.play(1, {}, {})
    assert shown.lead.member == "toys", "nothing has changed since"


def at_minute(minute):
    return (T0 + minute) * MINUTE_MS


def test_what_became_worse_stays_so_whatever_leads_later_and_whoever_goes_on():
    """Another series led, and an acknowledgement of before the stop was in force again."""
    day, both = Day(), {MOBILES: (10, 12), TOYS: (10, 12)}
    day.play(10, {}, {})
    (drop,) = day.play(5, {MOBILES: 0.4, TOYS: 0.6}, both)
    assert (drop.lead.member, drop.kind, drop.worsened_ms) == ("mobiles", "drop", 0)
    (stop,) = day.play(5, {MOBILES: 0.0, TOYS: 0.6}, both)
    assert (stop.lead.member, stop.kind, stop.worsened_ms) == ("mobiles", "outage", at_minute(16))
    (record,) = (msgspec.json.encode(each) for each in day.incidents.kept)
    day.incidents.restore([msgspec.json.decode(record, type=Incident)])
    (other,) = day.play(5, {TOYS: 0.6}, both)
    assert (other.lead.member, other.kind, other.worsened_ms) == ("toys", "drop", at_minute(16))


def test_what_leads_once_its_market_is_back_becomes_worse_by_its_own_stop():
    day, toys = Day(), {TOYS: (10, 12)}
    day.play(10, {}, {})
    day.play(5, {ALL: 0.5, TOYS: 0.5}, {ALL: (10, 12)} | toys)
    (back,) = day.play(5, {TOYS: 0.5}, toys, [(ALL, 10)])
    assert (back.lead.member, back.worsened_ms) == ("toys", 0)
    (stop,) = day.play(3, {TOYS: 0.0}, toys)
    assert (stop.kind, stop.worsened_ms) == ("outage", at_minute(21))


def test_what_stopped_with_its_market_is_no_worse_when_it_leads_later():
    day, toys = Day(), {TOYS: (10, 12)}
    day.play(10, {}, {})
    day.play(5, {ALL: 0.0, TOYS: 0.0}, {ALL: (10, 12)} | toys)
    (left,) = day.play(5, {TOYS: 0.0}, toys, [(ALL, 10)])
    assert (left.lead.member, left.kind, left.worsened_ms) == ("toys", "outage", 0)


def test_what_pages_beyond_a_false_alarm_becomes_worse_by_its_own_stop():
    """What was called a false alarm leads what is kept, and hid the stop of what was shown."""
    day, shifts = Day(), {MOBILES: (10, 12), TOYS: (10, 14)}
    day.play(10, {}, {})
    day.play(6, {MOBILES: 0.0, TOYS: 0.5}, shifts)
    day.silenced = frozenset({(*MOBILES, 1)})
    (shown,) = day.play(1, {MOBILES: 0.0, TOYS: 0.5}, shifts)
    assert (shown.lead.member, shown.worsened_ms) == ("toys", 0)
    (shown,) = day.play(3, {MOBILES: 0.0, TOYS: 0.0}, shifts)
    (kept,) = day.incidents.kept
    assert (kept.lead.member, kept.worsened_ms) == ("mobiles", at_minute(18))
    assert (shown.lead.member, shown.worsened_ms) == ("toys", at_minute(18))


def test_fewer_failed_payments_lead_no_incident_that_has_anything_else():
    day = Day()
    day.play(10, {}, {})
    both = {FAILED: (10, 13), TOYS: (10, 14)}
    (stop,) = day.play(5, {FAILED: 0.0, TOYS: 0.5}, both)
    assert (stop.lead.member, stop.kind) == ("toys", "drop")
    (left,) = day.play(5, {FAILED: 0.0}, {FAILED: (10, 13)}, [(TOYS, 10)])
    assert (left.lead.dimension, left.kind) == ("payment_failure", "drop"), "that is no outage"
