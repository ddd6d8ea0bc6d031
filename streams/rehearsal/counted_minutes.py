"""Events counted by the minute as level 1 counts them: late ones refused, copies counted once.

The fold is the workers' own. Kept are the columns that the detectors watch, in minutes that no event can
change any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.fold import SourceFold
from streams.flow.source_state import SourceState
from streams.flow.state import FOREVER_MS, LIVE, SlotKey
from streams.index.member_rows import MemberRows
from streams.index.methodology import Methodology
from streams.index.panes import MINUTE_MS
from streams.index.partials import Layout, Row
from streams.index.shift_series import watched

CHUNK_RECORDS = 10_000

Counts = dict[int, int]
"""Column of a live row -> its count, where that is not 0."""


class CountedMarket:
    """Minutes of one market. ``sources``: for orders and for payments, whether any was counted."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.members = MemberRows(layout)
        self.minutes: dict[int, Counts] = {}
        """Start of a minute (ms) -> its counts."""
        self.sources = [False, False]
        self.columns = [series.column for series in watched(layout)]

    def add(self, pane_ms: int, counts: Counts) -> None:
        """Add a pane that is closed to its minute."""
        minute = self.minutes.setdefault(pane_ms - pane_ms % MINUTE_MS, {})
        for column, count in counts.items():
            minute[column] = minute.get(column, 0) + count

    def row(self, minute_ms: int) -> Row | None:
        """Return the row of a minute, with nothing but what is watched; None: nothing happened."""
        counts = self.minutes.get(minute_ms)
        if counts is None:
            return None
        row = [0] * self.layout.live_width
        for column, count in counts.items():
            row[column] = count
        return row


class CountedMinutes:
    """Minutes of all markets, counted from any number of source partitions."""

    def __init__(self, methodology: Methodology) -> None:
        self.markets = {
            code: CountedMarket(Layout(market)) for code, market in methodology.markets.items()
        }
        self.outcomes: Counter[str] = Counter()
        """Records by what became of them; dead letters by their reason."""
        self._methodology = methodology

    def source(self, sp: SourcePartition, *, payments: bool) -> SourceCounter:
        """Return the counter of one source partition, from its first record on."""
        return SourceCounter(self, sp, self._methodology, payments=payments)


class SourceCounter:
    """Counts the records of one source partition."""

    def __init__(
        self, into: CountedMinutes, sp: SourcePartition, methodology: Methodology, *, payments: bool
    ) -> None:
        self._into = into
        self._payments = payments
        self._state = SourceState(sp, methodology, payments=payments)
        self._fold = SourceFold(self._state)
        self._closes_after_ms = methodology.pane_ms + methodology.grace_ms
        self._open: dict[SlotKey, Counts] = {}

    def count(self, chunk: Chunk) -> None:
        """Count the next records."""
        folded = self._fold.fold(chunk)
        self._into.outcomes.update(folded.outcomes)
        self._into.outcomes.update(one.reason for one in folded.dead)
        for key, slot in self._state.take_touched_live(FOREVER_MS).items():
            if key.book == LIVE:
                market = self._into.markets[key.market]
                row = market.members.live(slot.row.packed())
                self._open[key] = {at: row[at] for at in market.columns if row[at]}
        watermarks = self._state.watermarks()
        self._close(
            key for key in self._open if key.slot + self._closes_after_ms <= watermarks[key.market]
        )

    def finish(self) -> None:
        """Count the panes that are still open at the end of the log."""
        self._close(self._open)

    def _close(self, keys: Iterable[SlotKey]) -> None:
        for key in list(keys):
            market = self._into.markets[key.market]
            market.add(key.slot, self._open.pop(key))
            market.sources[self._payments] = True


def chunks(
    sp: SourcePartition, records: Iterable[tuple[bytes, bytes, int]], first_offset: int = 0
) -> Iterator[Chunk]:
    """Yield (key, value, timestamp) records as chunks, as a broker that believes their stamps."""
    held: list[tuple[bytes, bytes, int]] = []
    for record in records:
        held.append(record)
        if len(held) == CHUNK_RECORDS:
            yield _chunk(sp, first_offset, held)
            first_offset += len(held)
            held = []
    if held:
        yield _chunk(sp, first_offset, held)


def _chunk(sp: SourcePartition, first: int, records: Sequence[tuple[bytes, bytes, int]]) -> Chunk:
    return Chunk(
        sp=sp,
        first_offset=first,
        last_offset=first + len(records) - 1,
        keys=[key for key, _, _ in records],
        values=[value for _, value, _ in records],
        timestamps_ms=[timestamp_ms for _, _, timestamp_ms in records],
        fetch_offset=first,
        doubtful=bytes(len(records)),
    )


def rows_of_hour(market: CountedMarket, hour_ms: int) -> Mapping[int, Row]:
    """Return the rows of an hour's minutes, by their start (ms)."""
    starts = range(hour_ms, hour_ms + 60 * MINUTE_MS, MINUTE_MS)
    return {at: row for at in starts if (row := market.row(at)) is not None}
