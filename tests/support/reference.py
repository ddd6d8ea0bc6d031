"""The batch recomputation: what a log prefix means, said again as plainly as possible.

Written from the documents alone (docs/exactness.md, docs/contract.md, docs/methodology.md) and with
nothing of streams/: events are JSON dicts, rows are counters by name, sums are loops over events. It is
slow on purpose. Whatever the incremental code publishes must equal it to the last digit.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from xxhash import xxh3_64_intdigest

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SUM_MAX = 2**63 - 1
SHOPPERS_KEY = int.from_bytes(b"shoppers")
WINDOWS = {"1m": 60_000, "5m": 300_000, "1h": 3_600_000, "24h": 86_400_000}

Counts = Counter
"""Sums by name: ("orders",) or ("units", "category", "books") or ("cancelled_sales", ...)."""


def to_ms(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


def to_slug(text: str) -> str:
    letters = []
    for character in text.casefold():
        if character in "'\u2019":
            continue
        letters.append(character if character.isalnum() else "_")
    return re.sub("_+", "_", "".join(letters)).strip("_")


@lru_cache(100_000)
def local_day(zone: str, instant_ms: int) -> int:
    moment = EPOCH + timedelta(milliseconds=instant_ms)
    return moment.astimezone(ZoneInfo(zone)).date().toordinal() - date(1970, 1, 1).toordinal()


@lru_cache(10_000)
def day_end_ms(zone: str, day: int) -> int:
    after = date.fromordinal(day + 1 + date(1970, 1, 1).toordinal())
    midnight = datetime(after.year, after.month, after.day, tzinfo=ZoneInfo(zone))
    return (midnight.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)


@dataclass(frozen=True)
class MarketRules:
    code: str
    currency: str
    zone: str
    members: dict[str, tuple[str, ...]]
    aliases: dict[str, dict[str, str]]
    digital: frozenset[str]

    def member(self, dimension: str, label: str | None) -> tuple[str, bool]:
        """(member, whether the label was unknown)."""
        if label is None:
            return "other", False
        name = to_slug(label)
        name = self.aliases.get(dimension, {}).get(name, name)
        return (name, False) if name in self.members[dimension] else ("other", True)


@dataclass(frozen=True)
class Rules:
    pane_ms: int
    grace_ms: int
    ahead_ms: int
    out_of_order_ms: int
    day_grace_ms: int
    panes_max: int
    markets: dict[str, MarketRules]

    @classmethod
    def of(cls, methodology) -> Rules:
        """Rules of a methodology object; only its plain attributes are read."""
        markets = {
            code: MarketRules(
                code,
                market.currency,
                market.time_zone,
                {
                    "category": market.categories,
                    "payment_method": market.methods,
                    "region": market.regions,
                    "channel": market.channels,
                },
                {"payment_method": market.method_aliases, "channel": market.channel_aliases},
                market.digital,
            )
            for code, market in methodology.markets.items()
        }
        return cls(
            methodology.pane_ms,
            methodology.grace_ms,
            methodology.ahead_ms,
            methodology.out_of_order_ms,
            methodology.day_grace_ms,
            methodology.open_panes_max,
            markets,
        )


@dataclass(frozen=True)
class Counted:
    """An event that counts: where, and what it adds to the live book and to its day."""

    offset: int
    market: str
    event_id: str
    occurred_ms: int
    pane: int
    day: int
    live: Counts
    day_book: Counts | None
    """None: the day was closed."""


@dataclass
class SourceReference:
    """One source partition's log, record by record."""

    rules: Rules
    payments: bool
    watermarks: dict[str, int] = field(default_factory=dict)
    history: list[tuple[int, dict[str, int]]] = field(default_factory=list)
    """(offset, watermarks after it)."""
    counted: list[Counted] = field(default_factory=list)
    outcomes: dict[int, str] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    _slots: dict[tuple, list[Counted]] = field(default_factory=dict)
    _open: dict[str, dict[int, set[str]]] = field(default_factory=dict)

    def add(self, offset: int, value: bytes | None, timestamp_ms: int) -> str:
        verdict = self._judge(offset, value, timestamp_ms)
        outcome, _, reason = verdict.partition(":")
        self.outcomes[offset] = outcome
        if reason:
            self.reasons[offset] = reason
        self.history.append((offset, dict(self.watermarks)))
        return outcome

    def _judge(self, offset: int, value: bytes | None, timestamp_ms: int) -> str:
        event, reason = validate(value, payments=self.payments)
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
        watermark_ms = max(timestamp_ms, self.watermarks.get(market.code, timestamp_ms))
        self.watermarks[market.code] = watermark_ms
        if occurred_ms > timestamp_ms + rules.ahead_ms:
            return "dead:ahead"
        if watermark_ms - occurred_ms > rules.grace_ms:
            return "too_late"
        placed_ms = None
        if event.get("placed_at") is not None:
            try:
                placed_ms = to_ms(event["placed_at"])
            except ValueError:
                return "dead:invalid_time"
            if placed_ms > occurred_ms:
                return "dead:placed_after_occurred"
        elif event["type"] in ("order.cancelled", "order.refunded"):
            return "dead:placed_at_missing"
        return self._count(offset, event, market, occurred_ms, placed_ms)

    def _count(self, offset, event, market, occurred_ms, placed_ms) -> str:
        rules = self.rules
        watermark_ms = self.watermarks[market.code]
        pane = occurred_ms // rules.pane_ms * rules.pane_ms
        panes = self._open.setdefault(market.code, {})
        for start in [s for s in panes if s + rules.pane_ms + rules.grace_ms <= watermark_ms]:
            del panes[start]
        if pane not in panes and len(panes) >= rules.panes_max:
            return "dead:pane_limit"
        if event["event_id"] in panes.get(pane, ()):
            return "duplicate"
        day = local_day(market.zone, occurred_ms if placed_ms is None else placed_ms)
        day_closed = day_end_ms(market.zone, day) + rules.day_grace_ms <= watermark_ms
        live, day_book = contributions(event, market)
        held_live = self.row(market.code, "live", pane, offset)
        held_day = self.row(market.code, "day", day, offset)
        if _overflows(event, held_live, held_day):
            return "dead:overflow"
        panes.setdefault(pane, set()).add(event["event_id"])
        found = Counted(
            offset,
            market.code,
            event["event_id"],
            occurred_ms,
            pane,
            day,
            live,
            None if day_closed else day_book,
        )
        self.counted.append(found)
        self._slots.setdefault((market.code, "live", pane), []).append(found)
        if not day_closed:
            self._slots.setdefault((market.code, "day", day), []).append(found)
        late = pane + rules.pane_ms + rules.out_of_order_ms <= watermark_ms
        return "late" if late else "accepted"

    # -- what a prefix means -----------------------------------------------------------------

    def row(self, market: str, book: str, slot: int, through: int) -> Counts:
        """Sums of one slot over the records up to ``through``."""
        total: Counts = Counter()
        for event in self._slots.get((market, book, slot), ()):
            if event.offset <= through:
                total.update(event.live if book == "live" else event.day_book)
        return total

    def slots(self) -> Iterator[tuple[str, str, int]]:
        """Every slot that holds an event."""
        return iter(self._slots)

    def watermarks_at(self, through: int) -> dict[str, int]:
        """Arrival watermark per market after the record ``through``."""
        at = bisect_right(self.history, through, key=lambda item: item[0])
        return self.history[at - 1][1] if at else {}

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
        held = [live["amount",], live["refund_amount",]]
        held += [day["amount",], day["refund_amount",], day["unplaced_amount",]]
        return max(held) + amount > SUM_MAX
    units, sales = _units_and_sales(event)
    ledgers = ("", "cancelled_", "refunded_")
    return (
        max(live["sales",], *(day[f"{ledger}sales",] for ledger in ledgers)) + sales > SUM_MAX
        or max(live["units",], *(day[f"{ledger}units",] for ledger in ledgers)) + units > SUM_MAX
    )


