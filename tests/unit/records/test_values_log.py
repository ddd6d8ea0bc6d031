"""Of several owners' records of ``ecindex.values`` those of the newest definitions count."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from support.methodologies import METHODOLOGY
from support.publications import AS_OF_MS, publication, value

from streams.index.member_lists import ListedMember, MemberList, members_of
from streams.index.values import Fence
from streams.publish.journal import (
    decode_members,
    fence_record,
    members_record,
    value_records,
)
from streams.records.kafka_logs import Stored
from streams.records.values_log import ValuesLog

KEY = "PK|orders|category|books|1m"


def version(definitions, as_of, applied=500):
    return Fence(1, 0, definitions, AS_OF_MS + as_of, applied)


def records(writer, fence, *values, members=None):
    """What an owner writes of one publication."""
    made = replace(publication(list(values)), fence=fence, members=members)
    return [*value_records(made, "values"), fence_record(made, writer, "values")]


def read(*written):
    log = ValuesLog()
    for offset, each in enumerate(written):
        log.apply_record(Stored("v", 0, offset, each.key, each.value, each.headers, 0, 0))
    return log.markets["PK"]


@pytest.fixture
def new():
    return value(number=2)


@pytest.fixture
def old():
    return value(number=1)


def test_a_zombie_of_equal_rows_and_older_definitions_brings_nothing_back(new, old):
    owner, zombie = records("a", version(2, 100), new), records("z", version(1, 100), old)
    market = read(*owner, *zombie)
    assert market.version == version(2, 100)
    assert market.values[KEY].value.value == 2
    assert market.older_last[KEY].value.value == 1  # the audit names it: compaction keeps the last


def test_a_zombie_of_newer_rows_and_older_definitions_brings_nothing_back(new, old):
    owner, zombie = records("a", version(2, 100), new), records("z", version(1, 110), old)
    market = read(*owner, *zombie, *records("a", version(2, 110)))
    assert market.version == version(2, 110)
    assert market.values[KEY].value.value == 2
    assert not market.unfinished


def test_what_the_new_owner_wrote_behind_a_zombie_counts_once_it_has_come_as_far(new, old):
    """``as_of`` never goes back, and a value that did not change since is not written again."""
    zombie, owner = records("z", version(1, 110), old), records("a", version(2, 105), new)
    market = read(*zombie, *owner)
    assert market.version == version(1, 110)
    assert market.values[KEY].value.value == 1
    market = read(*zombie, *owner, *records("a", version(2, 110)))
    assert market.version == version(2, 110)
    assert market.values[KEY].value.value == 2


def test_a_zombie_between_two_publications_hides_nothing_of_them(new, old):
    zombie, again = records("z", version(1, 110)), records("z", version(1, 115), old)
    owner = records("a", version(2, 105), new)
    market = read(*zombie, *owner, *again)
    assert market.values[KEY].value.value == 1
    assert market.version == version(1, 115)
    market = read(*zombie, *owner, *again, *records("a", version(2, 120)))
    assert market.values[KEY].value.value == 2
    assert not market.unfinished


def listed(definitions, *categories):
    return MemberList("PK", definitions, {"category": [ListedMember(each) for each in categories]})


def test_a_zombies_value_behind_the_tombstone_of_a_member_that_is_gone_is_not_believed(new, old):
    """Compaction takes the tombstone, and keeps the zombie's value and its list of members."""
    gone = value(member="gone", number=7)
    zombie = records("z", version(1, 110), old, gone, members=listed(1, "books", "gone"))
    owner = records("a", version(2, 105), new, members=listed(2, "books"))
    market = read(*owner, *zombie, *records("a", version(2, 120)))
    assert [each.value.value for each in market.values.values()] == [2]
    assert list(market.older_last) == []
    assert market.members.listed.definitions == 2


def test_the_list_of_the_newest_fence_record_counts(new):
    owner = records("a", version(2, 100), new, members=listed(2, "books", "toys"))
    toys = value(member="toys", number=3)
    market = read(*owner, *records("a", version(2, 105), toys))
    assert len(market.values) == 2
    unfinished = records("a", version(3, 110), members=listed(3, "books"))[:-1]
    market = read(*owner, *records("a", version(2, 105), toys), *unfinished)
    assert len(market.values) == 2  # its fence record is not there yet
    last = records("a", version(3, 110), members=listed(3, "books"))
    market = read(*owner, *records("a", version(2, 105), toys), *last)
    assert [each.value.member for each in market.values.values()] == ["books"]


def test_a_list_names_members_in_their_order_with_names_and_parents():
    market = replace(
        METHODOLOGY.markets["PK"],
        categories=("boots", "fashion", "other"),
        names={"category": {"fashion": "Men's Fashion"}},
        parents={"category": {"boots": "fashion"}},
        definitions=4,
    )
    record = members_record(members_of(market), version(4, 100), "values")
    assert record.key == b"PK|members|4"
    assert msgspec.json.decode(record.value)["members"]["category"] == [
        {"id": "boots", "parent": "fashion"},
        {"id": "fashion", "name": "Men's Fashion"},
        {"id": "other"},
    ]
    assert decode_members(record.value) == members_of(market)


def test_a_list_that_was_replaced_goes_by_its_key(new):
    first = records("a", version(2, 100), new, members=listed(2, "books"))
    second = records("a", version(3, 110), members=listed(3, "books", "toys"))
    gone = first[0]._replace(value=None, headers=second[0].headers)
    market = read(*first, *second, gone)
    assert list(market.lists) == [3]
    assert market.members.listed.definitions == 3


@pytest.mark.parametrize(
    "change", [{"value": b"{"}, {"key": b"PK|members|3"}, {"key": b"PK|members|x"}]
)
def test_what_is_no_list_is_named(new, change):
    (good, *rest) = records("a", version(2, 100), new, members=listed(2, "books"))
    log = ValuesLog()
    for each in (good._replace(**change), *rest):
        log.apply_record(Stored("v", 0, 0, each.key, each.value, each.headers, 0, 0))
    (unreadable,) = log.unreadable.records
    assert unreadable.expected.startswith("a list of members")
    assert len(log.markets["PK"].values) == 1


@pytest.mark.parametrize("as_of", [95, 110])
def test_a_value_of_the_same_definitions_counts_by_as_of(as_of, new, old):
    market = read(*records("a", version(2, 100), new), *records("z", version(2, as_of), old))
    assert market.values[KEY].value.value == (1 if as_of > 100 else 2)
