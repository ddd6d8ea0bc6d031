"""Shifts of one market with one cause are one incident, under one name whoever folds them."""

from __future__ import annotations

import copy

from streams.index.incidents import (
    EXPLAINED_AFTER_MS,
    INCIDENTS_KEPT_MS,
    INCIDENTS_MAX,
    SHIFTS_KEPT,
    IncidentShift,
    fold,
    fold_final,
    note_worse,
    set_back,
)
from streams.index.panes import HOUR_MS, MINUTE_MS
from streams.index.shift_ratio import ratio_interval

T0 = 1_700_000_000_000 // MINUTE_MS * MINUTE_MS
STOP = ratio_interval(0, 300.0, 0.01)


def shift(member="all", dimension=None, *, start=0, found=2, direction=-1, number=1, **more):
    """A shift; ``start`` and ``found`` in minutes after T0."""
    if dimension is None:
        dimension = "market" if member == "all" else "category"
    counted = {-1: 20, 1: 600}[direction]
    return IncidentShift(
        dimension=dimension,
        member=member,
        number=number,
        direction=direction,
        clock=more.get("clock", "fast"),
        start_ms=T0 + start * MINUTE_MS,
        found_ms=T0 + found * MINUTE_MS,
        evidence_ratio=2.0,
        interval=more.get("interval", ratio_interval(counted, 100.0, 0.01)),
    )


def step(incidents, *active, ended=(), at=3, confirmed=()):
    """Fold; ``ended``: shifts that end at ``at`` minutes after T0; ``confirmed``: by final minutes."""
    ends = {each.name: (T0 + at * MINUTE_MS, STOP) for each in ended}
    known = {each.name for each in confirmed}
    return fold(
        "BD", incidents, copy.deepcopy(active), ends, T0 + at * MINUTE_MS, known.__contains__
    )


def members(incident):
    return [each.member for each in incident.shifts]


def test_a_market_that_stops_is_one_incident_named_by_its_first_shift():
    books, total, toys = shift("books", found=1), shift(found=2), shift("toys", start=1, found=4)
    found = step([], books, at=1)
    assert [each.id for each in found] == ["BD-20231114T2214-down"]
    found = step(found, books, total, at=2)
    (incident,) = step(found, toys, total, books, at=4)
    assert (incident.id, members(incident)) == ("BD-20231114T2214-down", ["books", "all", "toys"])
    assert incident.lead.dimension == "market"
    assert incident.kind == "drop"
    incident.lead.stopped_ms = T0
    assert incident.kind == "outage"
    incident.lead.stopped_ms, incident.shifts[0].stopped_ms = 0, T0
    assert incident.kind == "drop", "a category that stopped has stopped no market"


def test_one_who_sees_all_shifts_at_once_gives_the_same_name():
    own = shift("books", found=1), shift(found=2), shift("toys", start=1, found=4)
    late = step([], *own, at=4)
    early = step(step(step([], own[0], at=1), *own[:2], at=2), *own, at=4)
    assert late == early


def test_the_market_explains_a_member_found_much_later_but_not_the_other_way_round():
    (incident,) = step([], shift(), shift("toys", start=50, found=55), at=55)
    assert members(incident) == ["all", "toys"]
    books, total = shift("books"), shift(start=50, found=53)
    assert [each.id[3:16] for each in step([], books, total, at=55)] == [
        "20231114T2215", "20231114T2306",
    ]  # fmt: skip


def test_shifts_that_began_apart_are_incidents_of_their_own_unless_dated_by_hours():
    jump = shift("books", direction=1), shift("toys", start=40, found=45, direction=1)
    assert len(step([], *jump, at=45)) == 2
    slow = shift("toys", start=40, found=45, direction=1, clock="slow")
    assert len(step([], jump[0], slow, at=45)) == 1


def test_directions_are_apart_but_failing_payments_belong_to_those_missing():
    up, down = shift("books", direction=1), shift("toys")
    assert [each.direction for each in step([], up, down)] == [1, -1]
    missing = shift("card", "payment_method")
    failing = shift("card", "payment_failure", direction=1, found=3)
    (incident,) = step([], missing, failing)
    assert incident.id.endswith("-down")
    assert [each.dimension for each in incident.shifts] == ["payment_method", "payment_failure"]