def _units_and_sales(event: dict) -> tuple[int, int]:
    units = sum(line["quantity"] for line in event["lines"])
    sales = sum(line["quantity"] * line["unit_price_minor"] for line in event["lines"])
    return units, sales


def contributions(event: dict, market: MarketRules) -> tuple[Counts, Counts]:
    """(what the event adds to its pane, what it adds to its day)."""
    if event["type"].startswith("payment"):
        return _payment_contributions(event, market)
    live: Counts = Counter()
    day: Counts = Counter()
    kind = event["type"].removeprefix("order.")
    units, sales = _units_and_sales(event)
    by_category: dict[str, list[int]] = {}
    unknown_of: dict[str, bool] = {}
    for line in event["lines"]:
        member, unknown = market.member("category", line["category"])
        held = by_category.setdefault(member, [0, 0])
        held[0] += line["quantity"]
        held[1] += line["quantity"] * line["unit_price_minor"]
        unknown_of.setdefault(member, unknown)
    method = event.get("payment_method")

    ledger = {"placed": "", "cancelled": "cancelled_", "refunded": "refunded_"}[kind]
    _three(day, ledger, (), 1, units, sales)
    for member, (its_units, its_sales) in by_category.items():
        _three(day, ledger, ("category", member), 1, its_units, its_sales)
    if method is not None:
        member, _ = market.member("payment_method", method)
        _three(day, ledger, ("payment_method", member), 1, units, sales)

    if kind != "placed":
        live[kind,] += 1
        return live, day
    _three(live, "", (), 1, units, sales)
    for member, (its_units, its_sales) in by_category.items():
        _three(live, "", ("category", member), 1, its_units, its_sales)
    live["unknown", "category"] += sum(unknown_of.values())
    if method is not None:
        member, unknown = market.member("payment_method", method)
        live["chosen",] += 1
        live["unknown", "payment_method"] += unknown
        _three(live, "", ("payment_method", member), 1, units, sales)
    for dimension in ("region", "channel"):
        member, unknown = market.member(dimension, event.get(dimension))
        live["unknown", dimension] += unknown
        _three(live, "", (dimension, member), 1, units, sales)
    if event.get("shopper_id") is not None:
        live["shopper_orders",] += 1
        live["shopper", event["shopper_id"]] += 1
    if event.get("new_shopper") is not None:
        live["new_known",] += 1
        live["new_shoppers",] += event["new_shopper"]
    return live, day


