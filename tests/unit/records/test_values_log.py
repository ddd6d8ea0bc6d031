"""Of several owners' records of ``ecindex.values`` those of the newest definitions count."""

from __future__ import annotations

import dataclasses

import pytest
from support.publications import AS_OF_MS, publication, value

from streams.index.values import Fence
from streams.publish.journal import fence_record, value_records
from streams.records.kafka_logs import Stored
from streams.records.values_log import ValuesLog

KEY = "PK|orders|category|books|1m"


def version(definitions, as_of, applied=500):
    return Fence(1, 0, definitions, AS_OF_MS + as_of, applied)


def records(writer, fence, *values):
    """What an owner writes of one publication."""
    made = dataclasses.replace(publication(list(values)), fence=fence)
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


@pytest.mark.parametrize("as_of", [95, 110])
def test_a_value_of_the_same_definitions_counts_by_as_of(as_of, new, old):
    market = read(*records("a", version(2, 100), new), *records("z", version(2, as_of), old))
    assert market.values[KEY].value.value == (1 if as_of > 100 else 2)
