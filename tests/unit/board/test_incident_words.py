"""What is said of an incident is true when it is read: how it is now, and that it is over."""

from __future__ import annotations

import msgspec
import pytest
from support.publications import (
    AS_OF_MS,
    MEASURES,
    incident,
    incident_shift,
    publication,
    suspicion,
)

from streams.board.shown_incidents import (
    IncidentsOfMarket,
    PageLevel,
    headline_of,
    incidents_of,
    level_of,
    without_incident,
)
from streams.board.shown_shifts import active
from streams.flow.market_answers import GivenAnswers
from streams.index.incident_measures import Affected, Excess, NowSize
from streams.index.incidents import INCIDENTS_MAX
from streams.index.instants import parse_instant
from streams.index.operator_answers import Answer
from streams.index.panes import rfc3339
from streams.index.shift_ratio import Contributor, RatioInterval
from streams.operate.shift_list import ListedMarket, lines
from streams.publish.incident_records import incident_fields, published_incident
from streams.publish.incident_words import (
    MarketNaming,
    say_answers,
    say_incident,
    say_suspicion,
)
from streams.publish.redis_state import OwnedMarket, RedisLimits
from streams.publish.sent_records import sent_text
from streams.publish.suspicion_records import published_suspicion, suspicion_fields

BD = MarketNaming("Bangladesh", "BDT", "Asia/Dhaka")
REPLACE = msgspec.structs.replace
JUMP = RatioInterval(402.0, 111.0, 3.62, 3.2, 4.1)


def said(shown):
    return say_incident(published_incident(shown), BD)


def test_an_outage_is_said_with_how_it_is_now_what_is_missed_and_who_is_affected():
    words = said(incident(stopped=True))
    assert words.headline == words.title == "Bangladesh: orders have all but stopped"
    assert words.now == "Now: 0 orders in the last minute, 980 usual."
    assert words.size == "Since 04:03 UTC+06: 40 orders, 9,800 usual, 0.4 % (0.3 to 0.6)."
    assert words.missed == (
        "Missed so far: 9,760 orders (9,741 to 9,771); BDT 9,760 (9,741 to 9,771)."
    )
    assert words.affected == "Affected: 2 of 3 categories (most Books), every region."
    assert words.evidence == "evidence 2.5 times what pages when it was found"


def test_a_jump_of_which_no_whole_minute_has_passed_is_not_called_back_by_the_minute_before():
    began = incident_shift("category", "books", direction=1, at_ms=AS_OF_MS + 580_000)
    before = REPLACE(MEASURES, now=RatioInterval(233.0, 282.0, 0.83, 0.7, 0.9))
    jump = incident(REPLACE(began, interval=JUMP), measures=before)
    assert began.start_ms == AS_OF_MS - 20_000, "its first whole minute has not ended"
    assert jump.state == "open"
    words = said(jump)
    assert words.title == "Books (category): orders are at 3.6 times usual"
    assert words.now == "Now: not known, its first whole minute has not ended."
    after = incident(
        REPLACE(began, interval=JUMP), measures=REPLACE(before, until_ms=AS_OF_MS + 60_000)
    )
    assert after.state == "returning"
    assert "as usual again" in said(after).title


def test_what_is_over_is_said_to_be_over():
    over = incident(stopped=True, over_ms=AS_OF_MS)
    words = said(over)
    assert words.headline == "Bangladesh: orders had all but stopped"
    assert words.now == "Over by 15 Nov 04:13 UTC+06; it lasted 10 min at most."
    assert words.size.startswith("From 15 Nov 04:03 UTC+06 until then: 40 orders")
    assert words.missed.startswith("Missed: 9,760 orders")
    jump = incident_shift("category", "books", direction=1, over_ms=AS_OF_MS)
    jump.interval = JUMP
    words = said(incident(jump, over_ms=AS_OF_MS))
    assert words.headline == "Books (category, Bangladesh): orders were at 3.6 times usual"
    assert words.title == "Books (category): orders were at 3.6 times usual"


def test_a_card_says_until_when_it_counts():
    """Its whole minutes end up to 60 s before the panes that the tiles beside it count."""
    going = incident_fields([incident(stopped=True)], {})
    (card,) = incidents_of(going, {}, BD).open
    assert card.now == ("Now: 0 orders in the last minute, 980 usual. Counted until 04:13 UTC+06.")
    (card,) = incidents_of(incident_fields([incident(over_ms=AS_OF_MS)], {}), {}, BD).past
    assert "Counted until" not in card.now


