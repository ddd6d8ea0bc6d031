"""Definitions that change while a market runs: what is said, what waits, what cannot be applied."""

from __future__ import annotations

import msgspec
import pytest

from streams.flow import market as market_module
from streams.flow.merged import decode_merged
from streams.flow.redefined_slots import RedefinedSlots
from streams.index import summed_labels
from streams.index.definitions import Definitions, MemberDefinition, definitions_of, market_with
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, day_name
from tests.property.test_redefined_market import ONE, PK, START_MS, define
from tests.support.flow_harness import ORDERS, Flow, order

M = MemberDefinition


@pytest.fixture(autouse=True)
def _whole(monkeypatch):
    """A label that was said once is kept, also in an hour a day ago."""
    monkeypatch.setattr(summed_labels, "LABEL_EVENTS_MIN", 0)


def document(**members) -> Definitions:
    own = definitions_of(PK)
    return msgspec.structs.replace(own, category=own.category | members)


def running(days: int = 1) -> Flow:
    """A market with an order of books a day, and in all but the second day one of gnomes."""
    flow = Flow(ONE, 1, 1, follows_definitions=True)
    for day in range(days):
        for kind in ("books", "garden gnomes")[: 1 if day == 1 else 2]:
            flow.now_ms = START_MS + day * DAY_MS
            event = order(f"{kind}{day}", flow.now_ms - 1_000, lines=[(kind, 1, 100)])
            flow.produce(flow.sps[ORDERS][0], event, flow.now_ms)
        flow.run()
    return flow


def pass_time(flow: Flow, ms: int = HOUR_MS) -> None:
    flow.now_ms += ms
    flow.run()


def told(flow: Flow, first: int) -> list[tuple[str, str, str, int | None, int | None]]:
    return [
        (
            each.value.day or each.value.window,
            each.value.member,
            each.cause,
            each.previous,
            each.value.value,
        )
        for publication in flow.history[first:]
        for each in publication.revisions
        if (each.value.index, each.value.dimension) == ("orders", "category")
    ]


def test_the_market_by_a_version_has_its_number_former_ids_and_the_places_of_the_methodology():
    members = {"letters": M(formerly=("books",)), "new": M()}
    found = market_with(PK, Definitions("PK", category=members), 7)
    assert (found.definitions, found.renamed) == (7, {("category", "books"): "letters"})
    assert (found.places, found.declared) == (PK.places, PK.declared)
    assert ("category", "books") in found.declared


