"""What is remembered of orders: cancels and refunds that counted, and orders that came late or that
were refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

DAY_MS = 86_400_000
KEPT_DAYS, KEPT_MOST = 7, 500_000


@dataclass(frozen=True)
class Correction:
    """A cancel or refund that counted."""

    order_id: str
    cancel: bool
    refund: object
    """What tells this refund from others of its order."""
    day: int
    counts: Counter
    until_ms: int
    """Arrival watermark at which it is forgotten."""


@dataclass(frozen=True)
class KnownOrder:
    """An order that came late (by which event), or was placed before the log begins (None)."""

    order_id: str
    event_id: str | None
    until_ms: int


@dataclass(frozen=True)
class RefusedOrder:
    """An order whose placement was refused; ``mended`` when a later one counted."""

    order_id: str
    mended: bool
    until_ms: int


@dataclass
class Remembered:
    """What one source partition remembers, by market."""

    most: int = KEPT_MOST
    corrections: dict[str, list[Correction]] = field(default_factory=dict)
    orders: dict[str, list[KnownOrder]] = field(default_factory=dict)

    refused: dict[str, list[RefusedOrder]] = field(default_factory=dict)

    def forget(self, watermarks: dict[str, int]) -> None:
        for kind in (self.corrections, self.orders, self.refused):
            for market, held in kind.items():
                now_ms = watermarks.get(market, 0)
                kind[market] = [each for each in held if now_ms < each.until_ms]

    def refuse(
        self, market: str, order_id: str, watermarks: dict[str, int], arrived_ms: int
    ) -> bool:
        """Remember a refused placement; False: too many are remembered."""
        self.forget(watermarks)
        if self.late_by(market, order_id) or self._refused(market, order_id):
            return True
        held = [each for found in self.refused.values() for each in found if not each.mended]
        if len(held) >= self.most:
            return False
        until_ms = _until_ms(watermarks.get(market, arrived_ms))
        self.refused.setdefault(market, []).append(RefusedOrder(order_id, False, until_ms))
        return True

    def mend(self, market: str, order_id: str, watermarks: dict[str, int]) -> None:
        """Note that the order counts, if it was refused before."""
        self.forget(watermarks)
        if self.is_refused(market, order_id):
            until_ms = _until_ms(watermarks[market])
            self.refused[market].append(RefusedOrder(order_id, True, until_ms))

    def is_refused(self, market: str, order_id: str) -> bool:
        """Whether the log holds refused placements of the order, and none that counts."""
        found = self._refused(market, order_id)
        mended = any(each.mended for each in found)
        return bool(found) and not mended and not self.late_by(market, order_id)

    def _refused(self, market: str, order_id: str) -> list[RefusedOrder]:
        return [each for each in self.refused.get(market, ()) if each.order_id == order_id]

    def late_by(self, market: str, order_id: str) -> list[str | None]:
        """Events by which the log holds an order late, or early (None)."""
        return [o.event_id for o in self.orders.get(market, ()) if o.order_id == order_id]

    def add_order(
        self, market: str, order_id: str, event_id: str | None, watermarks: dict[str, int]
    ) -> bool:
        """Remember an order; False: too many are remembered."""
        if sum(map(len, self.orders.values())) >= self.most:
            return False
        known = KnownOrder(order_id, event_id, _until_ms(watermarks[market]))
        self.orders.setdefault(market, []).append(known)
        return True

    def correct(
        self,
        event: dict,
        market: str,
        day: int,
        counts: Counter,
        watermarks: dict[str, int],
        *,
        before_log: bool,
    ) -> tuple[Counter | None, str]:
        """Return what an event changes on the day of its order, and what else is said of it.

        ``before_log``: whether the order was placed before the log begins.
        """
        order_id, cancel = event["order_id"], event["type"] == "order.cancelled"
        before = [e for e in self.corrections.get(market, ()) if e.order_id == order_id]
        refund = None if cancel else _which(event)
        if any(each.cancel or (not cancel and each.refund == refund) for each in before):
            return None, "repeated"
        held_by = self.late_by(market, order_id)
        mended = any(each.mended for each in self._refused(market, order_id))
        if (before_log and not held_by and not mended) or self.is_refused(market, order_id):
            return None, "unmatched"
        of_day = [each for each in before if each.day == day]
        if not cancel:
            counts = _without_orders(counts, of_day)
        elif not event["lines"]:
            counts = _all_refunded(counts, of_day)
        if any(event_id is not None for event_id in held_by):
            counts = as_late(counts)
        if cancel:
            for each in of_day:
                counts.subtract(each.counts)
        held = sum(map(len, self.corrections.values()))
        if held >= self.most and not (cancel and before):
            return counts, "unremembered"
        found = Correction(order_id, cancel, refund, day, counts, _until_ms(watermarks[market]))
        self.corrections.setdefault(market, []).append(found)
        return counts, ""


def as_late(counts: Counter) -> Counter:
    """Return the counts as those of the late part of a day."""
    return Counter({(f"late_{name[0]}", *name[1:]): value for name, value in counts.items()})


def _until_ms(watermark_ms: int) -> int:
    return (watermark_ms // DAY_MS + 1 + KEPT_DAYS) * DAY_MS


def _which(event: dict) -> object:
    if event.get("refund_id") is not None:
        return event["refund_id"]
    lines = (
        (each["sku"], each["category"] or "", each["quantity"], each["unit_price_minor"])
        for each in event["lines"]
    )
    return tuple(sorted(lines))


def _in_time(name: tuple) -> tuple:
    return name[0].removeprefix("late_"), *name[1:]


def _without_orders(counts: Counter, before: list[Correction]) -> Counter:
    """Return a refund's counts less the orders that another refund has subtracted."""
    seen = {_in_time(name) for each in before for name in each.counts}
    return Counter({
        name: 0 if name[0] == "refunded_orders" and name in seen else value
        for name, value in counts.items()
    })  # fmt: skip


def _all_refunded(counts: Counter, before: list[Correction]) -> Counter:
    """Return the counts of a cancel without lines: as much as was refunded."""
    found = Counter(counts)
    for each in before:
        for name, value in each.counts.items():
            ledger, *where = _in_time(name)
            found[ledger.replace("refunded_", "cancelled_"), *where] += value
    for name in found:
        if name[0] == "cancelled_orders":
            found[name] = 1
    return found