def test_what_looks_as_usual_again_is_not_said_to_go_on():
    back = REPLACE(MEASURES, now=RatioInterval(950.0, 980.0, 0.97, 0.9, 1.04))
    words = said(incident(stopped=True, measures=back))
    assert words.headline == "Bangladesh: orders had all but stopped and are coming back"
    assert words.now == (
        "Now: 950 orders in the last minute, 980 usual. Its end is not confirmed yet."
    )
    words = said(incident(measures=back))
    assert words.title == "Bangladesh: orders look as usual again after 0.4 % of usual"


def test_a_market_that_stopped_when_its_jump_was_over_is_not_said_to_be_back():
    minute = 60_000
    jump = incident_shift(direction=1, at_ms=AS_OF_MS - 5 * minute, over_ms=AS_OF_MS - 2 * minute)
    toys = incident_shift("category", "toys", direction=1, at_ms=AS_OF_MS - 4 * minute)
    rise = incident(jump, toys)
    stop = incident(incident_shift(at_ms=AS_OF_MS + 6 * minute))

    def now_of(shown, others=(), suspected=0):
        (found,) = incidents_of(incident_fields([shown, *others], {}, suspected), {}, BD, {}).open
        return found.now

    usual = RatioInterval(990.0, 980.0, 1.01, 0.9, 1.1)
    rise.market_now = NowSize(AS_OF_MS - minute, AS_OF_MS, usual)
    assert "The market as a whole was back by 04:11 UTC+06" in now_of(rise)
    assert " A fall of it is seen since. " in now_of(rise, suspected=-1)
    assert "The market's rise was over by 04:11 UTC+06" in now_of(rise, suspected=-1)
    both = incidents_of(incident_fields([rise, stop], {}), {}, BD).open
    assert [" A fall of it is seen since. " in each.now for each in both] == [False, True]
    for observed, expected, back in ((48.0, 20.0, False), (24.0, 20.0, True), (5.0, 4.0, True)):
        few = RatioInterval(observed, expected, observed / expected, 0.9, 4.0)
        rise.market_now = NowSize(AS_OF_MS - minute, AS_OF_MS, few)
        assert ("as a whole was back" in now_of(rise)) is back, "2.4 times is not back"
    rise.market_now = None
    assert "back" not in now_of(rise), "it is not known"
    rise.over_ms = toys.over_ms = AS_OF_MS
    stop.lead.start_ms = jump.over_ms - minute
    assert "The market's rise was over by" in say_over(rise, stop)
    stop.lead.start_ms = jump.over_ms + minute
    assert "The market's rise was over by" in say_over(rise, stop), "how it was then is not known"


def test_an_incident_is_written_again_when_a_suspicion_contradicts_it():
    rise = [incident(incident_shift(direction=1, over_ms=AS_OF_MS), incident_shift("region"))]
    answers, state = {}, OwnedMarket("PK", RedisLimits(60_000))
    for at, suspicions in enumerate(([], [suspicion()], [])):
        given = {"incidents": rise, "answers": answers, "suspicions": suspicions}
        state.take_publication(publication(**given, as_of_ms=AS_OF_MS + at, applied=10 + at))
        written = state.full(rfc3339(AS_OF_MS)).packed
        assert (b'"market_again":"down"' in written) is bool(suspicions)


def say_over(*shown):
    (found,) = incidents_of(incident_fields(shown, {}), {}, BD).past
    return found.now


def test_a_jump_is_sized_by_its_last_minutes_and_what_is_in_excess():
    jump = incident_shift("category", "books", direction=1)
    measures = REPLACE(MEASURES, now=JUMP, now_minutes=5, difference=Excess(291.0, 240.0, 345.0))
    shown = incident(jump, incident_shift("region", "sindh", direction=1), measures=measures)
    words = said(shown)
    assert words.title == "Books (category): orders are at 3.6 times usual"
    assert words.now == "Now: 402 orders in the last 5 min, 111 usual."
    assert words.missed == "In excess so far: 291 orders (240 to 345)."
    assert words.affected == "Shifted too: Sindh (region)."
    alone = published_incident(incident(jump, measures=measures))
    assert say_incident(alone, BD).affected == "No other series is confirmed to shift with it."
    total = published_suspicion(suspicion(observed=1_936, expected=790.0))
    own = published_suspicion(suspicion("category", "books"))
    beside = say_incident(alone, BD, [total, own]).affected
    assert beside == "No other series is confirmed to shift with it. Suspected: the whole market."
    too = say_incident(published_incident(shown), BD, [total]).affected
    assert too == "Shifted too: Sindh (region). Suspected: the whole market."
    falls = published_suspicion(suspicion("region", "sindh"))
    beside = say_incident(alone, BD, [falls]).affected
    assert (
        beside
        == "No other series is confirmed to shift with it. Suspected: a fall of Sindh (region)."
    )