@pytest.mark.parametrize("killed", [False, True])
def test_ended_days_are_revised_in_slices_once_each_whoever_dies(killed, monkeypatch):
    monkeypatch.setattr(market_module, "DAYS_REDEFINED_MAX", 2)
    flow = running(7)
    pass_time(flow)
    define(flow, document(gnomes=M(labels=("garden gnomes",))), 1)
    first = len(flow.history)
    flow.compiles[0].follow()
    flow.step(0)
    once = told(flow, first)
    days = [each for each in once if each[0] not in ("1m", "5m", "1h", "24h")]
    name = lambda at: day_name((START_MS + at * DAY_MS) // DAY_MS)  # noqa: E731
    assert {each[0] for each in days} == {name(5), name(4)}
    if killed:
        flow.start_compile(0)
    flow.step(0)
    while flow.compiles[0].behind:
        flow.step(0)
    days = [each for each in told(flow, first) if each[0].startswith("20")]
    of_gnomes = sorted(each for each in days if each[1] == "gnomes")
    assert of_gnomes == [(name(at), "gnomes", "definition", None, 1) for at in (0, 2, 3, 4, 5)]
    assert {each[1] for each in days} == {"gnomes"}
    gone = [key for publication in flow.history[first:] for key in publication.gone]
    assert sorted(key for key in gone if "|orders|" in key) == [
        f"PK|orders|category|other|day|{name(at)}" for at in (0, 2, 3, 4, 5)
    ]
    flow.start_compile(0)
    assert flow.compiles[0].markets["PK"]._days_redefined == [], "the records say what was said"


def test_windows_are_revised_at_once_by_definition_and_no_other_value_changes():
    flow = running()
    pass_time(flow, 50 * MINUTE_MS)
    before = {value.field: value for value in flow.published["PK"].values}
    define(flow, document(gnomes=M(labels=("garden gnomes",))), 1)
    first = len(flow.history)
    flow.compiles[0].follow()
    flow.step(0)
    assert ("1h", "other", "definition", 1, 0) in told(flow, first)
    publication = flow.published["PK"]
    assert publication.fence.definitions == publication.fence_record.definitions == 1
    moved = {value.member for value in publication.changed}
    assert {"gnomes", "other"} <= moved
    kept = [value for value in publication.values if value.member in ("all", "books")]
    assert kept
    assert all(before[value.field] == value for value in kept)


def test_slots_that_were_read_anew_are_written_some_at_a_time(monkeypatch):
    monkeypatch.setattr("streams.flow.compile.WRITTEN_ANEW_MAX", 1)
    flow = running(3)
    pass_time(flow)
    compiled = flow.compiles[0]
    compiled.table_batch()
    define(flow, document(gnomes=M(labels=("garden gnomes",))), 1)
    compiled.follow()
    ledger = compiled.markets["PK"].ledger
    anew = [slot for slot in ledger._to_write if slot not in ledger.rows_before]
    written = [len(compiled.table_batch().writes) for _ in ledger._to_write]
    assert (len(anew), sum(written), max(written)) == (len(set(anew)), len(anew), 1)
    assert ledger.rows_before, "final slots are written when it is said what changed in them"


def test_a_document_that_cannot_be_applied_changes_nothing_and_says_why(monkeypatch):
    flow = running()
    compiled = flow.compiles[0]
    before = compiled.markets["PK"]

    def refused(*_):
        raise ValueError("too many values")

    monkeypatch.setattr("streams.flow.compile.market_with", refused)
    define(flow, document(gnomes=M()), 4)
    assert not compiled.follow()
    assert not compiled.follow()
    assert compiled.markets["PK"] is before
    assert compiled.unapplied["PK"] == (4, "too many values")
    monkeypatch.undo()
    define(flow, document(gnomes=M()), 5)
    assert compiled.follow()
    assert compiled.unapplied == {}


def test_a_new_owner_that_has_not_heard_of_the_definitions_publishes_nothing_and_reads_again():
    flow = running()
    define(flow, document(gnomes=M(labels=("garden gnomes",))), 3)
    flow.compiles[0].follow()
    flow.step(0)
    define(flow, definitions_of(PK), 2)  # what a reader that lags has read so far
    flow.start_compile(0)
    lagging, first = flow.compiles[0], len(flow.history)
    pass_time(flow)
    assert len(flow.history) == first
    assert (lagging.behind_definitions, lagging.outdated) == ({"PK": 3}, False)
    define(flow, document(gnomes=M(labels=("garden gnomes",))), 3)
    assert (lagging.follow(), lagging.outdated) == (False, True)
    flow.start_compile(0)
    pass_time(flow)
    assert flow.published["PK"].fence.definitions == 3


def test_values_of_a_member_that_is_gone_are_dropped_and_those_of_a_renamed_one_follow_it():
    flow = running(2)
    pass_time(flow, DAY_MS)
    own = definitions_of(PK)
    renamed = {"letters" if name == "books" else name: each for name, each in own.category.items()}
    renamed["letters"] = M(formerly=("books",))
    define(flow, msgspec.structs.replace(own, category=renamed), 1)
    first = len(flow.history)
    flow.compiles[0].follow()
    flow.step(0)
    (publication,) = flow.history[first:]
    of_books = {key for key in publication.gone if key.startswith("PK|orders|category|books|")}
    names = [day_name((START_MS + at * DAY_MS) // DAY_MS) for at in (0, 1)]
    assert of_books >= {f"PK|orders|category|books|{each}" for each in ("1m", "24h")}
    assert of_books >= {f"PK|orders|category|books|day|{each}" for each in names}
    assert not any("|computing|" in key or "|all|" in key for key in publication.gone)
    days = {(each.value.day, each.value.member) for each in publication.revisions if each.value.day}
    assert days == set(), "it is called otherwise, and nothing else has changed"


def closed(flow: Flow, first: int) -> list[tuple[str, int, int, int | None]]:
    """Kind, start, revision and orders of gnomes in the closings."""
    found = []
    for publication in flow.history[first:]:
        for each in publication.closings:
            orders = [v for v in each.values if (v.index, v.dimension) == ("orders", "category")]
            of_gnomes = [v.value for v in orders if v.member == "gnomes"]
            found.append((each.kind, each.start_ms, each.values[0].revision, *of_gnomes))
    return found


@pytest.mark.parametrize("killed", [False, True])
def test_final_hours_that_a_definition_changes_are_closed_again_newest_first_and_no_others(
    killed, monkeypatch
):
    monkeypatch.setattr(market_module, "SLOTS_REDEFINED_MAX", 2)
    monkeypatch.setattr(RedefinedSlots, "_knows_shoppers", lambda *_: True)
    flow = running(5)
    pass_time(flow, 3 * HOUR_MS)
    define(flow, document(gnomes=M(labels=("garden gnomes",))), 1)
    first = len(flow.history)
    flow.compiles[0].follow()
    flow.step(0)
    hour = START_MS - HOUR_MS
    assert closed(flow, first) == [
        ("hour", hour + 3 * DAY_MS, 1, 1), ("hour", hour + 4 * DAY_MS, 1, 1),
    ]  # fmt: skip
    if killed:
        flow.start_compile(0)
    while flow.compiles[0].behind:
        flow.step(0)
    pass_time(flow, 5_000)
    again = [each[1] for each in closed(flow, first)]
    wanted = [hour + at * DAY_MS for at in (0, 2, 3, 4)]
    assert sorted(set(again)) == wanted, "nothing has changed in the second day's"
    # Of the last ones, the new owner finds a record that is as it was: it says that one again.
    assert len(again) == len(wanted) + killed
    assert flow.compiles[0].markets["PK"].revised_after_final == 0
    pass_time(flow, 5_000)
    assert flow.compiles[0].markets["PK"].ledger.rows_before == {}


def test_an_hour_of_which_nobody_knows_who_bought_is_not_closed_again():
    """Its closing would take the place of the one that has shoppers."""
    flow = running(3)
    pass_time(flow, 3 * HOUR_MS)
    define(flow, document(gnomes=M(labels=("garden gnomes",))), 1)
    first = len(flow.history)
    flow.compiles[0].follow()
    pass_time(flow, 5_000)
    newest = START_MS - HOUR_MS + 2 * DAY_MS
    assert [each[1] for each in closed(flow, first)] == [newest]


def test_a_slot_of_definitions_that_nobody_knows_any_more_is_closed_again(monkeypatch):
    flow = running(1)
    pass_time(flow, 3 * HOUR_MS)
    define(flow, document(), 1)
    flow.compiles[0].follow()
    pass_time(flow, 5_000)
    del flow.book.definitions.markets["PK"].documents[1]
    define(flow, document(new=M()), 2)
    first = len(flow.history)
    flow.compiles[0].follow()
    flow.step(0)
    assert [each[:2] for each in closed(flow, first)] == [("hour", START_MS - HOUR_MS)]


def test_what_waits_for_the_next_step_and_the_next_batch_waits_still():
    flow = running(2)
    flow.now_ms += DAY_MS
    (sp,) = flow.sps[ORDERS]
    event = order("next", flow.now_ms - 1_000, lines=[("books", 1, 100)])
    flow.produce(sp, event, flow.now_ms)
    flow.fold(sp)
    flow.send_partials(sp)
    flow.flush(sp)
    flow.apply(0)
    old = flow.compiles[0].markets["PK"]
    garbage = set(old.ledger.garbage)
    assert garbage
    define(flow, document(new=M()), 1)
    flow.compiles[0].follow()
    changed = flow.compiles[0].markets["PK"].ledger.drain()
    assert changed == old.ledger.drain()
    assert changed.panes or changed.days
    assert set(flow.compiles[0].table_batch().tombstones) == garbage


def test_who_bought_is_no_matter_of_definitions():
    flow = Flow(ONE, 1, 1, follows_definitions=True)
    for at in range(3):
        flow.now_ms = START_MS + at * DAY_MS
        event = order(f"e{at}", flow.now_ms - 1_000, shopper_id=f"s{at}")
        flow.produce(flow.sps[ORDERS][0], event, flow.now_ms)
        flow.run()
    pass_time(flow)
    before = dict(flow.compiles[0].markets["PK"].shoppers._days)
    assert len(before) == 2
    first = len(flow.history)
    define(flow, document(new=M()), 1)
    flow.compiles[0].follow()
    flow.step(0)
    assert flow.compiles[0].markets["PK"].shoppers._days == before
    (publication,) = flow.history[first:]
    again = [value for value in publication.days if value.index.startswith("shoppers")]
    assert again == []


def test_what_was_too_small_to_be_kept_stays_with_its_member_and_follows_it(monkeypatch):
    """No label of this market is said five times in an hour: its hours keep none after a day."""
    monkeypatch.setattr(summed_labels, "LABEL_EVENTS_MIN", 5)
    flow = running(4)
    pass_time(flow)
    hour = (START_MS - 1_000) // HOUR_MS * HOUR_MS
    orders = {}
    for version, members in enumerate(
        (
            {"gnomes": M(labels=("garden gnomes",))},
            {"letters": M(formerly=("books",))},
            {"letters": M()},
            {"books": M(), "computing": M(parent="books")},
        ),
        1,
    ):
        own = definitions_of(PK)
        kept = {name: each for name, each in own.category.items() if name != "books"}
        if "gnomes" in members:
            kept = own.category
        define(flow, msgspec.structs.replace(own, category=kept | members), version)
        first = len(flow.history)
        flow.compiles[0].follow()
        flow.step(0)
        while flow.compiles[0].behind:
            flow.step(0)
        ledger = flow.compiles[0].markets["PK"].ledger
        assert ledger.merged["h", hour].cut_by == 0
        assert decode_merged(stored(flow, f"h|PK|{hour}|")).definitions == version
        block, row = ledger.layout.category, ledger.hour_sum(hour)
        found = {name: row[block.at(name)] for name in block.members}
        orders[version] = {name: count for name, count in found.items() if count}
        if version == 1:
            closed = [each for of in flow.history[first:] for each in of.closings]
            hours = {each.start_ms for each in closed if each.kind == "hour"}
            assert hours == {hour + 3 * DAY_MS}, "that of the day before was cut, and is as it was"
    assert orders == {
        1: {"books": 1, "other": 1},
        2: {"letters": 1, "other": 1},
        3: {"other": 2},
        4: {"books": 1, "other": 1},
    }


def stored(flow: Flow, beginning: str) -> bytes:
    (found,) = [
        value for key, value in flow.tables[0].items() if key.startswith(beginning.encode())
    ]
    return found
