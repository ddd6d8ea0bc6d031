"""The oracle and level 1 are two implementations: on any log they agree, on any tampering not."""

import random

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streams.flow.chain import CheckpointRecord
from streams.flow.chunk import SourcePartition
from streams.flow.source import SourceLevel
from streams.flow.state import DAY, NEVER_MS
from streams.index.label_rows import PackedRow
from streams.index.member_rows import MemberRows
from streams.index.panes import DAY_MS, rfc3339
from streams.index.partials import Layout, to_wire
from streams.proof.recompute.batch import SourceBatch
from streams.proof.recompute.label_columns import read_row
from streams.proof.recompute.member_sums import MemberSums
from streams.proof.recompute.slots import Blind, SlotCalendar
from streams.proof.recompute.sums import ColumnNames, differing
from tests.support.audited import IDENTITY, Limits, audited, columns_of, decoded, limited
from tests.support.events import T0, Sent, chunk_of, corrected_logs, encoded, source_logs, tuned
from tests.support.flow_harness import METHODOLOGY, order


def checkpoints(level, log, data) -> list[tuple[bytes, bytes | None]]:
    """Fold the log in chunks with a flush after some of them; the changelog that comes of it."""
    records: list[tuple[bytes, bytes | None]] = []
    while level.through + 1 < len(log):
        start = level.through + 1
        level.fold_chunk(
            chunk_of(log, level.sp, start, data.draw(st.integers(start + 1, len(log))))
        )
        if data.draw(st.booleans()):
            flush = level.flush()
            records.append((flush.key, flush.value))
            records += [(key, None) for key in flush.delete_keys]
    return records


@pytest.fixture(autouse=True)
def _few_panes_of_doubted(monkeypatch):
    monkeypatch.setattr("streams.flow.admission.DOUBTED_PANES_MAX", 2)
    monkeypatch.setattr("streams.proof.recompute.batch.PANES_OF_DOUBTED", 2)


NARROW = st.builds(
    Limits,
    st.integers(1, 3),
    st.integers(1, 4),
    st.one_of(st.integers(17, 200), st.just(10_000)),
    st.integers(0, 3),
    st.integers(2, 3),
)


@pytest.mark.parametrize("payments", [False, True])
@given(data=st.data())
def test_whatever_a_worker_checkpoints_is_found_equal(payments, data):
    log = data.draw(source_logs(payments=payments))
    methodology = tuned(open_panes_max=data.draw(st.sampled_from([2, 128])))
    sp = SourcePartition("payments" if payments else "orders", 0)
    level = SourceLevel(sp, methodology, IDENTITY, "w", 3, payments=payments)
    records = checkpoints(level, log, data)
    report = audited(sp, records, log, methodology, payments)
    assert report.equal, "\n".join(report.lines())


@st.composite
def orders_of_several_labels(draw, max_size: int = 25) -> list[Sent]:
    """Orders of several labels each, some of one member, that are placed, cancelled and refunded."""
    log, now_ms = [], T0
    categories = st.sampled_from(["books", "boots", "shoes", "a/b", "} + {", "computing", None])
    for number in range(draw(st.integers(1, max_size))):
        now_ms += draw(st.sampled_from([0, 0, 0, 1_000, 10 * 60_000]))
        kind = draw(st.sampled_from(["placed", "placed", "cancelled", "refunded"]))
        event = order(
            f"e{number}",
            now_ms - draw(st.sampled_from([0, 0, 200_000])),
            kind=f"order.{kind}",
            placed_at=rfc3339(T0 + draw(st.sampled_from([0, 0, 0, DAY_MS])))
            if kind != "placed"
            else None,
            payment_method=draw(st.sampled_from([None, "cod", "card", "barter", "shells"])),
            region=draw(st.sampled_from([None, "punjab", "nowhere"])),
            channel=draw(st.sampled_from([None, "web", "fax"])),
            order_id=draw(st.sampled_from("opq")),
        )
        event = {name: value for name, value in event.items() if value is not None}
        event["lines"] = [
            {
                "category": draw(categories),
                "sku": draw(st.sampled_from([None, "s", "t"])),
                "quantity": draw(st.integers(1, 2)),
                "unit_price_minor": draw(st.integers(0, 3)),
            }
            for _ in range(draw(st.integers(0, 4)))
        ]
        if draw(st.integers(0, 5)) == 0:
            event["currency"] = "XXX"  # it is refused, and what corrects it waits
        if draw(st.booleans()):
            event["refund_id"] = draw(st.sampled_from(["r", "s"]))
        log.append(Sent(encoded(event), now_ms))
    return log


@given(data=st.data())
def test_whatever_finds_no_room_is_found_equal_and_is_of_the_same_members(data):
    log = data.draw(
        st.one_of(orders_of_several_labels(), source_logs(payments=False), corrected_logs())
    )
    sp = SourcePartition("orders", 0)
    with limited(data.draw(st.one_of(NARROW, st.just(Limits())))):
        level = SourceLevel(sp, METHODOLOGY, IDENTITY, "w", 3, payments=False)
        records = checkpoints(level, log, data)
        report = audited(sp, records, log, METHODOLOGY, payments=False)
    assert report.equal, "\n".join(report.lines())
    for _, value in records:
        for row in [] if value is None else decoded(value).rows:
            assert members_differ(*row) == []