def test_a_shift_that_has_just_begun_is_not_sized_by_what_was_before_it():
    """A jump x6, found after 12 s, was headed "at 143 % of usual": the last minute's ratio."""
    jump = incident_shift("category", "books", direction=1)
    jump.start_ms = AS_OF_MS - 20_000
    jump.interval = RatioInterval(183.0, 38.0, 4.8, 4.2, 5.6)
    last = RatioInterval(270.0, 189.0, 1.43, 1.25, 1.6)
    words = said(incident(jump, measures=REPLACE(MEASURES, now=last, now_minutes=1)))
    assert words.title == "Books (category): orders are at 4.8 times usual"
    assert words.now == "Now: not known, its first whole minute has not ended."


def test_payments_are_called_payments_and_a_shift_taken_back_is_none():
    method = incident_shift("payment_method", "cod")
    assert said(incident(method)).headline == (
        "Cash on delivery (payments, Bangladesh): payments are at 0 % of usual"
    )
    method.withdrawn = True
    method.over_ms = AS_OF_MS
    gone = incident(method, over_ms=AS_OF_MS)
    words = said(gone)
    assert "taken back by events that came late" in words.headline
    assert words.now == (
        "Withdrawn at 15 Nov 04:13 UTC+06: events that came late showed that it was no shift. "
        "It had been shown for 6 min."
    )
    assert words.size.startswith("Counted before they came, since 15 Nov 04:03 UTC+06: 40 payments")
    assert words.missed == words.affected == ""
    (card,) = incidents_of(incident_fields([gone], {}), {}, BD).past
    assert [what for what, _ in card.timeline] == ["began", "found", "withdrawn"]
    assert [(each.over, each.withdrawn) for each in card.shifts] == [(True, True)]
    (line,) = lines([ListedMarket("BD", [], [published_incident(gone)])])
    assert "withdrawn drop of payment_method:cod, at 2023-11-14T22:13Z by events that" in line


def test_what_is_not_0_is_never_said_to_be_0():
    stray = RatioInterval(1, 2_500.0, 0.0004, 0.000_01, 0.002_2)
    measures = REPLACE(MEASURES, now=stray, difference=Excess(-0.04, -0.5, 0.4))
    shift = incident_shift("category", "books")
    shift.interval = stray
    words = said(incident(shift, measures=measures))
    assert words.title == "Books (category): orders are at 0.04 % of usual"
    assert words.size.endswith("1 order, 2,500 usual, 0.04 % (less than 0.01 to 0.2).")
    assert words.missed == "Missed so far: 0.04 orders (0 to 0.5)."


def test_the_length_of_an_incident_is_cut_and_not_rounded_up():
    jump = incident_shift("category", "books", direction=1)
    words = said(incident(jump, over_ms=jump.start_ms + 179_900))
    assert words.now.endswith("; it lasted 2 min 59 s at most.")


def test_a_count_of_which_nothing_was_expected_is_said():
    """It was headed "orders have all but stopped", beside thousands in the last minutes."""
    none = REPLACE(MEASURES, now=None, now_minutes=5, now_observed=1_200)
    assert said(incident(stopped=True, measures=none)).title == (
        "Bangladesh: orders had all but stopped, and none are expected now"
    )
    assert said(incident(measures=none)).title == (
        "Bangladesh: orders were at 0.4 % of usual, and none are expected now"
    )
    assert said(incident(measures=none)).now == (
        "Now: 1,200 orders in the last 5 min, where none are expected."
    )
    earlier = REPLACE(published_incident(incident(measures=none)), now_counted=None)
    assert say_incident(earlier, BD).now.endswith("and their count is not known.")


