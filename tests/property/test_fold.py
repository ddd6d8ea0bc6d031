"""Level 1 equals the batch recomputation of its log prefix, however it is cut and wherever it dies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.flow import plain
from streams.flow import state as state_module
from streams.flow.chain import Identity
from streams.flow.chunk import SourcePartition
from streams.flow.fold import SourceFold
from streams.flow.remembered import hash_of
from streams.flow.rows import add_order, add_payment, add_placed
from streams.flow.source import SourceLevel
from streams.flow.source_state import SourceState
from streams.flow.state import CHECKPOINT, DAY, FOREVER_MS, LIVE
from streams.flow.wire import decode_mark, decode_partial, parse_key
from streams.index.event_types import OrderEvent, PaymentEvent
from streams.index.events import decode_orders, decode_payments
from streams.index.known_labels import KnownLabels
from streams.index.label_rows import DAY_BOOK, LIVE_BOOK, PLACED_PART, LabelRow
from streams.index.panes import rfc3339
from streams.index.partials import PLACED_AT
from tests.support.by_name import expected_row, said_row, without_zeros
from tests.support.events import (
    Sent,
    chunk_of,
    corrected_logs,
    encoded,
    order_events,
    payment_events,
    source_logs,
    tuned,
)
from tests.support.flow_harness import METHODOLOGY
from tests.support.reference import (
    Limits,
    Room,
    Rules,
    SourceReference,
    day_counts,
    live_counts,
)
from tests.support.reference.contract import validate

REMEMBERED_MAX = 3
ARTICLES_MAX = 2
IDENTITY = Identity(1, METHODOLOGY.content_hash, "topic-id", 1)


@pytest.fixture(autouse=True)
def _small_memories(monkeypatch):
    """Make panes lose and regain their id sets, and caches overflow, within a few events."""
    monkeypatch.setattr(state_module, "_WARM_PANES_MAX", 1)
    monkeypatch.setattr(state_module, "_COLD_HITS_MAX", 1)
    monkeypatch.setattr("streams.flow.fold_corrections.CORRECTIONS_MAX", REMEMBERED_MAX)
    monkeypatch.setattr("streams.flow.fold_corrections.ARTICLES_MAX", ARTICLES_MAX)
    monkeypatch.setattr("streams.flow.admission.DOUBTED_PANES_MAX", 2)
    monkeypatch.setattr("tests.support.reference.counting.DOUBTED_PANES", 2)
    monkeypatch.setattr("streams.flow.refused_orders.REFUSED_MAX", REMEMBERED_MAX)
    for name in ("fold_late", "fold_orders"):
        monkeypatch.setattr(f"streams.flow.{name}.LATE_MAX", REMEMBERED_MAX)
    monkeypatch.setattr("streams.index.known_labels._KNOWN_MAX", 4)
    monkeypatch.setattr("streams.index.instants._CACHE_MAX", 8)


def source(payments: bool) -> SourcePartition:
    return SourcePartition("payments" if payments else "orders", 0)


def reference_of(log, payments, methodology=METHODOLOGY) -> SourceReference:
    reference = SourceReference(Rules.of(methodology), payments)
    reference.remembered.most = REMEMBERED_MAX
    reference.remembered.most_articles = ARTICLES_MAX
    for offset, (value, timestamp_ms, doubtful) in enumerate(log):
        reference.add(offset, value, timestamp_ms, doubtful=doubtful)
    return reference


def rows_of(fold: SourceFold) -> dict:
    """Open slots by name, both books level."""
    fold.source.take_touched(CHECKPOINT)
    found = {}
    for code, state in fold.source.markets.items():
        for start, pane in state.panes.items():
            found[code, LIVE, start] = said_row(LIVE, pane.row.packed(), pane.shoppers())
        for number, day in state.days.items():
            found[code, DAY, number] = said_row(DAY, day.row.packed())
    return {key: row for key, row in found.items() if any(row)}


def check_against(fold: SourceFold, reference: SourceReference) -> None:
    through = fold.source.through
    assert fold.source.watermarks() == reference.watermarks_at(through)
    assert fold.source.doubts() == {
        code: [(hash_of(order), at_ms) for order, at_ms in doubts.items()]
        for code, doubts in reference.doubts_at(through).items()
    }
    rows = rows_of(fold)
    for key, row in rows.items():
        assert row == expected_row(reference, key, through), key
    open_now = {
        key
        for key in reference.slots()
        if any(expected_row(reference, key, through))
        and not fold.source.markets[key[0]].is_closed(_slot(key))
    }
    assert open_now == set(rows)


def _slot(key):
    from streams.flow.state import SlotKey

    return SlotKey(*key)


@pytest.mark.parametrize("payments", [False, True])
@given(data=st.data())
def test_any_chunking_equals_the_reference(payments, data):
    log = data.draw(source_logs(payments=payments))
    methodology = tuned(open_panes_max=data.draw(st.sampled_from([2, 128])))
    reference = reference_of(log, payments, methodology)
    fold = SourceFold(SourceState(source(payments), methodology, payments=payments))
    if not payments:
        compiled = data.draw(st.booleans()) and plain.COMPILED
        fold._orders = plain.OrderFold(fold.source, compiled=compiled)
    late, dead = {}, {}
    while fold.source.through + 1 < len(log):
        start = fold.source.through + 1
        stop = data.draw(st.integers(start + 1, len(log)))
        chunk = chunk_of(log, fold.source.sp, start, stop)
        cut = data.draw(st.integers(1, len(chunk)))
        for part in ((0, cut), (cut, len(chunk))):
            if part[0] == part[1]:
                continue
            folded = fold.fold(chunk, *part)
            late |= {record.offset: record for record in folded.late}
            dead |= {record.offset: record.reason for record in folded.dead}
        if data.draw(st.booleans()):
            fold.source.take_touched_live(FOREVER_MS)
        check_against(fold, reference)
    for outcome in ("too_late", "day_only"):
        found = {offset for offset, record in late.items() if record.reason == outcome}
        assert found == reference.with_outcome(outcome, len(log))
    assert dead == reference.reasons
    held = sum(
        len(pane.order) for state in fold.source.markets.values() for pane in state.panes.values()
    )
    assert fold.source.held_ids == held
    assert fold.source.pending_ids >= 0


@pytest.mark.parametrize("payments", [False, True])
@given(data=st.data())
def test_outcomes_are_counted_once_a_record(payments, data):
    log = data.draw(source_logs(payments=payments))
    reference = reference_of(log, payments)
    fold = SourceFold(SourceState(source(payments), METHODOLOGY, payments=payments))
    if not log:
        return
    outcomes = fold.fold(chunk_of(log, fold.source.sp, 0, len(log))).outcomes
    for outcome in ("accepted", "late", "day_only", "duplicate", "too_late", "dead", "ignored"):
        assert outcomes[outcome] == len(reference.with_outcome(outcome, len(log))), outcome
    for also in ("day_closed", "repeated", "unmatched", "unremembered"):
        found = sum(also in each.split() for each in reference.also.values())
        assert outcomes[also] == found, also


@pytest.mark.parametrize("payments", [False, True])
@given(data=st.data())
def test_whatever_is_sent_is_a_function_of_the_prefix_over_crashes_too(payments, data):
    log = data.draw(source_logs(payments=payments))
    methodology = tuned(open_panes_max=data.draw(st.sampled_from([2, 128])))
    reference = reference_of(log, payments, methodology)
    sp = source(payments)
    table: dict[bytes, bytes] = {}
    partials: dict = {}

    def owner(number: int) -> SourceLevel:
        level = SourceLevel(sp, methodology, IDENTITY, f"w{number}", 3, payments=payments)
        take(level.recover(dict(table)))
        return level

    def take(sends) -> None:
        for send in sends:
            parsed = parse_key(send.key)
            record = decode_partial(send.value)
            row = said_row(parsed.slot.book, record.row, record.shoppers)
            expected = expected_row(reference, parsed.slot, record.through)
            assert row == expected, (parsed.slot, record.through)
            held = partials.get(parsed.slot, (-1, None))
            if record.through >= held[0]:
                partials[parsed.slot] = (record.through, row)

    nonce = 0
    level = owner(nonce)
    steps = data.draw(st.lists(st.sampled_from("fffpcx"), max_size=25))
    for step in [*steps, "F"]:
        start = level.through + 1
        if step in "fF" and start < len(log):
            stop = len(log) if step == "F" else data.draw(st.integers(start + 1, len(log)))
            level.fold_chunk(chunk_of(log, sp, start, stop))
        elif step == "p":
            take(level.partials())
            for send in level.marks(0, None):
                mark = decode_mark(send.value)
                held = reference.watermarks_at(mark.through)
                assert all(held[code] == value for code, value in mark.watermarks.items())
        elif step == "c":
            take([*level.partials(FOREVER_MS), *level.day_partials()])
            if level.chain.due:
                flush = level.flush()
                table[flush.key] = flush.value
                for key in flush.delete_keys:
                    table.pop(key, None)
        elif step == "x":
            nonce += 1
            level = owner(nonce)
    take([*level.partials(FOREVER_MS), *level.day_partials()])
    for slot in reference.slots():
        expected = expected_row(reference, slot, len(log))
        if any(expected):
            assert partials[_slot(slot)][1] == expected


@given(order_events())
def test_the_rows_of_one_order_are_what_the_contract_says(event):
    (decoded,) = decode_orders([encoded(event)])
    event, reason = validate(encoded(event), payments=False)
    if reason:
        assert not isinstance(decoded, OrderEvent)
        return
    live, pane = LabelRow(LIVE_BOOK), Room(Limits(), 1_024)
    add_order(live, decoded, KnownLabels())
    expected = live_counts(event, pane)
    expected.pop(("shopper", event.get("shopper_id")), None)  # not in the row: beside it
    assert said_row(LIVE, live.packed()) == (
        without_zeros(expected),
        list(pane.labels),
        list(pane.sets),
    )
    if decoded.type == "order.placed":
        day, room = LabelRow(DAY_BOOK), Room(Limits(), 4_096)
        add_placed(day, PLACED_AT, PLACED_PART, decoded, KnownLabels())
        expected = without_zeros(day_counts(event, room))
        assert said_row(DAY, day.packed()) == (expected, list(room.labels), list(room.sets))


@given(payment_events())
def test_the_rows_of_one_payment_are_what_the_contract_says(event):
    (decoded,) = decode_payments([encoded(event)])
    event, reason = validate(encoded(event), payments=True)
    if reason:
        assert not isinstance(decoded, PaymentEvent)
        return
    live, day = LabelRow(LIVE_BOOK), LabelRow(DAY_BOOK)
    add_payment(live, day, decoded, KnownLabels())
    room = Room(Limits(), 1_024)
    expected = without_zeros(live_counts(event, room))
    assert said_row(LIVE, live.packed()) == (expected, list(room.labels), [])
    expected = without_zeros(day_counts(event, room))
    assert said_row(DAY, day.packed()) == (expected, list(room.labels), [])


@given(st.lists(order_events(), max_size=12))
def test_a_pane_and_its_day_are_the_sums_of_what_each_order_adds(events):
    """One pane, everything admitted: ``rows.add_order`` sums to its row, ``add_placed`` to its day's."""
    for number, event in enumerate(events):
        event.update(market="PK", currency="PKR", event_id=f"e{number}", type="order.placed")
        event["occurred_at"] = "2026-11-24T09:54:05Z"
        event.pop("placed_at", None)
        for line in filter(None, event["lines"]):
            if not all(
                isinstance(line.get(name), int) for name in ("quantity", "unit_price_minor")
            ):
                continue
            line["unit_price_minor"] %= 2**20
            line["quantity"] %= 2**10
            line["quantity"] += 1
    fold = SourceFold(SourceState(source(False), METHODOLOGY, payments=False))
    state = fold.source.markets["PK"]
    arrival = 1_795_514_045_000
    log = [Sent(encoded(event), arrival) for event in events]
    expected, expected_day = LabelRow(LIVE_BOOK), LabelRow(DAY_BOOK)
    for decoded in decode_orders([each.value for each in log]):
        add_order(expected, decoded, state.labels)
        add_placed(expected_day, PLACED_AT, PLACED_PART, decoded, state.labels)
    if not log:
        return
    fold.fold(chunk_of(log, fold.source.sp, 0, len(log)))
    fold.source.take_touched(CHECKPOINT)
    (pane,) = state.panes.values()
    (day,) = state.days.values()
    assert pane.row == expected
    assert day.row == expected_day


