"""What is remembered of orders: cancels and refunds that counted, and orders that came late or that
were refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .rules import to_label

DAY_MS = 86_400_000
KEPT_DAYS, KEPT_MOST, ARTICLES_MOST = 7, 500_000, 16


@dataclass(frozen=True)
class Correction:
    """A cancel or refund that counted."""

    order_id: str
    event: dict
    day: int
    waits: bool
    """Whether it came while its order was refused."""
    until_ms: int
    """Arrival watermark at which it is forgotten."""

    @property
    def cancel(self) -> bool:
        return self.event["type"] == "order.cancelled"


@dataclass(frozen=True)
class Change:
    """What the corrections of an order take from a day, before and after one of them."""

    day: int
    part: str
    """corrected, or waiting for what stands beside what counts."""
    before: Counter
    after: Counter


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
    most_articles: int = ARTICLES_MOST
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

    def mend(self, market: str, order_id: str, watermarks: dict[str, int]) -> list[Change]:
        """Note that the order counts, if it was refused before; return what that changes."""
        self.forget(watermarks)
        if not self.is_refused(market, order_id):
            return []
        until_ms = _until_ms(watermarks[market])
        self.refused[market].append(RefusedOrder(order_id, True, until_ms))
        own = [e for e in self.corrections.get(market, ()) if e.order_id == order_id]
        done = [e for e in own if not e.waits]
        found = []
        for day in sorted({e.day for e in own if e.waits}):
            events = [e.event for e in done if e.day == day]
            others = [e.event for e in done if e.cancel and e.day != day]
            new = [e for e in own if e.waits and e.day == day]
            done += new
            after = taken(events + [e.event for e in new], others)
            found.append(Change(day, "corrected", taken(events, others), after))
            found.append(Change(day, "waiting", waiting(new), Counter()))
        return found

    def is_refused(self, market: str, order_id: str) -> bool:
        """Whether the log holds refused placements of the order, and none that counts."""
        found = self._refused(market, order_id)
        mended = any(each.mended for each in found)
        return bool(found) and not mended and not self.late_by(market, order_id)

    def _kept(self, event: dict) -> dict:
        """The event without skus, if it names too many articles."""
        digest = _lines(event)
        articles = {(e["sku"], _label(e), bool(e["category"])) for e in event["lines"]}
        if len(articles) > self.most_articles:
            event = event | {"lines": [line | {"sku": ""} for line in event["lines"]]}
        return event | {"digest": digest}

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
        code: str,
        day: int,
        watermarks: dict[str, int],
        *,
        before_log: bool,
    ) -> tuple[list[Change], str]:
        """Return what an event changes on the day of its order, and what else is said of it.

        ``before_log``: whether the order was placed before the log begins.
        """
        event = self._kept(event)
        order_id, cancel = event["order_id"], event["type"] == "order.cancelled"
        waits = self.is_refused(code, order_id)
        said = "unmatched" if waits else "repeated"
        mended = [each for each in self._refused(code, order_id) if each.mended]
        before = [e for e in self.corrections.get(code, ()) if e.order_id == order_id]
        if not mended and not waits:
            before = [e for e in before if not e.waits]
        if not cancel and any(not e.cancel and _which(e.event) == _which(event) for e in before):
            return [], said
        held_by = self.late_by(code, order_id)
        if before_log and not waits and not held_by and not mended:
            return [], "unmatched"
        of_day = [each for each in before if each.day == day]
        other_days = [e.event for e in before if e.cancel and e.day != day]
        events = [each.event for each in of_day]
        change = Change(
            day, "corrected", taken(events, other_days), taken([*events, event], other_days)
        )
        changed = Counter(change.after)
        changed.subtract(change.before)
        found = Correction(order_id, event, day, waits, _until_ms(watermarks[code]))
        beside = Change(day, "waiting", waiting(of_day), waiting([*of_day, found]))
        full = sum(map(len, self.corrections.values())) >= self.most
        if not any(changed.values()):
            told = any(not e.cancel and not _name(e.event) and _lines(e.event) == _lines(event)
                       for e in of_day)  # fmt: skip
            if told and not cancel and _name(event) and not full:
                self.corrections.setdefault(code, []).append(found)
                return [beside] if waits else [], said
            return [], said
        if waits and full:
            return [], "unmatched unremembered"
        also = "unremembered" if full and min(changed.values()) >= 0 else ""
        if not also:
            self.corrections.setdefault(code, []).append(found)
        return ([beside], said) if waits else ([change], also)


def taken(events: list[dict], other_days: list[dict]) -> Counter:
    """What the corrections of one order take from its day, by label.

    ``other_days``: its cancels that named another day.
    """
    gone = [line for each in other_days for line in each["lines"]]
    cancels = [_left(e, gone) for e in events if e["type"] == "order.cancelled"]
    cancels = [each for each in cancels if each is not None]
    gone += [line for each in cancels for line in each["lines"]]
    refunds = [e for e in events if e["type"] != "order.cancelled"]
    by_name = [_lines(e) for e in refunds if _name(e)]
    refunds = [e for e in refunds if _name(e) or _lines(e) not in by_name]
    refunds = [_left(e, gone) for e in refunds]
    refunds = [each for each in refunds if each is not None]
    found: Counter = Counter()
    taken_before = {place for each in other_days for place in _places(each)}
    cancelled = {place for each in cancels for place in _places(each)}
    refunded = {place for each in refunds for place in _places(each)}
    for place in cancelled:
        found["cancelled_orders", *place] = int(place not in taken_before)
        of_place = [e for e in cancels if place in _places(e)]
        for label in {_label(line) for e in of_place for line in e["lines"]}:
            if place[:1] != ("category",) or place == ("category", label):
                for what, worth in (("units", _units), ("sales", _sales)):
                    most = _most_cancelled(of_place, label, worth)
                    found[f"cancelled_{what}", *place] += most
    for place in refunded:
        found["refunded_orders", *place] = int(place not in taken_before | cancelled)
        for each in refunds:
            for line in each["lines"] if place in _places(each) else ():
                if place[:1] != ("category",) or place == ("category", _label(line)):
                    found["refunded_units", *place] += _units(line)
                    found["refunded_sales", *place] += _sales(line)
    return found


def _most_cancelled(cancels: list[dict], label: str, worth) -> int:
    """The most that any cancel says of a category, or that they say of its skus."""
    of = [[line for line in e["lines"] if _label(line) == label] for e in cancels]
    skus = {line["sku"] for lines in of for line in lines} - {""}
    by_sku = sum(
        max(sum(worth(line) for line in lines if line["sku"] == sku) for lines in of)
        for sku in skus
    )
    return max(by_sku, *(sum(map(worth, lines)) for lines in of))


def _left(event: dict, gone: list[dict]) -> dict | None:
    left = [e for e in event["lines"] if not any(_alike(e, other) for other in gone)]
    return event | {"lines": left} if left or not event["lines"] else None


def _alike(one: dict, other: dict) -> bool:
    if one["sku"] and other["sku"] and one["sku"] != other["sku"]:
        return False
    both = one["category"] and other["category"]
    return not both or _label(one) == _label(other)


def _label(line: dict) -> str:
    return to_label(line["category"])


def _places(event: dict) -> set[tuple]:
    found = {(), *(("category", _label(line)) for line in event["lines"])}
    if event.get("payment_method"):
        found.add(("payment_method", to_label(event["payment_method"])))
    return found


def _units(line: dict) -> int:
    return line["quantity"]


def _sales(line: dict) -> int:
    return line["quantity"] * line["unit_price_minor"]


def _name(event: dict) -> object:
    return event.get("refund_id")


def waiting(corrections: list[Correction]) -> Counter:
    """What those of them that wait would take by themselves."""
    return taken([e.event for e in corrections if e.waits], [])


def _until_ms(watermark_ms: int) -> int:
    return (watermark_ms // DAY_MS + 1 + KEPT_DAYS) * DAY_MS


def _lines(event: dict) -> object:
    if "digest" in event:
        return event["digest"]
    lines = (
        (each["sku"], each["category"] or "", each["quantity"], each["unit_price_minor"])
        for each in event["lines"]
    )
    return tuple(sorted(lines))


def _which(event: dict) -> object:
    return _lines(event) if _name(event) is None else _name(event)
