"""What the index must say, computed in one pass over the log: plain Python integers, no streams code.

The independent half of oracle O. Of the project it takes only the names of the members (from
methodology.toml) and the numbers that the contract gives; decoding, admission, slots and sums are
written anew here, in the most obvious way.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from support.reference import shopper_values

METHODOLOGY = tomllib.loads(
    (Path(__file__).parents[2] / "config/methodology.toml").read_text(encoding="utf-8")
)
PANE_MS, GRACE_MS, AHEAD_MS = 5_000, 120_000, 300_000
WINDOWS_MS = {"1m": 60_000, "5m": 300_000, "1h": 3_600_000, "24h": 86_400_000}
OTHER = "other"

Cell = tuple[str, str, str]
"""(what is counted, dimension, member)."""


def slug(text):
    text = text.casefold().replace("'", "")
    return re.sub(r"[^0-9a-z]+", "_", text).strip("_")


def millis(text):
    return round(datetime.fromisoformat(text).timestamp() * 1000)


class MarketMembers:
    def __init__(self, code):
        spec = METHODOLOGY["markets"][code]
        self.currency = spec["currency"]
        self.zone = ZoneInfo(spec["time_zone"])
        self.members = {
            "category": [*METHODOLOGY["category_sets"][spec["categories"]], OTHER],
            "payment_method": [*METHODOLOGY["methods"], OTHER],
            "region": [*spec.get("regions", []), OTHER],
            "channel": [*METHODOLOGY["channels"], OTHER],
        }
        aliases = {}
        for dimension, table in (("payment_method", "methods"), ("channel", "channels")):
            for name, own in METHODOLOGY[table].items():
                aliases |= {(dimension, slug(alias)): name for alias in own["aliases"]}
        self._aliases = aliases
        self.digital = {name for name, own in METHODOLOGY["methods"].items() if own["digital"]}
        self._cache = {}

    def member(self, dimension, label):
        if label is None:
            return OTHER
        key = (dimension, label)
        if key not in self._cache:
            name = self._aliases.get((dimension, slug(label)), slug(label))
            self._cache[key] = name if name in self.members[dimension] else OTHER
        return self._cache[key]

    def day(self, ms):
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
        return moment.astimezone(self.zone).date().isoformat()


class Batch:
    """Feed it each source partition's records in the order of the log."""

    def __init__(self, poison=frozenset()):
        """``poison``: places of records that break the contract in ways this reader is blind to."""
        self.poison = poison
        self.markets = {code: MarketMembers(code) for code in METHODOLOGY["markets"]}
        self.panes = defaultdict(Counter)
        """(market, pane start) -> what occurred in it."""
        self.days = defaultdict(Counter)
        """(market, local day) -> what was placed on it."""
        self.sp_panes = defaultdict(Counter)
        self.sp_days = defaultdict(Counter)
        self.through = {}
        self.watermarks = defaultdict(dict)
        self.outcomes = defaultdict(Counter)
        self.late = set()
        self.dead = set()
        self._ids = defaultdict(set)

    def feed(self, topic, partition, records):
        """``records``: (offset, value, timestamp ms) of one source partition, in order."""
        sp = (topic, partition)
        for offset, value, timestamp_ms in records:
            self.through[sp] = offset
            self.outcomes[topic][self._one(sp, offset, value, timestamp_ms)] += 1

    def _one(self, sp, offset, value, timestamp_ms):
        place = (*sp, offset)
        if place in self.poison:
            self.dead.add(place)
            return "dead"
        try:
            event = json.loads(value)
            members = self.markets[event["market"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            self.dead.add(place)
            return "dead"
        market = event["market"]
        if event["currency"] != members.currency:
            self.dead.add(place)
            return "dead"
        occurred_ms = millis(event["occurred_at"])
        marks = self.watermarks[sp]
        marks[market] = watermark_ms = max(marks.get(market, timestamp_ms), timestamp_ms)
        if occurred_ms > timestamp_ms + AHEAD_MS:
            self.dead.add(place)
            return "dead"
        if watermark_ms - occurred_ms > GRACE_MS:
            self.late.add(place)
            return "too_late"
        pane = occurred_ms // PANE_MS * PANE_MS
        ids = self._ids[sp, market, pane]
        if event["event_id"] in ids:
            return "duplicate"
        ids.add(event["event_id"])
        placed_ms = millis(event["placed_at"]) if "placed_at" in event else occurred_ms
        count = _order if sp[0] == "orders" else _payment
        live, day = count(event, members)
        day_name = members.day(placed_ms)
        self.panes[market, pane].update(live)
        self.days[market, day_name].update(day)
        self.sp_panes[sp, market, pane].update(live)
        self.sp_days[sp, market, day_name].update(day)
        return "accepted"

    # -- what is asked of it

    def window(self, market, end_ms, length_ms):
        """Cells of ``[end - length, end)``."""
        total = Counter()
        for pane in range(end_ms - length_ms, end_ms, PANE_MS):
            found = self.panes.get((market, pane))
            if found:
                total.update(found)
        return total

    def values(self, market, cells):
        """(index, dimension, member) -> (value, observed, n) of a window with these cells."""
        members = self.markets[market].members
        found = {}

        def put(name, dimension, member, value, observed, n):
            found[name, dimension, member] = (value, observed, n)

        def three(dimension, member):
            orders = cells["orders", dimension, member]
            for name in ("orders", "units", "sales"):
                number = cells[name, dimension, member]
                put(name, dimension, member, number, number, orders)

        def share(name, dimension, member, part, whole, n):
            put(name, dimension, member, part / whole if whole else None, part, n)

        orders, sales = cells["orders", "market", "all"], cells["sales", "market", "all"]
        three("market", "all")
        share("basket_sales", "market", "all", sales, orders, orders)
        share("basket_units", "market", "all", cells["units", "market", "all"], orders, orders)
        for dimension in ("category", "payment_method", "region", "channel"):
            for member in members[dimension]:
                three(dimension, member)
        for member in members["category"]:
            own = cells["orders", "category", member]
            share("category_share_by_orders", "category", member, own, orders, orders)
            own = cells["sales", "category", member]
            share("category_share_by_sales", "category", member, own, sales, orders)
        chosen = sum(cells["orders", "payment_method", name] for name in members["payment_method"])
        for member in members["payment_method"]:
            own = cells["orders", "payment_method", member]
            share("payment_chosen_share", "payment_method", member, own, chosen, chosen)
        self._payments(market, cells, put, share)
        for name, (value, observed, n, *_) in shopper_values(cells).items():
            put(*name.split(":"), value, observed, n)
        return found

    def buyers_days(self, market, until_ms):
        """``index:dimension:member:day`` -> number of who bought on each local day until then."""
        days = defaultdict(Counter)
        for (code, pane), cells in self.panes.items():
            if code == market and pane < until_ms:
                days[self.markets[market].day(pane)].update(cells)
        return {
            f"{name}:{day}": value
            for day, cells in days.items()
            if cells["shopper_orders",] or cells["new_known",]
            for name, (value, *_) in shopper_values(cells).items()
            if value is not None
        }

    def _payments(self, market, cells, put, share):
        members = self.markets[market]
        captured = cells["payments", "market", "all"]
        amount = cells["amount", "market", "all"]
        digital = 0
        for dimension, names in (
            ("market", ["all"]),
            ("payment_method", members.members["payment_method"]),
        ):
            for member in names:
                own = cells["payments", dimension, member]
                own_amount = cells["amount", dimension, member]
                failed = cells["failed", dimension, member]
                put("payments", dimension, member, own, own, own)
                put("amount", dimension, member, own_amount, own_amount, own)
                tried = own + failed
                share("payment_failure_ratio", dimension, member, failed, tried, tried)
                if dimension == "market":
                    continue
                share("payment_share_by_count", dimension, member, own, captured, captured)
                share("payment_share_by_amount", dimension, member, own_amount, amount, captured)
                digital += own if member in members.digital else 0
        share("digital_share", "market", "all", digital, captured, captured)

    def day_values(self, market, day):
        """(index, dimension, member) -> number of a local day's values: gross, valid and net.

        A member without a cancel or refund that day has no valid and net: they equal its gross.
        """
        cells = self.days[market, day]
        found = {
            (name, "market", "all"): cells[name, "market", "all"]
            for name in ("orders", "units", "sales", "payments", "amount")
        }
        for dimension in ("category", "payment_method"):
            for member in self.markets[market].members[dimension]:
                for names in (("orders", "units", "sales"), ("payments", "amount")):
                    numbers = {
                        (name, dimension, member): cells[name, dimension, member] for name in names
                    }
                    if any(numbers.values()) and (names[0] == "orders" or dimension != "category"):
                        found |= numbers
                found |= _ledgers(cells, dimension, member)
        found |= _ledgers(cells, "market", "all", always=True)
        placed = cells["payments", "market", "all"]
        total = placed + cells["unplaced_payments", "market", "all"]
        if total:
            found["cohort_coverage", "market", "all"] = placed / total
        return found


def _ledgers(cells, dimension, member, *, always=False):
    """Valid and net numbers: placed less cancelled, less refunded too."""
    gross, cancelled, refunded = (
        [cells[f"{ledger}{name}", dimension, member] for name in ("orders", "units", "sales")]
        for ledger in ("", "cancelled_", "refunded_")
    )
    if not (always or any(cancelled) or any(refunded)):
        return {}
    found = {}
    for at, name in enumerate(("orders", "units", "sales")):
        valid = gross[at] - cancelled[at]
        found[f"{name}_valid", dimension, member] = valid
        found[f"{name}_net", dimension, member] = valid - refunded[at]
    return found


def _order(event, members):
    """(cells of the pane, cells of the day)."""
    kind = event["type"].removeprefix("order.")
    units = sum(line["quantity"] for line in event["lines"])
    sales = sum(line["quantity"] * line["unit_price_minor"] for line in event["lines"])
    cells = Counter()

    def three(prefix, dimension, member):
        cells[f"{prefix}orders", dimension, member] += 1
        cells[f"{prefix}units", dimension, member] += units
        cells[f"{prefix}sales", dimension, member] += sales

    prefix = "" if kind == "placed" else f"{kind}_"
    three(prefix, "market", "all")
    by_category = defaultdict(lambda: [0, 0])
    for line in event["lines"]:
        own = by_category[members.member("category", line["category"])]
        own[0] += line["quantity"]
        own[1] += line["quantity"] * line["unit_price_minor"]
    for member, (own_units, own_sales) in by_category.items():
        cells[f"{prefix}orders", "category", member] += 1
        cells[f"{prefix}units", "category", member] += own_units
        cells[f"{prefix}sales", "category", member] += own_sales
    if event.get("payment_method") is not None:
        three(prefix, "payment_method", members.member("payment_method", event["payment_method"]))
    if kind != "placed":
        return Counter({(f"{kind}_orders", "market", "all"): 1}), cells
    day = Counter(cells)
    for dimension in ("region", "channel"):
        three("", dimension, members.member(dimension, event.get(dimension)))
    if event.get("shopper_id") is not None:
        cells["shopper_orders",] += 1
        cells["shopper", event["shopper_id"]] += 1
    if event.get("new_shopper") is not None:
        cells["new_known",] += 1
        cells["new_shoppers",] += event["new_shopper"]
    return cells, day


def _payment(event, members):
    kind = event["type"].removeprefix("payment.")
    amount = event["amount_minor"]
    method = members.member("payment_method", event["method"])
    names = {
        "captured": {"payments": 1, "amount": amount},
        "failed": {"failed": 1},
        "refunded": {"payment_refunds": 1, "refund_amount": amount},
    }[kind]
    live = Counter()
    for name, number in names.items():
        live[name, "market", "all"] += number
        if kind != "refunded":
            live[name, "payment_method", method] += number
    if "placed_at" in event:
        day = Counter(live)
        if kind == "refunded":
            for name, number in names.items():
                day[name, "payment_method", method] += number
        return live, day
    if kind == "captured":
        return live, Counter(
            {
                ("unplaced_payments", "market", "all"): 1,
                ("unplaced_amount", "market", "all"): amount,
            }
        )
    return live, Counter()