def test_a_market_that_stops_within_a_jump_is_an_incident_of_its_own():
    """It joined the jump as soon as payments failed in it: title "all but stopped", arrow upwards."""
    jump = shift("books", direction=1), shift(start=1, found=3, direction=1)
    failing = shift("card", "payment_failure", direction=1, start=2, found=4)
    found = step([], *jump, failing, at=5)
    stop = shift(start=8, found=10, number=2), shift("toys", start=8, found=11)
    fewer = shift("cod", "payment_method", start=8, found=12)
    found = step(found, *stop, fewer, failing, ended=jump, at=12)
    assert [(each.id[-4:], each.direction, members(each)) for each in found] == [
        ("5-up", 1, ["books", "all", "card"]),
        ("down", -1, ["all", "toys", "cod"]),
    ]
    assert [each.kind for each in found] == ["jump", "drop"]


def test_failures_found_before_the_payments_they_cost_lead_the_incident_that_they_name():
    failing = shift("card", "payment_failure", direction=1)
    missing = shift("card", "payment_method", found=4, interval=STOP)
    (incident,) = step(step([], failing), failing, missing, at=4)
    assert (incident.direction, incident.kind, incident.lead.dimension) == (
        1, "jump", "payment_failure",
    )  # fmt: skip
    assert len(step([incident], failing, missing, shift(found=5), at=5)) == 2


def test_payments_that_fail_by_several_methods_and_are_missed_by_several_are_one_incident():
    failing = [shift(each, "payment_failure", direction=1) for each in ("card", "wallet")]
    missing = [shift(each, "payment_method", found=4, interval=STOP) for each in ("card", "wallet")]
    (incident,) = step(step([], *failing), *failing, *missing, at=4)
    assert len(incident.shifts) == 4


def test_what_was_found_in_one_minute_in_one_direction_has_one_name():
    own = shift("books", start=-60), shift("toys", start=0)
    (incident,) = step([], *own)
    assert members(incident) == ["books", "toys"]


def test_it_is_over_with_its_last_shift_and_final_minutes_may_date_the_end():
    total, toys = shift(), shift("toys")
    found = step([], total, toys)
    found = step(found, toys, ended=[total], at=20)
    assert found[0].over_ms == 0
    (incident,) = step(found, ended=[toys], at=22)
    assert (incident.state, incident.over_ms) == ("over", T0 + 22 * MINUTE_MS)
    assert incident.shifts[0].interval == STOP
    (incident,) = step([incident], ended=[toys], at=23)
    assert incident.over_ms == T0 + 23 * MINUTE_MS
    assert step([incident], at=24) == [incident]


def test_one_that_later_events_take_back_is_withdrawn_and_its_number_is_free():
    found = step([], shift("books"))
    (incident,) = step(found, at=5)
    assert incident.state == "withdrawn"
    again = shift("books", start=28, found=30)
    gone, new = step([incident], again, at=30)
    assert (gone.state, new.state) == ("withdrawn", "open")
    gone, new = step([gone, new], ended=[again], at=40)
    assert (gone.state, new.state) == ("withdrawn", "over")


def test_what_became_worse_stays_so_when_the_shift_of_its_market_is_taken_back():
    books, total = shift("books", found=1), shift(found=4)
    (incident,) = step(step([], books, at=1), books, total, at=4)
    assert note_worse(incident, [], frozenset())
    assert not note_worse(incident, [], frozenset()), "once"
    (incident,) = step([incident], books, at=5)
    assert incident.shifts[1].withdrawn
    assert not note_worse(incident, [], frozenset())
    assert incident.worsened_ms == total.found_ms


def test_what_was_withdrawn_leads_no_incident_and_dates_no_end():
    total, books = shift(), shift("books", start=1, found=3)
    (incident,) = step([], total, books)
    incident.lead.stopped_ms = T0
    (incident,) = step([incident], books, at=5, confirmed=[books])
    assert (incident.lead.member, incident.kind, incident.state) == ("books", "drop", "open")
    (incident,) = step([incident], total, books, at=6, confirmed=[books])
    assert incident.lead.member == "all", "late events may bring it back"
    (incident,) = step([incident], total, ended=[books], at=8, confirmed=[books])
    (incident,) = step([incident], at=20, confirmed=[books])
    assert (incident.state, incident.over_ms) == ("over", T0 + 8 * MINUTE_MS)


