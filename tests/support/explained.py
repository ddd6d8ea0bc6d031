"""A seeded market of several members in the flow harness, and its publications as records."""

from __future__ import annotations

import random

from support.flow_harness import METHODOLOGY, Flow, order, payment
from support.known_histories import season
from support.records import JOURNAL_TOPIC, VALUES_TOPIC, publication_records

from streams.flow.chunk import SourcePartition
from streams.flow.state import DAY
from streams.flow.wire import partition_of
from streams.index.history_records import SeededRow, seed_records
from streams.index.hours import LocalHours
from streams.index.methodology import Methodology
from streams.index.panes import HOUR_MS, MINUTE_MS, day_number
from streams.proof.recompute.batch import SourceBatch
from streams.proof.recompute.defined_markets import DefinedMarkets
from streams.proof.recompute.member_sums import MemberSums
from streams.proof.recompute.sums import Sums, add_sums
from streams.records.kafka_logs import Stored
from streams.records.values_log import ValuesLog

HOURS = LocalHours("Asia/Karachi")
TODAY = day_number("2026-11-24")
MIDNIGHT = HOURS.hours_of(TODAY).start
"""Midnight in Karachi, UTC ms."""
DEFINED = DefinedMarkets(METHODOLOGY)
"""What the audit knows of definitions where there are no others than methodology.toml's."""
LABELS = ("Books", "Computing", "Men's Fashion")
METHODS = ("cod", "card", "wallet")
CHANNELS = ("web", "app")


