"""The difference between what was stated of an order and what its source says of it now.

Orders are state: a source sends the whole of one again and again, twice, in any order, or one delivery
never comes. An event must count once. So a small record is kept of each order, and from it and what
comes follow the events to send. What is kept only ever grows: an order is placed once, the cancelled
units of a line are the most that anybody said, refunds and captures are known by their ids. So any
order and repetition of the same deliveries ends with the same events.

What needs the order waits until the order is known: its day, its market, what an article cost.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from xxhash import xxh3_64_intdigest

from streams.sources.outgoing import Outgoing
from streams.translate.refunded_lines import lines_of_refund
from streams.translate.refused_records import RefusedRecordError
from streams.translate.stated_events import (
    Statements,
    lines_of,
    part_of_id,
)
from streams.translate.whole_orders import (
    Capture,
    LooseCapture,
    LoosePayment,
    LooseRefund,
    Refund,
    Reported,
    SoldLine,
    WholeOrder,
)

WAITING_MAX = 32
"""Refunds and captures that may wait for one order."""
STATED_MAX = 500
"""Refunds and captures of one order that are known by their ids."""


class PlacedOrder(msgspec.Struct, array_like=True, gc=False):
    """What later events of an order need of it."""

    market: str
    currency: str
    placed_ms: int
    payment_method: str | None
    lines: list[SoldLine]


class OrderState(msgspec.Struct, array_like=True):
    """All that is kept of one order. ``digest``: of the record that came last.

    ``version_ms``: the newest version that came. ``cancelled``, ``refunded``: units by line that wait
    for the order. ``is_cancelled``: the whole order is. ``added``: units that came to it later, in no
    event. ``totals``: by hash, the largest total that was stated. Of a payment there is nothing but
    ``stated`` and ``totals``.
    """

    digest: int = 0
    version_ms: int = -1
    placed: PlacedOrder | None = None
    is_cancelled: bool = False
    taken_back_ms: int | None = None
    cancelled: dict[str, int] = {}
    refunded: dict[str, int] = {}
    refunded_minor: int = 0
    stated: list[int] = []
    waiting_refunds: list[Refund] = []
    waiting_captures: list[Capture] = []
    added: int = 0
    totals: dict[int, int] = {}

    @property
    def waits(self) -> int:
        """How many refunds, captures and lines wait for the order."""
        corrections = len(self.cancelled) + len(self.refunded) + self.is_cancelled
        waiting = len(self.waiting_refunds) + len(self.waiting_captures)
        return waiting + (corrections if self.placed is None else 0)


class Advanced(NamedTuple):
    """What is kept now, and the events to send. ``added``: units that no event can state."""

    state: OrderState
    events: list[Outgoing]
    added: int = 0


def advance(source: str, state: OrderState | None, reported: Reported, digest: int = 0) -> Advanced:
    """Return what follows from one record. ``digest``: of its bytes; 0: not known.

    The state that is given is left as it is. Raises RefusedRecordError for what cannot be kept.
    """
    if state is None:
        state = OrderState()
    elif digest and digest == state.digest and not isinstance(reported, LoosePayment):
        return Advanced(state, [])  # of a payment one record may say several things
    else:
        state = _copied(state)
    state.digest = digest
    events: list[Outgoing] = []
    if isinstance(reported, LoosePayment):
        order_id, before = reported.payment_id, state.added
        _add_payment(source, state, reported, events)
    elif isinstance(reported, WholeOrder):
        order_id, before = reported.id, state.added
        _add_whole(source, state, reported, events)
    elif isinstance(reported, LooseRefund):
        order_id, before = reported.order_id, state.added
        _require_currency(state, reported.refund)
        _add_refund(state, reported.refund)
    else:
        order_id, before = reported.order_id, state.added
        _add_loose_capture(source, state, reported, events)
    if state.placed is not None:
        _state_waiting(_statements(source, order_id, state.placed), state, state.placed, events)
    if len(state.waiting_refunds) + len(state.waiting_captures) > WAITING_MAX:
        expected = f"at most {WAITING_MAX} refunds and captures that wait for their order"
        raise RefusedRecordError("$", expected, "more")
    if len(state.stated) + len(state.totals) > STATED_MAX:
        raise RefusedRecordError("$", f"at most {STATED_MAX} refunds and captures", "more")
    return Advanced(state, events, state.added - before)


def _copied(state: OrderState) -> OrderState:
    placed = state.placed
    if placed is not None:
        lines = [msgspec.structs.replace(line) for line in placed.lines]
        placed = msgspec.structs.replace(placed, lines=lines)
    return msgspec.structs.replace(
        state,
        placed=placed,
        cancelled=dict(state.cancelled),
        refunded=dict(state.refunded),
        stated=list(state.stated),
        totals=dict(state.totals),
        waiting_refunds=list(state.waiting_refunds),
        waiting_captures=list(state.waiting_captures),
    )


def _statements(source: str, order_id: str, placed: PlacedOrder) -> Statements:
    return Statements(source, order_id, placed.market, placed.currency, placed.placed_ms)


# -- what a record adds ----------------------------------------------------------------------------


def _add_whole(source: str, state: OrderState, order: WholeOrder, events: list[Outgoing]) -> None:
    is_newest = order.version_ms is not None and order.version_ms >= state.version_ms
    if state.placed is None and order.is_placed:
        lines = [msgspec.structs.replace(each, cancelled=0, refunded=0) for each in order.lines]
        state.placed = PlacedOrder(
            order.market, order.currency, order.placed_ms, order.payment_method, lines
        )
        statements = _statements(source, order.id, state.placed)
        events.append(statements.placed(order, lines))
    elif state.placed is not None and is_newest:
        _note_edits(state, state.placed, order)
    for line in order.lines:
        for kept, units in ((state.cancelled, line.cancelled), (state.refunded, line.refunded)):
            if units > kept.get(line.id, 0):
                kept[line.id] = units
    state.is_cancelled = state.is_cancelled or order.is_cancelled
    state.version_ms = max(state.version_ms, order.version_ms or -1)
    if order.taken_back_ms is not None:
        state.taken_back_ms = order.taken_back_ms
    for refund in order.refunds:
        _add_refund(state, refund)
    for capture in order.captures:
        _add_capture(state, capture)


def _note_edits(state: OrderState, placed: PlacedOrder, order: WholeOrder) -> None:
    """Take units that an edit took out as cancelled; count those that it added.

    Only the newest version says what is missing: one from before a line was added lacks it as well.
    """
    now = {line.id: line.quantity for line in order.lines}
    was = {line.id: line.quantity for line in placed.lines}
    for line_id, quantity in was.items():
        fewer = quantity - now.get(line_id, 0)
        if fewer > state.cancelled.get(line_id, 0):
            state.cancelled[line_id] = fewer
    more = sum(max(0, quantity - was.get(line_id, 0)) for line_id, quantity in now.items())
    state.added = max(state.added, more)


def _add_refund(state: OrderState, refund: Refund) -> None:
    is_new = _stated_hash("refund", refund.id) not in state.stated
    if is_new and all(each.id != refund.id for each in state.waiting_refunds):
        state.waiting_refunds.append(refund)


def _add_capture(state: OrderState, capture: Capture) -> None:
    is_new = _stated_hash("capture", capture.id) not in state.stated
    if is_new and all(each.id != capture.id for each in state.waiting_captures):
        state.waiting_captures.append(capture)


def _add_loose_capture(
    source: str, state: OrderState, loose: LooseCapture, events: list[Outgoing]
) -> None:
    """State a capture that knows its market at once; whether its order comes first must not matter."""
    if loose.market is None or loose.currency is None:
        _require_currency(state, loose.capture)
        _add_capture(state, loose.capture)
        return
    hashed = _stated_hash("capture", loose.capture.id)
    if hashed not in state.stated:
        state.stated.append(hashed)
        statements = Statements(source, loose.order_id, loose.market, loose.currency, None)
        events.append(statements.captured(loose.capture))


def _require_currency(state: OrderState, each: Refund | Capture) -> None:
    placed = state.placed
    if placed is not None and not _is_of(placed, each):
        expected = f"an amount in {placed.currency}, the currency of its order"
        raise RefusedRecordError("$", expected, f"one in {each.currency}")


def _is_of(placed: PlacedOrder, each: Refund | Capture) -> bool:
    """Whether the amounts of a refund or capture are in the currency of the order."""
    return each.currency in ("", placed.currency)


def _add_payment(
    source: str, state: OrderState, payment: LoosePayment, events: list[Outgoing]
) -> None:
    """State what happened to a payment: once by its id, or by how much its total has grown."""
    hashed = _stated_hash(payment.kind, payment.id)
    version, amount = part_of_id(payment.id), payment.amount_minor
    if payment.is_total:
        known = state.totals.get(hashed, 0)
        if amount <= known:
            return
        state.totals[hashed] = amount
        version, amount = f"{version}={known}-{amount}", amount - known
    elif not _is_first(state, hashed):
        return
    statements = Statements(source, payment.payment_id, payment.market, payment.currency, None)
    events.append(statements.paid(payment, version, amount))


def _stated_hash(kind: str, each_id: str) -> int:
    return xxh3_64_intdigest(f"{kind}:{each_id}".encode())


# -- what can be stated once the order is known ----------------------------------------------------


def _state_waiting(
    statements: Statements, state: OrderState, placed: PlacedOrder, events: list[Outgoing]
) -> None:
    _state_cancelled(statements, state, placed, events)
    _state_units_refunded(statements, state, placed, events)
    # What came before its order may be in another currency. It goes on waiting, where it is seen.
    waiting_refunds, state.waiting_refunds = state.waiting_refunds, []
    for refund in waiting_refunds:
        if not _is_of(placed, refund):
            state.waiting_refunds.append(refund)
            continue
        lines = lines_of_refund(refund, placed.lines, state.refunded_minor)
        if refund.is_limited:
            state.refunded_minor += sum(each.quantity * each.unit_price_minor for each in lines)
        state.stated.append(_stated_hash("refund", refund.id))
        if lines:
            event = statements.refunded(
                part_of_id(refund.id), lines, refund.occurred_ms, placed.payment_method
            )
            events.append(event)
    waiting_captures, state.waiting_captures = state.waiting_captures, []
    for capture in waiting_captures:
        if not _is_of(placed, capture):
            state.waiting_captures.append(capture)
            continue
        state.stated.append(_stated_hash("capture", capture.id))
        events.append(statements.captured(capture))


def _occurred_ms(state: OrderState, placed: PlacedOrder) -> int:
    if state.taken_back_ms is not None:
        return state.taken_back_ms
    return max(state.version_ms, placed.placed_ms)


def _state_cancelled(
    statements: Statements, state: OrderState, placed: PlacedOrder, events: list[Outgoing]
) -> None:
    changed = False
    for line in placed.lines:
        units = line.quantity if state.is_cancelled else state.cancelled.get(line.id, 0)
        units = min(units, line.quantity)
        if units > line.cancelled:
            line.cancelled, changed = units, True
    state.cancelled = {}
    if state.is_cancelled and not placed.lines:
        changed = _is_first(state, _stated_hash("cancelled", "nothing"))
    if changed:
        events.append(
            statements.cancelled(placed.lines, _occurred_ms(state, placed), placed.payment_method)
        )


def _is_first(state: OrderState, hashed: int) -> bool:
    if hashed in state.stated:
        return False
    state.stated.append(hashed)
    return True


def _state_units_refunded(
    statements: Statements, state: OrderState, placed: PlacedOrder, events: list[Outgoing]
) -> None:
    """State the refunded units of a source that counts them by line and has no refunds of their own."""
    for line in placed.lines:
        units = min(state.refunded.get(line.id, 0), line.quantity)
        if units > line.refunded:
            lines = lines_of(line, units, line.refunded)
            refund_id = f"{part_of_id(line.id)}={line.refunded}-{units}"
            line.refunded = units
            occurred_ms = _occurred_ms(state, placed)
            events.append(statements.refunded(refund_id, lines, occurred_ms, placed.payment_method))
    state.refunded = {}
