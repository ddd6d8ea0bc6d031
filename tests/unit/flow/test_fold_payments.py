"""Payments: what counts in which book, and why one is set record."""

import json

import pytest

from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.fold import SourceFold
from streams.flow.source_state import SourceState
from streams.index import partials as col
from streams.index.event_types import PAYMENT_TYPES
from streams.index.panes import DAY_MS, rfc3339
from tests.support.events import tuned
from tests.support.flow_harness import METHODOLOGY, payment

T0 = 1_790_000_000_000 // DAY_MS * DAY_MS  # a midnight UTC; 05:00 in Karachi
SP = SourcePartition("payments", 0)
GRACE, AHEAD = METHODOLOGY.grace_ms, METHODOLOGY.ahead_ms


def fold_all(*events, methodology=METHODOLOGY, arrived_ms=T0):
    fold = SourceFold(SourceState(SP, methodology, payments=True))
    values = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    count = len(values)
    chunk = Chunk(SP, 0, count - 1, [b"k"] * count, values, [arrived_ms] * count)
    return fold, fold.fold(chunk)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (b"{", "invalid_json"),
        (payment("a", T0, market="XX"), "unknown_market"),
        (payment("a", T0, currency="EUR"), "wrong_currency"),
        (payment("a", T0) | {"occurred_at": "yesterday, about noon"}, "invalid_time"),
        (payment("a", T0 + AHEAD + 1), "ahead"),
        (payment("a", T0, placed_at=rfc3339(T0 + AHEAD + 1)), "placed_after_occurred"),
    ],
)
def test_a_payment_that_breaks_the_contract_is_dead_and_leaves_no_trace(event, reason):
    fold, folded = fold_all(event)
    assert [record.reason for record in folded.dead] == [reason]
    assert folded.outcomes == {"dead": 1}
    assert fold.source.open_panes == 0
    assert fold.source.held_ids == 0


def test_grace_decides_to_the_millisecond_and_a_published_pane_is_late():
    fold, folded = fold_all(
        payment("a", T0), payment("b", T0 - GRACE), payment("c", T0 - GRACE - 1)
    )
    assert folded.outcomes == {"accepted": 1, "late": 1, "too_late": 1}
    assert folded.late[0].detail == f"lateness {GRACE + 1} ms"
    assert fold.source.held_ids == 2


def test_the_same_id_in_the_same_pane_counts_once():
    fold, folded = fold_all(payment("a", T0, amount=5), payment("a", T0, amount=5))
    assert folded.outcomes == {"accepted": 1, "duplicate": 1}
    assert fold.source.markets["PK"].panes[T0].row.numbers[col.AMOUNT] == 5


def test_where_panes_are_too_many_the_oldest_gives_way_and_never_opens_again():
    pane_ms = METHODOLOGY.pane_ms
    fold, folded = fold_all(
        payment("old", T0 - pane_ms),
        payment("now", T0),
        payment("older than all", T0 - pane_ms),
        payment("sold now", T0 + pane_ms),
        payment("again", T0),
        payment("again now", T0 + pane_ms),
        methodology=tuned(open_panes_max=1),
    )
    assert folded.outcomes == {"accepted": 4, "too_late": 2}
    assert [record.offset for record in folded.late] == [2, 4]
    assert list(fold.source.markets["PK"].panes) == [T0 + pane_ms]
    assert fold.source.floors() == {"PK": T0 + pane_ms}


def test_a_payment_before_its_order_by_another_clock_counts_on_the_order_day():
    fold, folded = fold_all(payment("a", T0, placed_at=rfc3339(T0 + AHEAD)))
    assert folded.outcomes == {"accepted": 1}
    (day,) = fold.source.markets["PK"].days.values()
    assert day.row.numbers[col.DAY_PAYMENTS] == 1


@pytest.mark.parametrize("kind", PAYMENT_TYPES)
@pytest.mark.parametrize("placed", [T0, "the day before yesterday", False])
def test_a_payment_whose_order_day_cannot_be_read_counts_on_its_own_day_and_is_said(kind, placed):
    # It once was a dead letter: every payment of a shop that sends epoch milliseconds.
    fold, folded = fold_all(payment("a", T0, kind=kind, placed_at=placed), payment("b", T0))
    assert folded.outcomes == {"accepted": 2}
    assert {reason: part.lost for reason, part in folded.parts.items()} == {"placed_at": 1}
    assert folded.parts["placed_at"].detail.endswith(" - at `$.placed_at`")
    assert "yesterday" not in folded.parts["placed_at"].detail
    (day,) = fold.source.markets["PK"].days.values()
    captured = 1 + (kind == "payment.captured")
    assert day.row.numbers[col.DAY_PAYMENTS] == day.row.numbers[col.UNPLACED_PAYMENTS] == captured


@pytest.mark.parametrize("placed", [False, True])
def test_each_kind_of_payment_counts_in_both_books(placed):
    more = {"placed_at": rfc3339(T0)} if placed else {}
    fold, _ = fold_all(
        payment("a", T0, amount=1, **more),
        payment("b", T0, kind="payment.failed", amount=2, **more),
        payment("c", T0, kind="payment.refunded", amount=4, **more),
        payment("d", T0, kind="payment.refund_failed", amount=8, **more),
        payment("e", T0, kind="payment.disputed", amount=16, **more),
        payment("f", T0, kind="payment.reversed", amount=32, **more),
    )
    row = fold.source.markets["PK"].panes[T0].row.numbers
    assert (row[col.PAYMENTS], row[col.AMOUNT], row[col.FAILED]) == (1, 1, 1)
    assert (row[col.PAYMENT_REFUNDS], row[col.REFUND_AMOUNT]) == (1, 4)
    assert row[col.REFUND_FAILURES : col.LIVE_TOTALS] == [1, 8, 1, 16, 1, 32]
    (day,) = fold.source.markets["PK"].days.values()
    claims = day.row.numbers[col.DAY_REFUND_FAILURES : col.DAY_REVERSED_AMOUNT + 1]
    assert claims == [1, 8, 1, 16, 1, 32]
    booked = [
        day.row.numbers[column] for column in (col.DAY_PAYMENTS, col.DAY_AMOUNT, col.DAY_FAILED)
    ]
    booked += [
        day.row.numbers[column] for column in (col.DAY_PAYMENT_REFUNDS, col.DAY_REFUND_AMOUNT)
    ]
    assert booked == [1, 1, 1, 1, 4]
    assert day.row.numbers[col.UNPLACED_PAYMENTS] == (0 if placed else 1)


def test_a_payment_of_an_order_whose_day_is_closed_counts_in_the_live_book_only():
    placed = rfc3339(T0 - METHODOLOGY.day_grace_ms - 2 * DAY_MS)
    fold, folded = fold_all(payment("a", T0, placed_at=placed))
    assert folded.outcomes == {"accepted": 1, "day_closed": 1}
    assert fold.source.markets["PK"].panes[T0].row.numbers[col.PAYMENTS] == 1
    assert fold.source.markets["PK"].days == {}