@given(data=st.data())
def test_payments_whose_methods_find_no_room_are_found_equal(data):
    log = data.draw(source_logs(payments=True))
    sp = SourcePartition("payments", 0)
    with limited(data.draw(NARROW)):
        level = SourceLevel(sp, METHODOLOGY, IDENTITY, "w", 3, payments=True)
        records = checkpoints(level, log, data)
        report = audited(sp, records, log, METHODOLOGY, payments=True)
    assert report.equal, "\n".join(report.lines())


def members_differ(code, book, _slot, packed: PackedRow) -> list:
    """Differences between the member row of a label row and the audit's own sums by member."""
    market = METHODOLOGY.markets[code]
    layout = Layout(market)
    members, day = MemberRows(layout), book == DAY
    row = (members.day if day else members.live)(packed)
    own = MemberSums(market).of(read_row(packed, day=day))
    return list(differing(own, ColumnNames(layout).read(to_wire(row), day=day)))


@pytest.mark.parametrize("payments", [False, True])
@given(data=st.data())
def test_a_changed_number_in_a_checkpoint_is_found(payments, data):
    log = data.draw(source_logs(payments=payments))
    sp = SourcePartition("payments" if payments else "orders", 0)
    level = SourceLevel(sp, METHODOLOGY, IDENTITY, "w", 3, payments=payments)
    records = checkpoints(level, log, data)
    live = {key: value for key, value in records if value is not None}
    assume(live)
    key = list(live)[-1]
    record = msgspec.msgpack.decode(live[key], type=CheckpointRecord)
    rows = [row for row in record.rows if row[3].numbers]
    assume(rows)
    sparse = data.draw(st.sampled_from(rows))[3].numbers
    at = data.draw(st.integers(0, len(sparse) // 2 - 1))
    sparse[2 * at + 1] = int(sparse[2 * at + 1]) + 1
    records.append((key, msgspec.msgpack.encode(record)))
    assert not audited(sp, records, log, METHODOLOGY, payments).equal


@given(log=corrected_logs(), data=st.data())
def test_a_correction_that_is_not_remembered_is_found(log, data):
    sp = SourcePartition("orders", 0)
    level = SourceLevel(sp, METHODOLOGY, IDENTITY, "w", 3, payments=False)
    records = checkpoints(level, log, data)
    live = {key: value for key, value in records if value is not None}
    assume(live)
    key = list(live)[-1]
    record = msgspec.msgpack.decode(live[key], type=CheckpointRecord)
    assume(record.notes)
    record.notes.pop()
    records.append((key, msgspec.msgpack.encode(record)))
    report = audited(sp, records, log, METHODOLOGY, payments=False)
    assert any("notes" in line for line in report.lines())


@pytest.mark.parametrize("payments", [False, True])
@given(data=st.data())
def test_outcomes_are_those_of_the_fold(payments, data):
    log = data.draw(source_logs(payments=payments))
    sp = SourcePartition("payments" if payments else "orders", 0)
    level = SourceLevel(sp, METHODOLOGY, IDENTITY, "w", 3, payments=payments)
    batch = SourceBatch(sp, METHODOLOGY, payments=payments, sink=lambda *_: None)
    batch.feed(range(len(log)), *columns_of(log))
    assume(log)
    folded = level.fold_chunk(chunk_of(log, sp, 0, len(log)))
    assert batch.outcomes["duplicate"] == folded.outcomes["duplicate"]
    for outcome in ("too_late", "day_only"):
        assert batch.outcomes[outcome] == folded.outcomes[outcome]
    assert batch.outcomes["accepted"] == folded.outcomes["accepted"] + folded.outcomes["late"]
    for reason in {record.reason for record in folded.dead}:
        own = sum(record.reason == reason for record in folded.dead)
        assert batch.outcomes[reason] == own, reason


def test_slots_before_the_first_record_left_cannot_be_judged():
    blind = Blind(SlotCalendar(METHODOLOGY))
    blind.add(SourcePartition("orders", 0), NEVER_MS)
    assert not blind
    blind.add(SourcePartition("orders", 1), 1_000)
    assert blind
    assert blind.before_ms("orders") == 1_000
    assert blind.before_ms("payments") == NEVER_MS


@pytest.mark.parametrize("seed", range(3))
def test_a_realistic_stream_is_found_equal(seed):
    # Long enough for panes to close while others hold several orders; events of few panes, as the
    # properties above draw them, do not show what goes wrong there.
    rng = random.Random(seed)
    sp = SourcePartition("orders", 0)
    log = []
    for number in range(1_500):
        at_ms = T0 + number * 250
        lag_ms = rng.choice([0, 0, 0, 0, 3_000, 30_000, 115_000, 130_000, -100_000, -400_000])
        event = order(
            f"e{number}",
            at_ms - lag_ms,
            market=rng.choice(["PK", "BD"]),
            currency=rng.choice(["PKR", "BDT"]),
            lines=[
                (rng.choice(["Books", "Computing", "?"]), rng.randint(1, 3), rng.randint(0, 999))
                for _ in range(rng.randint(1, 3))
            ],
            payment_method=rng.choice(["cod", "Easypay", "barter"]),
        )
        log += [Sent(encoded(event), at_ms)] * (2 if number % 40 == 0 else 1)
    level = SourceLevel(sp, METHODOLOGY, IDENTITY, "w", 3, payments=False)
    records = []
    for start in range(0, len(log), 400):
        level.fold_chunk(chunk_of(log, sp, start, min(start + 400, len(log))))
        level.partials()
        flush = level.flush()
        records.append((flush.key, flush.value))
    report = audited(sp, records, log, METHODOLOGY, payments=False)
    assert report.equal, "\n".join(report.lines())
    assert report.judged["checkpoint"] > 100
