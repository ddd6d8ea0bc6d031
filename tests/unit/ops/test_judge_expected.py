"""The audit's stage `expected`: silent about what was published, loud about what was changed."""

from __future__ import annotations

import msgspec
import pytest
from support.explained import MIDNIGHT, Market, journal, stored, values_log
from support.flow_harness import METHODOLOGY

from streams.index.history import SaidFactor, factor_record
from streams.index.learning import WHOLE
from streams.index.panes import HOUR_MS, rfc3339
from streams.ops.audit.journal_record import decode_journal
from streams.ops.audit.judge_expected import ExpectedJudge
from streams.ops.audit.report import EXPECTED, Report
from streams.ops.explain.factors import HEARD_WITHIN_MS, SaidFactors
from streams.publish.journal import VALUES_TOPIC, version_of

EID = SaidFactor("PK", *WHOLE, rfc3339(MIDNIGHT - HOUR_MS), rfc3339(MIDNIGHT + HOUR_MS), 2.0)


@pytest.fixture(scope="module")
def records():
    opened = MIDNIGHT - 26 * HOUR_MS
    market = Market(rate=40.0, seeded_until=opened)
    market.flow.book.apply(*factor_record(EID))
    market.open(opened, 26 * 60 + 12)
    return stored(market.flow)


def said(stamp_ms):
    key, value = factor_record(EID)
    return key, value, stamp_ms


def judged(records, *, factor_ms=0, change=None):
    """Report of the stage; ``change``: (part of a key, fields) of a stored value."""
    if change is not None:
        records = [changed(each, *change) for each in records]
    report = Report()
    judge = ExpectedJudge(METHODOLOGY, values_log(records).markets, report)
    factors = judge._factors["PK"]
    factors.take(*said(factor_ms))
    for each in journal(records):
        judge.take_journal(decode_journal(each.value), version_of(each.headers), each.where)
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


def test_a_factor_said_after_a_value_was_written_is_not_in_it(records):
    last_ms = records[-1].timestamp_ms
    assert judged(records, factor_ms=last_ms).equal
    assert not judged(records, factor_ms=last_ms + 1).equal


def test_a_worker_may_not_have_heard_a_factor_yet():
    factors = SaidFactors(METHODOLOGY.markets["PK"])
    factors.take(*said(100_000))
    assert [len(each) for each in factors.candidates(99_999)] == [0]
    assert [len(each) for each in factors.candidates(100_000)] == [1, 0]
    assert [len(each) for each in factors.candidates(100_000 + HEARD_WITHIN_MS)] == [1]
    factors.take(EID.key, None, 200_000)  # taken back
    assert [len(each) for each in factors.candidates(200_000)] == [0, 1]
    factors.take(b"PK|hour|x|s", b"{}", 0)
    factors.take(b"nonsense", b"{}", 0)
    assert factors.at(100_000) == [EID.as_factor()]
