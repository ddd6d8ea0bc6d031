"""Progress of a market: ``as_of`` of each topic, what is final, what a new owner must keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams.flow.chunk import SourcePartition
from streams.flow.fence_record import FenceRecord
from streams.flow.ledger import Ledger
from streams.flow.level_base import LevelRecord
from streams.flow.state import NEVER_MS
from streams.flow.topic_progress import asked_within_ms, read_furthest_ms, topic_progress
from streams.flow.wire import LIVE_WITHIN_MS, MarkRecord
from streams.index.indices import SOURCES
from streams.index.methodology import Market, Methodology
from streams.index.panes import HOUR_MS

Span = tuple[int, int]
"""[start, end) of a window, ms."""


class MarketProgress:
    """Progress of one market. ``topics``: the configured topics (orders, payments)."""

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
        self.generation = 0
        """How often an operator has set ``as_of`` back. Within a generation nothing goes back."""
        self.as_of_ms: dict[str, int] = {}
        """``as_of`` of each topic (orders, payments), ms."""
        self.headline_ms = NEVER_MS
        """The market's ``as_of``: the least of those of the topics that joined."""
        self.joined: set[str] = set()
        """Topics that the headline waits for. One joins when its own ``as_of`` has reached the
        headline: so an import whose payments are read after its orders sends nothing back."""
        self.log_ms = NEVER_MS
        """How far the source partition that is read furthest is known."""
        self.final_ms = NEVER_MS
        self.horizon_ms = NEVER_MS
        """Rows that lie further before it than their retention are no longer shown. They are
        dropped as soon as the publication that says so is acknowledged."""
        self.hours_until = NEVER_MS
        """Hours that end by it were closed."""
        self.days_until = NEVER_MS
        """Days before it were closed."""
        self.floor_applied = -1
        """Partials offset that the last publication contains, by this owner or an earlier one."""
        self.journaled_ms = NEVER_MS
        self.definitions_read = market.definitions
        """Highest version of definitions that a publication of the market was made by. A new owner that
        has not heard of it yet publishes nothing."""
        self.level: LevelRecord | None = None
        """The base that the levels of days are measured against."""
        self._level_of = (-1, -1)
        self._closed_too_far = False
        self._reach_ms: dict[str, int] = {}
        """``as_of`` of each topic in an older edition, below which this one does not publish."""
        self._reach_headline_ms = NEVER_MS
        """Headline of an older edition."""
        self._empty_ms: dict[str, int] = {}
        """``as_of`` of each topic that was read so far and has not seen the market."""
        self._published: set[str] = set()
        """Topics of which an earlier owner's publications had an ``as_of``."""
        self._sps = sps
        self._ledger = ledger

    # -- owners ----------------------------------------------------------------------------------

    def take_fence(self, fence: FenceRecord) -> None:
        """Raise the progress to a fence record; the largest ``as_of`` over all records counts.

        A record of another edition gives only its ``as_of``, as something to reach. The new
        edition's rows are its own, and until they reach as far the older edition goes on
        publishing.
        """
        self.live = self.live or fence.live
        if fence.generation < self.generation:
            return
        if fence.generation > self.generation:
            self._begin_generation(fence.generation)
            self.floor_applied = -1
        if fence.edition != self.methodology.edition:
            for topic, as_of_ms in fence.as_of.items():
                self._reach_ms[topic] = max(as_of_ms, self._reach_ms.get(topic, NEVER_MS))
            self._reach_headline_ms = max(fence.reached_ms, self._reach_headline_ms)
            return
        self._published |= fence.as_of.keys()
        self.definitions_read = max(self.definitions_read, fence.definitions)
        for topic, as_of_ms in fence.as_of.items():
            self.as_of_ms[topic] = max(as_of_ms, self.as_of_ms.get(topic, NEVER_MS))
        self.headline_ms = max(self.headline_ms, fence.reached_ms)
        # Two records may have one offset: a writer may end before it deletes the older one. The one
        # that has changed the base counts.
        if fence.level is not None and (fence.applied, fence.level.sequence) > self._level_of:
            self._level_of = fence.applied, fence.level.sequence
            self.level = fence.level
        if fence.applied > self.floor_applied:
            # The record of the owner that had applied most counts. A paused owner saw less of the
            # log, and may have taken for final what the other knew to be open.
            self.floor_applied = fence.applied
            self.hours_until = fence.hours_until
            self.days_until = fence.days_until
            self.journaled_ms = fence.journaled
            self.horizon_ms = fence.horizon

    def take_over(self, old: MarketProgress) -> None:
        """Go on from the progress of the market by other definitions: they move none of it."""
        vars(self).update(vars(old) | {"market": self.market, "_ledger": self._ledger})

    def raise_generation(self, generation: int) -> None:
        """Begin a generation: an operator has set ``as_of`` back, and the marks say how far it is.

        What is kept of the log stays. What was closed beyond the marks is closed again when it is
        final.
        """
        self._begin_generation(generation)
        self._closed_too_far = True

    def _begin_generation(self, generation: int) -> None:
        self.generation = generation
        self.as_of_ms.clear()
        self._empty_ms.clear()
        self._published.clear()
        self._reach_ms.clear()
        self.joined.clear()
        self.headline_ms = self._reach_headline_ms = NEVER_MS
        self.final_ms = self.journaled_ms = NEVER_MS
        # The horizon stays: rows before it are gone, whatever the clock says now.

    def _open_again(self) -> None:
        """Take back what an ``as_of`` that had run ahead closed."""
        hours, days = self.hours_limit(), self.days_limit()
        if self._closed_too_far and hours is not None and days is not None:
            self.hours_until, self.days_until = (
                min(self.hours_until, hours),
                min(self.days_until, days),
            )
            self._closed_too_far = False

    def fence_record(self, applied: int) -> FenceRecord:
        """Return the fence record for the next owner."""
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
            generation=self.generation,
            definitions=self.market.definitions,
            headline=self.headline_ms,
            joined=sorted(self.joined),
            level=self.level,
        )

    # -- progress --------------------------------------------------------------------------------

    def note_live(self, mark: MarkRecord) -> None:
        """Make the market live if the mark's writer has ever shown its events arriving about now."""
        self.live = self.live or self.market.code in mark.live

    def advance(self, marks: Mapping[SourcePartition, MarkRecord]) -> bool:
        """Advance ``as_of`` and what is final; return whether ``as_of`` moved."""
        moved = False
        step_ms = self.methodology.step_ms
        known_ms: list[int] = []
        seen = False
        for topic, sps in self._sps.items():
            progress = topic_progress(self.market.code, sps, marks, live=self.live)
            # A topic that has not seen the market holds back what is final too: its first rows may
            # be on their way (an import whose orders are read before its payments).
            known_ms.append(NEVER_MS if progress.until_ms is None else progress.until_ms)
            seen = seen or progress.seen
            if progress.seen:
                self._empty_ms.pop(topic, None)
            if progress.until_ms is None:
                continue
            as_of_ms = (progress.until_ms - self.methodology.out_of_order_ms) // step_ms * step_ms
            if not progress.seen:
                self._empty_ms[topic] = max(as_of_ms, self._empty_ms.get(topic, NEVER_MS))
                continue
            if as_of_ms < self._reach_ms.get(topic, NEVER_MS):
                continue
            if as_of_ms > self.as_of_ms.get(topic, NEVER_MS):
                self.as_of_ms[topic] = as_of_ms
                moved = True
        self.log_ms = read_furthest_ms(self.market.code, marks.values())
        if seen:  # until then nobody knows whether the market's records are of today or of 2017
            # A partition may have been added since a worker asked for the topics: what it holds may be
            # as late as the grace allows.
            known_to_all_ms = min(known_ms) - asked_within_ms(self.methodology.out_of_order_ms)
            self.final_ms = max(self.final_ms, known_to_all_ms)
        self._advance_headline()
        self._open_again()
        return moved

    def _advance_headline(self) -> None:
        """Let topics join that have reached the headline; move it to the least of those that joined.

        The larger ``as_of`` had been shown for all: with one input halted, the other's made values
        look fresh that nobody had counted for minutes.
        """
        floor_ms = max(self.headline_ms, self._reach_headline_ms)
        self.joined |= {topic for topic, as_of_ms in self.as_of_ms.items() if as_of_ms >= floor_ms}
        if self.joined:
            self.headline_ms = min(self.as_of_ms[topic] for topic in self.joined)

    @property
    def newest_ms(self) -> int:
        """The larger of the topics' ``as_of``: what is scheduled by event time goes by it."""
        return max(self.as_of_ms.values())

    @property
    def reads_backlog(self) -> bool:
        """Whether a source partition is read so far behind another that its events are of the past."""
        return min(self.as_of_ms.values()) < self.log_ms - LIVE_WITHIN_MS

    @property
    def published_sources(self) -> frozenset[str]:
        """Sources of which an earlier owner's publications had an ``as_of``."""
        names = zip(self.topics, SOURCES, strict=True)
        return frozenset(name for topic, name in names if topic in self._published)

    def known_ms(self) -> dict[str, int]:
        """Return the instant (ms) up to which the market is known in each source.

        That is its ``as_of``, and where the market was never seen, how far its log was read, up to the
        headline. A source of which a partition was never read to its end is not there: nobody knows
        what it holds.
        """
        found = self.sources()
        for topic, source in zip(self.topics, SOURCES, strict=True):
            if topic in self._empty_ms:
                found.setdefault(source, min(self._empty_ms[topic], self.headline_ms))
        return found

    def sources(self) -> dict[str, int]:
        """Return ``as_of`` (ms) of each source that has one, by the contract's name of the source."""
        names = zip(self.topics, SOURCES, strict=True)
        return {name: self.as_of_ms[topic] for topic, name in names if topic in self.as_of_ms}

    def hours_limit(self) -> int | None:
        """Return the instant (ms) up to which hours are final; None before any is."""
        if self.final_ms == NEVER_MS:
            return None
        return (self.final_ms - self.methodology.grace_ms) // HOUR_MS * HOUR_MS

    def days_limit(self) -> int | None:
        """Return the local day before which days are final; None before any is."""
        if self.final_ms == NEVER_MS:
            return None
        return self._ledger.local_days.day_of(self.final_ms - self.methodology.day_grace_ms)

    # -- spans -----------------------------------------------------------------------------------

    def span(self, end_ms: int, length_ms: int, kept_ms: int) -> Span:
        """Return [start, end) of a window, as far back as rows are kept.

        Retention cuts a window only when a topic's ``as_of`` begins far behind the other's: an
        import whose payments are read after its orders.
        """
        if end_ms <= NEVER_MS // 2:
            return NEVER_MS, NEVER_MS
        return max(end_ms - length_ms, min(self.horizon_ms - kept_ms, end_ms)), end_ms

    def covered(self, topic: str, span: Span, length_ms: int) -> float:
        """Return the share of a window that the topic has covered, 0 to 1."""
        start_ms, end_ms = span
        start_ms = max(start_ms, self._ledger.first_ms.get(topic, end_ms))
        return max(0, end_ms - start_ms) / length_ms
