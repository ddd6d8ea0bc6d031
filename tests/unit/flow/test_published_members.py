"""What is published of members: the list of them, and the end of the values of those that are gone."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from streams.flow.definitions_book import DefinitionsChange
from streams.flow.publication import Publication
from streams.index.definitions import Definitions, MemberDefinition, definitions_of
from streams.index.panes import day_name, rfc3339
from streams.publish.journal import (
    encode_value,
    fence_record,
    journal_records,
    retired_lists,
    value_records,
)
from streams.records.journal_record import read_journaled
from streams.records.kafka_logs import Stored
from streams.records.values_log import MarketValues, ValuesLog
from streams.worker.level2 import _tombstones
from tests.property.test_redefined_market import ONE, PK, START_MS, define
from tests.property.test_redefined_market import follow as in_force
from tests.support.flow_harness import ORDERS, PAYMENTS, Flow, order, payment

M = MemberDefinition
TODAY = day_name(START_MS // 86_400_000)


def document(*, without: str = "", **members) -> Definitions:
    own = definitions_of(PK)
    kept = {name: each for name, each in own.category.items() if name != without}
    return msgspec.structs.replace(own, category=kept | members)


@pytest.fixture
def flow():
    """A market with an order of books and of what nobody has declared, a minute ago."""
    flow = Flow(ONE, 1, 1, follows_definitions=True)
    flow.now_ms = START_MS
    for kind in ("books", "garden gnomes"):
        event = order(kind, START_MS - 60_000, lines=[(kind, 1, 100)], region="punjab")
        flow.produce(flow.sps[ORDERS][0], event, START_MS)
    paid = payment("paid", START_MS - 60_000)
    flow.produce(flow.sps[PAYMENTS][0], paid, START_MS)
    flow.run()
    return flow


def follow(flow: Flow, new: Definitions, version: int) -> Publication:
    define(flow, new, version)
    in_force(flow)
    (publication,) = flow.step(0)
    return publication


def take_over(flow: Flow) -> Publication:
    flow.start_compile(0)
    (publication,) = flow.step(0)
    return publication


def categories(publication: Publication) -> list[str]:
    return [each.id for each in publication.members.members["category"]]


def in_values(*publications: Publication) -> MarketValues:
    """What a reader of ``ecindex.values`` holds after these, in the order of the worker."""
    log = ValuesLog()
    for each in publications:
        records = [*value_records(each, "v"), *_tombstones(each, "v")]
        records += [fence_record(each, "w", "v"), *retired_lists(each, "v")]
        for record in records:
            log.apply_record(Stored("v", 0, 0, record.key, record.value, record.headers, 0, 0))
    return log.markets["PK"]


def test_an_owner_lists_the_members_with_its_first_publication_and_with_each_version(flow):
    first = flow.history[0]
    assert (first.members.definitions, first.lists_gone) == (0, [])
    assert categories(first) == list(PK.categories)
    assert all(each.members is None for each in flow.history[1:])
    gnomes = M(name="Gnomes", labels=("garden gnomes",), parent="books")
    second = follow(flow, document(gnomes=gnomes), 3)
    assert categories(second) == [*PK.categories[:-1], "gnomes", "other"]
    (listed,) = (each for each in second.members.members["category"] if each.id == "gnomes")
    assert (second.members.definitions, listed.name, listed.parent) == (3, "Gnomes", "books")
    flow.now_ms += 5_000
    flow.run()
    assert flow.history[-1].members is None
    assert take_over(flow).members == second.members, "the caches are those of another process"


def test_older_lists_go_with_the_next_publication_of_any_owner(flow):
    publications = [follow(flow, document(), 3), follow(flow, document(gnomes=M()), 5)]
    assert [each.lists_gone for each in publications] == [[0], [0, 3]]
    assert list(in_values(*flow.history).lists) == [5]
    assert take_over(flow).lists_gone == [0, 3], "whoever died before it could delete them"


@pytest.mark.parametrize("killed", [False, True])
def test_what_a_member_does_not_count_any_more_today_is_deleted(flow, killed):
    assert f"PK|orders|category|other|day|{TODAY}" in in_values(*flow.history).values
    gnomes = document(gnomes=M(labels=("garden gnomes",)))
    if killed:
        define(flow, gnomes, 3)
        take_over(flow)
    else:
        follow(flow, gnomes, 3)
    held = in_values(*flow.history).values
    of_today = {
        key.split("|")[3]: each.value
        for key, each in held.items()
        if TODAY in key and "|orders|category|" in key
    }
    assert (of_today["gnomes"].value, of_today["other"], of_today["books"].value) == (1, None, 1)


@pytest.mark.parametrize("killed", [False, True])
def test_values_of_members_that_are_gone_are_deleted_in_windows_and_today(flow, killed):
    before = in_values(*flow.history)
    of_books = {key for key in before.values if "|category|books|" in key}
    assert f"PK|orders|category|books|day|{TODAY}" in of_books
    if killed:
        define(flow, document(without="books"), 3)
        publication = take_over(flow)
    else:
        publication = follow(flow, document(without="books"), 3)
    assert of_books <= set(publication.gone)
    assert not any(f"|{each}|" in key for key in publication.gone for each in ("all", "cod"))
    held = {key for key, each in in_values(*flow.history).values.items() if each.value is not None}
    assert held
    assert not held & of_books


def journaled(*publications: Publication) -> list[dict]:
    records = [each for made in publications for each in journal_records(made, "j")]
    found = [read_journaled(Stored("j", 0, 0, r.key, r.value, r.headers, 0, 0)) for r in records]
    return [each for each in found if each.record.kind == "definitions"]


def test_each_version_is_journaled_once_with_who_why_and_what_it_changed(flow):
    def written(base, version, new, reason):
        held = flow.book.definitions.markets["PK"]
        change = DefinitionsChange(version, base, "aisha", reason, START_MS, b"k")
        held.take_document(new, version)
        held.applied.append(change)

    gnomes = document(gnomes=M(labels=("garden gnomes",)))
    written(0, 3, gnomes, "gardens")
    written(3, 4, document(without="books"), "a mistake")
    written(4, 5, gnomes, "undone")
    before = len(flow.history)
    in_force(flow)
    flow.step(0)
    flow.now_ms += 5_000
    flow.run()
    first, second, third = (each.record for each in journaled(*flow.history[before:]))
    assert (first.definitions, first.builds_upon, first.by, first.reason) == (
        3,
        0,
        "aisha",
        "gardens",
    )
    assert (first.written_at, first.as_of) == (
        rfc3339(START_MS),
        rfc3339(flow.history[before].as_of_ms),
    )
    assert [(each.change, each.member) for each in first.edits] == [
        ("appeared", "gnomes"), ("split", "gnomes"),
    ]  # fmt: skip
    assert ("vanished", "books") in {(each.change, each.member) for each in second.edits}
    assert [each.published for each in (first, second, third)] == [False, False, True]
    assert journaled(take_over(flow)) == [], "its predecessor has"
    written(5, 8, document(), "no gnomes")
    assert [each.record.definitions for each in journaled(take_over(flow))] == [8]
    for base, version in ((8, 9), (9, 10)):
        written(base, version, gnomes, "one comes before the other is published")
        in_force(flow)
    (publication,) = flow.step(0)
    found = [(each.record.definitions, each.record.published) for each in journaled(publication)]
    assert found == [(9, False), (10, True)]


def test_the_methodologys_list_is_of_its_edition(flow):
    own = flow.history[0]
    fence = msgspec.structs.replace(own.fence, edition=own.fence.edition + 1)
    listed = msgspec.structs.replace(own.members, members={"category": [], "region": []})
    newer = msgspec.structs.replace(own.fence_record, edition=fence.edition)
    next_edition = replace(own, fence=fence, fence_record=newer, members=listed)
    held = in_values(next_edition, own)
    assert held.members.listed == listed, "what a worker of the edition before writes behind it"
    assert in_values(own, replace(next_edition, members=None)).members is None


def test_values_carry_the_version_that_last_touched_their_member_and_others_are_the_same_bytes(
    flow,
):
    before = {each.key: encode_value(each) for each in flow.published["PK"].values}
    assert not any(b"definitions" in each for each in before.values())
    gnomes = document(gnomes=M(labels=("garden gnomes",)))
    second = follow(flow, gnomes, 3)
    values = {each.key: each for each in second.values}
    touched = {each.member for each in second.values if each.definitions is not msgspec.UNSET}
    assert touched == {"gnomes", "other"}
    assert {each.dimension for each in second.values if each.definitions == 3} == {"category"}
    same = [key for key, each in values.items() if each.definitions is msgspec.UNSET]
    assert {"PK|orders|category|books|1m", "PK|orders|market|all|5m"} <= set(same)
    assert {key: encode_value(values[key]) for key in same} == {key: before[key] for key in same}
    assert not {each.key for each in second.changed} & set(same)
    days = {each.member: each.definitions for each in second.days if each.dimension == "category"}
    assert days == {"gnomes": 3}
    third = follow(flow, document(gnomes=M(labels=("garden gnomes",)), computing=M(name="IT")), 7)
    assert third.changed == third.days == [], "a name changes no value"
    again = {each.key: each.definitions for each in take_over(flow).values}
    assert again == {each.key: each.definitions for each in third.values}, "whoever owns it"
