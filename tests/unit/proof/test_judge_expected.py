"""The audit's stage `expected` finds changed values and accepts published ones."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from support.bases import based
from support.explained import (
    DEFINED,
    MIDNIGHT,
    Market,
    days_of_the_log,
    hours_of_the_log,
    journal,
    stored,
    values_log,
)
from support.flow_harness import METHODOLOGY, Flow, order, payment
from support.records import VALUES_TOPIC

from streams.flow.history_book import HistoryBook
from streams.flow.state import NEVER_MS
from streams.index.history_records import DeclaredFactor, declaration_records, factor_record
from streams.index.instants import parse_instant
from streams.index.learning import WHOLE
from streams.index.panes import DAY_MS, HOUR_MS, day_number, rfc3339
from streams.index.values import Snapshot, decimal
from streams.proof.audit.judge_expected import ExpectedJudge
from streams.proof.audit.judge_levels import judge_levels
from streams.proof.audit.report import EXPECTED, REDIS, Report
from streams.proof.recompute.defined_markets import DefinedMarkets
from streams.proof.recompute.slots import Blind, SlotCalendar
from streams.publish.journal import version_of
from streams.publish.keys import market_keys
from streams.records.factors import HEARD_WITHIN_MS, FactorHistory
from streams.records.journal_record import decode_journal
from streams.records.kafka_logs import Stored
from streams.records.redis_reader import MarketRedis

pytestmark = pytest.mark.slow

EID = DeclaredFactor("PK", *WHOLE, rfc3339(MIDNIGHT - HOUR_MS), rfc3339(MIDNIGHT + HOUR_MS), 2.0)


@pytest.fixture(scope="module")
def market():
    opened = MIDNIGHT - 26 * HOUR_MS
    found = Market(rate=40.0, seeded_until=opened)
    found.declare(*factor_record(EID))
    found.open(opened, 26 * 60 + 12)
    return found


@pytest.fixture(scope="module")
def records(market):
    return stored(market.flow)


def declaration(stamp_ms):
    key, value = factor_record(EID)
    return key, value, stamp_ms


def judged(records, *, factor_ms=0, change=None, factors=None, journaled=None, redis=None):
    """Report of the stage; ``change``: (part of a key, fields) of a stored value."""
    if change is not None:
        records = [changed(each, *change) for each in records]
    report = Report()
    judge = ExpectedJudge(METHODOLOGY, values_log(records).markets, report, DEFINED)
    for each in [declaration(factor_ms)] if factors is None else factors:
        judge._factors["PK"].add_record(*each)
    for each in journal(records):
        record = decode_journal(each.value)
        if journaled is not None:
            journaled(record)
        judge.take_journal(record, version_of(each.headers), each)
    if redis is not None:
        judge.judge_redis(redis)
        return report
    judge.judge()
    return report


def changed(record, part, fields):
    if record.topic != VALUES_TOPIC or part not in record.key or record.value is None:
        return record
    content = msgspec.json.decode(record.value) | fields
    return record._replace(value=msgspec.json.encode(content))


def test_every_published_expectation_is_what_the_journal_says(records):
    report = judged(records)
    assert report.equal, "\n".join(report.lines())
    assert report.judged[EXPECTED] > 700
    reasons = [each.reason for each in report.not_judged]
    assert reasons == [], "nothing was cut off here"


@pytest.mark.parametrize(
    ("part", "fields", "names"),
    [
        (b"|orders|market|all|5m", {"expected": 1.25}, {"expected"}),
        (b"|demand_index_sales|category|books|1h", {"expected": 1.25}, {"expected"}),
        (b"|demand_index_sales|category|books|1h", {"value": 99.5}, {"value"}),
        (b"|payment_index|market|all|24h", {"lower": 0.0}, {"lower"}),
        (b"|mix_shift|market|all|1h", {"value": 0.0}, {"value"}),
        (b"|change_day|market|all|1h", {"value": 0.0}, {"value"}),
        (b"|sales|market|all|day|2026-11-23", {"upper": 1.0}, {"upper"}),
        (b"|demand_index_orders|market|all|1h", {"vintage": "2026-11-23"}, {"expected"}),
        (b"|demand_index_orders|market|all|1h", {"status": "warming"}, {"status"}),
    ],
)
def test_a_changed_field_is_found(records, part, fields, names):
    report = judged(records, change=(part, fields))
    assert names <= {each.field for each in report.differences}
    assert {each.stage for each in report.differences} == {EXPECTED}
    assert all(part.decode() in each.key for each in report.differences)
    assert all("ecindex explain" in each.act for each in report.differences)


@pytest.mark.parametrize(
    ("index", "member", "field"),
    [("orders", "all", "expected"), ("sales", "books", "lower"), ("payments", "cod", "upper")],
)
def test_a_changed_expectation_in_an_hour_closing_is_found(records, index, member, field):
    def wrong(record):
        for value in record.values if record.kind == "hour" else ():
            if (value.index, value.member, value.window) == (index, member, "1h"):
                changed_value = msgspec.structs.replace(value, **{field: 1e9})
                record.values[record.values.index(value)] = changed_value
                return

    report = judged(records, journaled=wrong)
    assert {each.field for each in report.differences} == {field}
    assert all(" closing 2026-11-2" in each.key for each in report.differences)
    assert len(report.differences) > 10


def test_a_closing_whose_vintage_is_gone_is_reported(records):
    def forget(record):
        if record.kind == "vintage" and record.vintage == "2026-11-22":
            record.vintage = "2026-01-01"

    report = judged(records, journaled=forget)
    assert report.judged[EXPECTED] > 700


class Redis:
    """What Redis holds of a market's last publication."""

    def __init__(self, market):
        made = market.flow.published["PK"]
        as_of, stamp = rfc3339(made.as_of_ms), rfc3339(made.as_of_ms + 7_000)
        self.values = {each.field: each for each in made.values}
        self.texts = {
            each.field: decimal(each.value) for each in made.values if each.value is not None
        }
        self.texts |= {
            f"{each.field}@status": each.status for each in made.values if each.status != "ok"
        }
        self.held = MarketRedis(
            "PK", market_keys("PK", "p"), made.fence,
            self.texts, {}, Snapshot("PK", as_of, stamp, 1, "live", []), {},
        )  # fmt: skip

    def judged(self, records, field=None, text=None, **change):
        """Report of Redis with one value of the snapshot, or text of the hash, changed."""
        values, texts = dict(self.values), dict(self.texts)
        if change:
            values[field] = msgspec.structs.replace(values[field], **change)
        if text is not None:
            texts[field] = text
        snapshot = msgspec.structs.replace(self.held.snapshot, values=list(values.values()))
        held = dataclasses.replace(self.held, values=texts, snapshot=snapshot)
        return judged(records, redis=held)


