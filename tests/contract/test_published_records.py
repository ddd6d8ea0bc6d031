"""Every record that the service emits is what its schema in config/schemas says.

The flow runs on raw bytes, closes hours and days and revises; what it publishes goes through the real
encoders, and through a real Redis.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import jsonschema
import msgspec
import pytest
from redis import Redis
from support.bases import based
from support.events import T0
from support.flow_harness import Flow, order, payment
from support.methodologies import METHODOLOGY
from support.publications import (
    AS_OF_MS,
    MEASURES,
    incident,
    incident_shift,
    others_of_day,
    publication,
    status,
    suspicion,
    value,
)
from support.records import publication_records
from support.shopfloor import shift_record

from streams.board.shown_shifts import active
from streams.flow.definitions_book import DefinitionsChange
from streams.flow.market_answers import GivenAnswers
from streams.flow.market_members import AppliedDefinitions
from streams.flow.shift_watch import FoundShift
from streams.index.definition_edits import MemberEdit
from streams.index.member_lists import members_of
from streams.index.operator_answers import Answer
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS
from streams.index.shift_ratio import Contributor, RatioInterval
from streams.index.values import Fence
from streams.publish.incident_records import incident_fields, read_incidents
from streams.publish.journal import (
    fence_record,
    journal_records,
    members_record,
)
from streams.publish.keys import market_keys
from streams.publish.metrics import Metrics
from streams.publish.other_records import other_fields, read_others
from streams.publish.redis_state import RedisLimits
from streams.publish.redis_store import RedisStore
from streams.publish.shift_records import active_fields
from streams.publish.shift_records import shift_record as published_shift
from streams.publish.suspicion_records import read_suspicions, suspicion_fields

EACH = 100
"""Records validated of each kind: a month has 700 like hours, and a validator in Python is slow."""
SCHEMAS = Path(__file__).parents[2] / "config" / "schemas"


def validator(name):
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


validators = {
    name: validator(name) for name in ("journal", "fence", "value", "snapshot", "members")
}


def schema_of(record):
    if record.topic == "ecindex.journal":
        return "journal"
    found = (name for name in ("fence", "members") if f"|{name}|".encode() in record.key)
    return next(found, "value")


@pytest.fixture(scope="module")
def published():
    """Publications of a market: hours and a day that close, a cancel that revises, a late event."""
    flow = Flow(based("PK", "2026-09-22", "2026-10-20"), partitions=1)
    (orders,), (payments,) = flow.sps["orders"], flow.sps["payments"]
    for hour in range(3):
        at_ms = T0 + hour * HOUR_MS
        flow.now_ms = at_ms + MINUTE_MS
        flow.produce(orders, order(f"o{hour}", at_ms), at_ms)
        flow.produce(payments, payment(f"p{hour}", at_ms), at_ms)
        flow.run()
    late_ms = flow.now_ms
    flow.produce(orders, order("late", late_ms - 90_000), late_ms)
    cancel = order("c", late_ms, kind="order.cancelled", placed_at="2026-09-20T00:00:00Z")
    flow.produce(orders, cancel, late_ms)
    flow.run()
    flow.now_ms += 37 * DAY_MS  # a day is final after 35
    flow.produce(orders, order("end", flow.now_ms), flow.now_ms)
    flow.produce(payments, payment("end", flow.now_ms), flow.now_ms)
    flow.run(caught_up=False)
    return flow.history


def test_every_kafka_record_is_what_its_schema_says(published):
    found = Counter()
    for made in published:
        for record in publication_records(made, "w-1"):
            name = schema_of(record)
            content = json.loads(record.value)
            kind = content.get("kind", name)
            if found[kind] < EACH:
                validators[name].validate(content)
            found[kind] += 1
    assert {"minute", "hour", "day", "revision", "base", "value", "fence", "members"} <= set(
        found
    ), found


def test_an_applied_version_and_a_closing_with_its_cause_are_what_their_schema_says(published):
    change = DefinitionsChange(3, 0, "aisha", "gardens", T0, b"k")
    edits = [
        MemberEdit("category", "split", "gnomes", "other", ["garden gnomes"], 1),
        MemberEdit("category", "changed", "books", fields=["name"]),
    ]
    (made,) = [each for each in published if any(c.kind == "day" for c in each.closings)][-1:]
    applied = [AppliedDefinitions(change, edits, published=True)]
    closings = [dataclasses.replace(made.closings[-1], cause="definition")]
    records = journal_records(
        dataclasses.replace(made, applied=applied, closings=closings), "ecindex.journal"
    )
    found = {content["kind"]: content for content in (json.loads(r.value) for r in records)}
    for content in found.values():
        validators["journal"].validate(content)
    assert found["definitions"]["edits"][0]["labels_count"] == 1
    assert found["day"]["cause"] == "definition"
    assert not validators["journal"].is_valid({**found["day"], "cause": "late"})


def test_a_list_of_members_is_what_its_schema_says():
    market = dataclasses.replace(
        METHODOLOGY.markets["PK"],
        names={"category": {"books": "Books & maps"}},
        parents={"category": {"computing": "books"}},
    )
    record = members_record(members_of(market), Fence(3, 0, 0, 0, 0), "values")
    validators["members"].validate(json.loads(record.value))
    assert not validators["members"].is_valid({**json.loads(record.value), "members": []})


@pytest.mark.stack
async def test_every_redis_record_is_what_its_schema_says(stack, published, unique):
    prefix = unique("p")
    store = RedisStore(
        stack.redis_url,
        Metrics(markets=["PK"], version="0", edition=1, methodology="0"),
        prefix=prefix,
        limits=RedisLimits(60_000),
        timeout_s=3.0,
    )
    for made in published[-40:]:
        await store.publish(made, made.as_of_ms + 3_000)
    await store.close()
    keys = market_keys("PK", prefix)
    with Redis.from_url(stack.redis_url) as client:
        validators["snapshot"].validate(json.loads(client.get(keys.snapshot)))
        points = client.zrange(keys.history, 0, -1)
        entries = client.xrange(keys.changes)
    assert points
    assert entries
    for point in points:
        validator("history").validate(json.loads(point))
    for _, entry in entries:
        validator("changes").validate(json.loads(entry[b"changes"]))


def test_long_content_is_split_into_records_of_the_same_schema():
    values = [value(member=f"m{number}", number=2**70) for number in range(3_000)]
    records = journal_records(publication(values, journal_changed=values), "journal")
    assert len(records) > 1
    for record in records:
        validators["journal"].validate(json.loads(record.value))


def test_shifts_as_they_are_published_are_what_their_schema_says():
    found = FoundShift(
        "category", "books", "page", 2, "live", -1, "slow", 29_000_000, 29_000_060, 1.25,
        RatioInterval(30.5, 61.0, 0.5, 0.34, 0.71),
        {"region": (Contributor("sindh", 3, 9.5, -6.5),)},
    )  # fmt: skip
    key, record = published_shift("PK", 1, found)
    assert key == b"PK|category|books|2"
    validator("shift").validate(json.loads(record))
    ((field, text),) = active_fields([status(direction=-1), status(member="toys")]).items()
    assert field == "category:books"
    validator("shift").validate(json.loads(text))
    (shown,) = active({field: text})
    assert (shown.direction, shown.ratio, shown.clock, shown.evidence) == (-1, 6.0, "fast", 2.5)
    assert [(each.label, each.observed) for each in shown.contributors] == [("Sindh", 31)]


def test_a_shift_is_what_its_schema_says_and_what_the_page_reads():
    record = shift_record()
    validator("shift").validate(json.loads(record))
    (shown,) = active({"category:beauty_grooming": record})
    assert shown.start
    assert shown.ratio
    assert shown.upper
    assert shown.evidence


def test_an_incident_is_what_its_schema_says_and_is_read_back():
    over = incident(incident_shift("category", "books", direction=1), over_ms=AS_OF_MS, left_out=2)
    over.shifts[0].over_ms = AS_OF_MS
    said = Answer(over.id, "expected", "aisha", AS_OF_MS, text="sale", until_ms=AS_OF_MS + 1)
    note = Answer(over.id, "note", "aisha", AS_OF_MS, text="call them")
    given = GivenAnswers(said._replace(kind="acknowledged"), said, (note,), None)
    none = msgspec.structs.replace(MEASURES, now=None, now_observed=7)
    unexpected = incident(incident_shift("region", at_ms=0), measures=none)
    (text,) = incident_fields([unexpected], {}).values()
    validator("incident").validate(json.loads(text))
    assert json.loads(text)["now_counted"] == {
        "since": "2023-11-14T22:12:00.000Z", "until": "2023-11-14T22:13:00.000Z", "observed": 7
    }  # fmt: skip
    fields = incident_fields([over, incident()], {over.id: given})
    for text in fields.values():
        validator("incident").validate(json.loads(text))
    stop, books = read_incidents(fields | {"x": "[]", "y": "{}"})
    assert (stop.id, stop.state, stop.kind, stop.over) == (
        "PK-20231114T2207-down", "open", "drop", None,
    )  # fmt: skip
    assert (stop.began, stop.size.observed, stop.now.expected) == (
        "2023-11-14T22:03:00.000Z", 40, 980.0,
    )  # fmt: skip
    assert (stop.difference.events, stop.difference.amount_minor) == (-9_760.0, -976_000)
    assert [(each.dimension, each.affected, each.of) for each in stop.affected] == [
        ("category", 2, 3), ("region", 5, 5),
    ]  # fmt: skip
    assert (books.state, books.kind, books.member, books.now, books.left_out) == (
        "over", "jump", "books", None, 2,
    )  # fmt: skip
    assert (books.verdict.until, books.verdict.member) == ("2023-11-14T22:13:00.001Z", "all")
    assert [each.text for each in books.notes] == ["call them"]
    assert (books.acknowledged.kind, stop.acknowledged) == ("acknowledged", None)


def test_a_suspicion_is_what_its_schema_says_and_is_read_back():
    books = suspicion("category", "books", observed=600, expected=100.0)
    fields = suspicion_fields([books, suspicion()])
    for text in fields.values():
        validator("suspicion").validate(json.loads(text))
    total, other = read_suspicions(fields | {"x": "[]"})
    assert (total.member, total.direction, total.observed, total.evidence, total.fact) == (
        "all", "down", 0, 0.38, True,
    )  # fmt: skip
    assert (total.since, total.expected_a_minute) == ("2023-11-14T22:12:20.000Z", 1_005.0)
    assert (other.member, other.direction) == ("books", "up")


def test_what_other_is_made_of_is_what_its_schema_says_and_is_read_back():
    fields = other_fields("PK", [others_of_day(("garden gnomes", 300), ("pet food", 41), more=2)])
    ((name, text),) = fields.items()
    validator("others").validate(json.loads(text))
    (read,) = read_others(fields | {"x": "[]", "y": '{"v":1}'})
    assert (name, read.market, read.as_of) == ("2024-10-04", "PK", "2023-11-14T22:13:00.000Z")
    (found,) = read.dimensions
    assert (found.total, found.other, found.undeclared, found.more) == (1_000, 341, 341, 2)
    assert [(each.label, each.count) for each in found.largest] == [
        ("garden gnomes", 300), ("pet food", 41),
    ]  # fmt: skip


def broken(content, **changes):
    return {name: each for name, each in (content | changes).items() if each is not None}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("journal", {"kind": None}), ("journal", {"values": None}), ("journal", {"parts": 0}),
        ("journal", {"kind": "hour"}), ("journal", {"kind": "revision"}),
        ("journal", {"values": [{"v": 1}]}),
        ("fence", {"writer": "a|b"}), ("fence", {"applied": "1"}), ("fence", {"edition": None}),
        ("shift", {"direction": 1}), ("shift", {"ratio": None}), ("shift", {"start": None}),
    ],
)  # fmt: skip
def test_the_schemas_are_not_blind(name, changes):
    made = publication(journal_changed=[value()])
    good = {
        "journal": json.loads(journal_records(made, "journal")[0].value),
        "fence": json.loads(fence_record(made, "w-1", "values").value),
        "shift": json.loads(shift_record()),
    }[name]
    check = validator(name)
    assert check.is_valid(good)
    assert not check.is_valid(broken(good, **changes))


def test_the_journal_schema_holds_the_value_schema():
    own = json.loads((SCHEMAS / "value.json").read_text())
    del own["$schema"], own["title"]
    assert json.loads((SCHEMAS / "journal.json").read_text())["$defs"]["value"] == own


def test_the_contract_names_every_schema():
    text = (SCHEMAS.parents[1] / "docs" / "contract.md").read_text()
    for file in SCHEMAS.iterdir():
        assert f"schemas/{file.name})" in text, file.name
