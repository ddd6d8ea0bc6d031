"""The events of one source partition that count: in which slot, and what each adds."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from .contract import SUM_MAX, id_fault, placement_of, validate
from .corrections import Change, Remembered
from .labels import Limits, Room, by_column, united
from .rules import MarketRules, Rules, day_end_ms, local_day, to_label, to_ms

CORRECTIONS = ("order.cancelled", "order.refunded")
AGREEING, DOUBTED_PANES = 3, 32
YEAR_2100_MS = 4_102_444_800_000
Counts = Counter
"""Sums by name: ("orders",) or ("units", "category", "books") or ("cancelled_sales", ..). By label there
are label sets beside them: ("set", "placed", "category", (("books", "placed"), ("toys", "placed")))."""


def order_of(event: dict) -> str:
    """The order that an event is of; of an event that names none, the event."""
    order_id = event.get("order_id")
    return f"event {event['event_id']}" if id_fault(order_id) else str(order_id)


@dataclass(frozen=True)
class Counted:
    """An event that counts: its slots, and what it adds to the live book and to its day."""

    offset: int
    market: str
    event_id: str
    occurred_ms: int
    pane: int
    day: int
    live: Counts
    day_book: Counts | None
    """None: no day changes."""
    live_said: Counts
    """What it adds to the live book by label, where ``live`` is by member."""
    day_said: Counts


@dataclass
class SourceReference:
    """One source partition's log, record by record."""

    rules: Rules
    payments: bool
    watermarks: dict[str, int] = field(default_factory=dict)
    history: list[tuple[int, dict[str, int]]] = field(default_factory=list)
    """(offset, watermarks after it)."""
    counted: list[Counted] = field(default_factory=list)
    """Events that count in the live book."""
    day_only: list[Counted] = field(default_factory=list)
    """Events that count in the day book alone."""
    outcomes: dict[int, str] = field(default_factory=dict)
    also: dict[int, str] = field(default_factory=dict)
    """What else is said of a record that counts."""
    remembered: Remembered = field(default_factory=Remembered)
    begins: dict[str, int] = field(default_factory=dict)
    """Arrival of the first record of each market."""
    reasons: dict[int, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    _rooms: dict[tuple, Room] = field(default_factory=dict)
    _slots: dict[tuple, list[Counted]] = field(default_factory=dict)
    _sums: dict[tuple, Counts] = field(default_factory=dict)
    _open: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    _given_up: dict[str, int] = field(default_factory=dict)
    _doubts: dict[str, dict[str, int]] = field(default_factory=dict)
    """By market: the first arrival of each order in the run of doubted records."""
    _doubts_after: list[dict[str, dict[str, int]]] = field(default_factory=list)

    def add(
        self, offset: int, value: bytes | None, timestamp_ms: int, *, doubtful: bool = False
    ) -> str:
        """``doubtful``: the record's stamp is its producer's word alone."""
        verdict = self._judge(offset, value, timestamp_ms, doubtful)
        outcome, _, reason = verdict.partition(":")
        if outcome == "dead" or verdict == "too_late:its day is open":
            self._refuse(offset, value, timestamp_ms)
        if outcome == "too_late":
            reason = ""
        self.outcomes[offset] = outcome
        if reason:
            self.reasons[offset] = reason
        self.history.append((offset, dict(self.watermarks)))
        self._doubts_after.append({code: dict(each) for code, each in self._doubts.items() if each})
        return outcome

    def _refuse(self, offset: int, value: bytes | None, timestamp_ms: int) -> None:
        """Remember which order a refused record would have placed."""
        placement = None if self.payments else placement_of(value)
        if placement is None or placement[0] not in self.rules.markets:
            return
        if not self.remembered.refuse(*placement, self.watermarks, timestamp_ms):
            self.also[offset] = "unremembered"

    def _judge(self, offset: int, value: bytes | None, timestamp_ms: int, doubtful: bool) -> str:
        event, reason = validate(value, payments=self.payments)
        if reason == "ignored":
            return "ignored"
        if event is None:
            return f"dead:{reason}"
        rules = self.rules
        market = rules.markets.get(event["market"])
        if market is None:
            return "dead:unknown_market"
        try:
            occurred_ms = to_ms(event["occurred_at"])
        except ValueError:
            return "dead:invalid_time"
        if event["currency"] != market.currency:
            return "dead:wrong_currency"
        if not 0 <= timestamp_ms < YEAR_2100_MS:
            return "dead:invalid_time"
        watermark_ms = self._arrive(market.code, order_of(event), timestamp_ms, doubtful)
        self.watermarks[market.code] = watermark_ms
        self.begins.setdefault(market.code, watermark_ms)
        if occurred_ms > timestamp_ms + rules.ahead_ms:
            return "dead:ahead"
        reached_ms = max(watermark_ms, timestamp_ms)
        late = reached_ms - occurred_ms > rules.grace_ms
        late = late or self._gives_way(market, occurred_ms // rules.pane_ms * rules.pane_ms)
        if late and self.payments:
            return "too_late"
        if timestamp_ms - watermark_ms > rules.ahead_ms and not late:
            pane = occurred_ms // rules.pane_ms * rules.pane_ms
            if pane not in self._open[market.code] and self._is_kept(market.code, pane):
                return "dead:ahead"
        placed_ms, reason = _placed(event, occurred_ms, rules.ahead_ms)
        if reason:
            return "too_late:its day is open" if late else f"dead:{reason}"
        if late:
            return self._count_late(offset, event, market, occurred_ms, placed_ms, reached_ms)
        return self._count(offset, event, market, occurred_ms, placed_ms, reached_ms)

    def _arrive(self, market: str, order: str, timestamp_ms: int, doubtful: bool) -> int:
        """Return the market's watermark after the record."""
        ahead_ms = self.rules.ahead_ms
        watermark_ms = self.watermarks.get(market, timestamp_ms)
        doubts = self._doubts.setdefault(market, {})
        if not doubtful or timestamp_ms - watermark_ms <= ahead_ms:
            doubts.clear()
            return max(watermark_ms, timestamp_ms)
        doubts.setdefault(order, timestamp_ms)
        if len(doubts) < AGREEING:
            return watermark_ms
        watermark_ms = min(doubts.values())
        self._doubts[market] = {
            each: at_ms for each, at_ms in doubts.items() if at_ms - watermark_ms > ahead_ms
        }
        return watermark_ms

    def _is_kept(self, market: str, pane: int) -> bool:
        """Whether a pane is kept from a doubted event: for what is sold now, or as it lies too far."""
        rules, panes = self.rules, self._open[market]
        watermark_ms = self.watermarks[market]
        beyond = [each for each in panes if each > watermark_ms + rules.ahead_ms]
        if pane <= watermark_ms + rules.ahead_ms or len(panes) == rules.panes_max:
            return len(panes) == rules.panes_max
        return len(beyond) >= DOUBTED_PANES or pane > watermark_ms + rules.day_grace_ms

    def _gives_way(self, market: MarketRules, pane: int) -> bool:
        """Whether the pane may not open: it, or a newer one, has made room for newer ones."""
        rules, watermark_ms = self.rules, self.watermarks[market.code]
        panes = self._open.setdefault(market.code, {})
        for start in [s for s in panes if s + rules.pane_ms + rules.grace_ms <= watermark_ms]:
            del panes[start]
        if pane in panes:
            return False
        oldest_full = len(panes) == rules.panes_max and pane < min(panes)
        return oldest_full or pane <= self._given_up.get(market.code, pane - 1)

    def _count(self, offset, event, market, occurred_ms, placed_ms, reached_ms) -> str:
        rules = self.rules
        pane = occurred_ms // rules.pane_ms * rules.pane_ms
        panes = self._open[market.code]
        if event["event_id"] in panes.get(pane, ()):
            return "duplicate"
        day = local_day(market.zone, placed_ms)
        day_closed = day_end_ms(market.zone, day) + rules.day_grace_ms <= reached_ms
        in_pane, on_day = (market.code, "live", pane), (market.code, "day", day)
        held = [self._sums.setdefault(slot, Counter()) for slot in (in_pane, on_day)]
        if _overflows(event, *held):
            return "dead:overflow"
        if pane not in panes and len(panes) == rules.panes_max:
            oldest = min(panes)
            del panes[oldest]
            self._given_up[market.code] = oldest
        panes.setdefault(pane, set()).add(event["event_id"])
        live = live_counts(event, self.room(in_pane), offset)
        if event["type"] == "order.placed":
            self._mend(offset, event, market, reached_ms)
        day_book, day_said = None, Counter()
        if day_closed:
            self.also[offset] = "day_closed"
        elif event["type"] in CORRECTIONS:
            day_book, day_said = self._correct(offset, event, market, placed_ms, day)
        else:
            day_said = day_counts(event, self.room(on_day), offset)
            day_book = _of_members(day_said, market, "day")
        before_log = self._is_before_log(market, placed_ms)
        if event["type"] == "order.placed" and not day_closed and before_log:
            order_id, watermarks = order_of(event), self.watermarks
            self.remembered.forget(watermarks)
            self.remembered.add_order(market.code, order_id, None, watermarks)
        found = Counted(
            offset,
            market.code,
            event["event_id"],
            occurred_ms,
            pane,
            day,
            _of_members(live, market, "live"),
            day_book,
            live,
            day_said,
        )
        self.counted.append(found)
        held[0].update(live)
        self._slots.setdefault(in_pane, []).append(found)
        if day_book is not None:
            held[1].update(day_said)
            self._slots.setdefault(on_day, []).append(found)
        late = pane + rules.pane_ms + rules.out_of_order_ms <= reached_ms
        return "late" if late else "accepted"

    def _count_late(self, offset, event, market, occurred_ms, placed_ms, reached_ms) -> str:
        rules, code = self.rules, market.code
        watermark_ms = self.watermarks[code]
        pane = occurred_ms // rules.pane_ms * rules.pane_ms
        is_open = pane + rules.pane_ms + rules.grace_ms > watermark_ms
        if is_open and event["event_id"] in self._open.get(code, {}).get(pane, ()):
            return "duplicate"
        day = local_day(market.zone, placed_ms)
        if day_end_ms(market.zone, day) + rules.day_grace_ms <= reached_ms:
            return "too_late"
        on_day = (code, "day", day)
        held = self._sums.setdefault(on_day, Counter())
        if _overflows(event, Counter(), held):
            return "too_late:its day is open"
        if event["type"] in CORRECTIONS:
            day_book, said = self._correct(offset, event, market, placed_ms, day)
            if day_book is None and self.also[offset] == "repeated":
                return "duplicate"
            if self.also[offset].startswith("unmatched"):
                if day_book:
                    self._change_day(offset, event, market, day, day_book, said)
                return "too_late"
        else:
            self.remembered.forget(self.watermarks)
            order_id = order_of(event)
            known = self.remembered.late_by(code, order_id)
            if event["event_id"] in known:
                return "duplicate"
            self._mend(offset, event, market, reached_ms)
            said = day_counts(event, self.room(on_day), offset, "late_")
            day_book = _of_members(said, market, "day")
            added = self.remembered.add_order(code, order_id, event["event_id"], self.watermarks)
            if not added:
                self.also[offset] = "unremembered"
        found = Counted(
            *(offset, code, event["event_id"], occurred_ms, pane, day),
            *(Counter(), day_book, Counter(), said),
        )
        self.day_only.append(found)
        held.update(said)
        self._slots.setdefault(on_day, []).append(found)
        return "day_only"

    def _mend(self, offset, event, market, reached_ms) -> None:
        """Note that an order counts; its corrections that waited for it change their days."""
        changes = self.remembered.mend(market.code, order_of(event), self.watermarks)
        for day in sorted({change.day for change in changes}):
            of_day = [change for change in changes if change.day == day]
            room = self.room((market.code, "day", day))
            added: Counts = Counter()
            for change in of_day:
                added.update(_taken(change, room))
            held = self._sums.setdefault((market.code, "day", day), Counter())
            closes_ms = day_end_ms(market.zone, day) + self.rules.day_grace_ms
            full = any(held[name] + count > SUM_MAX for name, count in added.items())
            if not full and closes_ms > reached_ms:
                for change in of_day:
                    counts, said = self._changed(offset, market, change)
                    self._change_day(offset, event, market, day, counts, said)

    def _change_day(self, offset, event, market, day, counts, said) -> None:
        """Change a day by an event that does not count in it."""
        slot = (market.code, "day", day)
        self._sums.setdefault(slot, Counter()).update(said)
        self._slots.setdefault(slot, []).append(
            Counted(
                *(offset, market.code, event["event_id"], 0, 0, day),
                *(Counter(), counts, Counter(), said),
            )
        )

    def _changed(self, offset, market, change: Change) -> tuple[Counts, Counts]:
        """What a change adds to its day: (by member, by label)."""
        room = self.room((market.code, "day", change.day))
        said = _taken(change, room)
        before, after = (by_column(each, room) for each in (change.before, change.after))
        for dimension in ("category", "payment_method"):
            old, new = (_taken_from(each, dimension) for each in (before, after))
            if old != new:
                room.count_set(offset, said, change.part, dimension, old, -1)
                room.count_set(offset, said, change.part, dimension, new, 1)
        counts = Counter(_of_members(_prefixed(change.part, after), market, "day"))
        counts.subtract(_of_members(_prefixed(change.part, before), market, "day"))
        counts["uncertain",] += said["uncertain",]
        return counts, said

    def _is_before_log(self, market, placed_ms) -> bool:
        return placed_ms is not None and placed_ms < self.begins[market.code] - self.rules.grace_ms

    def _correct(self, offset, event, market, placed_ms, day) -> tuple[Counts | None, Counts]:
        """What a correction adds to its day: (by member, by label)."""
        self.remembered.forget(self.watermarks)
        changes, self.also[offset] = self.remembered.correct(
            event,
            market.code,
            day,
            self.watermarks,
            before_log=self._is_before_log(market, placed_ms),
        )
        if not changes:
            return None, Counter()
        room = self.room((market.code, "day", day))
        for line in event["lines"]:
            room.admit(offset, "category", to_label(line["category"]))
        if event.get("payment_method"):
            room.admit(offset, "payment_method", to_label(event["payment_method"]))
        return self._changed(offset, market, *changes)

    # -- what a prefix means -----------------------------------------------------------------

    def room(self, slot: tuple) -> Room:
        """The labels of one slot: (market, book, pane or day)."""
        most = self.limits.pane_labels if slot[1] == "live" else self.limits.day_labels
        return self._rooms.setdefault(slot, Room(self.limits, most))

    def said(self, market: str, book: str, slot: int, through: int) -> Counts:
        """Sums of one slot by label, over the records up to ``through``."""
        total: Counts = Counter()
        for event in self._slots.get((market, book, slot), ()):
            if event.offset <= through:
                total.update(event.live_said if book == "live" else event.day_said)
        return total

    def admitted(self, market: str, book: str, slot: int, through: int) -> tuple[list, list]:
        """The labels and label sets that the slot has met, in order, up to ``through``."""
        room = self.room((market, book, slot))
        labels, sets = (
            [name for name, offset in met.items() if offset <= through]
            for met in (room.labels, room.sets)
        )
        return labels, sets

    def row(self, market: str, book: str, slot: int, through: int) -> Counts:
        """Sums of one slot by member, over the records up to ``through``."""
        total: Counts = Counter()
        for event in self._slots.get((market, book, slot), ()):
            if event.offset <= through:
                total.update(event.live if book == "live" else event.day_book)
        return total

    def slots(self) -> Iterator[tuple[str, str, int]]:
        """Every slot that holds an event."""
        return iter(self._slots)

    def watermarks_at(self, through: int) -> dict[str, int]:
        """Arrival watermark of each market after the record ``through``."""
        length = bisect_right(self.history, through, key=lambda item: item[0])
        return self.history[length - 1][1] if length else {}

    def doubts_at(self, through: int) -> dict[str, dict[str, int]]:
        """By market: the doubted orders with their first arrival, after the record ``through``."""
        length = bisect_right(self.history, through, key=lambda item: item[0])
        return self._doubts_after[length - 1] if length else {}

    def with_outcome(self, outcome: str, through: int) -> set[int]:
        """Offsets up to ``through`` that had this outcome."""
        return {
            offset
            for offset, found in self.outcomes.items()
            if found == outcome and offset <= through
        }


def _overflows(event: dict, live: Counts, day: Counts) -> bool:
    if event["type"].startswith("payment"):
        amount = event["amount_minor"]
        sums = (
            "amount", "refund_amount", "unrefunded_amount", "disputed_amount", "reversed_amount",
        )  # fmt: skip
        held = [book[name,] for book in (live, day) for name in sums]
        return max(held) + amount > SUM_MAX
    units, sales = _units_and_sales(event)
    ledgers = ["", "late_"]
    ledgers += [f"{each}{kind}_" for each in ("", "waiting_") for kind in ("cancelled", "refunded")]
    return (
        max(live["sales",], *(day[f"{ledger}sales",] for ledger in ledgers)) + sales > SUM_MAX
        or max(live["units",], *(day[f"{ledger}units",] for ledger in ledgers)) + units > SUM_MAX
    )


def _placed(event: dict, occurred_ms: int, ahead_ms: int) -> tuple[int, str]:
    """When the order was placed, or the reason why nobody knows."""
    if event.get("placed_at") is not None:
        try:
            placed_ms = to_ms(event["placed_at"])
        except ValueError:
            return 0, "invalid_time"
        return placed_ms, "placed_after_occurred" if placed_ms > occurred_ms + ahead_ms else ""
    return occurred_ms, "placed_at_missing" if event["type"] in CORRECTIONS else ""


def _units_and_sales(event: dict) -> tuple[int, int]:
    units = sum(line["quantity"] for line in event["lines"])
    sales = sum(line["quantity"] * line["unit_price_minor"] for line in event["lines"])
    return units, sales


def _of_members(counts: Counts, market: MarketRules, book: str) -> Counts:
    """The counts of one event, or of the corrections of one order, by member."""
    left_out = {"region", "channel"} if book == "day" else set()
    plain: Counts = Counter()
    for name, count in counts.items():
        if name[0] != "set" and not left_out.intersection(name[1:2]):
            plain[name] = count
    shoppers = {name: plain.pop(name) for name in list(plain) if name[0] == "shopper"}
    return united(plain, market.member) + Counter(shoppers)


def _prefixed(part: str, counts: Counts) -> Counts:
    prefix = "waiting_" if part == "waiting" else ""
    return Counter({(prefix + name, *where): count for (name, *where), count in counts.items()})


def _taken(change: Change, room: Room) -> Counts:
    """What a change takes more than before, by label."""
    found = _prefixed(change.part, by_column(change.after, room))
    found.subtract(_prefixed(change.part, by_column(change.before, room)))
    return found


def _taken_from(counts: Counts, dimension: str) -> dict[str, str]:
    """The labels of which the order was taken, and how."""
    return {
        label: kind
        for kind in ("cancelled", "refunded")
        for (what, *where), count in counts.items()
        if what == f"{kind}_orders" and count and where[:1] == [dimension]
        for label in where[1:]
    }


def live_counts(event: dict, room: Room, offset: int = 0) -> Counts:
    """Counts that the event adds to its pane, by label."""
    if event["type"].startswith("payment"):
        return _payment_counts(event, room, offset, live=True)
    if event["type"] in CORRECTIONS:
        return Counter({(event["type"].removeprefix("order."),): 1})
    units, sales = _units_and_sales(event)
    live = _placed_counts(event, room, offset)
    live["chosen",] += bool(event.get("payment_method"))
    for dimension in ("region", "channel"):
        label = room.admit(offset, dimension, to_label(event.get(dimension)))
        _three(live, "", (dimension, label), 1, units, sales)
    if event.get("shopper_id") is not None:
        live["shopper_orders",] += 1
        live["shopper", event["shopper_id"]] += 1
    if event.get("new_shopper") is not None:
        live["new_known",] += 1
        live["new_shoppers",] += event["new_shopper"]
    return live


def day_counts(event: dict, room: Room, offset: int = 0, ledger: str = "") -> Counts:
    """Counts that a payment or a placed order adds to its day, by label."""
    if event["type"].startswith("payment"):
        return _payment_counts(event, room, offset, live=False)
    found = _placed_counts(event, room, offset, ledger)
    for dimension in ("region", "channel") if not ledger else ():
        label = room.admit(offset, dimension, to_label(event.get(dimension)))
        found["orders", dimension, label] += 1
    return found


def _placed_counts(event: dict, room: Room, offset: int, ledger: str = "") -> Counts:
    """Counts of a placed order that both books have."""
    found: Counts = Counter()
    units, sales = _units_and_sales(event)
    _three(found, ledger, (), 1, units, sales)
    by_category: dict[str, list[int]] = {}
    for line in event["lines"]:
        label = room.admit(offset, "category", to_label(line["category"]))
        held = by_category.setdefault(label, [0, 0])
        held[0] += line["quantity"]
        held[1] += line["quantity"] * line["unit_price_minor"]
    for label, sums in by_category.items():
        _three(found, ledger, ("category", label), 1, *sums)
    part = "late" if ledger else "placed"
    room.count_set(offset, found, part, "category", dict.fromkeys(by_category, "placed"), 1)
    if event.get("payment_method"):
        label = room.admit(offset, "payment_method", to_label(event["payment_method"]))
        _three(found, ledger, ("payment_method", label), 1, units, sales)
    return found


def _three(counts: Counts, ledger: str, where: tuple, orders: int, units: int, sales: int) -> None:
    counts[f"{ledger}orders", *where] += orders
    counts[f"{ledger}units", *where] += units
    counts[f"{ledger}sales", *where] += sales


def _payment_counts(event: dict, room: Room, offset: int, *, live: bool) -> Counts:
    found: Counts = Counter()
    label = room.admit(offset, "payment_method", to_label(event["method"]))
    amount = event["amount_minor"]
    count, sum_of = {
        "payment.captured": ("payments", "amount"),
        "payment.failed": ("failed", None),
        "payment.refunded": ("payment_refunds", "refund_amount"),
        "payment.refund_failed": ("refund_failures", "unrefunded_amount"),
        "payment.disputed": ("disputes", "disputed_amount"),
        "payment.reversed": ("reversals", "reversed_amount"),
    }[event["type"]]
    of_method = ("payments", "failed") if live else ("payments", "failed", "payment_refunds")
    for where in ((), ("payment_method", label)):
        if where and count not in of_method:
            continue  # only the total is kept
        found[count, *where] += 1
        if sum_of is not None:
            found[sum_of, *where] += amount
    if not live and event.get("placed_at") is None and count == "payments":
        found["unplaced_payments",] += 1
    return found
