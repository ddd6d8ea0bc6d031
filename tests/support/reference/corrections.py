"""Cancels and refunds: which of them change the day of their order, and by what."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

DAY_MS = 86_400_000
KEPT_DAYS, KEPT_MOST = 7, 500_000
MEASURES = ("orders", "units", "sales")


@dataclass(frozen=True)
class Correction:
    """A cancel or refund that counted."""

    market: str
    order_id: str
    cancel: bool
    refund: object
    """What tells this refund from others of its order."""
    day: int
    counts: Counter
    until_ms: int
    """Arrival watermark at which it is forgotten."""


@dataclass
class Corrections:
    """What one source partition remembers of corrections."""

    most: int = KEPT_MOST
    held: dict[str, list[Correction]] = field(default_factory=dict)

    def day_book(
        self,
        event: dict,
        market: str,
        day: int,
        counts: Counter,
        watermarks: dict[str, int],
        *,
        in_the_log: bool,
    ) -> tuple[Counter | None, str]:
        """Return what an event changes on the day of its order, and what else is said of it.

        ``in_the_log``: whether the log can hold the order.
        """
        alive = {
            code: [each for each in held if watermarks[code] < each.until_ms]
            for code, held in self.held.items()
        }
        self.held = alive
        before = [e for e in alive.get(market, ()) if e.order_id == event["order_id"]]
        cancel = event["type"] == "order.cancelled"
        refund = None if cancel else _which(event)
        if any(each.cancel or (not cancel and each.refund == refund) for each in before):
            return None, "repeated"
        if not in_the_log:
            return None, "unmatched"
        changes = Counter(counts)
        refunds = [each for each in before if each.day == day]
        if cancel:
            for each in refunds:
                changes.subtract(each.counts)
                if not event["lines"]:
                    for name, value in each.counts.items():
                        changes[_cancelled(name)] += value
            if not event["lines"]:
                for name in list(changes):
                    if name[0] == "cancelled_orders":
                        changes[name] = 1
        else:
            for each in refunds:
                for name in each.counts:
                    if name[0] == "refunded_orders" and name in changes:
                        changes[name] = 0
        if sum(map(len, alive.values())) >= self.most and not (cancel and before):
            return changes, "unremembered"
        until_ms = (watermarks[market] // DAY_MS + 1 + KEPT_DAYS) * DAY_MS
        self.held.setdefault(market, []).append(
            Correction(market, event["order_id"], cancel, refund, day, changes, until_ms)
        )
        return changes, ""


def _which(event: dict) -> object:
    if event.get("refund_id") is not None:
        return event["refund_id"]
    lines = (
        (each["sku"], each["category"] or "", each["quantity"], each["unit_price_minor"])
        for each in event["lines"]
    )
    return tuple(sorted(lines))


def _cancelled(name: tuple) -> tuple:
    return name[0].replace("refunded_", "cancelled_"), *name[1:]
