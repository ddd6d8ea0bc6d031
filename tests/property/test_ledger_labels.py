"""The ledger keeps what was said: any later definitions read it, whoever died between two records."""

from __future__ import annotations

import random
from collections import defaultdict
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from streams.flow import compile as compile_module
from streams.flow import ledger as ledger_module
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.compile import PartitionCompile
from streams.flow.history_book import HistoryBook
from streams.flow.ledger import Ledger
from streams.flow.merged import DAY_KIND, HOUR, MINUTE, MINUTES_KEPT_MS
from streams.flow.state import DAY, FOREVER_MS, LIVE, NEVER_MS, SlotKey
from streams.flow.wire import MarkRecord, PartialRecord, encode_partial, mark_key, partial_key
from streams.index import summed_labels
from streams.index.definitions import market_with
from streams.index.label_rows import PackedRow
from streams.index.member_rows import MemberRows
from streams.index.methodology import Market
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS
from streams.index.partials import Layout, sum_rows
from tests.property.test_label_rows import PK
from tests.property.test_label_sums import (
    cutting,
    document_after,
    following,
    read,
    rows_of,
    said,
    straight,
)
from tests.support.events import T0, tuned
from tests.support.flow_harness import METHODOLOGY

SPS = [SourcePartition("orders", 0), SourcePartition("orders", 1), SourcePartition("payments", 0)]
TOPICS = {"orders": SPS[:2], "payments": SPS[2:]}
PARTIALS = SourcePartition("ecindex.partials", 0)
START_MS = T0 - T0 % DAY_MS