def test_one_that_final_minutes_gave_is_over_and_not_withdrawn_though_its_end_was_lost():
    (incident,) = step(step([], shift("books")), at=20, confirmed=[shift("books")])
    assert (incident.state, incident.over_ms) == ("over", T0 + 20 * MINUTE_MS)


def test_a_long_shift_that_is_paged_again_stays_the_same_incident():
    """It lasts more than a day; the next page of its series made it withdrawn, and opened another."""
    day = 24 * 60
    first, again = shift(), shift(start=day - 5, found=day + 2, number=2, clock="slow")
    found = step(step([], first), again, at=day + 2, confirmed=[first])
    (incident,) = step(found, again, at=day + 3, confirmed=[first, again])
    (only,) = incident.shifts
    assert (incident.state, incident.start_ms, incident.found_ms) == (
        "open", first.start_ms, first.found_ms,
    )  # fmt: skip
    assert (only.name, only.start_ms, only.clock) == (again.name, first.start_ms, "fast")
    (back,) = step([copy.deepcopy(incident)], first, at=day + 4, confirmed=[first])
    assert (back.state, back.shifts[0].name) == ("open", first.name), (
        "late events took the page back"
    )
    (incident,) = step([incident], ended=[again], at=day + 9)
    assert incident.state == "over"


def final(incidents, *paged, ended=(), at):
    """Fold a final minute; its shifts end at ``at`` minutes after T0."""
    now_ms = T0 + at * MINUTE_MS
    return fold_final("BD", incidents, paged, {each.name: (now_ms, STOP) for each in ended}, now_ms)


def test_a_final_minute_ends_what_it_says_and_takes_nothing_back():
    total, books = shift(), shift("books")
    (incident,) = final(step([], total, books), ended=[books], at=9)
    assert [each.over_ms for each in incident.shifts] == [0, T0 + 9 * MINUTE_MS]


def test_what_only_final_minutes_have_seen_is_one_incident_that_is_over():
    total, toys, later = (
        shift(),
        shift("toys", start=1, found=4),
        shift(start=60, found=62, number=2),
    )
    found = final([], total, at=2)
    found = final(found, toys, at=4)
    found = final(found, ended=[total, toys], at=20)
    assert [(each.state, members(each)) for each in found] == [("over", ["all", "toys"])]
    found = final(found, later, at=62)
    assert [(each.state, each.over_ms) for each in found] == [
        ("over", T0 + 20 * MINUTE_MS),
        ("open", 0),
    ]


def test_final_minutes_number_what_goes_on_anew_and_leave_what_live_minutes_numbered_later():
    first, third = shift(), shift(start=4, found=5, number=3)
    found = step(step([], first), third, ended=[first], at=5)
    (incident,) = final(found, first, at=2)
    assert [(each.number, each.repaged) for each in incident.shifts] == [(1, False), (3, False)]
    again = shift(start=1_435, found=1_442, number=4)
    (incident,) = final([incident], again, at=1_442)
    assert [(each.number, each.repaged) for each in incident.shifts] == [(1, False), (4, True)]
    assert incident.start_ms == first.start_ms


def test_what_live_minutes_know_of_a_shift_stays_when_a_final_minute_gives_it():
    total = shift()
    larger = shift(interval=ratio_interval(0, 900.0, 0.01))
    (incident,) = final(step([], larger, at=5), total, at=2)
    assert incident.shifts == [larger]
    (over,) = final(step([incident], ended=[larger], at=6), total, at=2)
    assert over.state == "over"


def test_what_was_found_after_the_instant_that_a_clock_is_set_back_to_is_forgotten():
    total, toys, false = (
        shift(),
        shift("toys", start=1, found=4),
        shift("books", found=70, start=66),
    )
    found = step(step([], total, toys, at=5), total, false, ended=[toys], at=71)
    found[0].worsened_ms = T0 + 71 * MINUTE_MS
    (incident,) = set_back(found, T0 + 10 * MINUTE_MS)
    assert incident.worsened_ms == T0 + 10 * MINUTE_MS, "no later than what is known"
    assert members(incident) == ["all", "toys"]
    assert [each.over_ms for each in incident.shifts] == [T0 + 10 * MINUTE_MS] * 2
    assert incident.over_ms == T0 + 10 * MINUTE_MS
    assert set_back(step([], false, at=71), T0 + 10 * MINUTE_MS) == []