@pytest.fixture(scope="module")
def redis(market):
    return Redis(market)


def test_expectations_in_redis_are_judged(records, redis):
    report = redis.judged(records)
    assert report.equal, "\n".join(report.lines())
    assert report.judged[REDIS] > 500
    assert report.not_judged == []


@pytest.mark.parametrize(
    ("field", "change", "found"),
    [
        ("orders:market:all:5m", {"expected": 1.25}, "expected"),
        ("sales:category:books:1h", {"lower": -1.0}, "lower"),
        ("demand_index_orders:market:all:1h", {"value": 77.0}, "value"),
        ("demand_index_orders:market:all:1h", {"text": "77"}, "text"),
        ("mix_shift:market:all:24h", {"upper": 0.0}, "upper"),
    ],
)
def test_a_changed_expectation_in_redis_is_found(records, redis, field, change, found):
    report = redis.judged(records, field, **change)
    assert found in {each.field for each in report.differences}
    assert {(each.stage, each.key.endswith(field)) for each in report.differences} <= {
        (REDIS, True), (REDIS, False),
    }  # fmt: skip


def test_a_factor_declared_after_a_value_was_written_is_not_in_it(records):
    last_ms = records[-1].timestamp_ms
    assert judged(records, factor_ms=last_ms).equal
    assert not judged(records, factor_ms=last_ms + 1).equal


def test_a_worker_may_not_have_read_a_factor_yet():
    factors = FactorHistory(METHODOLOGY.markets["PK"])
    factors.add_record(*declaration(100_000))
    assert [len(each) for each in factors.candidates(99_999)] == [0]
    assert [len(each) for each in factors.candidates(100_000)] == [1, 0]
    assert [len(each) for each in factors.candidates(100_000 + HEARD_WITHIN_MS)] == [1]
    factors.add_record(EID.key, None, 200_000)  # taken back
    assert [len(each) for each in factors.candidates(200_000)] == [0, 1]
    factors.add_record(b"PK|hour|x|s", b"{}", 0)
    factors.add_record(b"nonsense", b"{}", 0)
    assert factors.declared_until(100_000) == [EID.as_factor()]