def _three(counts: Counts, ledger: str, where: tuple, orders: int, units: int, sales: int) -> None:
    counts[f"{ledger}orders", *where] += orders
    counts[f"{ledger}units", *where] += units
    counts[f"{ledger}sales", *where] += sales


def _payment_contributions(event: dict, market: MarketRules) -> tuple[Counts, Counts]:
    live: Counts = Counter()
    day: Counts = Counter()
    member, unknown = market.member("payment_method", event["method"])
    live["unknown", "payment_method"] += unknown
    amount = event["amount_minor"]
    counts = {
        "payment.captured": ("payments", "amount"),
        "payment.failed": ("failed", None),
        "payment.refunded": ("payment_refunds", "refund_amount"),
    }
    count, sum_of = counts[event["type"]]
    for where in ((), ("payment_method", member)):
        if where and count == "payment_refunds":
            continue  # the live book keeps refunds of payments as a total only
        live[count, *where] += 1
        if sum_of is not None:
            live[sum_of, *where] += amount
    if event.get("placed_at") is not None:
        for where in ((), ("payment_method", member)):
            day[count, *where] += 1
            if sum_of is not None:
                day[sum_of, *where] += amount
    elif count == "payments":
        day["unplaced_payments",] += 1
        day["unplaced_amount",] += amount
    return live, day


# -- values --------------------------------------------------------------------------------------

Found = tuple[int | float | None, int | None, int]
"""(value, observed, n)."""


def _divided(above: int, below: int) -> float | None:
    return above / below if below else None


