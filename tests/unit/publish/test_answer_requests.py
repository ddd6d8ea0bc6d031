"""Requests to answer an incident: what one click takes from the incident, and what is refused."""

from __future__ import annotations

import pytest
from msgspec import structs
from support.flow_harness import METHODOLOGY
from support.publications import AS_OF_MS, incident, incident_shift

from streams.board.shown_incidents import incidents_of
from streams.flow.market_answers import GivenAnswers
from streams.index.answer_records import AnswerError, answer_record, decode_answer
from streams.index.operator_answers import (
    ACKNOWLEDGED,
    EXPECTED,
    FALSE_ALARM,
    KINDS,
    NOTE,
    Answer,
    AnsweredIncident,
)
from streams.index.panes import HOUR_MS, MINUTE_MS, rfc3339
from streams.publish.answer_requests import EXPECTED_FOR_MS, AnswerRequest, answer_of
from streams.publish.answer_words import say_effect
from streams.publish.incident_records import incident_fields, published_answer, published_incident
from streams.publish.incident_words import MarketNaming

STOP = published_incident(incident())
BOOKS = published_incident(incident(incident_shift("category", "books", direction=1)))
UNPAID = published_incident(incident(incident_shift("payment_failure", "cod", direction=1)))
KARACHI = MarketNaming("Pakistan", "PKR", "Asia/Karachi")
PK = METHODOLOGY.markets["PK"]


def answered(of, kind, **asked):
    request = AnswerRequest(of.id, kind, **asked)
    answer = answer_of(request, {of.id: of}, PK, "aisha", AS_OF_MS)
    assert decode_answer(*answer_record(answer)) == ("PK", answer)
    return answer


def test_one_click_expects_what_was_measured_from_the_beginning_on():
    found = answered(BOOKS, EXPECTED)
    assert (found.scope, found.by, found.at_ms) == (("category", "books"), "aisha", AS_OF_MS)
    assert rfc3339(found.start_ms) == BOOKS.began
    assert found.until_ms == AS_OF_MS + EXPECTED_FOR_MS
    assert found.factor == round(float(f"{BOOKS.size.ratio:.2g}") * 1_000_000)


@pytest.mark.parametrize(
    "until", ["2023-11-15T03:00Z", "2023-11-15T08:00+05:00", "2023-11-15 08:00:00+05:00"]
)
def test_an_end_is_taken_as_commands_print_it(until):
    found = answered(BOOKS, EXPECTED, until=until)
    assert rfc3339(found.until_ms) == "2023-11-15T03:00:00.000Z"
    (line, _) = say_effect(found, BOOKS, KARACHI)
    printed = line.split(",")[0].removeprefix("until ")
    assert answered(BOOKS, EXPECTED, until=printed) == found


@pytest.mark.parametrize("until", ["18:00", "tomorrow", "2023-11-15", "2023-11-15T08:00"])
def test_what_is_no_end_is_refused_with_an_example_that_is_taken(until):
    with pytest.raises(AnswerError, match=r"such as \S+\+05:00$") as refused:
        answered(BOOKS, EXPECTED, until=until)
    example = str(refused.value).split()[-1]
    assert answered(BOOKS, EXPECTED, until=example).until_ms > AS_OF_MS


def test_what_is_over_is_expected_no_longer():
    past = published_incident(incident(over_ms=AS_OF_MS - MINUTE_MS))
    assert answered(past, EXPECTED).until_ms == AS_OF_MS - MINUTE_MS
    assert answered(past, EXPECTED, until=rfc3339(AS_OF_MS)).until_ms == AS_OF_MS


def test_an_event_is_of_its_series_whatever_else_began_before_it_or_ended_after_it():
    """Hours in which a market was as usual were taught as those of its event."""
    total = incident_shift(over_ms=AS_OF_MS - 30 * MINUTE_MS, at_ms=AS_OF_MS - 60 * MINUTE_MS)
    toys = incident_shift("category", "toys", over_ms=AS_OF_MS, at_ms=AS_OF_MS - 90 * MINUTE_MS)
    past = incident(total, toys, over_ms=AS_OF_MS)
    past.start_ms = toys.start_ms
    found = answered(published_incident(past), EXPECTED)
    assert (found.start_ms, found.until_ms) == (total.start_ms, total.over_ms)
    found = answered(published_incident(past), EXPECTED, member="category:books")
    assert found.until_ms == AS_OF_MS


