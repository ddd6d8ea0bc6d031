"""The audit of both levels, without servers: rows by label, and what level 2 makes of them by member."""

import random
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import pytest

from streams.flow.chunk import SourcePartition
from streams.flow.held_labels import HeldLabels, decode_labels, encode_labels
from streams.flow.merged import PANES_KEPT_MS, QUARTERS_KEPT_MS, decode_merged, encode_merged
from streams.flow.publication import Closing
from streams.flow.wire import PartialKey, PartialRecord, parse_key
from streams.index.definition_records import definitions_record
from streams.index.definitions import Definitions, MemberDefinition, market_with
from streams.index.label_rows import LIVE_BOOK
from streams.index.label_text import MORE
from streams.index.member_lists import members_of
from streams.index.member_rows import MemberRows
from streams.index.methodology import Methodology
from streams.index.panes import HOUR_MS, MINUTE_MS, rfc3339
from streams.index.summed_labels import encode_row
from streams.index.values import Fence, Snapshot
from streams.proof.audit.checkpoints import CheckpointLog
from streams.proof.audit.cuts import Cut, PartialsLog
from streams.proof.audit.expected_values import Expectations
from streams.proof.audit.judge_expected import ExpectedJudge
from streams.proof.audit.judge_journal import JournalLog
from streams.proof.audit.judge_merged import MergedLog
from streams.proof.audit.judge_redis import RedisJudge
from streams.proof.audit.judge_values import ValuesJudge
from streams.proof.audit.replay import Replay
from streams.proof.audit.report import Report
from streams.proof.recompute.defined_markets import DefinedMarkets
from streams.proof.recompute.slots import Blind, SlotCalendar
from streams.publish.journal import journal_records
from streams.publish.keys import market_keys
from streams.records.kafka_logs import Extent, Stored
from streams.records.redis_reader import MarketRedis
from tests.support import publications
from tests.support.audited import Limits, limited
from tests.support.events import T0
from tests.support.explained import DEFINED, stored, values_log
from tests.support.flow_harness import METHODOLOGY, Flow, order, payment

TOPICS = ("orders", "payments")
CATEGORIES = ["boots", "shoes", "a/b", "Books", "Computing", "Men's Fashion"]


DOCUMENT = Definitions(
    "PK",
    category={
        "fashion": MemberDefinition("Fashion & shoes"),
        "boots": MemberDefinition(labels=("shoes",), parent="fashion"),
        "men's fashion": MemberDefinition(parent="fashion", formerly=("mens_fashion",)),
        "a/b": MemberDefinition(),
    },
    payment_method={
        "cash": MemberDefinition(labels=("cod",)),
        "shells": MemberDefinition(digital=True),
    },
    region={"punjab": MemberDefinition()},
)
VERSION = 4


def defined(document: Definitions = DOCUMENT, last: int = VERSION) -> DefinedMarkets:
    """What the audit reads of a log whose records from offset 3 on have the document."""
    found = DefinedMarkets(METHODOLOGY)
    for version in range(VERSION, last + 1):
        base = version - 1 if version > VERSION else 0
        key, value = definitions_record(
            document, base=base, read_to=version - 1, by="a", reason="r", at_ms=0, nonce="n"
        )
        assert found.apply_record(key, value, version - 1) is None
    return found


def by_document(version: int = VERSION) -> Methodology:
    """The methodology with PK by the document, as workers compile it."""
    market = replace(market_with(METHODOLOGY.markets["PK"], DOCUMENT), definitions=version)
    return replace(METHODOLOGY, markets={**METHODOLOGY.markets, "PK": market})


