"""Retention drops slots whole: a row of a dropped slot that is read again changes nothing."""

import pytest

from streams.flow import ledger as ledger_module
from streams.flow.changed_slots import ChangedSlots
from streams.flow.chunk import SourcePartition
from streams.flow.ledger import Ledger
from streams.flow.merged import (
    DAY_KIND,
    HOUR,
    HOURS_KEPT_MS,
    HOURS_LABELLED_MS,
    MINUTE,
    MINUTES_KEPT_MS,
    QUARTER,
)
from streams.flow.state import DAY, LIVE, SlotKey
from streams.index.label_rows import PackedRow
from streams.index.panes import HOUR_MS, MINUTE_MS, QUARTER_MS
from streams.index.summed_labels import encode_row
from tests.support.events import T0
from tests.support.flow_harness import METHODOLOGY

SP = SourcePartition("orders", 0)
PK = METHODOLOGY.markets["PK"]
NO_LABELS = encode_row(PackedRow([]))


def folded(pane_ms: int) -> tuple[Ledger, list[int]]:
    """A ledger in which one pane of one source partition is merged, and the pane's row."""
    ledger = Ledger(PK, METHODOLOGY)
    row = [1] * ledger.layout.live_width
    ledger.apply_row(
        SlotKey("PK", LIVE, pane_ms), SP, 7, row, b"", b"key", offset=0, labels=NO_LABELS
    )
    ledger.fold_closed(SP, pane_ms + HOUR_MS)
    ledger.drain()
    ledger.take_garbage()
    return ledger, row


