"""Readers of records hand out what they could not read, and read on."""

from __future__ import annotations

import pytest
from support.explained import MIDNIGHT, Market, journal, stored
from support.records import JOURNAL_TOPIC, VALUES_TOPIC

from streams.index.history_records import DeclaredFactor, factor_record
from streams.index.learning import WHOLE
from streams.index.panes import HOUR_MS, rfc3339
from streams.records.history_record import refused_history
from streams.records.journal_record import Journaled, read_journaled
from streams.records.kafka_logs import Stored
from streams.records.set_aside_record import (
    REPLAYED_AS,
    SetAsideHeaders,
    SourceRecord,
    read_set_aside,
)
from streams.records.shift_record import read_shift
from streams.records.unreadable import KEPT_MAX, UnreadableRecord, UnreadableRecords
from streams.records.values_log import ValuesLog

ORDERS = "PK|orders|market|all|1h"


@pytest.fixture(scope="module")
def records():
    market = Market(rate=240.0)
    market.open(MIDNIGHT, 10)
    return stored(market.flow)


def planted(topic, key, value, headers=(), offset=10**6):
    return Stored(topic, 0, offset, key.encode(), value, headers, MIDNIGHT, 0)


def values_of(records, *bad):
    log = ValuesLog()
    for each in (*(each for each in records if each.topic == VALUES_TOPIC), *bad):
        log.apply_record(each)
    return log


def of_key(records, key):
    return [each for each in records if each.topic == VALUES_TOPIC and each.key == key.encode()][-1]


def test_a_sound_topic_has_nothing_unreadable(records):
    log = values_of(records)
    assert not log.unreadable
    assert list(log.unreadable.summary().lines()) == []
    assert all(isinstance(read_journaled(each), Journaled) for each in journal(records))


def test_a_value_that_cannot_be_read_is_named_and_the_one_before_it_kept(records):
    good = of_key(records, ORDERS)
    log = values_of(
        records,
        planted(VALUES_TOPIC, ORDERS, b"{", good.headers, 7),
        planted(VALUES_TOPIC, "PK|units|market|all|1h", good.value, good.headers, 8),
        planted(VALUES_TOPIC, "rubbish", b"1", (), 9),
        planted(VALUES_TOPIC, "PK|fence|w", b"[]", good.headers, 10),
    )
    broken, other, foreign, fence = log.unreadable.records
    assert (broken.key, broken.expected, broken.where) == (ORDERS, "a value", f"{VALUES_TOPIC}-0@7")
    assert (other.expected, other.found) == (
        "a value of PK|units|market|all|1h",
        f"one of {ORDERS}",
    )
    assert (foreign.market, foreign.expected) == ("rubbish", "headers edition, as_of, applied")
    assert fence.expected == "a fence record"
    assert (log.unreadable.total, log.unreadable.not_replaced) == (4, 4)
    assert log.markets["PK"].values[ORDERS].value.key == ORDERS
    assert log.markets.keys() == {"PK"}, "a record that is none makes no market"


@pytest.mark.parametrize("value", [b'{"market":"\xff"}', b'{"market":' * 3_000])
def test_text_that_is_no_utf8_and_deep_nesting_are_unreadable_as_rubbish_is(records, value):
    good = of_key(records, ORDERS)
    log = values_of(
        records,
        planted(VALUES_TOPIC, ORDERS, value, good.headers, 7),
        planted(VALUES_TOPIC, "PK|fence|w", value, good.headers, 8),
    )
    assert [each.expected for each in log.unreadable.records] == ["a value", "a fence record"]
    for read in (read_journaled, read_shift, refused_history):
        assert isinstance(read(planted("t", "PK|factor|x", value)), UnreadableRecord)


def test_an_unreadable_record_that_was_written_well_since_is_replaced(records):
    good = of_key(records, ORDERS)
    bad = planted(VALUES_TOPIC, ORDERS, b"{", good.headers)
    log = values_of(records, bad, good)
    assert (log.unreadable.total, log.unreadable.not_replaced) == (1, 0)
    (record,) = log.unreadable.records
    assert record.replaced
    assert record.line().endswith("; replaced since")


def test_a_tombstone_replaces_a_foreign_record_but_is_unreadable_for_a_value(records):
    foreign = planted(VALUES_TOPIC, "rubbish", b"1", (), 9)
    cleared = values_of(records, foreign, planted(VALUES_TOPIC, "rubbish", None, (), 10))
    assert (cleared.unreadable.total, cleared.unreadable.not_replaced) == (1, 0)
    erased = values_of(records, planted(VALUES_TOPIC, ORDERS, None, (), 9))
    assert [each.key for each in erased.unreadable.records] == [ORDERS]


def test_a_record_that_is_not_of_the_journal_is_reported_with_the_reason(records):
    good = journal(records)[0]
    for bad, expected in (
        (good._replace(value=b"{"), "a journal record"),
        (good._replace(value=None), "a journal record"),
        (good._replace(headers=()), "headers edition, as_of, applied"),
        (good._replace(key=b"BD"), "a record keyed 'PK', its market"),
    ):
        read = read_journaled(bad)
        assert isinstance(read, UnreadableRecord)
        assert (read.expected, read.where) == (expected, f"{JOURNAL_TOPIC}-0@{good.offset}")


def test_a_record_set_aside_is_read_from_its_headers_or_named():
    source = [
        ("source_topic", b"orders"),
        ("source_partition", b"1"),
        ("source_offset", b"7"),
    ]
    letter = read_set_aside(planted("late", "k", b"{", (*source, ("reason", b"too_late"))))
    assert isinstance(letter, SetAsideHeaders)
    assert (letter.source, letter.reason) == (SourceRecord("orders", 1, 7), "too_late")
    mark = read_set_aside(planted("late", "k", None, (*source, (REPLAYED_AS, b"orders-1@9"))))
    assert isinstance(mark, SetAsideHeaders)
    assert (mark.replayed_as, mark.reason) == (SourceRecord("orders", 1, 9), "")
    for headers in ((), source, [*source, (REPLAYED_AS, b"nowhere")]):
        refused = read_set_aside(planted("late", "k", b"{", headers))
        assert isinstance(refused, UnreadableRecord)
        assert refused.where == "late-0@1000000"


def test_a_record_of_history_that_workers_refuse_is_named():
    key, value = factor_record(
        DeclaredFactor("PK", *WHOLE, rfc3339(MIDNIGHT), rfc3339(MIDNIGHT + HOUR_MS), 2.0)
    )
    good = planted("history", key.decode(), value)
    assert refused_history(good) is None
    assert refused_history(good._replace(value=None)) is None
    for bad in (good._replace(key=b"PK"), good._replace(value=b"{}")):
        assert refused_history(bad).expected == "a seed, a factor or a reset"


def test_so_many_are_kept_and_the_rest_is_counted():
    found = UnreadableRecords(
        UnreadableRecord("PK" if n % 2 else "BD", "a", "b", f"t-0@{n}") for n in range(KEPT_MAX + 5)
    )
    assert (len(found.records), found.total, found.not_replaced) == (KEPT_MAX, 1_005, 1_005)
    chosen = found.chosen(lambda each: each.market == "PK")
    assert (len(chosen.records), chosen.total) == (500, 505), "those only counted may be any"
    both = UnreadableRecords()
    both.add_all(chosen)
    both.add_all(chosen)
    assert (len(both.records), both.total) == (1_000, 1_010)
    first, *_, last = both.summary().lines()
    assert first == "warning: 1010 records could not be read"
    assert last == "  and 1000 more; `ecindex audit --json` lists them"