def sold(
    minutes: int = 8,
    methodology: Methodology = METHODOLOGY,
    flow: Flow | None = None,
    first: int = 0,
) -> Flow:
    """Some minutes of orders of several labels, of which some are cancelled or refunded."""
    flow, rng = flow or Flow(methodology), random.Random(3)
    for minute in range(first, first + minutes):
        for number in range(12):
            at_ms = T0 + minute * MINUTE_MS + number * 5_000
            name, sp = f"{minute}-{number}", SourcePartition("orders", number % 2)
            labels = rng.sample(CATEGORIES, rng.randint(1, 4))
            extra = {
                "lines": [(label, 1, rng.randint(1, 9)) for label in labels],
                "payment_method": rng.choice(["cod", "card", "shells", "barter"]),
                "region": rng.choice(["punjab", "nowhere"]),
                "order_id": name,
            }
            late_ms = rng.choice([0, 0, 0, 150_000])
            flow.produce(sp, order(name, at_ms - late_ms, **extra), at_ms)
            if number % 3 == 0:
                extra["lines"] = extra["lines"][:2]
                extra["placed_at"] = rfc3339(at_ms - late_ms)
                for kind in rng.choice([["refunded"], ["cancelled", "refunded"], ["cancelled"]]):
                    fixed = order(f"{kind}{name}", at_ms, kind=f"order.{kind}", **extra)
                    flow.produce(sp, fixed, at_ms)
            paid = payment(name, at_ms, method=rng.choice(["cod", "shells"]))
            flow.produce(SourcePartition("payments", number % 2), paid, at_ms)
        flow.now_ms = T0 + (minute + 1) * MINUTE_MS + 10_000
        flow.run()
    return flow


def audited(flow: Flow, known: DefinedMarkets = DEFINED) -> Report:
    """What an audit finds, without servers."""
    return judged(flow, known).report


def judged(flow: Flow, known: DefinedMarkets) -> SimpleNamespace:
    """An audit, with its parts."""
    report, calendar = Report(), SlotCalendar(METHODOLOGY)
    blind, merged = Blind(calendar), MergedLog(METHODOLOGY, report, known)
    for partition, table in flow.tables.items():
        for offset, (key, value) in enumerate(table.items()):
            merged.apply_record(Stored("merged", partition, offset, key, value, (), 0, 0))
    merged.finish()
    published = values_log(stored(flow)).markets["PK"]
    fence = published.fence
    cut = Cut(
        "PK", fence.edition, fence.applied, dict(fence.as_of), METHODOLOGY.step_ms, "orders",
        calendar.local_days("PK"), QUARTERS_KEPT_MS + METHODOLOGY.grace_ms, fence.horizon,
        definitions=published.version.definitions,
    )  # fmt: skip
    partials = []
    for partition, log in enumerate(flow.partials):
        rows = PartialsLog(METHODOLOGY, calendar, [cut], report)
        for offset, each in enumerate(log.records):
            rows.apply_record(
                Stored("p", partition, offset, each.key, each.value, (), each.timestamp_ms, 0)
            )
        if rows.changes:
            rows.finish()
            partials.append(rows)
    replay = Replay(
        METHODOLOGY, "payments", calendar, blind, {"PK": [cut]}, partials, merged, report, known,
        {"PK": cut.definitions},
    )  # fmt: skip
    for sp, log in flow.logs.items():
        checkpoints = CheckpointLog(METHODOLOGY, report)
        for offset, (key, value) in enumerate(flow.checkpoints[sp].items()):
            checkpoints.apply_record(Stored("c", 0, offset, key, value, (), 0, 0))
        chain, extent = checkpoints.chain(sp), Extent(0, len(log.records))
        batch = replay.start(sp, chain, extent, None)
        batch.feed(
            range(len(log.records)),
            [each.value for each in log.records],
            [each.timestamp_ms for each in log.records],
        )
        replay.finish(batch, chain, extent)
    merged.judge({"PK": fence.horizon - PANES_KEPT_MS}, blind)
    expectations = Expectations(known, TOPICS, calendar, blind, merged)
    ValuesJudge(expectations, METHODOLOGY.edition, report).judge("PK", published, cut)
    return SimpleNamespace(
        report=report, merged=merged, finals=replay.finals, calendar=calendar, blind=blind
    )


@pytest.mark.parametrize("room", [Limits(), Limits(2, 3, sets=4)], ids=["wide", "narrow"])
def test_both_levels_count_labels_and_members_as_the_audit_does(room):
    with limited(room):
        report = audited(sold())
    assert report.equal, "\n".join(report.lines())
    judged = report.judged
    assert judged["checkpoint"] > 50
    assert judged["partials"] > 50
    assert judged["merged"] > 10
    assert judged["values"] > 200


