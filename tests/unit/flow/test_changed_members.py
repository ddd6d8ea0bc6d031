"""A market is taken over under definitions with other members: what of its shifts goes on, what ends."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from streams.flow.daybook import Shown
from streams.flow.history_book import MarketHistory, Seed
from streams.flow.ledger import Ledger
from streams.flow.market_days import MarketDays
from streams.flow.market_expectation import MarketExpectation, Observed
from streams.flow.market_shifts import MarketShifts, Reach
from streams.flow.shift_watch import FINAL
from streams.flow.shifts_record import KeptShift, ShiftsRecord, decode_shifts, encode_shifts
from streams.flow.vintages import HeldVintage
from streams.index.demand import SCALE
from streams.index.expectation import Vintage
from streams.index.history_records import SeededRow
from streams.index.incidents import Incident, IncidentShift
from streams.index.learning import Factor
from streams.index.noise import Noise
from streams.index.panes import HOUR_MS, MINUTE_MS
from streams.index.partials import PLACED_AT, Layout
from streams.index.shift_ratio import RatioInterval
from streams.index.shift_states import OpenShift
from streams.publish.shift_records import shift_record
from tests.support.flow_harness import METHODOLOGY
from tests.unit.flow.test_shift_panes import Constant, T

BOOKS, LETTERS = ("category", "books"), ("category", "letters")
DONE = T // MINUTE_MS
START = DONE - 30.0
PK = METHODOLOGY.markets["PK"]
NAMED = tuple("letters" if name == "books" else name for name in PK.categories)
WITHOUT = tuple(name for name in PK.categories if name != "books")
NEW = ("aquariums", *PK.categories)


def owner(market=PK):
    ledger = Ledger(market, METHODOLOGY)
    expectation = Constant(ledger.layout.live_width)
    return MarketShifts(ledger, expectation, METHODOLOGY.shifts, 1.0, lambda day: None)


def changed(categories, definitions=1, **renamed):
    names = {("category", old): new for old, new in renamed.items()}
    return dataclasses.replace(PK, categories=categories, definitions=definitions, renamed=names)


def shifted(minute=DONE, market=PK):
    """Record of a market whose books have a shift that goes on, the second one of theirs."""
    watch = owner(market).watch
    watch.begin(minute)
    at = watch._places[BOOKS]
    watch._final.pages[at] = 2
    watch._final.fast.days[:, at] = 7.0
    watch._final.sizes.hour[0] = 1.0
    watch._final.open[at] = OpenShift(-1, "fast", START, START + 5, 0.5, observed=9, expected=10**8)
    interval = RatioInterval(9.0, 100.0, 0.09, 0.05, 0.15)
    of_incident = IncidentShift(
        *BOOKS, 2, -1, "fast", int(START) * MINUTE_MS, int(START + 5) * MINUTE_MS, 2.0, interval
    )
    incident = Incident(
        "PK-1-down", "PK", -1, of_incident.start_ms, of_incident.found_ms, [of_incident]
    )
    kept = [
        KeptShift(*BOOKS, 2, "fast", START, START + 5, incident=incident.id),
        KeptShift(
            "market", "all", 1, "fast", START - 9_000, START - 8_990, START - 5_000,
            parts=[(*BOOKS, 7)],
        ),
    ]  # fmt: skip
    return ShiftsRecord(
        watch.record(), kept, 1, incidents=[incident], definitions=market.definitions
    )


def taken_over(market, *records):
    """An owner that has read the records, and taken its first step."""
    new = owner(market)
    for record in records:
        new.restore(decode_shifts(encode_shifts(record)))
    return new, new.step(Reach(T, T, T, T), changed=True)


def test_members_that_came_move_nobodys_evidence_and_have_no_shift():
    new, found = taken_over(changed(NEW), shifted())
    states = new.watch.record().states
    assert states["category:books"] == shifted().watch.states["category:books"]
    assert (states["category:aquariums"].pages, states["category:aquariums"].open) == (0, None)
    assert states["category:computing"].fast.days == [0.0] * 9
    assert (found, new.kept[0].end) == ([], 0)
    record = decode_shifts(new.take_record())
    assert record.definitions == 1, "the step has put the state under its definitions"


def test_a_shift_of_a_member_that_is_gone_ends_by_definition_and_its_incident_with_it():
    new, found = taken_over(changed(WITHOUT), shifted())
    (end,) = found
    assert (end.dimension, end.member, end.number) == (*BOOKS, 2)
    assert (end.event, end.phase, end.cause, end.at) == ("end", FINAL, "definition", DONE)
    (incident,) = new.incidents.shown()
    assert (incident.over_ms, incident.state, incident.id) == (T, "over", "PK-1-down")
    assert incident.measures.difference.events == 9 - 100
    assert new.kept[0].end == DONE
    assert b'"cause":"definition"' in shift_record("PK", 1, end)[1]
    again, found = taken_over(changed(WITHOUT), decode_shifts(new.take_record()))
    assert (found, again.watch.record()) == ([], new.watch.record())


def test_the_state_is_put_under_the_definitions_of_now_once_what_ended_is_published():
    new = owner(changed(NEW))
    new.restore(shifted())
    assert decode_shifts(new.take_record()).definitions == 1
    unchanged = owner()
    unchanged.restore(shifted())
    assert unchanged.take_record() is None
    gone = owner(changed(WITHOUT))
    gone.restore(shifted())
    assert gone.take_record() is None, "a crash now would lose the end"
    gone.step(Reach(T, T, T, T), changed=True)
    assert decode_shifts(gone.take_record()).kept[0].end == DONE


def test_a_member_that_comes_back_has_numbers_that_no_shift_had():
    new, _ = taken_over(changed(WITHOUT), shifted())
    back, _ = taken_over(changed(PK.categories, 2), decode_shifts(new.take_record()))
    states = back.watch.record().states
    assert (states["category:books"].pages, states["category:computing"].pages) == (2, 0)


def test_state_shifts_and_incidents_follow_a_member_to_its_new_id():
    new, found = taken_over(changed(NAMED, books="letters"), shifted())
    assert found == []
    assert (
        new.watch.record().states["category:letters"] == (shifted().watch.states["category:books"])
    )
    assert [(kept.dimension, kept.member, kept.end) for kept in new.kept] == [
        (*LETTERS, 0), ("market", "all", START - 5_000),
    ]  # fmt: skip
    assert new.kept[1].parts == [(*LETTERS, 7)]
    (incident,) = new.incidents.shown()
    assert (incident.id, incident.state, incident.lead.name) == ("PK-1-down", "open", (*LETTERS, 2))


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_records_the_one_of_the_later_definitions_counts(first):
    """A zombie that had not heard of them went on watching, and has come further."""
    market = changed(NEW)
    own = ShiftsRecord(owner(market).watch.record(), [], 1, definitions=1)
    own.watch.done_until = DONE - 5
    records = [own, shifted(DONE + 5)]
    new = owner(market)
    for at in (first, 1 - first):
        new.restore(decode_shifts(encode_shifts(records[at])))
    assert new.watch.done_until == DONE - 5
    assert (new.kept, new.watch.record().states["category:books"].open) == ([], None)


def test_an_older_record_does_not_set_the_detectors_back():
    new = owner()
    for minute in (DONE, DONE - 1):
        new.restore(shifted(minute))
    assert new.watch.done_until == DONE


def expectation_of(market, history):
    return MarketExpectation(market, Ledger(market, METHODOLOGY), history)


def test_seeds_and_factors_follow_a_member_to_its_new_id():
    seed = Seed(0, HOUR_MS, frozenset(), {0: {BOOKS: SeededRow(*BOOKS, orders=5)}})
    factor = Factor(BOOKS, 0, HOUR_MS, 2 * SCALE)
    history = MarketHistory(seeds={"s": seed}, factors={b"f": factor})
    for market, scope in ((PK, BOOKS), (changed(NAMED, books="letters"), LETTERS)):
        found = expectation_of(market, history)
        assert found._seeded(seed, 0)[found.table.at[scope, "orders"]] == 5
        assert found._factors() == [*found._events, Factor(scope, 0, HOUR_MS, 2 * SCALE)]
        assert found.declared_factors() == found._factors()


@pytest.mark.parametrize(("definitions", "again"), [(0, False), (1, True)])
def test_a_vintage_of_other_definitions_is_learnt_again(definitions, again, monkeypatch):
    found = expectation_of(changed(NEW, definitions), MarketHistory())
    n, day = len(found.table.series), 20_000
    vintage = Vintage(day, (0,), ((),) * n, (Noise(0, 0, 0),) * n, (0,) * n)
    found.restore(HeldVintage(vintage, 4, "").record(found.table))
    read = []
    none = np.zeros((1, 1)), np.zeros((1, 1))
    monkeypatch.setattr(found, "_hours_known", lambda *_: read.append(1) or none)
    assert found._learn(Observed(found, None, None), day) is None
    assert bool(read) == again


def thresholds(market):
    watch = owner(market).watch
    return dict(zip(watch._places, watch._final.page_days.tolist(), strict=True))


def test_a_member_that_appears_moves_nobodys_threshold_and_takes_nobodys_place():
    declared = thresholds(PK)
    each = 30 / (0.7 / (len(declared) - 1))
    assert declared == dict.fromkeys(declared, each) | {("market", "all"): 30 / 0.2}
    one = thresholds(changed(NEW))
    assert one == declared | {("category", "aquariums"): each}
    many = thresholds(changed((*(f"new_{at:03}" for at in range(400)), *NAMED), books="letters"))
    assert len(many) == 1 + (len(declared) - 1) * 8 // 7
    assert many.keys() > declared.keys() - {BOOKS} | {LETTERS}
    assert sum(30 / days for days in many.values()) == pytest.approx(1.0), "the reserve is full"
    assert thresholds(changed(WITHOUT)) == {k: v for k, v in declared.items() if k != BOOKS}


def test_what_a_definition_changes_of_an_ended_day_is_revised_by_definition():
    before, after = Layout(PK), changed(NAMED)
    row = [0] * before.day_width
    row[PLACED_AT : PLACED_AT + 3] = 2, 2, 200
    at = before.day_category.at("books")
    row[at : at + 3] = 2, 2, 200
    days = MarketDays(None, Ledger(after, METHODOLOGY), None, None)
    days.restore(20_000, Shown(9, row).record(before))
    layout = Layout(after)
    now = [0] * layout.day_width
    now[PLACED_AT : PLACED_AT + 3] = 3, 3, 300
    at = layout.day_category.at("letters")
    now[at : at + 3] = 3, 3, 300
    revised = days._revised(20_000, now)
    assert revised["orders:market:all"] == (2, "late")
    assert revised["orders:category:letters"] == (None, "definition")
    days._book.show(20_000, now, [], 10)
    now[at] = 4
    assert days._revised(20_000, now)["orders:category:letters"] == (3, "late")


def test_a_day_that_a_definition_leaves_as_it_was_is_of_that_definition():
    days = MarketDays(None, Ledger(changed(NEW), METHODOLOGY), None, None)
    days.restore(20_000, Shown(9, [0] * Layout(PK).day_width).record(Layout(PK)))
    row = [0] * Layout(changed(NEW)).day_width
    assert days._book.show(20_000, row, [], 10).record(Layout(changed(NEW))).definitions == 1
    assert days._book.show(20_000, row, [], 11) is None
    row[Layout(changed(NEW)).day_category.at("books")] = 1
    assert days._revised(20_000, row)["orders:category:books"] == (None, "late")