@given(log=corrected_logs(max_size=40), data=st.data())
def test_corrections_count_once_over_crashes_too(log, data):
    """Owners come and go between any two records; each recovers from the checkpoints alone."""
    if not log:
        return
    steps = st.sampled_from([0, 0, 1, 1, 1, 2])  # nothing, a flush, a flush and a new owner
    crashes = data.draw(st.lists(steps, min_size=len(log), max_size=len(log)))
    sp = source(False)
    reference = reference_of(log, False)
    table: dict[bytes, bytes] = {}

    def owner(nonce: str) -> SourceLevel:
        level = SourceLevel(sp, METHODOLOGY, IDENTITY, nonce, 3, payments=False, chain_length=2)
        level.recover(dict(table))
        return level

    level = owner("w0")
    for number, step in enumerate(crashes):
        level.fold_chunk(chunk_of(log, sp, number, number + 1))
        if step:
            level.partials(FOREVER_MS)
            level.day_partials()
            flush = level.flush()
            table[flush.key] = flush.value
            for key in flush.delete_keys:
                table.pop(key, None)
        if step > 1:
            level = owner(f"w{number + 1}")
    check_against(level._fold, reference)


@given(kinds=st.lists(st.sampled_from(["bad", "placed", "cancelled", "refunded"]), max_size=10))
def test_corrections_that_wait_for_a_refused_order_equal_the_reference(kinds):
    log, now_ms = [], 1_795_514_045_000
    for number, kind in enumerate(["bad", "cancelled", "placed", *kinds]):
        now_ms += 1_000
        line = {"sku": "s", "category": "books", "quantity": 1 + number % 2, "unit_price_minor": 7}
        event = {"event_id": f"e{number}", "type": f"order.{kind}", "order_id": "o", "market": "PK"}
        event |= {"currency": "PKR", "occurred_at": rfc3339(now_ms), "lines": [line]}
        event |= {"placed_at": event["occurred_at"]}
        if kind == "bad":
            event |= {"type": "order.placed", "currency": "XXX"}
        log.append(Sent(encoded(event), now_ms))
    fold = SourceFold(SourceState(source(False), METHODOLOGY, payments=False))
    fold.fold(chunk_of(log, fold.source.sp, 0, len(log)))
    check_against(fold, reference_of(log, False))