class World:
    """The partials of three source partitions, the table, and owners that die."""

    def __init__(self, picks: random.Random, span_ms: int | None = None) -> None:
        self.picks = picks
        self.log: list[tuple[bytes, bytes | None]] = []
        self.table: dict[bytes, bytes] = {}
        self.rows: dict[SlotKey, dict[SourcePartition, PackedRow]] = defaultdict(dict)
        self.horizon_ms = NEVER_MS
        self.owners = 0
        self.market: Market = PK
        self.book = HistoryBook({"PK": PK})
        """With the definitions of each owner, which are others than those of the one before."""
        pool = rows_of(picks)
        span_ms = span_ms or picks.choice((3 * MINUTE_MS, 2 * HOUR_MS, 60 * HOUR_MS))
        self.waiting = {sp: self._drawn(sp, pool, span_ms) for sp in SPS}
        self.closed = dict.fromkeys(SPS, START_MS)
        self.end_ms = START_MS + span_ms

    def _drawn(self, sp, pool, span_ms) -> list[tuple[SlotKey, PackedRow]]:
        """Rows of one source partition, in the order of their slots."""
        found = {}
        for row in pool[LIVE]:
            pane_ms = START_MS + self.picks.randrange(span_ms // 5_000) * 5_000
            found[SlotKey("PK", LIVE, pane_ms)] = row
        for row in pool[DAY]:
            found[SlotKey("PK", DAY, START_MS // DAY_MS + self.picks.randrange(3))] = row
        return sorted(found.items(), key=lambda each: self._instant(each[0]))

    @staticmethod
    def _instant(slot: SlotKey) -> int:
        return slot.slot if slot.book == LIVE else slot.slot * DAY_MS

    # -- level 1 -----------------------------------------------------------------------------

    def send(self, sp: SourcePartition, count: int) -> None:
        """Send the next rows, some of them twice or before they are whole, and perhaps a mark."""
        for _ in range(min(count, len(self.waiting[sp]))):
            slot, row = self.waiting[sp].pop(0)
            through = len(self.log) + 1
            if self.picks.random() < 0.3:
                self._put(slot, sp, through - 1, PackedRow([0, 1, 24, 1], ["0before"]))
            self._put(slot, sp, through, row)
            self.rows[slot][sp] = row
        if self.picks.random() < 0.7:
            self.mark(sp, self._closed_by(sp))

    def _put(self, slot: SlotKey, sp: SourcePartition, through: int, row: PackedRow) -> None:
        value = encode_partial(PartialRecord(METHODOLOGY.edition, through, row))
        self.log.append((partial_key(slot, sp, f"w{self.picks.randrange(2)}"), value))

    def _closed_by(self, sp: SourcePartition) -> int:
        """An instant before which this source partition has sent all panes."""
        left = [slot.slot for slot, _ in self.waiting[sp] if slot.book == LIVE]
        return min(left, default=self.end_ms)

    def mark(self, sp: SourcePartition, until_ms: int) -> None:
        self.closed[sp] = max(self.closed[sp], until_ms)
        watermark_ms = self.closed[sp] + METHODOLOGY.grace_ms
        mark = MarkRecord(METHODOLOGY.edition, len(self.log) + 2, {"PK": watermark_ms}, None, 0)
        self.log.append((mark_key(sp, "w0"), encode_partial(mark)))

    # -- level 2 -----------------------------------------------------------------------------

    def owner(self) -> PartitionCompile:
        """A new owner, of other definitions, that has read the table and all that was sent."""
        self.owners += 1
        held = self.book.definitions.markets["PK"]
        held.version, held.document = self.owners, document_after(self.picks, self.market)
        held.documents[held.version] = held.document
        self.market = self.by(held.version)
        methodology = tuned(markets={"PK": PK}, day_grace_ms=HOUR_MS)
        compiled = PartitionCompile(
            0, 1, methodology, TOPICS, f"n{self.owners}", self.book, follows_definitions=True
        )
        compiled.markets["PK"].progress.horizon_ms = self.horizon_ms
        compiled.recover(dict(self.table))
        self.read(compiled)
        compiled.replayed()
        self.compare_hours(compiled.markets["PK"].ledger)
        return compiled

    def by(self, version: int) -> Market:
        """The market by the definitions of an owner."""
        return market_with(PK, self.book.definitions.markets["PK"].documents[version], version)

    def compare_hours(self, ledger: Ledger) -> None:
        """All that was sent is in the hours that were not cut, as these definitions read it."""
        for start, slots in slots_of(self, LIVE, HOUR_MS).items():
            merged = ledger.merged.get((HOUR, start))
            if merged is None or merged.cut_by is None:
                rows = [ledger.members.live(row) for row in expected_of(self, LIVE, slots)]
                assert ledger.hour_sum(start) == sum_rows(rows, ledger.layout.live_width)

    def read(self, compiled: PartitionCompile) -> None:
        first = compiled.through + 1
        part = self.log[first:]
        if part:
            keys, values = zip(*part, strict=True)
            times = [START_MS] * len(part)
            compiled.apply_chunk(Chunk(PARTIALS, first, len(self.log) - 1, keys, values, times))

    def write(self, compiled: PartitionCompile, *, dies: bool) -> None:
        """Write what changed; whoever dies has written a part of it, or has deleted nothing."""
        batch = compiled.table_batch()
        records = list(batch.writes)
        if dies:
            records = records[: self.picks.randint(0, len(records))]
        for key, value in records:
            self._store(key, value)
        if dies:
            return
        for key in batch.deletes:
            self._store(key, None)
        gone = set(batch.tombstones)
        self.log = [(key, None if key in gone else value) for key, value in self.log]

    def _store(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self.table.pop(key, None)
        else:
            assert key not in self.table
            self.table[key] = value

    def expire(self, compiled: PartitionCompile, horizon_ms: int) -> None:
        """Drop what an acknowledged horizon leaves behind, and acknowledge the next one."""
        market = compiled.markets["PK"]
        market.progress.horizon_ms = self.horizon_ms
        market._drop_expired(FOREVER_MS)
        self.horizon_ms = max(self.horizon_ms, horizon_ms)

    def live(self) -> PartitionCompile:
        """Let everything be sent, read and written, with deaths between any two records."""
        picks = self.picks
        compiled = self.owner()
        while any(self.waiting.values()):
            sp = picks.choice([sp for sp in SPS if self.waiting[sp]])
            self.send(sp, picks.choice((1, 3, 10, 100)))
            self.read(compiled)
            if picks.random() < 0.4:
                # In an import as_of leaps, but never beyond what all have closed.
                self.expire(compiled, picks.randint(START_MS, min(self.closed.values())))
            if picks.random() < 0.5:
                dies = picks.random() < 0.4
                self.write(compiled, dies=dies)
                if dies:
                    compiled = self.owner()
        return compiled


def expected_of(world: World, book: str, slots: list[SlotKey]) -> list[PackedRow]:
    return [row for slot in slots for row in world.rows.get(slot, {}).values()]


def slots_of(world: World, book: str, length_ms: int) -> dict[int, list[SlotKey]]:
    found = defaultdict(list)
    for slot in world.rows:
        if slot.book == book:
            found[slot.slot - slot.slot % length_ms].append(slot)
    return found


def check(world: World, ledger: Ledger, kind: str, start: int, rows: list[PackedRow], row) -> bool:
    """Check a slot against a batch under the ledger's definitions; return whether it was cut."""
    book = DAY if kind == DAY_KIND else LIVE
    whole, held = straight(book, rows), straight(book, ledger.label_rows((kind, start)))
    merged = ledger.merged.get((kind, start))
    cut = {}
    if merged is not None and merged.cut_by is not None:
        was = world.by(merged.cut_by)
        members = MemberRows(Layout(was))
        assert merged.labels is not None
        kept = set(merged.labels.packed().labels)
        cut = {text: members.named(int(text[0]), text[1:]) for text in set(whole.labels) - kept}
        # A row that is still open has its labels.
        found = [straight(book, each, cutting(was, kept)) for each in ([held], rows)]
        assert said(book, found[0])[0] == said(book, found[1])[0]
    else:
        assert said(book, held) == said(book, whole)
    assert row == read(following(ledger.layout.market, cut), book, whole)
    return bool(cut)


@given(seed=st.integers(0, 2**32))
def test_what_was_kept_is_read_by_the_last_definitions_as_if_they_had_been_the_first(seed):
    picks = random.Random(seed)
    with (
        patch.object(compile_module, "IN_RECORD_BYTES_MAX", picks.choice((10, 300, 10**6))),
        patch.object(ledger_module, "CUT_IN_A_STEP", picks.choice((1, 20, 10**6))),
        patch.object(compile_module, "PART_BYTES", picks.choice((50, 1_000))),
        patch.object(summed_labels, "LABEL_EVENTS_MIN", picks.choice((0, 2, 5))),
        patch.object(summed_labels, "LABELS_MAX", picks.choice((1, 3, 1_000))),
    ):
        world = World(picks)
        compiled = world.live()
        for sp in SPS:
            world.mark(sp, world.end_ms + picks.choice((0, 0, HOUR_MS, 5 * DAY_MS)))
        world.read(compiled)
        if picks.random() < 0.5:
            world.expire(compiled, world.horizon_ms)
            world.expire(compiled, picks.choice((START_MS, min(world.closed.values()))))
        world.write(compiled, dies=False)
        ledger = world.owner().markets["PK"].ledger
        assert ledger.definitions == world.owners
    for start, slots in slots_of(world, LIVE, MINUTE_MS).items():
        if start >= ledger.horizon_ms - MINUTES_KEPT_MS:
            rows = expected_of(world, LIVE, slots)
            check(world, ledger, MINUTE, start, rows, ledger.minute_sum(start))
            for slot in slots if ledger.keeps_panes(start) else ():
                pane = [ledger.members.live(row) for row in world.rows[slot].values()]
                assert ledger.pane_sum(slot.slot) == sum_rows(pane, ledger.layout.live_width)
    for start, slots in slots_of(world, LIVE, HOUR_MS).items():
        rows = expected_of(world, LIVE, slots)
        check(world, ledger, HOUR, start, rows, ledger.hour_sum(start))
    for day, slots in slots_of(world, DAY, 1).items():
        rows = expected_of(world, DAY, slots)
        check(world, ledger, DAY_KIND, day, rows, ledger.day_sum(day))
    named = {key for record in _mains(world) for key in record.parts}
    assert {key for key in world.table if key.startswith(b"p|")} >= {key.encode() for key in named}


@given(seed=st.integers(0, 2**32))
def test_what_was_cut_is_of_the_members_of_then_whoever_sends_and_defines_later(seed):
    picks = random.Random(seed)
    with (
        patch.object(summed_labels, "LABEL_EVENTS_MIN", picks.choice((0, 2, 5))),
        patch.object(summed_labels, "LABELS_MAX", picks.choice((1, 1, 3))),
        patch.object(ledger_module, "CUT_IN_A_STEP", picks.choice((1, 20, 10**6))),
    ):
        world = World(picks, 2 * HOUR_MS)
        compiled = world.owner()
        late = picks.sample(SPS, picks.choice((1, 2)))
        for sp in SPS:
            if sp not in late:
                world.send(sp, 1_000)
                world.mark(sp, START_MS + 9 * DAY_MS)
        world.read(compiled)
        for _ in range(2):
            world.expire(compiled, START_MS + picks.choice((27 * HOUR_MS, 7 * DAY_MS)))
        world.write(compiled, dies=False)
        while any(world.waiting.values()):
            if picks.random() < 0.6:
                compiled = world.owner()
            world.send(picks.choice(late), picks.choice((1, 5, 1_000)))
            world.read(compiled)
            check_cut(world, compiled)
            if picks.random() < 0.6:
                world.write(compiled, dies=picks.random() < 0.3)
                compiled = world.owner()
        for sp in late:
            world.mark(sp, START_MS + 9 * DAY_MS)
        world.read(compiled)
        check_cut(world, compiled)
        world.write(compiled, dies=False)
        check_cut(world, world.owner())


def check_cut(world: World, compiled: PartitionCompile) -> None:
    """Check hours and days, of which those that were cut say by whom."""
    ledger = compiled.markets["PK"].ledger
    for start, slots in slots_of(world, LIVE, HOUR_MS).items():
        check(world, ledger, HOUR, start, expected_of(world, LIVE, slots), ledger.hour_sum(start))
    for day, slots in slots_of(world, DAY, 1).items():
        check(world, ledger, DAY_KIND, day, expected_of(world, DAY, slots), ledger.day_sum(day))


def _mains(world: World):
    from streams.flow.merged import decode_merged

    return [decode_merged(value) for key, value in world.table.items() if key[:1] in b"mqhd"]