def test_a_shift_that_ended_is_not_the_next_one_of_its_series():
    first, after = shift("books"), shift("books", start=60, found=63, number=2)
    found = step(step([], first), after, ended=[first], at=63)
    assert [each.state for each in found] == ["over", "open"]


def test_a_member_found_soon_after_the_end_joins_and_one_found_later_does_not():
    total = shift()
    found = step(step([], total), ended=[total], at=20)
    late = 20 + EXPLAINED_AFTER_MS // MINUTE_MS
    soon = step(copy.deepcopy(found), shift("toys", start=1, found=late), at=late)
    assert (len(soon), soon[0].over_ms) == (1, 0)
    assert len(step(found, shift("toys", start=1, found=late + 1), at=late + 1)) == 2


def test_the_strongest_shift_leads_where_the_market_has_none():
    weak = shift("sindh", "region", direction=1, interval=ratio_interval(1_300, 1_000.0, 0.01))
    strong = shift("books", direction=1, interval=ratio_interval(424, 72.0, 0.01))
    (incident,) = step([], weak, strong)
    assert (incident.lead.member, incident.kind) == ("books", "jump")
    (incident,) = step([], shift(clock="drift"))
    assert incident.kind == "drift"


def test_past_incidents_are_bounded_by_number_age_and_size():
    found = []
    for number in range(INCIDENTS_MAX + 5):
        own = shift("books", start=30 * number, found=30 * number + 1, number=number + 1)
        found = step(found, own, at=own.found_ms // MINUTE_MS - T0 // MINUTE_MS)
        found = step(found, ended=[own], at=30 * number + 5)
    assert len(found) == INCIDENTS_MAX
    assert found[-1].found_ms == max(each.found_ms for each in found)
    assert step(found, at=30 * 60 + INCIDENTS_KEPT_MS // MINUTE_MS) == []
    many = [shift(f"m{number}") for number in range(SHIFTS_KEPT + 7)]
    found = step(step([], *many), ended=many, at=5)
    (incident,) = step(found, at=6 + HOUR_MS // MINUTE_MS)
    assert (len(incident.shifts), incident.left_out) == (SHIFTS_KEPT, 7)


def test_what_ended_long_ago_within_an_open_incident_is_bounded_too():
    """A market that stands still for a week has its members shift again each day."""
    total = shift()
    past = [
        shift(f"m{number}", interval=ratio_interval(number, 100.0, 0.01))
        for number in range(SHIFTS_KEPT + 3)
    ]
    found = step(step([], total, *past), total, ended=past, at=5)
    (incident,) = step(found, total, at=5 + HOUR_MS // MINUTE_MS)
    assert (len(incident.shifts), incident.left_out) == (SHIFTS_KEPT + 4, 0)
    (incident,) = step([incident], total, at=6 + HOUR_MS // MINUTE_MS)
    assert (len(incident.shifts), incident.left_out, incident.state) == (SHIFTS_KEPT + 1, 3, "open")
    assert incident.lead.name == total.name


def test_open_incidents_are_bounded_too():
    apart = [
        shift(f"m{number}", start=60 * number, found=60 * number + 1)
        for number in range(INCIDENTS_MAX + 2)
    ]
    found = step([], *apart, at=60 * 40)
    assert len(found) == INCIDENTS_MAX
    assert sum(len(each.shifts) for each in found) == len(apart)


def test_an_incident_began_with_the_first_of_its_shifts_that_count():
    books, total, toys = shift("books", start=-2), shift(start=1), shift("toys", start=-4)
    (incident,) = step([], books, total, toys, at=4)
    assert (incident.start_ms, incident.lead.start_ms) == (T0 - 4 * MINUTE_MS, T0 + MINUTE_MS)
    (incident,) = step([incident], books, total, at=5)
    assert incident.start_ms == T0 - 2 * MINUTE_MS, "toys were taken back"