def test_all_methods_and_the_rest_are_named():
    affected = (
        Affected("payment_method", 6, 6, ()),
        Affected("channel", 4, 5, (Contributor("app", 0, 9.0, -9.0), Contributor("web", 0, 5.0, -5.0))),
    )  # fmt: skip
    words = said(incident(measures=REPLACE(MEASURES, affected=affected)))
    assert words.affected == (
        "Affected: payments by every method, 4 of 5 channels (most App, Web)."
    )


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (suspicion(), "Bangladesh: 0 orders for 40 s, 1,005 a minute usual; 38 %"),
        (
            suspicion("category", "books", observed=300, expected=66.0, evidence=0.004),
            "Books (category, Bangladesh): 300 orders in 40 s, 99 a minute usual; less than 1 %",
        ),
        (
            suspicion("payment_failure", "card", observed=60, expected=6.0, evidence=0.5),
            "Card (payments, Bangladesh): 60 failed payments in 40 s, 9 a minute usual; 50 %",
        ),
        (
            suspicion("payment_failure", "card", observed=1, expected=6.0, evidence=0.997),
            "Card (payments, Bangladesh): 1 failed payment in 40 s, 9 a minute usual; 99 %",
        ),
    ],
)
def test_a_suspicion_is_one_line(given, line):
    assert say_suspicion(published_suspicion(given), BD) == f"{line} of what pages"


def test_cards_are_ordered_by_weight_and_say_when_what_happened():
    jump = incident(incident_shift("category", "books", direction=1))
    over = incident(incident_shift("region", "sindh", at_ms=AS_OF_MS - 60_000), over_ms=AS_OF_MS)
    stop = incident(stopped=True)
    found = incidents_of(
        incident_fields([over, jump, stop], {}), suspicion_fields([suspicion()]), BD
    )
    assert [each.id for each in found.open] == [stop.id, jump.id]
    (past,) = found.past
    first = found.open[0]
    assert [what for what, _ in first.timeline] == ["began", "found"]
    assert [what for what, _ in past.timeline] == ["began", "found", "over"]
    assert first.command == f"ecindex answer {stop.id} expected"
    jump.id = "PK-$(reboot)-up"
    assert incidents_of(incident_fields([jump], {}), {}, BD).open[0].command == ""
    assert (first.whole, past.command) == (True, "")
    assert headline_of(found) == first.headline
    only = incidents_of({}, suspicion_fields([suspicion()]), BD)
    assert headline_of(only) == only.suspicions[0].line
    assert headline_of(IncidentsOfMarket()) == ""
    given = GivenAnswers(
        Answer(stop.id, "acknowledged", "bob", AS_OF_MS),
        Answer(stop.id, "false_alarm", "alice", AS_OF_MS),
        (),
        stop.id,
    )
    fields = incident_fields([stop], {stop.id: given})
    assert headline_of(incidents_of(fields, {}, BD)) == (
        f"{first.headline}. A false alarm, says alice: it does not page."
    )
    suspected = incidents_of(fields, suspicion_fields([suspicion()]), BD)
    assert headline_of(suspected) == only.suspicions[0].line


def test_the_page_knows_every_incident_that_redis_has():
    """Links to the 21st and older ones opened a page that looked as if nothing had been."""
    past = [
        incident(incident_shift(at_ms=AS_OF_MS - number * 3_600_000), over_ms=AS_OF_MS)
        for number in range(INCIDENTS_MAX)
    ]
    fields = incident_fields(past, {})
    assert len(fields) == INCIDENTS_MAX
    assert {each.id for each in incidents_of(fields, {}, BD).past} == set(fields)


