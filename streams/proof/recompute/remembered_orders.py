"""What is remembered of orders: which corrections change their day and by what, which came late.

Written from docs/methodology.md, not from flow/fold_corrections.py: a cancelled order counts as
cancelled and as nothing else; a refund counts once; an order is subtracted once from each place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from streams.flow.remembered import (
    CANCELLED_NOTE,
    EARLY_NOTE,
    LATE_NOTE,
    MENDED_NOTE,
    REFUNDED_NOTE,
    REFUSED_NOTE,
)
from streams.index.event_types import OrderEvent
from streams.index.panes import DAY_MS
from streams.proof.recompute.corrected_orders import (
    Claim,
    Move,
    Taken,
    cancelled_amounts,
    difference,
    less,
    lines_of,
    places_of,
    refunded_amounts,
)
from streams.proof.recompute.label_sums import Place

KEPT_DAYS_MS = 7 * DAY_MS
CORRECTIONS_KEPT_MOST = ORDERS_KEPT_MOST = REFUSED_KEPT_MOST = 500_000
_CANCELLED, _REFUNDED, _LATE, _EARLY = "order.cancelled", "order.refunded", "late", "early"
_REFUSED, _MENDED = "refused", "mended"
_HELD = (_LATE, _EARLY, _MENDED)
"""What says that the log holds the order."""
_CORRECTED = (_CANCELLED, _REFUNDED)
_KINDS = {
    _CANCELLED: CANCELLED_NOTE,
    _REFUNDED: REFUNDED_NOTE,
    _LATE: LATE_NOTE,
    _EARLY: EARLY_NOTE,
    _REFUSED: REFUSED_NOTE,
    _MENDED: MENDED_NOTE,
}
Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Fact:
    """A correction that counted: what it says, of which local day. Or what became of an order."""

    kind: str
    key: Key
    day: int
    claim: Claim = field(default_factory=Claim)
    waits: bool = False
    """Whether it is a correction that came while its order was refused."""


@dataclass(slots=True)
class _Arrived:
    """What arrived on one UTC day, by order."""

    ends_ms: int
    by_order: dict[str, list[_Fact]] = field(default_factory=dict)
    corrections: int = 0
    late_ones: int = 0
    refused: int = 0


class RememberedOrders:
    """What is remembered of the orders of one market in one source partition."""

    def __init__(self) -> None:
        self._arrived: list[_Arrived] = []

    def forget(self, watermark_ms: int) -> None:
        """Forget what arrived on a UTC day that ended seven days ago."""
        self._arrived = [
            each for each in self._arrived if watermark_ms < each.ends_ms + KEPT_DAYS_MS
        ]

    @property
    def corrections(self) -> int:
        """How many corrections are remembered."""
        return sum(each.corrections for each in self._arrived)

    @property
    def late_ones(self) -> int:
        """How many orders are remembered that came late, or were placed before the log begins."""
        return sum(each.late_ones for each in self._arrived)

    @property
    def refused(self) -> int:
        """How many refused orders are remembered."""
        return sum(each.refused for each in self._arrived)

    def notes(self, watermark_ms: int | None) -> Iterator[tuple[int, str, int]]:
        """Yield (UTC day of arrival, order, kind of its note) of all that is remembered."""
        if watermark_ms is not None:
            self.forget(watermark_ms)
        for arrived in self._arrived:
            for order, found in arrived.by_order.items():
                for each in found:
                    yield arrived.ends_ms // DAY_MS - 1, order, _KINDS[each.kind]

    # -- orders ----------------------------------------------------------------------------------

    def came_late_as(self, event: OrderEvent) -> bool:
        """Whether the event is a copy of a late one."""
        return any(each.key == (_LATE, event.event_id) for each in self._of(_order_of(event)))

    def remember_order(
        self, event: OrderEvent, day: int, watermark_ms: int, *, late: bool, full: bool
    ) -> None:
        """Remember an order that came late, or was placed before the log begins; unless ``full``."""
        if not full:
            key = (_LATE, event.event_id) if late else (_EARLY,)
            fact = _Fact(key[0], key, day)
            self._remember(_order_of(event), fact, watermark_ms).late_ones += 1

    def knows_of(self, order: str) -> bool:
        """Whether the order was refused, or is known to count: another refusal says nothing new."""
        return any(each.kind in (*_HELD, _REFUSED) for each in self._of(order))

    def remember_refused(self, order: str, arrived_ms: int) -> None:
        """Remember an order whose placement counts nowhere."""
        self._remember(order, _Fact(_REFUSED, (_REFUSED,), 0), arrived_ms).refused += 1

    def remember_mended(self, event: OrderEvent, watermark_ms: int) -> dict[int, list[Move]]:
        """Remember of an order that counts that it was refused before, if it was.

        Return what the corrections move on each day that came before that.
        """
        order, found = event.order_id, dict[int, list[Move]]()
        if not order or not self._is_refused(order):
            return found
        facts = [each for each in self._of(order) if each.kind in _CORRECTED]
        known = [each for each in facts if not each.waits]
        for day in sorted({each.day for each in facts if each.waits}):
            more = [each for each in facts if each.waits and each.day == day]
            before, elsewhere = _of_day(known, day)
            known += more
            counts = Move(taken(before, elsewhere), taken([*before, *more], elsewhere))
            found[day] = [counts, Move(taken(more, []), {}, waits=True)]
        self._remember(order, _Fact(_MENDED, (_MENDED,), 0), watermark_ms)
        return found

    def _is_refused(self, order: str) -> bool:
        kinds = {each.kind for each in self._of(order)}
        return _REFUSED in kinds and kinds.isdisjoint(_HELD)

    # -- corrections -----------------------------------------------------------------------------

    def correct(
        self, event: OrderEvent, day: int, claim: Claim, watermark_ms: int, *,
        before_log: bool, full: bool,
    ) -> tuple[Move | None, str]:  # fmt: skip
        """Return what a correction moves on its day, None for nothing, and why it changes nothing.

        ``claim``: what it says by itself. ``before_log``: its order was placed before the log begins.
        """
        before = list(self._of(_order_of(event)))
        kinds = {each.kind for each in before}
        waits = _REFUSED in kinds and kinds.isdisjoint(_HELD)
        outcome = "unmatched" if waits else "repeated"
        known = _known(before, waits=waits)
        key = _key_of(event)
        if event.type == _REFUNDED and any(each.key == key for each in known):
            return None, outcome
        if before_log and not waits and kinds.isdisjoint(_HELD):
            return None, "unmatched"
        of_day, elsewhere = _of_day(known, day)
        new = _Fact(event.type, key, day, claim, waits)
        move = Move(taken(of_day, elsewhere), taken([*of_day, new], elsewhere))
        changed = difference(move.after, move.before)
        if waits:
            own = [each for each in of_day if each.waits]
            move = Move(taken(own, []), taken([*own, new], []), waits=True)
        if not changed:
            unnamed = any(_is_unnamed(each) and each.claim.lines == claim.lines for each in of_day)
            if unnamed and event.type == _REFUNDED and not _is_unnamed(new) and not full:
                self._remember(_order_of(event), new, watermark_ms).corrections += 1
                return (move if waits else None), outcome
            return None, outcome
        if not full or (min(changed.values()) < 0 and not waits):
            self._remember(_order_of(event), new, watermark_ms).corrections += 1
        if waits:
            return (None if full else move), outcome
        return move, ""

    def _remember(self, order: str, fact: _Fact, watermark_ms: int) -> _Arrived:
        ends_ms = (watermark_ms // DAY_MS + 1) * DAY_MS
        arrived = next((each for each in self._arrived if each.ends_ms == ends_ms), None)
        if arrived is None:
            arrived = _Arrived(ends_ms)
            self._arrived.append(arrived)
        arrived.by_order.setdefault(order, []).append(fact)
        return arrived

    def _of(self, order: str) -> Iterator[_Fact]:
        for arrived in self._arrived:
            yield from arrived.by_order.get(order, ())


def _order_of(event: OrderEvent) -> str:
    """Return by what an order is remembered; a placed one without an id, by its event."""
    return event.order_id or f"event {event.event_id}"


def _key_of(event: OrderEvent) -> Key:
    """Return what tells a refund from others of its order."""
    if event.type == _CANCELLED:
        return (_CANCELLED,)
    if event.refund_id is not None:
        return ("refund_id", event.refund_id)
    return ("lines", *lines_of(event))


def _is_unnamed(fact: _Fact) -> bool:
    return fact.key[0] == "lines"


def _known(facts: list[_Fact], *, waits: bool) -> list[_Fact]:
    """Return the corrections that one more is compared with, as they count or will count."""
    corrections = [each for each in facts if each.kind in _CORRECTED]
    mended = any(each.kind == _MENDED for each in facts)
    return [each for each in corrections if waits or mended or not each.waits]


def _of_day(known: list[_Fact], day: int) -> tuple[list[_Fact], list[_Fact]]:
    """Return the corrections of a day, and the cancels that named another."""
    elsewhere = [each for each in known if each.kind == _CANCELLED and each.day != day]
    return [each for each in known if each.day == day], elsewhere


def taken(facts: list[_Fact], elsewhere: list[_Fact]) -> Taken:
    """Return what the corrections of an order take from its day.

    ``elsewhere``: cancels of the order that named another day.
    """
    gone = [article for each in elsewhere for article, _, _ in each.claim.articles]
    cancels = [less(each.claim, gone) for each in facts if each.kind == _CANCELLED]
    cancelled = [each for each in cancels if each is not None]
    gone += [article for claim in cancelled for article, _, _ in claim.articles]
    refunds = [each for each in facts if each.kind == _REFUNDED]
    named = [each.claim.lines for each in refunds if not _is_unnamed(each)]
    counted = [each for each in refunds if not (_is_unnamed(each) and each.claim.lines in named)]
    refunded = [less(each.claim, gone) for each in counted]
    before = set().union(*(places_of(each.claim) for each in elsewhere))
    found = _without_orders(cancelled_amounts(cancelled), before)
    before = before.union(*map(places_of, cancelled))
    amounts = refunded_amounts(each for each in refunded if each is not None)
    return found | _without_orders(amounts, before)


def _without_orders(amounts: Taken, places: set[Place]) -> Taken:
    """Return what is taken, but not the order itself from places that it was taken from before."""
    return {
        (place, ledger): amount._replace(orders=0) if place in places else amount
        for (place, ledger), amount in amounts.items()
    }