def live_values(counts: Counts, market: MarketRules) -> dict[str, Found]:
    """Every always-there index of a window: ``index:dimension:member`` -> (value, observed, n)."""
    found: dict[str, Found] = {}
    orders, sales = counts["orders",], counts["sales",]
    for index in ("orders", "units", "sales"):
        found[f"{index}:market:all"] = _plain(counts[index,], orders)
        for dimension in ("category", "payment_method", "region", "channel"):
            for member in market.members[dimension]:
                behind = counts["orders", dimension, member]
                value = counts[index, dimension, member]
                found[f"{index}:{dimension}:{member}"] = _plain(value, behind)
    for index in ("sales", "units"):
        total = counts[index,]
        found[f"basket_{index}:market:all"] = (_divided(total, orders), total, orders)
    for member in market.members["category"]:
        own = counts["orders", "category", member]
        found[f"category_share_by_orders:category:{member}"] = (_divided(own, orders), own, orders)
        own = counts["sales", "category", member]
        found[f"category_share_by_sales:category:{member}"] = (_divided(own, sales), own, orders)
    chosen, captured, amount = counts["chosen",], counts["payments",], counts["amount",]
    found["payments:market:all"] = _plain(captured, captured)
    found["amount:market:all"] = _plain(amount, captured)
    found["payment_failure_ratio:market:all"] = _failures(counts["failed",], captured)
    digital = 0
    for member in market.members["payment_method"]:
        own = counts["orders", "payment_method", member]
        found[f"payment_chosen_share:payment_method:{member}"] = (
            _divided(own, chosen), own, chosen,
        )  # fmt: skip
        own = counts["payments", "payment_method", member]
        paid = counts["amount", "payment_method", member]
        found[f"payments:payment_method:{member}"] = _plain(own, own)
        found[f"amount:payment_method:{member}"] = _plain(paid, own)
        found[f"payment_share_by_count:payment_method:{member}"] = (
            _divided(own, captured), own, captured,
        )  # fmt: skip
        found[f"payment_share_by_amount:payment_method:{member}"] = (
            _divided(paid, amount), paid, captured,
        )  # fmt: skip
        failed = counts["failed", "payment_method", member]
        found[f"payment_failure_ratio:payment_method:{member}"] = _failures(failed, own)
        digital += own if member in market.digital else 0
    found["digital_share:market:all"] = (_divided(digital, captured), digital, captured)
    return found


def registers_of(counts: Counts) -> tuple[tuple[int, int], ...]:
    """(register, rank) of the sketch of the shoppers counted, as docs/methodology.md has it.

    Of a shopper's 64-bit hash, as text: the register is its first 12 digits, the rank the place of
    the first 1 in the 52 behind.
    """
    found: dict[int, int] = {}
    for name in counts:
        if name[0] == "shopper" and counts[name]:
            digits = f"{xxh3_64_intdigest(name[1].encode(), SHOPPERS_KEY):064b}"
            register, rank = int(digits[:12], 2), (digits[12:] + "1").index("1") + 1
            found[register] = max(rank, found.get(register, 0))
    return tuple(sorted(found.items()))


@lru_cache(10_000)
def shoppers_estimated(registers: tuple[tuple[int, int], ...]) -> int:
    """Ertl's improved estimator (arXiv:1702.01284, algorithm 6), to the nearest integer."""
    if not registers:
        return 0
    of_rank = Counter(rank for _, rank in registers)
    z = 4096 * _tau(1 - of_rank[53] / 4096)
    for rank in range(52, 0, -1):
        z = (z + of_rank[rank]) * 0.5
    z += 4096 * _sigma((4096 - len(registers)) / 4096)
    return round(0.5 / math.log(2) * 4096 * 4096 / z)


def _sigma(x: float) -> float:
    total, power, weight = x, x * x, 1.0
    while total + power * weight != total:
        total += power * weight
        power, weight = power * power, 2 * weight
    return total


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    total, root, weight = 1 - x, math.sqrt(x), 0.5
    while total - (1 - root) ** 2 * weight != total:
        total -= (1 - root) ** 2 * weight
        root, weight = math.sqrt(root), weight * 0.5
    return total / 3