def test_members_are_counted_by_the_definitions_that_were_published_by():
    flow = sold(methodology=by_document())
    report = audited(flow, defined())
    assert report.equal, "\n".join(report.lines())
    assert report.judged["merged"] > 10
    assert report.judged["values"] > 200
    listed = members_of(by_document().markets["PK"])
    last = flow.history[-1]
    flow.history[-1] = replace(last, members=listed)
    assert audited(flow, defined()).equal
    wrong = {**listed.members, "category": listed.members["category"][::-1]}
    flow.history[-1] = replace(last, members=msgspec.structs.replace(listed, members=wrong))
    (found,) = audited(flow, defined()).differences
    assert (found.key, found.field) == ("PK|members|4", "category")


@pytest.mark.parametrize("wrong", [False, True])
def test_the_members_that_redis_lists_are_judged(wrong):
    listed = members_of(by_document().markets["PK"])
    if wrong:
        listed = msgspec.structs.replace(listed, members={**listed.members, "region": []})
    report, calendar, known = Report(), SlotCalendar(METHODOLOGY), defined()
    cut = Cut(
        "PK", 3, 9, {"orders": T0, "payments": T0}, METHODOLOGY.step_ms, "orders",
        calendar.local_days("PK"), QUARTERS_KEPT_MS, definitions=VERSION,
    )  # fmt: skip
    held = MarketRedis(
        "PK", market_keys("PK", "p"), Fence(3, 0, VERSION, T0, 9),
        {"@members": msgspec.json.encode(listed).decode()}, {},
        Snapshot("PK", rfc3339(T0), rfc3339(T0), 3, "live", []), {},
    )  # fmt: skip
    merged = MergedLog(METHODOLOGY, report, known)
    expectations = Expectations(known, TOPICS, calendar, Blind(calendar), merged)
    RedisJudge(expectations, report).judge(held, cut)
    found = [each.key for each in report.differences if "@members" in each.key]
    assert found == (["PK @members"] if wrong else [])


def test_what_other_definitions_counted_is_judged_by_those():
    """Some records of the table are of the definitions before, and the new owner reads them anew."""
    flow = sold()
    flow.methodology = by_document()
    for partition in flow.compiles:
        flow.start_compile(partition)
    sold(3, flow=flow, first=8)
    assert flow.published["PK"].fence.definitions == VERSION
    versions = {
        decode_merged(value).definitions
        for table in flow.tables.values()
        for key, value in table.items()
        if key[:5] in (b"m|PK|", b"d|PK|")
    }
    assert VERSION in versions <= {0, VERSION}
    report = audited(flow, defined())
    assert report.judged["merged"] > 10
    assert {each.stage for each in report.differences} <= {"values"}
    # No tombstone says yet that a member is gone, or sold nothing on a day.
    assert {(each.field, each.expected) for each in report.differences} <= {("record", "nothing")}


def closings_differ(flow, known, audit, start_ms, closed):
    """Names that the audit finds wrong in a closing of an hour."""
    return journal_differs(flow, known, audit, (VERSION, hour_closed(start_ms, closed)))


def hour_closed(start_ms, closed, **said):
    """A closing of an hour that says what the audit expects."""
    at = {"window": "1h", "as_of_ms": start_ms + HOUR_MS, "phase": "final", "edition": 3}
    values = [
        msgspec.structs.replace(
            publications.value(*each.name, number=each.value, unit=each.unit, **at),
            observed=each.observed, n=each.n, lower=each.lower, upper=each.upper,
        )
        for each in closed
    ]  # fmt: skip
    return Closing("hour", start_ms, start_ms + HOUR_MS, values, **said)


def journal_differs(flow, known, audit, *closings):
    """Names that the audit finds wrong in closings, each with the definitions that it is by."""
    report, published = Report(), values_log(stored(flow)).markets
    expected = ExpectedJudge(METHODOLOGY, published, report, known)
    log = JournalLog(
        METHODOLOGY, published, audit.finals, audit.calendar, audit.blind, report, expected,
        audit.merged,
    )  # fmt: skip
    for version, closing in closings:
        fence = msgspec.structs.replace(flow.published["PK"].fence, definitions=version)
        made = replace(publications.publication([], closings=[closing]), fence=fence, as_of_ms=T0)
        for number, each in enumerate(journal_records(made, "j")):
            log.apply_record(Stored("j", 0, number, each.key, each.value, each.headers, 0, 0))
    log.finish(frozenset({"PK"}))
    keys = [each.key.split("|") for each in report.differences if "closing" in each.key]
    left_out = {each.field for each in report.differences if each.key.endswith(" touched")}
    return {tuple(key[1:4]) for key in keys if len(key) > 1} | left_out