def test_a_revoked_factor_still_counts_for_values_written_before_it_was_revoked(records):
    last_ms = records[-1].timestamp_ms
    topic = [
        *((0, *each) for each in declaration_records(EID, 0)),
        *(
            (last_ms + 10, *each)
            for each in declaration_records(EID, last_ms + 10, taken_back=True)
        ),
    ]
    compacted = [each for each in topic if each[1] != EID.key]
    assert len(compacted) == 2, "of the factor's own key compaction leaves nothing"
    report = judged(records, factors=[(key, value, ms) for ms, key, value in compacted])
    assert report.equal, "\n".join(report.lines())
    factors = FactorHistory(METHODOLOGY.markets["PK"])
    for stamp_ms, key, value in compacted:
        factors.add_record(key, value, stamp_ms)
    assert factors.declared_until(last_ms + 9) == [EID.as_factor()]
    assert factors.declared_until(last_ms + 10) == []
    assert factors.lasting == {EID.key}


def test_a_worker_applies_a_factor_once():
    book = HistoryBook(["PK"])
    for key, value in declaration_records(EID, 5):
        book.apply_record(key, value)
    assert book.markets["PK"].declared() == [EID.as_factor()]
    assert book.markets["PK"].version == 1
    for key, value in declaration_records(EID, 6, taken_back=True):
        book.apply_record(key, value)
    assert book.markets["PK"].declared() == []
    assert book.take_refused() == []


@pytest.fixture(scope="module")
def learnt():
    """Three days observed: their hours beat the seed's in the vintage of the day after tomorrow."""
    opened = MIDNIGHT - 3 * 24 * HOUR_MS
    found = Market(rate=20.0, seeded_until=opened)
    found.open(opened, 3 * 24 * 60 + 30)
    found.open(MIDNIGHT + HOUR_MS // 2, 23 * 60 + 45)
    return found, stored(found.flow), hours_of_the_log(found.flow)


def relearnt(learnt, *, hours=None, said_ms=0, change=None, shift=None, blind_ms=NEVER_MS):
    market, records, counted = learnt
    report = Report()
    judge = ExpectedJudge(METHODOLOGY, values_log(records).markets, report, DEFINED)
    for key, value in market.history:
        judge.take_history(Stored("history", 0, 0, key, value, (), said_ms, 0))
    for each in journal(records):
        record = decode_journal(each.value)
        if record.kind == "hour":
            continue  # judged by tests of their own
        if record.kind == "vintage" and change is not None:
            change(record.series)
        judge.take_journal(record, version_of(each.headers), each)
    if shift is not None:
        judge.shifts.add_shift(Stored("shifts", 0, 0, b"k", msgspec.json.encode(shift), (), 0, 0))
    judge.judge_vintages(
        lambda *_: counted if hours is None else hours, ("orders", "payments"), blind_ms
    )
    return report


@pytest.mark.deep
def test_a_vintage_is_learnt_again_from_log_and_seed(learnt):
    report = relearnt(learnt)
    assert report.equal, "\n".join(report.lines())
    assert report.judged[EXPECTED] > 40
    assert report.not_judged == []


@pytest.mark.deep
def test_a_changed_vintage_hour_or_band_is_found(learnt):
    def one_more(series):
        series[0].expected[5] += 1

    def wider(series):
        series[0].noise_day += 1

    def one_less(series):
        del series[-1]

    for change, field in ((one_more, "hour 5"), (wider, "noise_day"), (one_less, "orders")):
        report = relearnt(learnt, change=change)
        assert not report.equal
        assert all(field in each.field or change is one_less for each in report.differences)


@pytest.mark.deep
def test_an_hour_of_the_log_that_was_not_learnt_is_found(learnt):
    _, _, counted = learnt
    at = ("PK", MIDNIGHT - 60 * HOUR_MS)
    hours = {**counted, at: {**counted[at], "orders": counted[at]["orders"] + 5}}
    report = relearnt(learnt, hours=hours)
    assert any(each.field.startswith("market all orders") for each in report.differences)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (
            {"shift": {"market": "PK", "event": "page", "at": rfc3339(0)}},
            "a shift in the six weeks",
        ),
        ({"shift": {"market": "PK", "event": "end", "at": rfc3339(MIDNIGHT)}}, "a shift in the"),
        ({"shift": {"of": "nobody"}}, "a shift in the six weeks"),
        ({"blind_ms": MIDNIGHT}, "the beginning of the log is gone"),
    ],
)
@pytest.mark.deep
def test_a_vintage_that_cannot_be_learnt_again_is_reported(learnt, how, reason):
    report = relearnt(learnt, **how)
    assert report.equal
    assert report.judged[EXPECTED] == 0
    assert {each.reason.startswith(reason) for each in report.not_judged} == {True}


