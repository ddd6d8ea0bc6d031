"""Where a market stands in level 2: ``as_of`` of each topic, what is final, what an heir must keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams.flow.chunk import SourcePartition
from streams.flow.fence_record import FenceRecord
from streams.flow.ledger import Ledger
from streams.flow.level_base import LevelRecord
from streams.flow.state import NEVER_MS
from streams.flow.topic_progress import topic_progress
from streams.flow.wire import MarkRecord
from streams.index.methodology import Market, Methodology
from streams.index.panes import HOUR_MS

Span = tuple[int, int]
"""[start, end) of a window, ms."""


class MarketProgress:
    """Progress of one market. ``topics``: (orders, payments), as they were configured."""

    def __init__(
        self,
        market: Market,
        methodology: Methodology,
        sps: Mapping[str, Sequence[SourcePartition]],
        ledger: Ledger,
    ) -> None:
        self.market = market
        self.methodology = methodology
        orders, payments = sps
        self.topics = (orders, payments)
        self.live = False
        self.as_of_ms: dict[str, int] = {}
        """Per basis (orders, payments); never goes back."""
        self.final_ms = NEVER_MS
        self.horizon_ms = NEVER_MS
        """What lies further behind it than rows are kept is no longer shown, and dropped as soon as
        the publication that says so is acknowledged."""
        self.hours_until = NEVER_MS
        """Hours that end by it were closed."""
        self.days_until = NEVER_MS
        """Days before it were closed."""
        self.floor_applied = -1
        """Partials offset that the last publication contains, an earlier owner's included."""
        self.journaled_ms = NEVER_MS
        self.level: LevelRecord | None = None
        """What the days' level is against."""
        self._level_of = (-1, -1)
        self._reach_ms: dict[str, int] = {}
        """``as_of`` of an older edition, below which this one does not publish."""
        self._sps = sps
        self._ledger = ledger

    # -- owners ----------------------------------------------------------------------------------

    def take_fence(self, fence: FenceRecord) -> None:
        """Raise the floor to a fence record; of ``as_of`` the maximum over all of them counts.

        Of another edition only ``as_of`` does, and as something to reach: the new edition's rows are
        its own, and until they reach as far the older edition goes on publishing.
        """
        self.live = self.live or fence.live
        if fence.edition != self.methodology.edition:
            for topic, as_of_ms in fence.as_of.items():
                self._reach_ms[topic] = max(as_of_ms, self._reach_ms.get(topic, NEVER_MS))
            return
        for topic, as_of_ms in fence.as_of.items():
            self.as_of_ms[topic] = max(as_of_ms, self.as_of_ms.get(topic, NEVER_MS))
        # Of two records at one offset the one that has changed the base: the other could not be
        # deleted before its writer ended.
        if fence.level is not None and (fence.applied, fence.level.sequence) > self._level_of:
            self._level_of = fence.applied, fence.level.sequence
            self.level = fence.level
        if fence.applied > self.floor_applied:
            # Of whoever had applied most: a paused owner that saw less of the log may have taken
            # for final what the other knew to be open.
            self.floor_applied = fence.applied
            self.hours_until = fence.hours_until
            self.days_until = fence.days_until
            self.journaled_ms = fence.journaled
            self.horizon_ms = fence.horizon

    def fence_record(self, applied: int) -> FenceRecord:
        """Floor for the next owner."""
        return FenceRecord(
            edition=self.methodology.edition,
            applied=max(applied, self.floor_applied),
            live=self.live,
            as_of=dict(self.as_of_ms),
            first=dict(self._ledger.first_ms),
            hours_until=self.hours_until,
            days_until=self.days_until,
            horizon=self.horizon_ms,
            journaled=self.journaled_ms,
            level=self.level,
        )

    # -- progress --------------------------------------------------------------------------------

    def note_live(self, mark: MarkRecord) -> None:
        """Whether this mark's writer has shown the market's events arriving about now, ever."""
        self.live = self.live or self.market.code in mark.live

    def advance(self, marks: Mapping[SourcePartition, MarkRecord]) -> bool:
        """Move ``as_of`` and what is final on; whether ``as_of`` moved."""
        moved = False
        step_ms = self.methodology.step_ms
        known_ms: list[int] = []
        seen = False
        for topic, sps in self._sps.items():
            progress = topic_progress(self.market.code, sps, marks, live=self.live)
            # A topic that has not seen the market holds what is final as well: its first rows may
            # be on their way (an import whose orders are read before its payments).
            known_ms.append(NEVER_MS if progress.until_ms is None else progress.until_ms)
            seen = seen or progress.seen
            if progress.until_ms is None or not progress.seen:
                continue
            as_of_ms = (progress.until_ms - self.methodology.out_of_order_ms) // step_ms * step_ms
            if as_of_ms < self._reach_ms.get(topic, NEVER_MS):
                continue
            if as_of_ms > self.as_of_ms.get(topic, NEVER_MS):
                self.as_of_ms[topic] = as_of_ms
                moved = True
        if seen:  # before, nobody knows whether the market's records will be of today or of 2017
            self.final_ms = max(self.final_ms, min(known_ms))
        return moved

    @property
    def newest_ms(self) -> int:
        """The larger of the topics' ``as_of``."""
        return max(self.as_of_ms.values())

    def hours_limit(self) -> int | None:
        """Hours that end up to here are final; None before anything is."""
        if self.final_ms == NEVER_MS:
            return None
        return (self.final_ms - self.methodology.grace_ms) // HOUR_MS * HOUR_MS

    def days_limit(self) -> int | None:
        """Local days before it are final; None before anything is."""
        if self.final_ms == NEVER_MS:
            return None
        return self._ledger.local_days.day_of(self.final_ms - self.methodology.day_grace_ms)

    # -- spans -----------------------------------------------------------------------------------

    def span(self, end_ms: int, length_ms: int, kept_ms: int) -> Span:
        """[start, end) of a window, as far back as rows are kept.

        Retention cuts a window only when a topic's ``as_of`` begins far behind the other's: an
        import whose payments are read after its orders.
        """
        if end_ms <= NEVER_MS // 2:
            return NEVER_MS, NEVER_MS
        return max(end_ms - length_ms, min(self.horizon_ms - kept_ms, end_ms)), end_ms

    def covered(self, topic: str, span: Span, length_ms: int) -> float:
        """Share of a window that the topic has covered."""
        start_ms, end_ms = span
        start_ms = max(start_ms, self._ledger.first_ms.get(topic, end_ms))
        return max(0, end_ms - start_ms) / length_ms
