"""`ecindex doctor` names a record that cannot be read, of every kind that the product stores."""

from __future__ import annotations

import msgspec
import pytest
from support.explained import MIDNIGHT, Market, stored
from support.flow_harness import METHODOLOGY
from support.records import JOURNAL_TOPIC, VALUES_TOPIC

from streams.flow.held_labels import LabelsPart, encode_labels_part
from streams.index.answer_records import answer_record
from streams.index.definition_records import definitions_record
from streams.index.definitions import definitions_of
from streams.index.formats import FORMAT
from streams.index.operator_answers import Answer
from streams.index.panes import HOUR_MS
from streams.proof.doctor.findings import Level
from streams.proof.doctor.record_checks import check_redis_records
from streams.proof.doctor.stored_records import (
    READ_ELSEWHERE,
    VALUES,
    check_stored,
    stored_kinds,
)
from streams.publish.keys import MarketKeys, inputs_key, market_keys, markets_key
from streams.publish.shift_records import shift_record
from streams.records.kafka_logs import Stored
from streams.records.kafka_topics import Changelog, wanted_topics
from streams.records.redis_records import READERS, refused
from streams.records.state_records import DECODERS
from streams.records.unreadable import UnreadableRecord, UnreadableRecords
from streams.records.values_log import ValuesLog
from streams.settings import Settings
from streams.worker import names

SETTINGS = Settings()
KINDS = stored_kinds(SETTINGS, METHODOLOGY.edition)
TOPICS = SETTINGS.topics
SET_ASIDE = (
    ("reason", b"too_late"),
    ("source_topic", b"orders"),
    ("source_partition", b"0"),
    ("source_offset", b"7"),
)


def of_group(table):
    return names.changelog_topic(names.app_id(METHODOLOGY.edition, TOPICS.prefix), table)


MERGED = of_group(names.MERGED_TABLE)
CHECKPOINTS = {of_group(names.checkpoint_table(t)): t for t in (TOPICS.orders, TOPICS.payments)}


@pytest.fixture(scope="module")
def sound():
    """{topic: its records}, as the product writes them."""
    market = Market(rate=240.0)
    market.open(MIDNIGHT, 10)
    market.open(MIDNIGHT + HOUR_MS, 70, times=0.05)  # a shift
    for days in (1, 40):  # a day that ended, and one that was closed
        market.open(MIDNIGHT + days * 24 * HOUR_MS, 5)
    flow, found = market.flow, {topic: [] for topic in KINDS}

    def add(topic, key, value, headers=()):
        offset = len(found[topic])
        found[topic].append(Stored(topic, 0, offset, key, value, headers, MIDNIGHT, 1))

    for log in flow.partials:
        for record in log.records:
            add(TOPICS.partials, record.key, record.value)
    for topic, source in CHECKPOINTS.items():
        for sp, records in flow.checkpoints.items():
            if sp.topic == source:
                for key, value in records.items():
                    add(topic, key, value)
    for records in flow.tables.values():
        for key, value in records.items():
            add(MERGED, key, value)
    add(MERGED, b"p|PK|m0|n.1", encode_labels_part(LabelsPart(b"part")))  # of a slot of 256 KiB
    for key, value in market.history:
        add(TOPICS.history, key, value)
    for each in stored(flow):
        topic = {VALUES_TOPIC: TOPICS.values, JOURNAL_TOPIC: TOPICS.journal}[each.topic]
        add(topic, each.key, each.value, each.headers)
    for publication in flow.history:
        for shift in publication.shifts:
            add(TOPICS.shifts, *shift_record("PK", METHODOLOGY.edition, shift))
    add(
        TOPICS.answers, *answer_record(Answer("PK-20261124T0512-up", "note", "aisha", 1, text="hm"))
    )
    document = definitions_of(METHODOLOGY.markets["PK"])
    written = {"base": 0, "read_to": 0, "by": "aisha", "reason": "as it was", "at_ms": MIDNIGHT}
    add(TOPICS.definitions, *definitions_record(document, **written, nonce="n"))
    for topic in (TOPICS.late, TOPICS.dead_letters):
        add(topic, b"k", b"{", SET_ASIDE)
    return found


def found_in(topic, records):
    """What a reader of the topic's kind could not read."""
    if KINDS[topic] is VALUES:
        log = ValuesLog()
        for each in records:
            log.apply_record(each)
        return log.unreadable
    refusals = map(KINDS[topic].refused, records)
    return UnreadableRecords(each for each in refusals if isinstance(each, UnreadableRecord))


def test_every_topic_that_we_create_is_read():
    logs = [Changelog(each, 1) for each in (*CHECKPOINTS, MERGED)]
    wanted = {each.name for each in wanted_topics(SETTINGS, changelogs=logs)}
    assert KINDS.keys() == wanted - {TOPICS.orders, TOPICS.payments}
    assert len({kind.check for kind in KINDS.values()}) == len(KINDS) - 1, "two inputs, one check"


def test_the_records_that_the_product_writes_can_be_read(sound):
    for topic, records in sound.items():
        assert records, topic
        finding = check_stored(KINDS[topic], topic, found_in(topic, records))
        assert finding.level is Level.OK, finding
    kinds = {record.key.split(b"|")[0].decode() for record in sound[MERGED]}
    assert kinds == set(DECODERS), "every kind of the table is among them"