def test_the_level_is_the_worst_that_is_shown():
    def level(*shown, suspected=(), fresh=True, known=True, shifts=(), answers=()):
        answers = dict(answers)
        found = incidents_of(incident_fields(shown, answers), suspicion_fields(suspected), BD)
        return level_of(found, list(shifts), fresh=fresh, known=known)

    loose = active({"category:books": '{"direction":"up"}'})
    assert level() is PageLevel.FINE
    assert level(known=False) is PageLevel.FILLING
    assert level(fresh=False, known=False) is PageLevel.STALE
    assert level(suspected=[suspicion()], fresh=False) is PageLevel.SUSPICION
    assert level(shifts=loose) is PageLevel.SHIFT
    assert level(incident(), suspected=[suspicion()]) is PageLevel.SHIFT
    assert level(incident(), incident(incident_shift("region"), stopped=True)) is PageLevel.OUTAGE
    assert level(incident(stopped=True, over_ms=AS_OF_MS)) is PageLevel.FINE
    stop = incident(stopped=True)
    said_so = {stop.id: GivenAnswers(None, None, (), stop.id)}
    assert level(stop, answers=said_so) is PageLevel.SUSPICION, "0 orders beside a green dot"
    closed = Answer(stop.id, "expected", "bob", AS_OF_MS, until_ms=AS_OF_MS + 1, factor=0)
    planned = {stop.id: GivenAnswers(None, closed, (), stop.id)}
    assert level(stop, answers=planned) is PageLevel.SUSPICION, "expected or not"
    assert level(stop, answers=said_so, known=False) is PageLevel.SUSPICION
    assert level(stop, answers=said_so, fresh=False) is PageLevel.STALE
    back = REPLACE(stop, measures=REPLACE(MEASURES, now=RatioInterval(975.0, 980.0, 1.0, 0.9, 1.1)))
    assert level(back, answers=said_so) is PageLevel.FINE, "answered, and as usual again"
    assert (
        level(stop, incident(incident_shift("region", at_ms=0)), answers=said_so) is PageLevel.SHIFT
    )


@pytest.mark.parametrize(
    ("kind", "factor", "ratio", "shown"),
    [
        ("expected", 3.6, 3.6, PageLevel.FINE),
        ("expected", 3.6, 1.9, PageLevel.FINE),
        ("expected", 3.6, 9.0, PageLevel.SUSPICION),
        ("expected", None, 9.0, PageLevel.FINE),
        ("false_alarm", None, 3.6, PageLevel.SUSPICION),
    ],
)
def test_an_event_that_is_expected_is_fine_while_it_is_no_larger_than_was_said(
    kind, factor, ratio, shown
):
    """It had a triangle for as long as it ran, as if nobody had answered."""
    now = RatioInterval(ratio * 100, 100.0, ratio, ratio - 0.3, ratio + 0.3)
    jump = incident(
        REPLACE(incident_shift("category", "books", direction=1), interval=JUMP),
        measures=REPLACE(MEASURES, now=now),
    )
    until_ms = AS_OF_MS + 3_600_000 if kind == "expected" else 0
    scope = ("category", "books")
    said_so = Answer(
        jump.id,
        kind,
        "bob",
        AS_OF_MS,
        until_ms=until_ms,
        scope=scope,
        factor=factor and round(factor * 1_000_000),
    )
    own = GivenAnswers(None, said_so, (), jump.id)
    found = incidents_of(incident_fields([jump], {jump.id: own}), {}, BD)
    assert level_of(found, [], fresh=True, known=True) is shown
    assert bool(headline_of(found)) is (shown is not PageLevel.FINE)
    later = REPLACE(jump, id="PK-20231114T2209-up")
    covered = {jump.id: own, later.id: GivenAnswers(None, None, (), jump.id)}
    both = incidents_of(incident_fields([jump, later], covered), {}, BD)
    assert level_of(both, [], fresh=True, known=True) is shown, "what the answer covers, too"


def test_what_was_answered_is_said_with_its_author():
    stop = incident(stopped=True)
    until_ms = AS_OF_MS + 3_600_000
    given = GivenAnswers(
        Answer(stop.id, "acknowledged", "alice", AS_OF_MS),
        Answer(stop.id, "expected", "bob", AS_OF_MS, until_ms=until_ms),
        (Answer(stop.id, "note", "eve", AS_OF_MS, text="the gateway <b>"),),
        stop.id,
    )
    (shown,) = incidents_of(incident_fields([stop], {stop.id: given}), {}, BD).open
    assert shown.answers == [
        "Acknowledged by alice at 04:13 UTC+06.",
        "Expected until 05:13 UTC+06, says bob: it does not page.",
        "Note by eve at 04:13 UTC+06: the gateway <b>",
    ]
    assert shown.silenced
    assert [what for what, _ in shown.timeline] == ["began", "found", "acknowledged"]
    assert not shown.sent


