"""Level 1's fold: admission, both books, ids, closing - and nothing but the log prefix decides."""

import json

import pytest

from streams.flow import state as state_module
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.fold import SourceFold
from streams.flow.source_state import SourceState
from streams.flow.state import DAY, FOREVER_MS, LIVE, SlotKey
from streams.index.event_types import EVENT_SUM_MAX, SUM_MAX
from streams.index.panes import DAY_MS
from tests.support.flow_harness import METHODOLOGY, order, payment

T0 = 1_790_000_000_000 // DAY_MS * DAY_MS  # a midnight UTC; 05:00 in Karachi
SP = SourcePartition("orders", 0)
PANE = METHODOLOGY.pane_ms


def fold_all(events, arrivals, *, payments=False, fold=None, methodology=METHODOLOGY):
    fold = fold or SourceFold(SourceState(SP, methodology, payments=payments))
    values = [json.dumps(event).encode() if isinstance(event, dict) else event for event in events]
    chunk = Chunk(
        SP,
        fold.source.through + 1,
        fold.source.through + len(values),
        [b"k"] * len(values),
        values,
        arrivals,
    )
    return fold, fold.fold(chunk)


def orders_in(fold: SourceFold, pane_start: int, market: str = "PK") -> int:
    return fold.source.markets[market].panes[pane_start].row.numbers[0]


def test_a_duplicate_in_a_cold_pane_is_still_one_after_the_pane_was_warmed(monkeypatch):
    # A pane that is asked often gets its set of ids back while an event is being looked up: that
    # event's own id must be in it.
    monkeypatch.setattr(state_module, "_WARM_PANES_MAX", 1)
    monkeypatch.setattr(state_module, "_COLD_HITS_MAX", 2)
    events = [
        order("first", T0),
        order("other", T0 + PANE),
    ]  # the second pane makes the first drop its ids
    events += [order(f"e{number}", T0) for number in range(5)]
    events += [order(f"e{number}", T0) for number in range(5)]
    fold, folded = fold_all(events, [T0 + PANE] * len(events))
    assert folded.outcomes["duplicate"] == 5
    assert orders_in(fold, T0) == 6
    assert fold.source.held_ids == 7


def test_orders_of_a_pane_are_booked_even_when_the_next_arrival_closes_their_day():
    # The pane was opened by a cancellation of an order of another day, so that its own day had no
    # row yet when the watermark jumped past day grace (a quiet market, an import with a gap).
    placed = "2026-09-20T12:00:00Z"
    events = [
        order("c", T0, kind="order.cancelled", placed_at=placed),
        order("o1", T0),
        order("o2", T0 + 1),
        order("far", T0 + 60 * DAY_MS),
    ]
    fold, folded = fold_all(events, [T0, T0, T0 + 1, T0 + 60 * DAY_MS])
    assert folded.dead == []
    day = fold.source.markets["PK"].local_days.day_of(T0)
    rows = {
        key: slot.row.numbers for key, slot in fold.source.take_touched_live(FOREVER_MS).items()
    }
    assert rows[SlotKey("PK", DAY, day)][:3] == [2, 2, 200]
    assert rows[SlotKey("PK", LIVE, T0)][0] == 2


def small(**changes):
    return METHODOLOGY.__class__(
        **{
            name: changes.get(name, getattr(METHODOLOGY, name))
            for name in METHODOLOGY.__dataclass_fields__
        }
    )


MOST = [("books", 1, EVENT_SUM_MAX)]


@pytest.fixture
def small_sums(monkeypatch):
    """Sums hold one event of the largest legal size, where they really hold 922,337."""
    for name in ("fold_payments", "order_checks"):
        monkeypatch.setattr(f"streams.flow.{name}.SUM_MAX", EVENT_SUM_MAX)


@pytest.mark.usefixtures("small_sums")
@pytest.mark.parametrize("payments", [False, True])
def test_an_event_refused_for_overflow_opens_no_pane_and_closes_none(payments):
    # An open pane counts against the limit; after a recovery it would not be there (it was never
    # touched), and the same next event would close no pane.
    methodology = small(open_panes_max=2)
    if payments:
        first = [payment("p1", T0, amount=EVENT_SUM_MAX)]
        refused = payment("p2", T0 + PANE, amount=EVENT_SUM_MAX)
        second = payment("p3", T0 + 2 * PANE, amount=0)
        third = payment("p4", T0 + 3 * PANE, amount=0)
    else:
        first = [order("o1", T0, lines=MOST)]
        refused = order("o2", T0 + PANE, lines=MOST)
        free = [("books", 1, 0)]
        second = order("o3", T0 + 2 * PANE, lines=free)
        third = order("o4", T0 + 3 * PANE, lines=free)
    fold, folded = fold_all(
        [*first, refused, second, third],
        [T0] * 4,
        payments=payments,
        methodology=methodology,
    )
    assert [dead.reason for dead in folded.dead] == ["overflow"]
    assert sorted(fold.source.markets["PK"].panes) == [T0 + 2 * PANE, T0 + 3 * PANE]
    assert fold.source.markets["PK"].floor_ms == T0 + PANE


@pytest.mark.parametrize(
    "line", [("books", SUM_MAX, 1), ("books", 1, SUM_MAX), ("books", 2**31, 2**31)]
)
def test_one_absurd_line_costs_itself_and_no_order_that_follows(line):
    # It was counted once, and each other order of the day was then refused: its sums were full.
    events = [
        order("o1", T0, lines=[line, ("books", 1, 7)]),
        order("o2", T0, lines=[("books", 1, 5)]),
    ]
    fold, folded = fold_all(events, [T0, T0])
    assert folded.outcomes == {"accepted": 2}
    assert [part.lost for part in folded.parts.values()] == [1]
    assert fold.source.volume == 1 + 7 + 1 + 5


def test_one_absurd_payment_costs_itself_and_no_payment_that_follows():
    events = [payment("a", T0, amount=EVENT_SUM_MAX + 1), payment("b", T0, amount=EVENT_SUM_MAX)]
    _, folded = fold_all(events, [T0, T0], payments=True)
    assert folded.outcomes == {"accepted": 1, "dead": 1}
    assert [dead.reason for dead in folded.dead] == ["schema"]


def test_an_order_whose_arrival_closes_another_pane_is_counted():
    # Closing books every pane of the market, which empties their cells: the order in hand must go
    # into a cell that is still there. Otherwise one order a market and pane is lost.
    close = PANE + METHODOLOGY.grace_ms
    events = [
        order("closed", T0, payment_method="cod"),
        order("first", T0 + close - PANE, payment_method="cod"),
        order("second", T0 + close - PANE + 1, payment_method="cod"),
        order("closing", T0 + close - PANE + 2, payment_method="cod"),
    ]
    fold, folded = fold_all(events, [T0, T0 + close - 2, T0 + close - 1, T0 + close])
    assert folded.outcomes["accepted"] == 4
    assert list(fold.source.markets["PK"].panes) == [T0 + close - PANE]
    assert orders_in(fold, T0 + close - PANE) == 3
