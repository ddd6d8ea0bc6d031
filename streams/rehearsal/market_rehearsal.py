"""One market's detectors and expectation, moved through recorded rows as level 2 moves them.

``MarketShifts`` and ``MarketExpectation`` are those of the workers, and an hour makes the calls of
``flow.market.MarketCompile.step`` in their order: the detectors take the minutes that became final,
then the vintages that these hours allow are learnt. Adoption, silence, ends and the hours that teach
nothing therefore follow from the product's own code. There is nothing live here: a recorded minute is
final when its hour is fed, so a shift is found once, at the minute in which a worker finds it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from streams.flow.history_book import MarketHistory
from streams.flow.ledger import Ledger
from streams.flow.market_expectation import MarketExpectation, Observed
from streams.flow.market_shifts import MarketShifts, Reach
from streams.flow.merged import HOUR, MINUTE, MergedRecord
from streams.flow.shift_watch import FoundShift
from streams.index.methodology import Market, Methodology
from streams.index.noise import Noise
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS
from streams.index.partials import Row, sum_rows, to_wire

Minutes = Mapping[int, Row]
"""Start of a minute (ms) -> its row. A minute without a row had no event."""


class Rehearsed(NamedTuple):
    """A shift found, or its end, and the noise of its series' expectation at that minute."""

    shift: FoundShift
    noise: Noise | None


class MarketRehearsal:
    """A market as a worker watches it. Feed its hours in order, without a gap."""

    def __init__(
        self,
        market: Market,
        methodology: Methodology,
        market_share: float,
        *,
        orders: bool,
        payments: bool,
    ) -> None:
        """``market_share``: of the budget. ``orders``, ``payments``: which of them is recorded."""
        self._ledger = Ledger(market, methodology)
        self.expectation = MarketExpectation(market, self._ledger, MarketHistory())
        self.shifts = MarketShifts(
            self._ledger,
            self.expectation,
            methodology.shifts,
            market_share,
            lambda day: self.expectation.early(self._observed(), day),
        )
        self._columns = {
            (series.dimension, series.member): series.column for series in self.shifts.watch.series
        }
        self._recorded = orders, payments
        self._from_ms: int | None = None

    @property
    def live_width(self) -> int:
        """Columns of a row."""
        return self._ledger.layout.live_width

    def hour(self, hour_ms: int, minutes: Minutes) -> list[Rehearsed]:
        """Feed the hour that starts at ``hour_ms``; return what its minutes found, in order.

        ValueError for an hour that does not follow the last one.
        """
        self._restore(hour_ms, minutes)
        end_ms = hour_ms + HOUR_MS
        reach = Reach(end_ms, end_ms, *self._begins())
        found = self.shifts.step(reach, changed=False)
        while self.shifts.behind:
            found += self.shifts.step(reach, changed=False)
        self.expectation.learn(
            self._observed(), self.shifts.done_until_ms, end_ms, again=False, awaited=False
        )
        self._expire(end_ms)
        return [Rehearsed(shift, self._noise(shift)) for shift in found]

    def past(self, hour_ms: int, minutes: Minutes) -> None:
        """Feed an hour that teaches and is not watched, as an import before the market is live."""
        self._restore(hour_ms, minutes)
        self._expire(hour_ms + HOUR_MS)

    def _expire(self, end_ms: int) -> None:
        if end_ms % DAY_MS == 0:
            for _ in self._ledger.expire(end_ms):
                pass

    def _restore(self, hour_ms: int, minutes: Minutes) -> None:
        """Put the rows where a worker has them once all partitions closed them."""
        if self._from_ms is None:
            self._from_ms = self._next_ms = hour_ms
        if hour_ms != self._next_ms:
            raise ValueError(f"expected the hour {self._next_ms}, found {hour_ms}")
        self._next_ms = hour_ms + HOUR_MS
        if not minutes:
            return
        for minute_ms, row in minutes.items():
            self._ledger.restore((MINUTE, minute_ms), MergedRecord(0, to_wire(row), {}))
        total = sum_rows(minutes.values(), self.live_width)
        self._ledger.restore((HOUR, hour_ms), MergedRecord(0, to_wire(total), {}))

    def _begins(self) -> tuple[int | None, int | None]:
        orders, payments = self._recorded
        return self._from_ms if orders else None, self._from_ms if payments else None

    def _observed(self) -> Observed:
        shifts = self.shifts
        return Observed(self._ledger, *self._begins(), shifts.shifted, shifts.relevels)

    def _noise(self, shift: FoundShift) -> Noise | None:
        minute_ms = (shift.at - 1) * MINUTE_MS
        expected = self.expectation.of_span(minute_ms, minute_ms + MINUTE_MS)
        column = self._columns[shift.dimension, shift.member]
        return None if expected is None else expected.noise.get(column)