def test_a_closing_by_definition_must_name_all_that_it_changes_and_drop_nothing_that_counts():
    flow = sold()
    flow.methodology = by_document()
    for partition in flow.compiles:
        flow.start_compile(partition)
    sold(3, flow=flow, first=8)
    known = defined()
    audit = judged(flow, known)
    start_ms = T0 - T0 % HOUR_MS
    was, now = (audit.finals.values("PK", "hour", start_ms, each) for each in (0, VERSION))
    whole = 0, hour_closed(start_ms, was.values())
    touched = {name: each for name, each in now.items() if each != was.get(name)}
    boots, fashion = ("orders", "category", "boots"), ("orders", "category", "fashion")
    assert {boots, fashion} <= touched.keys() < now.keys()
    gone = tuple(":".join(name) for name in was.keys() - now.keys())
    assert "orders:payment_method:cod" in gone

    def found(values, gone=gone):
        again = hour_closed(start_ms, values.values(), cause="definition", gone=gone)
        return journal_differs(flow, known, audit, whole, (VERSION, again))

    assert found(touched) == set()
    assert found(now) == set(), "what it need not name is right too"
    without = {name: each for name, each in touched.items() if name != boots}
    assert found(without) == {"orders category boots"}
    assert found(touched | {boots: was.get(boots, touched[fashion])}) != set()
    assert found(touched, gone=()) >= {"orders payment_method cod"}
    assert found(touched, gone=(*gone, ":".join(boots))) == {"orders category boots"}
    again = VERSION, hour_closed(start_ms, without.values(), cause="definition", gone=gone)
    closed_since = VERSION, hour_closed(start_ms, now.values())
    assert journal_differs(flow, known, audit, whole, again, closed_since) == set()


@pytest.mark.parametrize("last", [VERSION, VERSION + 1])
def test_what_definitions_read_from_labels_that_were_cut_is_judged_by_those(last, monkeypatch):
    """After a day an hour keeps its largest labels alone: what later definitions make of it is right.

    Also once others came after those, and the record holds the hour by the last.
    """
    monkeypatch.setattr("streams.index.summed_labels.LABEL_EVENTS_MIN", 45)
    flow = sold()
    sold(2, flow=flow, first=30 * 60)
    for version in range(VERSION, last + 1):
        flow.methodology = by_document(version)
        for partition in flow.compiles:
            flow.start_compile(partition)
            for market in flow.compiles[partition].markets.values():
                for slot in market.ledger.merged.values():
                    slot.written = False  # so that its record is of the new definitions
        sold(2, flow=flow, first=30 * 60 + 2 * (version - VERSION + 1))
    known = defined(last=last)
    audit = judged(flow, known)
    assert not [each for each in audit.report.differences if each.stage == "merged"]
    start_ms = T0 - T0 % HOUR_MS
    cut = audit.finals.made_of_cut(audit.merged, "PK", "hour", start_ms, VERSION)
    whole = audit.finals.values("PK", "hour", start_ms, VERSION)
    name = "units", "category", "boots"
    assert cut[name].observed < whole[name].observed
    for closed, right in ((cut, True), (whole, True), (cut | {name: whole[name]}, False)):
        found = closings_differ(flow, known, audit, start_ms, closed.values())
        assert (not found) == right
    monkeypatch.setattr(MergedLog, "_cut_sums", lambda *_: None)
    found = {
        each.field
        for each in audited(flow, defined(last=last)).differences
        if each.stage == "merged"
    }
    assert "category/boots/orders" in found
    assert "orders" not in found


