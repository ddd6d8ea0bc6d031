"""Definitions that change while a market runs: what is said, what waits, what cannot be applied."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from streams.flow import market as market_module
from streams.flow.merged import decode_merged
from streams.index import summed_labels
from streams.index.definitions import Definitions, MemberDefinition, definitions_of, market_with
from streams.index.methodology import Methodology
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, day_name
from tests.property.test_redefined_market import (
    ONE,
    PK,
    START_MS,
    closed_of,
    counted,
    define,
    follow,
)
from tests.support.flow_harness import ORDERS, Flow, order

M = MemberDefinition


@pytest.fixture(autouse=True)
def _whole(monkeypatch):
    """A label that was said once is kept, also in an hour a day ago."""
    monkeypatch.setattr(summed_labels, "LABEL_EVENTS_MIN", 0)


def document(**members) -> Definitions:
    own = definitions_of(PK)
    return msgspec.structs.replace(own, category=own.category | members)


def running(days: int = 1, methodology: Methodology = ONE) -> Flow:
    """A market with an order of books a day, and in all but the second day one of gnomes."""
    flow = Flow(methodology, 1, 1, follows_definitions=True)
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
    follow(flow)
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
        f"PK|orders|category|other|day|{name(at)}" for at in (0, 2, 3, 4, 5, 6)
    ]
    flow.start_compile(0)
    assert flow.compiles[0].markets["PK"]._days_redefined == [], "the records say what was said"


def test_windows_are_revised_at_once_by_definition_and_no_other_value_changes():
    flow = running()
    pass_time(flow, 50 * MINUTE_MS)
    before = {value.field: value for value in flow.published["PK"].values}
    define(flow, document(gnomes=M(labels=("garden gnomes",))), 1)
    first = len(flow.history)
    follow(flow)
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
    follow(flow)
    ledger = compiled.markets["PK"].ledger
    anew = [slot for slot in ledger._to_write if slot not in ledger.rows_before]
    written = [len(compiled.table_batch().writes) for _ in ledger._to_write]
    assert (len(anew), sum(written), max(written)) == (len(set(anew)), len(anew), 1)
    assert ledger.rows_before, "final slots are written when it is said what changed in them"


def test_a_document_that_cannot_be_applied_changes_nothing_and_says_why(monkeypatch):
    flow = running()
    compiled = flow.compiles[0]
    before = compiled.markets["PK"]

    monkeypatch.setattr("streams.flow.defined_market.CELLS_MAX", 10)
    define(flow, document(gnomes=M()), 4)
    assert not follow(flow)
    assert not follow(flow)
    assert compiled.markets["PK"] is before
    assert compiled.unapplied["PK"].version == 4
    assert "members, at most 10: list fewer" in compiled.unapplied["PK"].reason
    flow.now_ms += 5_000
    flow.run()
    assert flow.history[-1].fence.definitions == 0
    monkeypatch.undo()
    define(flow, document(gnomes=M()), 5)
    assert follow(flow)
    assert compiled.unapplied == {}


def test_a_new_owner_that_has_not_heard_of_the_definitions_publishes_nothing_and_reads_again():
    flow = running()
    define(flow, document(gnomes=M(labels=("garden gnomes",))), 3)
    follow(flow)
    flow.step(0)
    define(flow, definitions_of(PK), 2)  # what a reader that lags has read so far
    flow.start_compile(0)
    lagging, first = flow.compiles[0], len(flow.history)
    pass_time(flow)
    assert len(flow.history) == first
    assert (lagging.behind_definitions, lagging.outdated) == ({"PK": 3}, False)
    define(flow, document(gnomes=M(labels=("garden gnomes",))), 3)
    assert (follow(flow), lagging.outdated) == (False, True)
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
    follow(flow)
    flow.step(0)
    (publication,) = flow.history[first:]
    of_books = {key for key in publication.gone if key.startswith("PK|orders|category|books|")}
    names = [day_name((START_MS + at * DAY_MS) // DAY_MS) for at in (0, 1)]
    assert of_books >= {f"PK|orders|category|books|{each}" for each in ("1m", "24h")}
    assert of_books >= {f"PK|orders|category|books|day|{each}" for each in names}
    assert not any("|computing|" in key or "|all|" in key for key in publication.gone)
    days = {(each.value.day, each.value.member) for each in publication.revisions if each.value.day}
    assert days == set(), "it is called otherwise, and nothing else has changed"


def test_days_of_a_member_that_is_gone_are_dropped_though_another_version_comes_first(monkeypatch):
    monkeypatch.setattr(market_module, "DAYS_REDEFINED_MAX", 1)
    flow = running(5)
    pass_time(flow, DAY_MS)
    own = definitions_of(PK)
    without = {name: each for name, each in own.category.items() if name != "books"}
    first = len(flow.history)
    for version, kept in ((1, without), (2, without | {"gnomes": M()})):
        define(flow, msgspec.structs.replace(own, category=kept), version)
        follow(flow)
        flow.step(0)
    while flow.compiles[0].behind:
        flow.step(0)
    gone = {key for publication in flow.history[first:] for key in publication.gone}
    names = [day_name((START_MS + at * DAY_MS) // DAY_MS) for at in range(5)]
    assert gone >= {f"PK|orders|category|books|day|{each}" for each in names}


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
    flow = running(5)
    pass_time(flow, 3 * HOUR_MS)
    define(flow, document(gnomes=M(labels=("garden gnomes",))), 1)
    first = len(flow.history)
    follow(flow)
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
    # Of the last ones, the new owner finds records that are as they were: it says those again.
    assert len(again) == len(wanted) + 2 * killed
    assert flow.compiles[0].markets["PK"].revised_after_final == 0
    pass_time(flow, 5_000)
    assert flow.compiles[0].markets["PK"].ledger.rows_before == {}


def gnomes_defined(flow: Flow, version: int = 1) -> None:
    define(flow, document(gnomes=M(labels=("garden gnomes",))), version)


def test_a_closing_by_definition_has_what_it_changes_alone_and_complements_the_one_before():
    """Of an hour days ago nobody knows any more who bought."""
    flow, batch = running(3), Flow(ONE, 1, 1, follows_definitions=True)
    gnomes_defined(batch)
    batch.start_compile(0)
    batch.logs, batch.now_ms = flow.logs, flow.now_ms
    batch.run()
    for each in (flow, batch):
        pass_time(each, 3 * HOUR_MS)
    gnomes_defined(flow)
    first = len(flow.history)
    follow(flow)
    pass_time(flow, 5_000)
    again = [each for publication in flow.history[first:] for each in publication.closings]
    hour = START_MS - HOUR_MS
    assert [(each.kind, each.start_ms) for each in again] == [
        ("hour", hour), ("hour", hour + 2 * DAY_MS),
    ]  # fmt: skip
    for each in again:
        assert (each.cause, each.gone) == ("definition", ())
        assert {value.member for value in each.values} == {"gnomes", "other"}
        assert {value.phase for value in each.values} == {"final"}
        orders = {v.member: v.observed for v in each.values if v.index == "orders"}
        assert orders == {"gnomes": 1, "other": 0}
    closed_now, whole = closed_of(flow), closed_of(batch)
    assert closed_now["hour", hour]["shoppers:market:all"] == (None, 0, 0)
    shoppers = {name for name in closed_now["hour", hour] if "shopper" in name}
    assert len(shoppers) == 3, "the closing before said who bought"
    assert counted(closed_now) == counted(whole)


def test_a_day_long_ago_says_what_is_gone_and_drops_its_values(monkeypatch):
    """Of it no row is kept beside its merged one, nor how often its values changed."""
    monkeypatch.setattr("streams.flow.daybook.SHOWN_DAYS_KEPT", 1)
    flow = running(9, replace(ONE, day_grace_ms=HOUR_MS))
    pass_time(flow, DAY_MS)
    days = flow.compiles[0].markets["PK"]
    assert days.progress.days_until > min(days.ledger.days()) + 3
    oldest = min(days.ledger.days())
    assert not days.days.is_kept(oldest)
    gnomes_defined(flow)
    first = len(flow.history)
    follow(flow)
    pass_time(flow, 5_000)
    publications = flow.history[first:]
    start_ms = days.ledger.local_days.start_ms(oldest)
    (closing,) = [
        each for made in publications for each in made.closings
        if (each.kind, each.start_ms) == ("day", start_ms)
    ]  # fmt: skip
    assert closing.cause == "definition"
    assert {(v.member, v.revision) for v in closing.values} == {("gnomes", 1)}
    assert {name.split(":")[2] for name in closing.gone} == {"other"}
    gone = {key for made in publications for key in made.gone}
    assert f"PK|orders|category|other|day|{day_name(oldest)}" in gone
    shown = {v.key for made in publications for v in made.days}
    assert f"PK|orders|category|gnomes|day|{day_name(oldest)}" in shown


def test_a_final_day_is_closed_again_once_it_was_shown_by_the_definitions_of_now(monkeypatch):
    monkeypatch.setattr(market_module, "DAYS_REDEFINED_MAX", 1)
    flow = running(6, replace(ONE, day_grace_ms=HOUR_MS))
    pass_time(flow, DAY_MS)
    gnomes_defined(flow)
    follow(flow)
    first = len(flow.history)
    pass_time(flow, 5_000)
    shown: dict[str, int] = {}
    again = []
    for made in flow.history[first:]:
        days = [each for each in made.closings if each.kind == "day"]
        again += [value for each in days for value in each.values]
        shown |= {each.value.key: each.value.revision for each in made.revisions}
        assert all(
            shown[value.key] == value.revision == 1 for each in days for value in each.values
        )
    assert len({value.day for value in again}) == 5


def test_what_a_slot_was_closed_with_is_in_its_record_until_it_is_said_what_changed(monkeypatch):
    """An hour gets other labels, or a late row, before its turn comes; its owner dies just then."""
    monkeypatch.setattr(market_module, "SLOTS_REDEFINED_MAX", 1)
    flow = running(4)
    pass_time(flow, 3 * HOUR_MS)
    gnomes_defined(flow)
    compiled = flow.compiles[0]
    follow(flow)
    first = len(flow.history)
    ledger = compiled.markets["PK"].ledger
    for slot in ledger.rows_before:
        ledger.merged[slot].written = False
    flow.step(0)
    flow.start_compile(0)
    flow.step(0)
    assert flow.compiles[0].markets["PK"].ledger.rows_before.keys() == ledger.rows_before.keys()
    while flow.compiles[0].behind:
        flow.step(0)
    hour = START_MS - HOUR_MS
    again = {each[1] for each in closed(flow, first)}
    assert again == {hour + at * DAY_MS for at in (0, 2, 3)}


@pytest.mark.parametrize("killed", [False, True])
def test_a_final_hour_whose_rows_are_open_still_is_closed_again_in_what_changed(killed):
    """A quiet source partition closes no slot, but its market has passed them."""
    flow = running(1)
    pass_time(flow, 3 * HOUR_MS)
    ledger = flow.compiles[0].markets["PK"].ledger
    assert ("h", START_MS - HOUR_MS) not in ledger.merged, "its rows are open"
    gnomes_defined(flow)
    first = len(flow.history)
    if killed:
        flow.start_compile(0)
    else:
        follow(flow)
    pass_time(flow, 5_000)
    (closing,) = [each for made in flow.history[first:] for each in made.closings]
    assert (closing.start_ms, closing.cause) == (START_MS - HOUR_MS, "definition")
    assert {value.member for value in closing.values} == {"gnomes", "other"}


def test_a_slot_of_definitions_that_nobody_knows_any_more_is_closed_again(monkeypatch):
    flow = running(1)
    pass_time(flow, 3 * HOUR_MS)
    define(flow, document(), 1)
    follow(flow)
    pass_time(flow, 5_000)
    del flow.book.definitions.markets["PK"].documents[1]
    define(flow, document(new=M()), 2)
    first = len(flow.history)
    follow(flow)
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
    follow(flow)
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
    follow(flow)
    flow.step(0)
    assert flow.compiles[0].markets["PK"].shoppers._days == before
    (publication,) = flow.history[first:]
    again = [value for value in publication.days if value.index.startswith("shoppers")]
    assert again == []


def test_versions_of_a_topic_that_was_created_again_are_not_taken_for_those_of_the_first():
    flow = running()
    flow.book.definitions.topic_id = "first"
    gnomes = document(gnomes=M(labels=("garden gnomes",)))
    define(flow, gnomes, 3)
    follow(flow)
    flow.step(0)
    assert flow.history[-1].fence_record.definitions_id == "first"
    flow.book.definitions.topic_id = "second"
    define(flow, document(pets=M()), 5)  # a later one, of another log
    flow.start_compile(0)
    new_owner, published = flow.compiles[0], len(flow.history)
    pass_time(flow)
    new_owner.follow()
    assert len(flow.history) == published
    assert (new_owner.outdated, new_owner.unapplied["PK"].version) == (False, 3)
    assert "deleted and created again" in new_owner.unapplied["PK"].reason
    flow.book.definitions.topic_id = "first"
    define(flow, gnomes, 3)
    flow.start_compile(0)
    pass_time(flow)
    assert flow.published["PK"].fence.definitions == 3
    assert flow.compiles[0].unapplied == {}


def test_a_publication_by_the_methodology_is_of_no_topic():
    flow = running()
    flow.book.definitions.topic_id = "first"
    pass_time(flow)
    assert flow.history[-1].fence_record.definitions_id == ""


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
        follow(flow)
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