def test_whoever_knows_better_says_so():
    until = rfc3339(AS_OF_MS + 30 * HOUR_MS)
    found = answered(STOP, EXPECTED, until=until, factor=2.5, text=" sale\nof books ")
    assert (found.until_ms, found.factor, found.text) == (
        AS_OF_MS + 30 * HOUR_MS, 2_500_000, "sale\nof books"
    )  # fmt: skip
    assert answered(STOP, EXPECTED, factor="unknown").factor is None
    assert answered(STOP, EXPECTED, factor=0).factor == 0
    stray = structs.replace(BOOKS, size=structs.replace(BOOKS.size, ratio=0.0003))
    assert answered(stray, EXPECTED).factor == 0  # as good as none
    other = answered(STOP, EXPECTED, member="category:mobiles_tablets")
    assert (other.scope, other.factor) == (("category", "mobiles_tablets"), None)
    assert answered(UNPAID, EXPECTED).factor is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_given_can_be_taken_back_and_nothing_else(kind):
    for other in KINDS:
        given = published_answer(Answer(BOOKS.id, other, "aisha", AS_OF_MS, text="hm"))
        place = {"acknowledged": "acknowledged", "note": "notes"}.get(other, "verdict")
        said = structs.replace(BOOKS, **{place: [given] if other == NOTE else given})
        if other == kind:
            assert answered(said, kind, taken_back=True).taken_back
            continue
        with pytest.raises(AnswerError, match=f"no `{kind}` in force \\(in force: {other}\\)"):
            answered(said, kind, taken_back=True)
    before = published_answer(Answer(BOOKS.id, ACKNOWLEDGED, "aisha", AS_OF_MS))
    lapsed = structs.replace(BOOKS, acknowledged_before=before)
    assert answered(lapsed, ACKNOWLEDGED, taken_back=True).taken_back


def test_whoever_changes_one_thing_of_an_expected_event_keeps_the_rest():
    """The page changed the end: factor 6 of a category was applied to the market, and learnt."""
    later = rfc3339(AS_OF_MS + 9 * HOUR_MS)
    books = answered(STOP, EXPECTED, until=later, factor=6, member="category:books", text="sale")
    said = structs.replace(STOP, verdict=published_answer(books))
    assert answered(said, EXPECTED) == books
    sooner = answered(said, EXPECTED, until=rfc3339(AS_OF_MS + HOUR_MS))
    assert sooner == books._replace(until_ms=AS_OF_MS + HOUR_MS)
    assert answered(said, EXPECTED, factor=2) == books._replace(factor=2_000_000)
    assert answered(said, EXPECTED, factor="unknown").factor is None
    assert answered(said, EXPECTED, text="") == books._replace(text="")
    other = answered(said, EXPECTED, member="all")
    assert (other.scope, other.factor) == (("market", "all"), round(STOP.size.ratio, 3) * 1e6)
    unknown = structs.replace(said, verdict=structs.replace(said.verdict, factor=None))
    assert answered(unknown, EXPECTED).factor is None
    passed = structs.replace(said, verdict=structs.replace(said.verdict, until=rfc3339(AS_OF_MS)))
    assert answered(passed, EXPECTED).until_ms == AS_OF_MS + EXPECTED_FOR_MS
    false = structs.replace(said, verdict=published_answer(answered(STOP, FALSE_ALARM, text="no")))
    assert answered(false, EXPECTED) == answered(STOP, EXPECTED)


def test_a_series_may_be_named_that_is_no_member_of_the_methodology():
    """The page names the series of the answer that it changes."""
    assert answered(UNPAID, EXPECTED, member="payment_failure:cod").scope == (
        "payment_failure", "cod"
    )  # fmt: skip


def test_an_event_cannot_have_ended_while_its_incident_goes_on():
    """It was taken, silenced nothing, and the page said "Expected until" all the same."""
    for until_ms in (AS_OF_MS - MINUTE_MS, AS_OF_MS):
        with pytest.raises(AnswerError, match=r"after now .*, since .* goes on"):
            answered(BOOKS, EXPECTED, until=rfc3339(until_ms))
    assert answered(BOOKS, EXPECTED, until=rfc3339(AS_OF_MS + 1)).until_ms == AS_OF_MS + 1