@pytest.mark.parametrize(
    ("kind", "length_ms", "kept"),
    [
        (QUARTER, QUARTER_MS, {HOUR}),
        (HOUR, HOUR_MS, set()),
    ],
)
def test_a_row_in_the_later_half_of_a_dropped_slot_changes_nothing(kind, length_ms, kept):
    start_ms = T0 - T0 % HOUR_MS
    pane_ms = start_ms + length_ms - MINUTE_MS
    ledger, row = folded(pane_ms)
    kept_ms = {QUARTER: ledger.quarters_kept_ms, HOUR: HOURS_KEPT_MS}[kind]
    # The limit lies within the slot, before the pane.
    gone = {each for each, _ in ledger.expire(start_ms + kept_ms + length_ms // 2)}
    assert gone == {MINUTE, QUARTER, HOUR} - kept

    ledger.apply_row(
        SlotKey("PK", LIVE, pane_ms), SP, 7, row, b"", b"key", offset=0, labels=NO_LABELS
    )

    assert ledger.drain() == ChangedSlots()
    assert list(ledger.garbage) == [b"key"]
    assert {each for each, _ in ledger.merged} == kept


def test_what_changed_is_taken_once_and_stays_as_it_was_taken():
    ledger = Ledger(PK, METHODOLOGY)
    live, day = [1] * ledger.layout.live_width, [1] * ledger.layout.day_width
    ledger.apply_row(SlotKey("PK", LIVE, T0), SP, 7, live, b"", b"a", offset=0, labels=NO_LABELS)
    ledger.apply_row(SlotKey("PK", DAY, 20_000), SP, 7, day, b"", b"b", offset=1, labels=NO_LABELS)
    ledger.apply_row(
        SlotKey("PK", DAY, 20_001), SP, 7, day, b"", b"c", offset=2, labels=NO_LABELS, news=False
    )
    assert (ledger.changed_before(T0), ledger.changed_before(T0 + 1)) == (False, True)
    assert ledger.days_changed
    changed = ledger.drain()
    ledger.apply_row(
        SlotKey("PK", LIVE, T0), SP, 8, [2, *live[1:]], b"", b"d", offset=3, labels=NO_LABELS
    )
    assert changed == ChangedSlots(frozenset({T0}), frozenset({20_000}))
    assert ledger.drain() == ChangedSlots(frozenset({T0}))
    assert ledger.drain() == ChangedSlots()
    assert not ledger.days_changed


def test_label_rows_of_open_days_are_kept():
    ledger = Ledger(PK, METHODOLOGY)
    row = [1] * ledger.layout.day_width

    def apply(day, through, number, sp=SP):
        labels, key = encode_row(PackedRow([0, number])), f"{day}|{sp}".encode()
        ledger.apply_row(
            SlotKey("PK", DAY, day), sp, through, row, b"", key, offset=0, labels=labels
        )

    def kept(day):
        return [each.numbers[1] for each in ledger.label_rows((DAY_KIND, day))]

    apply(20_000, 7, 1)
    apply(20_001, 7, 2)
    apply(20_001, 7, 3, SourcePartition("orders", 1))
    apply(20_001, 6, 4)  # an older one, of another writer
    assert (kept(20_000), kept(20_001)) == ([1], [2, 3])
    apply(20_001, 8, 5)  # equal numbers of members, other labels
    assert kept(20_001) == [5, 3]
    apply(20_002, 9, 6)
    apply(20_000, 9, 7)
    assert (kept(20_000), kept(20_001), kept(20_002)) == ([7], [5, 3], [6])


def test_an_open_row_is_dropped_with_its_hour():
    start_ms = T0 - T0 % HOUR_MS
    ledger = Ledger(PK, METHODOLOGY)
    row = [1] * ledger.layout.live_width
    pane_ms = start_ms + HOUR_MS - MINUTE_MS
    ledger.apply_row(
        SlotKey("PK", LIVE, pane_ms), SP, 7, row, b"", b"key", offset=0, labels=NO_LABELS
    )
    list(ledger.expire(start_ms + HOURS_KEPT_MS + HOUR_MS // 2))
    assert ledger.hour_sum(start_ms) is None
    assert list(ledger.garbage) == [b"key"]


@pytest.mark.parametrize("interrupted", ["by nothing", "by a late row", "by time that leaps"])
def test_an_old_hour_is_cut_some_labels_at_a_step(interrupted, monkeypatch):
    monkeypatch.setattr(ledger_module, "CUT_IN_A_STEP", 5)
    start_ms = T0 - T0 % HOUR_MS
    ledger = Ledger(PK, METHODOLOGY)

    def sell(minute: int, books: int, offset: int = 0) -> None:
        texts = ["0books", *(f"0new {minute} {at}" for at in range(3))]
        numbers = [0, books, 24, books, 27, 1, 30, 1, 33, 1]
        packed = PackedRow(numbers, texts)
        slot = SlotKey("PK", LIVE, start_ms + minute * MINUTE_MS)
        row = ledger.members.live(packed)
        ledger.apply_row(slot, SP, 7, row, b"", b"k", offset=offset, labels=encode_row(packed))
        ledger.fold_closed(SP, slot.slot + HOUR_MS)

    for minute in range(4):
        sell(minute, 2)
    hour = ledger.merged[HOUR, start_ms]
    until_ms = start_ms + HOURS_LABELLED_MS + MINUTE_MS
    reads = 0
    list(ledger.expire(until_ms))
    while hour.labels is None:
        reads += 1
        if reads == 2 and interrupted == "by a late row":
            sell(59, 1, offset=9)
            assert hour.labels is not None
        elif reads == 2 and interrupted == "by time that leaps":
            list(ledger.expire(start_ms + MINUTES_KEPT_MS + 1))
            assert hour.labels is not None
            assert (MINUTE, start_ms) not in ledger.merged
        else:
            list(ledger.expire(until_ms))
    assert reads == (4 if interrupted == "by nothing" else 2)  # two rows a step, each twice
    late = interrupted == "by a late row"
    (row,) = ledger.label_rows((HOUR, start_ms))
    assert row.labels == ["0books", "0\0"]
    assert row.numbers == [0, 9, 24, 9, 27, 15] if late else [0, 8, 24, 8, 27, 12]
    assert ledger.members.live(row) == ledger.hour_sum(start_ms)
    assert not hour.written