@pytest.mark.parametrize("wrong", ["more", "other"])
def test_labels_that_are_cut_without_their_member_are_found(wrong, monkeypatch):
    """By the definitions that cut them too, whose rows are right."""
    monkeypatch.setattr("streams.index.summed_labels.LABEL_EVENTS_MIN", 45)
    if wrong == "more":
        monkeypatch.setattr(MemberRows, "cut", lambda _, stored: f"{stored[0]}{MORE}")
    else:
        monkeypatch.setattr(MemberRows, "_successor", lambda *_: None)
    flow = sold()
    sold(2, flow=flow, first=30 * 60)
    report = audited(flow)
    fields = {each.field for each in report.differences}
    if wrong == "more":
        assert {"category (cut of books) orders", "category (more) units"} <= {
            each.replace("/", " ") for each in fields
        }
        assert {each.stage for each in report.differences} == {"merged"}
        return
    assert report.equal
    flow.methodology = by_document()
    for partition in flow.compiles:
        flow.start_compile(partition)
        for market in flow.compiles[partition].markets.values():
            for slot in market.ledger.merged.values():
                slot.written = False
    sold(2, flow=flow, first=30 * 60 + 2)
    report = audited(flow, defined())
    assert "category/men's fashion/orders" in {
        each.field for each in report.differences if each.stage == "merged"
    }


@pytest.mark.parametrize(
    ("member", "each"),
    {
        "a label that it lists": ("boots", MemberDefinition(parent="fashion")),
        "its parent": ("boots", MemberDefinition(labels=("shoes",))),
    }.values(),
)
def test_a_document_that_workers_read_otherwise_is_found(member, each):
    other = msgspec.structs.replace(DOCUMENT, category={**DOCUMENT.category, member: each})
    report = audited(sold(methodology=by_document()), defined(other))
    assert {found.stage for found in report.differences} == {"merged", "values"}
    assert any("fashion" in found.key or "boots" in found.key for found in report.differences)


def test_a_row_of_the_partials_that_is_wrong_by_one_label_is_found():
    flow = sold()
    log = next(each for each in flow.partials if each.records)
    live = [each for each in log.records if each.value is not None]
    rows = [each for each in live if isinstance(parse_key(each.key), PartialKey)]
    found = [(each, msgspec.msgpack.decode(each.value, type=PartialRecord)) for each in rows]
    last, record = [each for each in found if "0shoes" in each[1].row.labels][-1]
    record.row.labels[record.row.labels.index("0shoes")] = "0sandals"
    last.value = msgspec.msgpack.encode(record)
    report = audited(flow)
    names = {each.field for each in report.differences if each.stage == "partials"}
    assert {"category sandals", "category shoes"} <= names
    assert {each.stage for each in report.differences} == {"partials"}


def test_a_merged_slot_that_is_wrong_by_one_label_is_found():
    flow = sold()
    names = set()
    for table in flow.tables.values():
        for key, value in table.items():
            if key[:5] not in (b"m|PK|", b"d|PK|"):
                continue
            record = decode_merged(value)
            rest, panes, labelled = decode_labels(record.labels, LIVE_BOOK)
            held = next((each for each in panes.values() if "0shoes" in each.packed().labels), None)
            if held is None:
                continue
            row = held.packed()
            row.labels[row.labels.index("0shoes")] = "0sandals"
            at = next(start for start, each in panes.items() if each is held)
            panes[at] = HeldLabels(LIVE_BOOK)
            panes[at].add(encode_row(row))
            record.labels = encode_labels(rest, panes, labelled)
            table[key] = encode_merged(record)
            names.add(key.split(b"|")[2].decode())
    assert names
    report = audited(flow)
    fields = {each.field for each in report.differences}
    assert {each.stage for each in report.differences} == {"merged"}
    assert {"category sandals", "category/sandals/orders"} <= fields
    assert "orders" not in fields  # the row is right


def test_a_level_2_that_counts_an_order_twice_in_a_member_is_found(monkeypatch):
    monkeypatch.setattr("streams.index.member_rows.unite", lambda *_: None)
    report = audited(sold())
    stages = {each.stage for each in report.differences}
    assert stages == {"merged", "values"}
    fields = {each.field for each in report.differences if each.stage == "merged"}
    assert "category/other/orders" in fields
    assert "category/other/units" not in fields