def test_whoever_answers_is_told_until_when_by_what_and_what_is_silenced():
    def effect(of, kind=EXPECTED, **asked):
        return say_effect(answered(of, kind, **asked), of, KARACHI)

    until = rfc3339(AS_OF_MS + 30 * HOUR_MS)
    assert effect(BOOKS, until=until, factor=2.5) == [
        "until 2023-11-16T09:13+05:00, factor 2.5 of category:books",
        f"silenced until then: every shift of {BOOKS.id}, and later ones up of category:books",
    ]
    assert effect(BOOKS, factor=2.5, member="all")[1].endswith(
        "of any series, since the whole market is among them"
    )
    more = [incident_shift("category", str(number), direction=1) for number in range(6)]
    names = "category:0, category:1, category:2, category:3 and 2 more"
    assert effect(published_incident(incident(*more)))[1].endswith(f"later ones up of {names}")
    assert effect(STOP, factor="unknown")[0].endswith("factor unknown: its hours teach nothing")
    past = published_incident(incident(over_ms=AS_OF_MS - MINUTE_MS))
    assert effect(past)[1].startswith("silenced: nothing, since the event is over")
    assert effect(BOOKS, FALSE_ALARM) == [
        f"silenced: what was found of {BOOKS.id} by now, and what that explains; the rest pages",
        "its hours are learnt as any others",
    ]
    acked = structs.replace(
        BOOKS, acknowledged=published_answer(Answer(BOOKS.id, ACKNOWLEDGED, "aisha", AS_OF_MS))
    )
    (stays,) = effect(acked, ACKNOWLEDGED, taken_back=True)
    assert stays.endswith("PagerDuty stays acknowledged unless it is taken back there.")
    assert effect(BOOKS, NOTE, text="hm") == []


def test_whoever_takes_a_verdict_back_is_told_which_one_holds_now():
    """Alice's `expected` was in force again when bob took his `false_alarm` back, and nobody said so."""
    until = rfc3339(AS_OF_MS + HOUR_MS)
    planned = answered(BOOKS, EXPECTED, until=until, factor=2.5, text="sale")
    false = answered(BOOKS, FALSE_ALARM)
    both, one = AnsweredIncident(), AnsweredIncident()
    for answer in (planned, false):
        both.apply_answer(answer)
    one.apply_answer(false)

    def undone(given, kind):
        said = GivenAnswers(None, given.verdict, (), None, given.earlier_verdict)
        of = published_incident(incident(incident_shift("category", "books", direction=1)), said)
        return say_effect(answered(of, kind, taken_back=True), of, KARACHI)

    planned_words = "xpected until 04:13 PKT, factor 2.5 of Books (category), says aisha: sale"
    assert undone(both, FALSE_ALARM) == [
        f"in force now: E{planned_words}",
        f"to take that back too: ecindex answer {BOOKS.id} expected --undo",
    ]
    assert undone(both, EXPECTED) == [
        "in force now: A false alarm, says aisha",
        f"to take that back too: ecindex answer {BOOKS.id} false-alarm --undo",
    ]
    assert undone(one, FALSE_ALARM) == ["in force: neither expected nor false alarm"]
    said = GivenAnswers(None, both.verdict, (), None, both.earlier_verdict)
    shift = incident(incident_shift("category", "books", direction=1))
    (card,) = incidents_of(incident_fields([shift], {shift.id: said}), {}, KARACHI).open
    assert card.answers[1:] == [
        f"If “false alarm” is undone, this is in force again: E{planned_words}."
    ]


def test_the_other_kinds_need_no_more():
    assert answered(BOOKS, FALSE_ALARM).text == ""
    assert answered(BOOKS, NOTE, text="hm").text == "hm"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"kind": "later"}, "expected one of acknowledged"),
        ({"kind": EXPECTED, "until": "tomorrow"}, "expected an instant"),
        ({"kind": EXPECTED, "until": rfc3339(AS_OF_MS - HOUR_MS)}, "expected an instant after now"),
        ({"kind": EXPECTED, "until": rfc3339(AS_OF_MS + 337 * HOUR_MS)}, "at most 14 days"),
        (
            {"kind": EXPECTED, "factor": 1e9},
            "expected 0, a number from 0.001 to 1000, or `unknown`",
        ),
        ({"kind": EXPECTED, "factor": float("nan")}, "expected 0, a number from 0.001"),
        ({"kind": EXPECTED, "member": "category:cars"}, "dimension:member of PK"),
        ({"kind": FALSE_ALARM, "until": rfc3339(AS_OF_MS)}, "only of `expected`"),
        ({"kind": NOTE, "text": "a\x1b[2Jb"}, "no control characters"),
        ({"kind": NOTE}, "expected what there is to note"),
        ({"kind": NOTE, "text": " \n\u200b"}, "expected what there is to note"),
    ],
)
def test_what_breaks_the_contract_is_refused_with_what_was_expected(asked, reason):
    with pytest.raises(AnswerError, match=reason):
        answered(BOOKS, **asked)


def test_an_incident_that_there_is_not_is_answered_with_those_that_there_are():
    request = AnswerRequest("PK-20260101T0000-up", NOTE, text="hm")
    with pytest.raises(AnswerError, match=f"no such incident; the last ones: {STOP.id}"):
        answer_of(request, {STOP.id: STOP}, PK, "aisha", AS_OF_MS + MINUTE_MS)