class Market:
    """PK, seeded and selling at about ``rate`` orders an hour; every tenth order is cancelled."""

    def __init__(
        self,
        rate: float = 240.0,
        *,
        seeded_until: int = MIDNIGHT,
        methodology: Methodology = METHODOLOGY,
    ) -> None:
        self.flow = Flow(methodology)
        self.rate = rate
        self.rng = random.Random(5)
        self.sold = 0
        self.owed = 0.0
        self.history: list[tuple[bytes, bytes]] = []
        """Records declared so far, in order."""
        for key, value in self._seed(seeded_until):
            self.declare(key, value)

    def declare(self, key: bytes, value: bytes) -> None:
        """Add a record to ``ecindex.history``."""
        self.flow.book.apply_record(key, value)
        self.history.append((key, value))

    def expected_orders(self, hour_ms: int) -> int:
        return round(self.rate * season(HOURS.cell(hour_ms)))

    def _seed(self, until: int):
        hours = {}
        for hour_ms in range(until - 46 * 24 * HOUR_MS, until, HOUR_MS):
            count = self.expected_orders(hour_ms)
            three = {"orders": count, "units": 2 * count, "sales": 300 * count}
            paid = {"payments": count, "amount": 300 * count, "failed": count // 5}
            third = count // 3
            hours[hour_ms] = [SeededRow("market", "all", **three, **paid)]
            for dimension, members in (
                ("category", ("books", "computing", "mens_fashion")),
                ("channel", CHANNELS),
            ):
                hours[hour_ms] += [
                    SeededRow(dimension, each, orders=third, units=2 * third, sales=300 * third)
                    for each in members
                ]
            own = {"orders": third, "payments": third, "amount": 300 * third, "failed": third // 5}
            hours[hour_ms] += [SeededRow("payment_method", each, **own) for each in METHODS]
        given = sorted(
            {
                (row.dimension, name)
                for rows in hours.values()
                for row in rows
                for name in ("orders", "units", "sales", "payments", "amount", "failed")
                if getattr(row, name) is not None
            }
        )
        return seed_records("PK", "s1", hours, given)

    def open(self, start_ms: int, minutes: int, times: float = 1.0) -> None:
        """Sell ``times`` the expected orders a minute, then publish everything once."""
        rng = self.rng
        for minute in range(minutes):
            at_ms = start_ms + minute * MINUTE_MS
            self.owed += times * self.expected_orders(at_ms // HOUR_MS * HOUR_MS) / 60
            while self.owed >= 1:
                self.owed -= 1
                self.sold += 1
                self._sell(f"e{self.sold}", at_ms + rng.randrange(MINUTE_MS), rng)
        self.flow.now_ms = start_ms + minutes * MINUTE_MS + 10_000
        self.flow.run()

    def _sell(self, name: str, at_ms: int, rng: random.Random) -> None:
        lines = [
            (rng.choice(LABELS), rng.randint(1, 3), rng.randint(50, 250))
            for _ in range(rng.randint(1, 2))
        ]
        method, number = rng.choice(METHODS), self.sold % 2
        chosen = {"payment_method": method} if rng.random() < 0.9 else {}
        who = {} if self.sold % 5 == 0 else {"shopper_id": f"s{self.sold % 97}"}
        who |= {} if self.sold % 3 == 0 else {"new_shopper": self.sold % 7 == 0}
        placed = order(name, at_ms, lines=lines, channel=rng.choice(CHANNELS), **chosen, **who)
        self.send("orders", placed, at_ms, number)
        kind = "payment.failed" if rng.random() < 0.2 else "payment.captured"
        paid = payment(name, at_ms, kind=kind, method=method, amount=rng.randint(1, 900))
        if rng.random() < 0.7:
            paid["placed_at"] = placed["occurred_at"]
        self.send("payments", paid, at_ms, number)
        if self.sold % 10 == 0:
            ended = order(
                f"c{name}", at_ms, lines=lines, placed_at=placed["occurred_at"],
                kind=rng.choice(["order.cancelled", "order.refunded"]), **chosen,
            )  # fmt: skip
            self.send("orders", ended, at_ms, number)

    def send(self, topic: str, event: dict, at_ms: int, number: int = 0) -> None:
        self.flow.produce(SourcePartition(topic, number), event, at_ms)

    @property
    def compiled(self):
        return self.flow.compiles[partition_of("PK", self.flow.partials_partitions)].markets["PK"]


def stored(flow: Flow) -> list[Stored]:
    """Every published record, in order."""
    found: list[Stored] = []
    for publication in flow.history:
        stamp_ms = publication.as_of_ms + 7_000
        for each in publication_records(publication, "w"):
            where = (each.topic, 0, len(found))
            found.append(Stored(*where, each.key, each.value, each.headers, stamp_ms, 0))
    return found


def values_log(records: list[Stored]) -> ValuesLog:
    log = ValuesLog()
    for each in records:
        if each.topic == VALUES_TOPIC:
            log.apply_record(each)
    return log


def hours_of_the_log(flow: Flow) -> dict[tuple[str, int], Sums]:
    """Sums of every hour by the audit's own replay."""
    return _sums(flow, day_book=False)


def days_of_the_log(flow: Flow) -> dict[tuple[str, int], Sums]:
    """Sums of every local day by the audit's own replay."""
    return _sums(flow, day_book=True)


def journal(records: list[Stored]) -> list[Stored]:
    return [each for each in records if each.topic == JOURNAL_TOPIC]


def _sums(flow: Flow, *, day_book: bool) -> dict[tuple[str, int], Sums]:
    found: dict[tuple[str, int], Sums] = {}

    members = {code: MemberSums(market) for code, market in flow.methodology.markets.items()}

    def take(_sp, slot, row, _closed):
        if (slot.book == DAY) == day_book:
            start = slot.slot if day_book else slot.slot - slot.slot % HOUR_MS
            add_sums(found.setdefault((slot.market, start), Sums()), members[slot.market].of(row))

    for sp, log in flow.logs.items():
        batch = SourceBatch(sp, flow.methodology, payments=sp.topic == "payments", sink=take)
        records = log.records
        batch.feed(
            range(len(records)),
            [r.value for r in records],
            [r.timestamp_ms for r in records],
            [r.doubtful for r in records],
        )
        batch.finish()
    return found