def shopper_values(counts: Counts) -> dict[str, tuple]:
    """Shoppers of a span: ``index:dimension:member`` -> (value, observed, n, lower, upper)."""
    orders, known = counts["shopper_orders",], counts["new_known",]
    shoppers = shoppers_estimated(registers_of(counts))
    low, high = shoppers * (1 - 0.0325), shoppers * (1 + 0.0325)
    some = bool(shoppers)
    return {
        "shoppers:market:all": (
            shoppers or None, shoppers, orders, low if some else None, high if some else None,
        ),
        "orders_per_shopper:market:all": (
            _divided(orders, shoppers), orders, orders,
            orders / high if some else None, orders / low if some else None,
        ),
        "new_shopper_share:market:all": (
            _divided(counts["new_shoppers",], known), counts["new_shoppers",], known, None, None,
        ),
    }  # fmt: skip


SHOPPER_INDICES = ("shoppers", "orders_per_shopper", "new_shopper_share")
PAYMENT_INDICES = (
    "payments",
    "amount",
    "payment_failure_ratio",
    "payment_share_by_count",
    "payment_share_by_amount",
    "digital_share",
)
"""Indices that are counted from the payments topic and follow its as_of."""


def _plain(value: int, behind: int) -> Found:
    return value, value, behind


def _failures(failed: int, captured: int) -> Found:
    return _divided(failed, failed + captured), failed, failed + captured


def day_values(counts: Counts, market: MarketRules) -> dict[str, Found]:
    """Values of a day; members with nothing are left out, valid and net where they equal gross."""
    found: dict[str, Found] = {}
    for index in ("orders", "units", "sales"):
        found[f"{index}:market:all"] = _plain(counts[index,], counts["orders",])
    found["payments:market:all"] = _plain(counts["payments",], counts["payments",])
    found["amount:market:all"] = _plain(counts["amount",], counts["payments",])
    found |= _ledgers(counts, "market", "all", ())
    placed, total = counts["payments",], counts["payments",] + counts["unplaced_payments",]
    found["cohort_coverage:market:all"] = _divided(placed, total), placed, total
    for dimension in ("category", "payment_method"):
        for member in market.members[dimension]:
            orders = counts["orders", dimension, member]
            where = (dimension, member)
            if any(
                counts[f"{ledger}{index}", *where]
                for ledger in ("cancelled_", "refunded_")
                for index in ("orders", "units", "sales")
            ):
                found |= _ledgers(counts, dimension, member, where)
            if orders:
                for index in ("orders", "units", "sales"):
                    value = counts[index, dimension, member]
                    found[f"{index}:{dimension}:{member}"] = _plain(value, orders)
            payments = counts["payments", dimension, member]
            if payments:
                found[f"payments:{dimension}:{member}"] = _plain(payments, payments)
                amount = counts["amount", dimension, member]
                found[f"amount:{dimension}:{member}"] = _plain(amount, payments)
    return found


def _ledgers(counts: Counts, dimension: str, member: str, where: tuple) -> dict[str, Found]:
    """Valid: placed less cancelled; net: less refunded too."""
    found = {}
    for name, less in (("valid", ("cancelled_",)), ("net", ("cancelled_", "refunded_"))):
        left = {
            index: counts[index, *where]
            - sum(counts[f"{ledger}{index}", *where] for ledger in less)
            for index in ("orders", "units", "sales")
        }
        for index, value in left.items():
            found[f"{index}_{name}:{dimension}:{member}"] = _plain(value, left["orders"])
    return found


def window_counts(
    events: Iterable[Counted],
    market: str,
    start_ms: int,
    end_ms: int,
    *,
    known: Callable[[Counted], bool] = lambda _: True,
) -> Counts:
    """Sums of the events of ``[start, end)`` by event time."""
    total: Counts = Counter()
    for event in events:
        if event.market == market and start_ms <= event.occurred_ms < end_ms and known(event):
            total.update(event.live)
    return total


# -- the input contract --------------------------------------------------------------------------

RECORD_BYTES_MAX, LINES_MAX, ID_BYTES_MAX, DEPTH_MAX = 256 * 1024, 500, 128, 64
ORDER_TYPES = ("order.placed", "order.cancelled", "order.refunded")
PAYMENT_TYPES = ("payment.captured", "payment.failed", "payment.refunded")