@pytest.mark.parametrize("topic", KINDS)
@pytest.mark.parametrize("how", ["its value", "its key or headers"])
def test_one_that_cannot_be_read_is_named_with_what_to_do(sound, topic, how):
    good = sound[topic][-1]
    bad = good._replace(partition=3, offset=41, value=b"\xff\xfe", headers=())
    if how != "its value":
        bad = good._replace(partition=3, offset=41, key=b"\xff", headers=())
        if topic == TOPICS.shifts:
            bad = bad._replace(value=b"{}")  # the key of a shift is read by nobody
    finding = check_stored(KINDS[topic], topic, found_in(topic, [*sound[topic], bad]))
    assert (finding.level, finding.where) == (Level.WRONG, topic)
    assert f"{topic}-3@41, key " in finding.found
    assert KINDS[topic].effect in finding.found
    assert "docs/security.md" in finding.fix
    assert "ecindex audit" in finding.fix


@pytest.mark.parametrize("topic", [TOPICS.partials, MERGED, *CHECKPOINTS, TOPICS.values])
def test_a_record_of_a_newer_version_is_not_somebody_elses(sound, topic):
    good = next(each for each in reversed(sound[topic]) if each.value is not None)
    if topic == TOPICS.values:
        value = msgspec.json.encode(msgspec.json.decode(good.value) | {"v": 9})
    else:
        content = msgspec.msgpack.decode(good.value)
        if isinstance(content, list):
            value = msgspec.msgpack.encode([*content[:-1], FORMAT + 1])
        else:
            value = msgspec.msgpack.encode(content | {"v": FORMAT + 1})
    finding = check_stored(KINDS[topic], topic, found_in(topic, [good._replace(value=value)]))
    assert finding.level is Level.WRONG
    assert finding.fix.startswith("install the version of ecindex that wrote it")


def test_what_was_replaced_does_no_harm_where_the_newest_of_a_key_counts():
    bad = UnreadableRecord("a", "b", "rubbish", "t-0@7", replaced=True)
    for topic, kind in KINDS.items():
        finding = check_stored(kind, topic, UnreadableRecords([bad]))
        assert finding.level is (Level.WARNING if kind.by_key else Level.WRONG)
        assert (kind.effect in finding.found) == (not kind.by_key)
    second = UnreadableRecord("b", "b", "rubbish", "t-0@9")
    finding = check_stored(VALUES, "v", UnreadableRecords([bad, second]))
    assert "t-0@9" in finding.found, "one that stands is shown before one that was replaced"
    assert "(one of 2)" in finding.found


SOUND_IN_REDIS = {
    "fence": {b"edition": b"3", b"as_of_ms": b"5", b"applied": b"-1"},
    "values": {b"orders:market:all:1m": b"1.5", b"@as_of": b"x", b"a:b:c:1m@status": b"filling"},
    "snapshot": None,
    "changes": [(b"1-0", {b"as_of": b"2026-11-24T00:00:00.000Z", b"changes": b"[{}]"})],
    "history": [b'{"as_of":"2026-11-24T00:00:00.000Z"}'],
    "days": {b"orders:market:all:2026-11-24": b"-3"},
    "shifts": {b"market:all": b'{"v":1}'},
    "suspicions": {b"market:all": b'{"v":1}'},
    "incidents": {b"PK-20261124T1002-down": b'{"v":1}'},
    "others": {b"2026-11-24": b'{"v":1}'},
    "inputs": {
        b"orders-0": b'{"topic":"orders","partition":0,"first_ms":1,"last_ms":2,"records":3}'
    },
    "markets": {b"PK"},
}
BROKEN_IN_REDIS = {
    "fence": {b"edition": b"none"},
    "values": {b"orders:market:all:1m": b"many"},
    "snapshot": b"{",
    "changes": [(b"1-0", {b"as_of": b"2026-11-24T00:00:00.000Z", b"changes": b"{"})],
    "history": [b"\xff"],
    "days": {b"orders:market:all:2026-11-24": b""},
    "shifts": {b"market:all": b"nothing"},
    "suspicions": {b"market:all": b"1"},
    "incidents": {b"PK-20261124T1002-down": b"[]"},
    "others": {b"2026-11-24": b"[]"},
    "inputs": {b"orders-0": b"[]"},
    "markets": {b"\xff"},
}


def redis_key(name):
    if name in MarketKeys._fields:
        return getattr(market_keys("PK", "p"), name)
    return {"inputs": inputs_key("p"), "markets": markets_key("p")}[name]


def test_every_key_of_redis_is_read():
    assert {*MarketKeys._fields, "inputs", "markets"} == READERS.keys()
    assert SOUND_IN_REDIS.keys() == BROKEN_IN_REDIS.keys() == READERS.keys()


@pytest.mark.parametrize("name", READERS)
def test_what_redis_holds_against_the_contract_is_named(name):
    key = redis_key(name)
    assert refused(key, SOUND_IN_REDIS[name]) == []
    (finding,) = check_redis_records(refused(key, BROKEN_IN_REDIS[name])[:1])
    assert (finding.check, finding.level) == ("redis", Level.WRONG)
    assert finding.where.split()[0] == key
    assert "docs/security.md" in finding.fix
    (other,) = refused(key, ValueError("WRONGTYPE Operation against a key"))
    assert other.where == key
    assert "WRONGTYPE" in other.found


def test_kinds_that_other_checks_read_are_still_of_the_table():
    assert all(kind in KINDS.values() for kind in READ_ELSEWHERE)