@pytest.mark.deep
def test_shifts_of_others_or_over_before_do_not_count(learnt):
    for shift in (
        {"market": "BD", "event": "page", "at": rfc3339(0)},
        {"market": "PK", "event": "end", "at": rfc3339(0)},
    ):
        assert relearnt(learnt, shift=shift).judged[EXPECTED] > 40


@pytest.mark.deep
def test_seeds_declared_again_may_hide_earlier_ones(learnt):
    _, records, _ = learnt
    later_ms = records[-1].timestamp_ms + 1
    assert relearnt(learnt, said_ms=later_ms).equal, "the same seed again: the same vintage"

    def one_more(series):
        series[0].expected[5] += 1

    report = relearnt(learnt, said_ms=later_ms, change=one_more)
    assert report.equal
    assert {each.reason.split(":")[0] for each in report.not_judged} == {
        "seeds were published since"
    }


# -- the level index -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def levelled():
    """(flow, records) of a market of old orders, whose base and first days are final."""
    base = based("BR", "2017-01-03", "2017-01-05")
    flow = Flow(base, partitions=1)
    (sp,), (paid,) = flow.sps["orders"], flow.sps["payments"]
    flow.now_ms = parse_instant("2026-11-24T00:00:00Z")
    begin_ms = parse_instant("2017-01-02T15:00:00Z")
    for day in range(50):
        at_ms = begin_ms + day * DAY_MS
        lines = [("books_technical", 1, 1_000 + 10 * day)]
        sold = order(f"o{day}", at_ms, market="BR", currency="BRL", lines=lines)
        flow.produce(sp, sold, at_ms)
        if day == 10:
            gone = order(
                "c", at_ms, market="BR", currency="BRL", kind="order.cancelled",
                lines=[("books_technical", 1, 500)],
                placed_at=rfc3339(begin_ms + DAY_MS),
            )  # fmt: skip
            flow.produce(sp, gone, at_ms)
        flow.produce(paid, payment(f"p{day}", at_ms, market="BR", currency="BRL"), at_ms)
        flow.run(caught_up=False)
    return base, flow, stored(flow)


def judged_levels(levelled, *, part=b"", days=None, **fields):
    """Report of what is judged of levels; ``fields``: of a stored value or fence record."""
    methodology, flow, records = levelled
    if fields:
        records = [changed(each, part, fields) for each in records]
    report = Report()
    published = values_log(records).markets
    judge = ExpectedJudge(methodology, published, report, DefinedMarkets(methodology))
    for each in journal(records):
        judge.take_journal(decode_journal(each.value), version_of(each.headers), each)
    judge.judge()
    calendar = SlotCalendar(methodology)
    sums = days_of_the_log(flow) if days is None else days
    judge_levels(methodology, published, sums, calendar, Blind(calendar), report)
    return report


def found_in(report):
    return [(each.key, each.field, each.expected, each.found) for each in report.differences]


def test_levels_and_their_base_are_what_the_log_says(levelled):
    report = judged_levels(levelled)
    assert found_in(report) == []
    assert report.judged[EXPECTED] > 2 * 49
    assert report.as_json()["not_judged"] == []


def test_a_changed_level_is_found(levelled):
    key = "BR|sales_level_index|market|all|day|2017-01-20"
    report = judged_levels(levelled, part=key.encode(), value=99.0)
    level = 100 * 1_180 * 2 / (1_010 - 500 + 1_020)
    assert found_in(report) == [(key, "value", str(level), "99.0")]


def test_a_day_without_a_level_is_found(levelled):
    key = b"BR|sales_level_index|market|all|day|2017-01-20"
    methodology, flow, records = levelled
    report = judged_levels((methodology, flow, [each for each in records if each.key != key]))
    assert found_in(report) == [(key.decode(), "record", "one of 2017-01-20", "nothing")]


def test_a_base_that_the_log_does_not_give_is_found(levelled):
    days = days_of_the_log(levelled[1])
    days["BR", day_number("2017-01-03")]["placed/sales"] += 1
    report = judged_levels(levelled, days=days)
    assert found_in(report) == [("BR base 2017-01-03/2017-01-04", "net_minor", "1531", "1530")]