class _TwiceError(ValueError):
    pass


def _pairs(pairs: list) -> dict:
    if len({key for key, _ in pairs}) != len(pairs):
        raise _TwiceError
    return dict(pairs)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def validate(value: bytes | None, *, payments: bool) -> tuple[dict | None, str]:
    """(event, "") or (None, reason), for a record as the contract has it."""
    if not value:
        return None, "empty"
    if len(value) > RECORD_BYTES_MAX:
        return None, "too_large"
    if _too_deep(value):
        return None, "too_deep"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None, "invalid_utf8"
    twice = False
    try:
        event = json.loads(text, object_pairs_hook=_pairs, parse_constant=_refuse_constant)
    except _TwiceError:
        twice = True
        event = json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        return None, "invalid_json"
    reason = _check_schema(event, payments=payments)
    if reason:
        return None, reason
    reason = _check_ids(event, payments=payments)
    if reason:
        return None, reason
    return (None, "duplicate_key") if twice else (event, "")


def _too_deep(value: bytes) -> bool:
    depth, in_string, escaped = 0, False, False
    for character in value:
        if in_string:
            if escaped:
                escaped = False
            elif character == ord("\\"):
                escaped = True
            elif character == ord('"'):
                in_string = False
        elif character == ord('"'):
            in_string = True
        elif character in b"[{":
            depth += 1
            if depth > DEPTH_MAX:
                return True
        elif character in b"]}":
            depth -= 1
    return False


def _check_schema(event: object, *, payments: bool) -> str:
    if not isinstance(event, dict):
        return "schema"
    types = PAYMENT_TYPES if payments else ORDER_TYPES
    # Fields are judged in the order of the record, as a streaming decoder meets them.
    for name, found in event.items():
        if name == "type":
            if found not in types:
                return "unknown_type"
        elif not _field_is_legal(name, found, payments=payments):
            return "schema"
    required = ["event_id", "type", "occurred_at", "market", "order_id", "currency"]
    required += ["method", "amount_minor"] if payments else ["lines"]
    return "" if all(name in event for name in required) else "schema"


def _field_is_legal(name: str, found: object, *, payments: bool) -> bool:
    if name in ("event_id", "order_id"):
        return _is_id(found)
    if name == "occurred_at":
        return _is_text(found, 17, 40)
    if name == "placed_at":
        return found is None or _is_text(found, 17, 40)
    if name in ("market", "currency"):
        return isinstance(found, str)
    if payments:
        if name == "method":
            return isinstance(found, str)
        if name == "provider":
            return found is None or isinstance(found, str)
        return name != "amount_minor" or _is_integer(found, 0)
    if name in ("shopper_id", "seller_id"):
        return found is None or _is_id(found)
    if name in ("payment_method", "region", "channel"):
        return found is None or isinstance(found, str)
    if name == "new_shopper":
        return found is None or isinstance(found, bool)
    if name == "lines":
        return isinstance(found, list) and len(found) <= LINES_MAX and all(map(_is_line, found))
    return True


def _is_line(line: object) -> bool:
    return (
        isinstance(line, dict)
        and _is_id(line.get("sku"))
        and isinstance(line.get("category"), str)
        and _is_integer(line.get("quantity"), 1)
        and _is_integer(line.get("unit_price_minor"), 0)
    )


def _is_text(found: object, shortest: int, longest: int) -> bool:
    return isinstance(found, str) and shortest <= len(found) <= longest


def _is_id(found: object) -> bool:
    return _is_text(found, 1, ID_BYTES_MAX)


def _is_integer(found: object, lowest: int) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and lowest <= found <= SUM_MAX


def _check_ids(event: dict, *, payments: bool) -> str:
    ids = [event["event_id"], event["order_id"]]
    if not payments:
        ids += [event.get("shopper_id"), event.get("seller_id")]
        ids += [line["sku"] for line in event["lines"]]
    for text in ids:
        if text is None:
            continue
        if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text):
            return "control_character"
        if len(text.encode()) > ID_BYTES_MAX:
            return "id_too_long"
    return ""
