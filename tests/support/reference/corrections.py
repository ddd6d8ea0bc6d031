"""What is remembered of orders: cancels and refunds that counted, and orders that came late or that
were refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .rules import MarketRules

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

    def mend(
        self, market: MarketRules, order_id: str, watermarks: dict[str, int]
    ) -> dict[int, Counter]:
        """Note that the order counts, if it was refused before.

        Returns by day what its corrections take that came before that.
        """
        self.forget(watermarks)
        code = market.code
        if not self.is_refused(code, order_id):
            return {}
        until_ms = _until_ms(watermarks[code])
        self.refused[code].append(RefusedOrder(order_id, True, until_ms))
        own = [e for e in self.corrections.get(code, ()) if e.order_id == order_id]
        done = [e for e in own if not e.waits]
        found = {}
        for day in sorted({e.day for e in own if e.waits}):
            of_day = [e for e in done if e.day == day]
            events = [e.event for e in of_day]
            others = [e.event for e in done if e.cancel and e.day != day]
            new = [e for e in own if e.waits and e.day == day]
            done += new
            counts = taken(events + [e.event for e in new], others, market)
            counts.subtract(taken(events, others, market))
            counts.subtract(waiting(new, market))
            found[day] = Counter({name: count for name, count in counts.items() if count})
        return found

    def is_refused(self, market: str, order_id: str) -> bool:
        """Whether the log holds refused placements of the order, and none that counts."""
        found = self._refused(market, order_id)
        mended = any(each.mended for each in found)
        return bool(found) and not mended and not self.late_by(market, order_id)

    def _kept(self, event: dict, market: MarketRules) -> dict:
        """The event without skus, if it names too many articles."""
        digest = _lines(event)
        articles = {(e["sku"], _member(e, market), bool(e["category"])) for e in event["lines"]}
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
        market: MarketRules,
        day: int,
        watermarks: dict[str, int],
        *,
        before_log: bool,
    ) -> tuple[Counter | None, str]:
        """Return what an event changes on the day of its order, and what else is said of it.

        ``before_log``: whether the order was placed before the log begins.
        """
        event = self._kept(event, market)
        code, order_id, cancel = market.code, event["order_id"], event["type"] == "order.cancelled"
        waits = self.is_refused(code, order_id)
        said = "unmatched" if waits else "repeated"
        mended = [each for each in self._refused(code, order_id) if each.mended]
        before = [e for e in self.corrections.get(code, ()) if e.order_id == order_id]
        if not mended and not waits:
            before = [e for e in before if not e.waits]
        if not cancel and any(not e.cancel and _which(e.event) == _which(event) for e in before):
            return None, said
        held_by = self.late_by(code, order_id)
        if before_log and not waits and not held_by and not mended:
            return None, "unmatched"
        of_day = [each for each in before if each.day == day]
        other_days = [e.event for e in before if e.cancel and e.day != day]
        events = [each.event for each in of_day]
        counts = taken([*events, event], other_days, market)
        counts.subtract(taken(events, other_days, market))
        counts = Counter({name: count for name, count in counts.items() if count})
        found = Correction(order_id, event, day, waits, _until_ms(watermarks[code]))
        beside = waiting([*of_day, found], market)
        beside.subtract(waiting(of_day, market))
        full = sum(map(len, self.corrections.values())) >= self.most
        if not counts:
            told = any(not e.cancel and not _name(e.event) and _lines(e.event) == _lines(event)
                       for e in of_day)  # fmt: skip
            if told and not cancel and _name(event) and not full:
                self.corrections.setdefault(code, []).append(found)
                return beside if waits else None, said
            return None, said
        if waits and full:
            return None, "unmatched unremembered"
        also = "unremembered" if full and min(counts.values()) >= 0 else ""
        if not also:
            self.corrections.setdefault(code, []).append(found)
        return (beside, said) if waits else (counts, also)


def taken(events: list[dict], other_days: list[dict], market: MarketRules) -> Counter:
    """What the corrections of one order take from its day.

    ``other_days``: its cancels that named another day.
    """
    gone = [line for each in other_days for line in each["lines"]]
    cancels = [_left(e, gone, market) for e in events if e["type"] == "order.cancelled"]
    cancels = [each for each in cancels if each is not None]
    gone += [line for each in cancels for line in each["lines"]]
    refunds = [e for e in events if e["type"] != "order.cancelled"]
    by_name = [_lines(e) for e in refunds if _name(e)]
    refunds = [e for e in refunds if _name(e) or _lines(e) not in by_name]
    refunds = [_left(e, gone, market) for e in refunds]
    refunds = [each for each in refunds if each is not None]
    found: Counter = Counter()
    taken_before = {place for each in other_days for place in _places(each, market)}
    cancelled = {place for each in cancels for place in _places(each, market)}
    refunded = {place for each in refunds for place in _places(each, market)}
    for place in cancelled:
        found["cancelled_orders", *place] = int(place not in taken_before)
        of_place = [e for e in cancels if place in _places(e, market)]
        for member in {_member(line, market) for e in of_place for line in e["lines"]}:
            if place[:1] != ("category",) or place == ("category", member):
                for what, worth in (("units", _units), ("sales", _sales)):
                    most = _most_cancelled(of_place, member, worth, market)
                    found[f"cancelled_{what}", *place] += most
    for place in refunded:
        found["refunded_orders", *place] = int(place not in taken_before | cancelled)
        for each in refunds:
            for line in each["lines"] if place in _places(each, market) else ():
                if place[:1] != ("category",) or place == ("category", _member(line, market)):
                    found["refunded_units", *place] += _units(line)
                    found["refunded_sales", *place] += _sales(line)
    return found


def _most_cancelled(cancels: list[dict], member: str, worth, market: MarketRules) -> int:
    """The most that any cancel says of a category, or that they say of its skus."""
    of = [[line for line in e["lines"] if _member(line, market) == member] for e in cancels]
    skus = {line["sku"] for lines in of for line in lines} - {""}
    by_sku = sum(
        max(sum(worth(line) for line in lines if line["sku"] == sku) for lines in of)
        for sku in skus
    )
    return max(by_sku, *(sum(map(worth, lines)) for lines in of))


def _left(event: dict, gone: list[dict], market: MarketRules) -> dict | None:
    left = [e for e in event["lines"] if not any(_alike(e, other, market) for other in gone)]
    return event | {"lines": left} if left or not event["lines"] else None


def _alike(one: dict, other: dict, market: MarketRules) -> bool:
    if one["sku"] and other["sku"] and one["sku"] != other["sku"]:
        return False
    both = one["category"] and other["category"]
    return not both or _member(one, market) == _member(other, market)


def _member(line: dict, market: MarketRules) -> str:
    return market.member("category", line["category"])[0]


def _places(event: dict, market: MarketRules) -> set[tuple]:
    found = {(), *(("category", _member(line, market)) for line in event["lines"])}
    if event.get("payment_method"):
        member, _ = market.member("payment_method", event["payment_method"])
        found.add(("payment_method", member))
    return found


def _units(line: dict) -> int:
    return line["quantity"]


def _sales(line: dict) -> int:
    return line["quantity"] * line["unit_price_minor"]


def _name(event: dict) -> object:
    return event.get("refund_id")


def waiting(corrections: list[Correction], market: MarketRules) -> Counter:
    """What those of them that wait would take by themselves."""
    return _prefixed("waiting_", taken([e.event for e in corrections if e.waits], [], market))


def as_late(counts: Counter) -> Counter:
    """Return the counts as those of orders that came late."""
    return _prefixed("late_", counts)


def _prefixed(prefix: str, counts: Counter) -> Counter:
    return Counter({(f"{prefix}{name[0]}", *name[1:]): value for name, value in counts.items()})


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