def test_a_false_alarm_that_is_not_of_all_leaves_the_incident_open_in_words():
    jump = incident(incident_shift("category", "books"), incident_shift("category", "toys"))
    said_so = Answer(jump.id, "false_alarm", "alice", AS_OF_MS)
    given = GivenAnswers(None, said_so, (), None, beyond_verdict=True)
    jump.silenced = frozenset({jump.lead.name})
    shown = published_incident(jump, given)
    assert (shown.member, shown.beyond_verdict) == ("toys", True)
    assert say_answers(shown, BD) == [
        "A false alarm, says alice: it pages, since more was found later."
    ]
    *_, line = lines([ListedMarket("BD", [], [shown])])
    assert line.strip() == "open: more was found after the false alarm was said; it pages"
    jump.over_ms = AS_OF_MS
    shown = published_incident(jump, given)
    assert say_answers(shown, BD) == ["A false alarm, says alice: more was found later."]
    *_, line = lines([ListedMarket("BD", [], [shown])])
    assert line.strip() == "open: more was found after the false alarm was said"


@pytest.mark.parametrize(
    ("scope", "name"),
    [(("category", "books"), "Books (category)"), (("market", "all"), "Bangladesh")],
)
def test_a_factor_is_said_with_the_series_that_it_is_of(scope, name):
    stop = incident(stopped=True)
    until_ms = AS_OF_MS + 3_600_000
    answer = Answer(
        stop.id, "expected", "bob", AS_OF_MS, until_ms=until_ms, scope=scope, factor=6_500_000
    )
    shown = published_incident(stop, GivenAnswers(None, answer, (), stop.id))
    assert say_answers(shown, BD) == [
        f"Expected until 05:13 UTC+06, factor 6.5 of {name}, says bob: it does not page."
    ]
    series = "all" if scope[0] == "market" else ":".join(scope)
    line = lines([ListedMarket("BD", [], [shown])])[-1]
    assert f", factor 6.5 of {series} (bob, " in line


def test_an_acknowledgement_of_before_it_became_worse_is_said_to_be_of_before():
    books = incident_shift("category", "books", at_ms=AS_OF_MS - 3_600_000)
    total = incident_shift()
    joined = incident(books, total, worsened_ms=total.found_ms)
    before = Answer(joined.id, "acknowledged", "alice", AS_OF_MS - 1_800_000)
    given = GivenAnswers(None, None, (), None, acknowledged_before=before)
    shown = published_incident(joined, given)
    assert say_answers(shown, BD) == [
        "Acknowledged by alice at 03:43 UTC+06, before it became worse at 04:07 UTC+06; not since."
    ]
    (card,) = incidents_of(incident_fields([joined], {joined.id: given}), {}, BD).open
    assert card.acknowledged is None, "its button is there again"
    assert ("acknowledged, before it became worse", before.at_ms) in [
        (what, parse_instant(at)) for what, at in card.timeline
    ]
    line = lines([ListedMarket("BD", [], [shown])])[-1]
    assert line.endswith(", before it became worse at 2023-11-14T22:07Z")


def test_who_would_take_an_acknowledgement_back_reads_what_becomes_of_it_in_pagerduty():
    stop = incident(stopped=True)
    given = GivenAnswers(Answer(stop.id, "acknowledged", "alice", AS_OF_MS), None, (), None)
    fields = incident_fields([stop], {stop.id: given})
    by_receiver = {
        receiver: incidents_of(fields, {}, BD, {stop.id: sent_text({receiver: AS_OF_MS})})
        for receiver in ("slack", "pagerduty")
    }
    assert len(by_receiver["slack"].open[0].answers) == 1
    assert by_receiver["pagerduty"].open[0].answers[1:] == [
        "If it is undone here: PagerDuty stays acknowledged unless it is taken back there."
    ]


def test_an_expected_event_that_has_passed_is_not_said_to_be_in_force():
    """An outage that went on the day after read as "Expected until 05:13", and nobody got up."""
    stop = incident(stopped=True)
    until_ms = AS_OF_MS - 20 * 3_600_000
    answer = Answer(stop.id, "expected", "bob", AS_OF_MS, until_ms=until_ms, text="sale")
    shown = published_incident(stop, GivenAnswers(None, answer, (), None))
    assert say_answers(shown, BD) == [
        "Was expected until 14 Nov 08:13 UTC+06, says bob: sale; it pages again."
    ]


def test_an_outage_that_comes_back_in_part_has_not_all_but_stopped():
    stop = incident(stopped=True)
    shown = published_incident(stop)
    half = msgspec.structs.replace(
        shown, now=msgspec.structs.replace(shown.now, observed=500.0, ratio=0.5)
    )
    words = say_incident(half, BD)
    assert words.headline == "Bangladesh: orders had all but stopped, and are at 50 % of usual"


