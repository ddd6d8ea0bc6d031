"""Which cancels and refunds change the day of their order, and by what.

Written from docs/methodology.md, not from flow/fold_corrections.py: a cancelled order counts as
cancelled and as nothing else; a refund counts once; an order is subtracted once from each place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from streams.index.event_types import OrderEvent
from streams.index.panes import DAY_MS
from streams.proof.recompute.sums import Sums, add_sums

KEPT_DAYS_MS = 7 * DAY_MS
KEPT_MOST = 500_000
_CANCELLED, _REFUNDED = "order.cancelled", "order.refunded"
RefundKey = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Counted:
    """A correction that counted: what it added to which local day."""

    type: str
    key: RefundKey
    day: int
    added: Sums


@dataclass(slots=True)
class _Arrived:
    """What arrived on one UTC day, by order."""

    ends_ms: int
    by_order: dict[str, list[_Counted]] = field(default_factory=dict)
    count: int = 0


class CorrectedOrders:
    """Corrections of one market in one source partition, while they are remembered."""

    def __init__(self) -> None:
        self._arrived: list[_Arrived] = []

    def forget(self, watermark_ms: int) -> None:
        """Forget what arrived on a UTC day that ended seven days ago."""
        self._arrived = [
            each for each in self._arrived if watermark_ms < each.ends_ms + KEPT_DAYS_MS
        ]

    @property
    def count(self) -> int:
        """How many corrections are remembered."""
        return sum(each.count for each in self._arrived)

    def notes(self, watermark_ms: int) -> Iterator[tuple[int, str, str]]:
        """Yield (UTC day of arrival, order, type of the event) of all that is remembered."""
        self.forget(watermark_ms)
        for arrived in self._arrived:
            for order, found in arrived.by_order.items():
                for each in found:
                    yield arrived.ends_ms // DAY_MS - 1, order, each.type

    def judge(self, event: OrderEvent, day: int, sums: Sums, *, in_the_log: bool) -> Sums | None:
        """Return what an event changes on its day, given what it adds by itself; None: nothing."""
        before = list(self._of(event.order_id))
        key = _key_of(event)
        if any(each.type == _CANCELLED or each.key == key for each in before) or not in_the_log:
            return None
        refunds = [each.added for each in before if each.day == day]
        if event.type == _REFUNDED:
            return _without_orders(sums, refunds)
        changed = Sums(sums)
        for refunded in refunds:
            if not event.lines:
                add_sums(changed, _as_cancelled(refunded))
            add_sums(changed, Sums({name: -value for name, value in refunded.items()}))
        return changed if event.lines else _with_one_order(changed)

    def remember(
        self, event: OrderEvent, day: int, changed: Sums, watermark_ms: int, *, full: bool
    ) -> None:
        """Remember a correction that counted; ``full``: unless too many are remembered."""
        if full and not (event.type == _CANCELLED and any(self._of(event.order_id))):
            return
        ends_ms = (watermark_ms // DAY_MS + 1) * DAY_MS
        arrived = next((each for each in self._arrived if each.ends_ms == ends_ms), None)
        if arrived is None:
            arrived = _Arrived(ends_ms)
            self._arrived.append(arrived)
        found = _Counted(event.type, _key_of(event), day, changed)
        arrived.by_order.setdefault(event.order_id, []).append(found)
        arrived.count += 1

    def _of(self, order: str) -> Iterator[_Counted]:
        for arrived in self._arrived:
            yield from arrived.by_order.get(order, ())


def _key_of(event: OrderEvent) -> RefundKey:
    """Return what tells a refund from others of its order."""
    if event.type == _CANCELLED:
        return (_CANCELLED,)
    if event.refund_id is not None:
        return ("refund_id", event.refund_id)
    return tuple(
        sorted((str(each.sku), str(each.category), each.quantity, each.unit_price_minor)
               for each in event.lines)
    )  # fmt: skip


def _is_orders(name: str) -> bool:
    return name.endswith("/orders")


def _without_orders(sums: Sums, before: list[Sums]) -> Sums:
    """Return the sums of a refund less the orders that an earlier one has subtracted."""
    return Sums({
        name: value
        for name, value in sums.items()
        if not (_is_orders(name) and any(name in each for each in before))
    })  # fmt: skip


def _as_cancelled(refunded: Sums) -> Sums:
    return Sums({
        f"{place}cancelled/{what}": value
        for name, value in refunded.items()
        for place, _, what in (name.rpartition("refunded/"),)
    })  # fmt: skip


def _with_one_order(changed: Sums) -> Sums:
    return Sums({
        name: 1 if name.endswith("cancelled/orders") else value for name, value in changed.items()
    })  # fmt: skip