def test_a_stop_that_is_younger_than_the_last_whole_minute_is_not_said_to_come_back():
    """A market at 0 was told as "had all but stopped, and are at 23 % of usual"."""
    shown = published_incident(incident(stopped=True))
    began_ms = parse_instant(shown.now.until) - 30_000
    young = REPLACE(
        shown,
        size=REPLACE(shown.size, since=rfc3339(began_ms)),
        now=REPLACE(shown.now, observed=36.0, ratio=0.23),
    )
    words = say_incident(young, BD)
    assert words.headline == "Bangladesh: orders have all but stopped"
    assert words.now == "Now: not known, its first whole minute has not ended."


def test_when_people_were_told_is_in_the_timeline_where_it_is_known():
    stop = incident(stopped=True, over_ms=AS_OF_MS)
    sent = {
        stop.id: sent_text({"slack": stop.found_ms + 20_000, "mail": stop.found_ms + 15_000}),
        "x": "somebody else's",
    }
    (shown,) = incidents_of(incident_fields([stop], {}), {}, BD, sent).past
    assert shown.sent
    assert shown.timeline == [
        ("began", rfc3339(stop.lead.start_ms)),
        ("found", rfc3339(stop.found_ms)),
        ("sent (mail, slack)", rfc3339(stop.found_ms + 15_000)),
        ("over", rfc3339(AS_OF_MS)),
    ]


def test_the_timeline_is_of_the_series_that_the_title_names():
    """A market that stopped at 10:34 had begun at 10:27, and was sent before it had: its method was."""
    minute = 60_000
    cod = incident_shift("payment_method", "cod", at_ms=AS_OF_MS - 5 * minute)
    found = incident(cod, incident_shift())
    began = [("first of it began", -15), ("first of it found", -11), ("began", -10), ("found", -6)]

    def timeline(led_by=None):
        sent = sent_text({"slack": AS_OF_MS - 9 * minute}, led_by)
        (card,) = incidents_of(incident_fields([found], {}), {}, BD, {found.id: sent}).open
        assert card.since == rfc3339(AS_OF_MS - 10 * minute)
        return card.timeline

    def dated(*known):
        return [(what, rfc3339(AS_OF_MS + at * minute)) for what, at in known]

    first = ("first of it sent (slack)", -9)
    assert timeline() == dated(*began[:3], first, began[3]), "of the market it is not known"
    cod_first = {"payment_method:cod": AS_OF_MS - 9 * minute}
    assert timeline(cod_first) == timeline()
    led_by = cod_first | {"market:all": AS_OF_MS - 5 * minute}
    assert timeline(led_by) == dated(*began[:3], first, began[3], ("sent", -5))
    only = {"market:all": AS_OF_MS - 9 * minute}
    assert timeline(only) == timeline(), "it was told of the market's stop before this one"
    its_own = {"payment_method:cod": AS_OF_MS - 9 * minute, "market:all": AS_OF_MS - 6 * minute}
    assert ("sent", rfc3339(AS_OF_MS - 6 * minute)) in timeline(its_own)
    (head, *_) = lines([ListedMarket("BD", [], [published_incident(found)])])
    assert "drop of all, 2023-11-14T22:03Z to now" in head


def test_a_note_is_a_line_whatever_was_typed():
    stop = incident(stopped=True)
    note = Answer(stop.id, "note", "eve", AS_OF_MS, text="a\n\x1b[2J\u202egnp")
    shown = published_incident(stop, GivenAnswers(None, None, (note,), None))
    assert say_answers(shown, BD) == ["Note by eve at 04:13 UTC+06: a \ufffd[2J\ufffdgnp"]


def test_a_shift_of_a_shown_incident_is_not_shown_twice():
    stop = incident()
    found = incidents_of(incident_fields([stop], {}), {}, BD)
    named = active({"market:all": f'{{"incident":"{stop.id}"}}', "region:sindh": "{}"})
    assert [each.member for each in without_incident(named, found)] == ["sindh"]


def test_fewer_failed_payments_in_a_fall_are_nothing_that_is_shifted_too():
    stop = incident(
        incident_shift("payment_method", "card"),
        incident_shift("payment_failure", "card"),
        incident_shift("payment_failure", "cod", direction=1),
    )
    assert said(stop).affected == "Shifted too: Cash on delivery (failed payments)."
