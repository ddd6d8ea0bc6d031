"""Level 2 of one market: its rows and marks -> publications.

``MarketCompile`` alone drains the ledger and writes the market's progress. Its parts (windows,
days, closings, shoppers, level index) read both. Each gets what changed as a frozen value, and
returns what it shows and how far it is. So no part sees what another has half done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from streams.flow.changed_slots import ChangedSlots
from streams.flow.chunk import SourcePartition
from streams.flow.definitions_book import MarketDefinitions
from streams.flow.fence_record import FenceRecord
from streams.flow.history_book import MarketHistory
from streams.flow.inherited import Inheriting
from streams.flow.ledger import Ledger
from streams.flow.level_base import Rebased
from streams.flow.market_answers import AnsweredShifts
from streams.flow.market_closings import ClosedSlots, MarketClosings
from streams.flow.market_days import MarketDays
from streams.flow.market_expectation import MarketExpectation, Observed
from streams.flow.market_level import MarketLevel
from streams.flow.market_members import MarketMembers
from streams.flow.market_others import MarketOthers
from streams.flow.market_progress import MarketProgress
from streams.flow.market_shifts import MarketShifts, Reach
from streams.flow.market_shoppers import MarketShoppers
from streams.flow.market_suspicions import MarketSuspicions
from streams.flow.market_windows import MarketWindows
from streams.flow.merged import DAY_KIND, HOUR, MINUTES_KEPT_MS, SlotId
from streams.flow.publication import Closing, Publication
from streams.flow.redefined_slots import RedefinedSlots
from streams.flow.shift_watch import FoundShift
from streams.flow.state import LIVE, NEVER_MS, SlotKey
from streams.flow.vintages import LearntVintage
from streams.flow.wire import MarkRecord
from streams.index.definitions import market_with
from streams.index.history_records import ClockReset
from streams.index.methodology import Market, Methodology
from streams.index.panes import HOUR_MS, MINUTE_MS
from streams.index.shift_budget import market_shares
from streams.index.values import Fence, Value

IDLE_MS = 5_000
"""How long days wait for readers, and changes for the journal, while ``as_of`` takes no step (an
import ended). They wait because rows of days come each second, and a publication for them alone
cost as much as all folding at 1,000 events a second."""

DAYS_REDEFINED_MAX = 4
"""Ended days that a step shows by other definitions: a few milliseconds each in a wide market."""
SLOTS_REDEFINED_MAX = 8
"""Final hours and days that a step looks at since other definitions read them: two or three
milliseconds each that has changed."""


class MarketCompile:
    """One market of a partials partition."""

    def __init__(
        self,
        market: Market,
        methodology: Methodology,
        sps: Mapping[str, Sequence[SourcePartition]],
        history: MarketHistory | None = None,
        definitions: MarketDefinitions | None = None,
    ) -> None:
        """``history``: seeds and factors of the market; whoever reads the topic goes on adding.

        ``definitions``: what the market has in their topic.
        """
        declared, held = methodology.markets[market.code], definitions

        def market_of(version: int) -> Market | None:
            if version == declared.definitions:
                return declared
            document = None if held is None else held.documents.get(version)
            return None if document is None else market_with(declared, document, version)

        self.ledger = Ledger(market, methodology, market_of)
        self.progress = MarketProgress(market, methodology, sps, self.ledger)
        self._history = MarketHistory() if history is None else history
        self.expectation = MarketExpectation(market, self.ledger, self._history)
        shares = market_shares(
            {code: each.shift_weight for code, each in methodology.markets.items()}
        )
        self.shifts = MarketShifts(
            self.ledger,
            self.expectation.unanswered,
            methodology.shifts,
            shares[market.code],
            lambda day: self.expectation.early(self._observed(), day),
            self._history.answers,
        )
        # As the detectors: what an answered event multiplies is usual again when it is over, and its
        # answer lasts for hours.
        self.suspicions = MarketSuspicions(
            self.ledger, self.expectation.unanswered, methodology.pane_ms
        )
        self.answered = AnsweredShifts(self._history.answers, self.shifts)
        self.shoppers = MarketShoppers(self.progress, self.ledger)
        self.windows = MarketWindows(self.progress, self.ledger, self.expectation, self.shoppers)
        self.level = MarketLevel(self.progress, self.ledger)
        self.days = MarketDays(self.progress, self.ledger, self.expectation, self.level)
        self.others = MarketOthers(self.progress, self.ledger)
        self.inheriting = Inheriting(self.progress, self.ledger, self.level, self.shoppers)
        self.closings = MarketClosings(
            self.progress, self.ledger, self.windows, self.days, self.shoppers
        )
        self.redefined = RedefinedSlots(self.ledger, market_of)
        self.members = MarketMembers(market, market_of, held)
        self.revised_after_final = 0
        self._must_publish = False
        self._reset: ClockReset | None = None
        """Reset that the next publication begins the generation of."""
        self._reset_shown = False
        self._journal_pending: dict[str, Value] = {}
        self._journaled_at_ms = NEVER_MS
        self._published_at_ms = NEVER_MS
        self._expired: list[SlotId] = []
        self._days_to_show: set[int] = set()
        """Days to publish although none of their rows changed since the takeover."""
        self._days_redefined: list[int] = []
        """Ended days that were shown last by other definitions, the newest last. Their records say which
        these are, so a new owner goes on where this one ends."""
        self._slots_to_close: set[SlotId] = set()
        """Final hours and days that an earlier owner may have changed without closing them again."""

    def take_over(self, old: MarketCompile, slots: Iterable[SlotId], applied: int) -> None:
        """Go on from the same market by other definitions, as a new owner does from its records.

        ``slots``: merged slots that the ledger has not taken over yet (``SlicedTakeover``). ``applied``:
        the partials offset that it includes. Everything that it published is acknowledged.
        """
        self.progress.take_over(old.progress)
        self.ledger.take_over(old.ledger, slots, applied=applied)
        self.expectation.take_over(old.expectation)
        self.shifts.take_over(old.shifts)
        self.days.take_over(old.days)
        self.recovered()
        self.ledger.take_over_open(old.ledger)
        # Beyond the records: what readers saw, and what waits for the journal and the table.
        self.windows.take_over(old.windows)
        self.shoppers.take_over(old.shoppers)
        self.closings.take_over(old.closings)
        self.redefined.take_over(old.redefined)
        self.members.take_over(old.members)
        self.revised_after_final = old.revised_after_final
        self._reset, self._reset_shown = old._reset, old._reset_shown
        self._journal_pending = old._journal_pending
        self._journaled_at_ms, self._published_at_ms = old._journaled_at_ms, old._published_at_ms
        self._expired = old._expired + self._expired
        self._days_to_show |= old._days_to_show
        self._slots_to_close |= old._slots_to_close
        self.replayed()
        self.inheriting.begin(headlines=False)  # no definitions move a total

    # -- recovery --------------------------------------------------------------------------------

    def take_fence(self, fence: FenceRecord) -> None:
        """Take over how far an earlier owner, or an older edition, published."""
        self.progress.take_fence(fence)
        if fence.edition == self.progress.methodology.edition:
            self.redefined.note_version(fence.definitions)
            self.members.note_former(fence.definitions)
            for topic, first_ms in fence.first.items():
                self.ledger.note_first(topic, first_ms)

    def note_live(self, mark: MarkRecord) -> None:
        """Make the market live if the mark's writer has ever shown its events arriving about now."""
        self.progress.note_live(mark)

    def recovered(self) -> None:
        """Find what was merged after the last acknowledged publication, which may not contain it."""
        self.ledger.project_anew()
        self._drop_expired(self.shifts.panes_read_ms(self.progress.horizon_ms))
        for (kind, start), merged in self.ledger.merged.items():
            # By ``changed``, not ``applied``: a mark that closes a slot has its record written anew
            # and publishes nothing. By ``applied`` the new owner closed the hour again, without
            # shoppers if its quarters were gone.
            if merged.changed <= self.progress.floor_applied:
                continue
            if kind == DAY_KIND:
                self._days_to_show.add(start)
            until = {DAY_KIND: self.progress.days_until, HOUR: self.progress.hours_until}.get(
                kind, NEVER_MS
            )
            if start < until:
                self._slots_to_close.add((kind, start))
        self.ledger.recover_first()
        self._days_redefined = self.days.of_other_definitions()
        self.redefined.begin(self._is_final)

    def _is_final(self, slot_id: SlotId) -> bool:
        kind, start = slot_id
        return start < (self.progress.days_until if kind == DAY_KIND else self.progress.hours_until)

    def replayed(self) -> None:
        """Make everything due once: nobody else keeps this market's values alive."""
        self._days_to_show |= self.ledger.open_days() - set(self._days_redefined)
        self._must_publish = True
        self.inheriting.begin()
        self.redefined.add_open(self._is_final)

    @property
    def declared_reset(self) -> ClockReset | None:
        """The latest reset that an operator declared; None: there was none, or it is not read yet."""
        return self._history.reset

    def shows_open_row(self, slot: SlotKey) -> bool:
        """Return whether a closing may contain a row of this slot that is in no merged slot yet.

        In a live market quiet source partitions count as far as they were caught up, and their rows
        stay open in hours and days that are final. In one of old data nothing is final before the
        watermarks that close its rows. There such a row is news, however late: an import's orders came
        days behind its payments while the partials were created anew, and their hours were never closed.
        """
        progress = self.progress
        if not progress.live:
            return False
        if slot.book == LIVE:
            return slot.slot - slot.slot % HOUR_MS < progress.hours_until
        return slot.slot < progress.days_until

    def take_expired(self) -> list[SlotId]:
        """Return the merged slots that retention dropped since the last call."""
        expired, self._expired = self._expired, []
        return expired

    # -- stepping --------------------------------------------------------------------------------

    @property
    def behind(self) -> bool:
        """Whether the next step has work even if no record comes before it.

        After a reset nothing is final until the marks say what: detectors and vintages wait.
        """
        final = self.progress.final_ms != NEVER_MS
        return (final and (self.shifts.behind or self.expectation.behind)) or bool(
            self.progress.joined and (self._days_redefined or self.redefined.waiting)
        )

    def fold_closed(self, sp: SourcePartition, mark: MarkRecord) -> None:
        """Fold the rows of slots that this source partition's watermark has closed."""
        watermark_ms = mark.watermarks.get(self.progress.market.code)
        if watermark_ms is not None:
            self.ledger.fold_closed(sp, watermark_ms)

    def step(
        self, marks: Mapping[SourcePartition, MarkRecord], applied: int, now_ms: int
    ) -> Publication | None:
        """Return the publication of the present state, or None when nothing is new.

        Call it again only when the fence record of the last publication was acknowledged. What
        retention drops now was closed in that publication, and a new owner could no longer close
        it.
        """
        self._take_reset()
        moved = self.progress.advance(marks)
        if not self.progress.joined:
            return None
        revised = self.ledger.changed_before(self.progress.newest_ms)
        history_changed = self.expectation.take_history()
        due = moved or revised or history_changed or self._journal_due(now_ms) or self.behind
        days_due = self._days_due(now_ms)
        if not (due or self._must_publish or days_due):
            return None
        self._must_publish = False
        self._published_at_ms = now_ms
        read_ms = self.shifts.panes_read_ms(self.progress.horizon_ms)
        changed = self._drain()
        shifts = self._watch(changed=revised or history_changed)
        self.shifts.heed_answers()
        vintages = self._learn(history_changed=history_changed, moved=moved)
        rebased = self._rebase()
        days = self.days.step(changed, applied, rebased)
        buyers = self.shoppers.step(changed, applied)
        closed = self._close(changed)
        self._expire(read_ms)
        windows = self.windows.step(changed)
        day_values = [*days.values, *buyers.values, *_of_days(closed.closings)]
        members = self.members.step((*windows.values, *self.days.of_today()))
        every = (*windows.gone, *days.gone, *buyers.gone, *closed.gone, *members.gone)
        gone = list(dict.fromkeys(every))
        for key in gone:
            self._journal_pending.pop(key, None)
        journal = self._journal([*windows.changed, *day_values], now_ms)
        progress = self.progress
        self._reset_shown = True
        progress.floor_applied = max(applied, progress.floor_applied)
        return Publication(
            market=progress.market.code,
            fence=Fence(
                progress.methodology.edition,
                progress.generation,
                progress.market.definitions,
                progress.headline_ms,
                progress.floor_applied,
            ),
            fence_record=progress.fence_record(applied),
            as_of_ms=progress.headline_ms,
            sources=progress.sources(),
            phase="live",
            values=windows.values,
            changed=windows.changed,
            days=day_values,
            revisions=[*days.revisions, *buyers.revisions, *windows.revisions],
            closings=closed.closings,
            gone=gone,
            members=members.listed,
            lists_gone=members.replaced,
            applied=members.applied,
            journal_changed=journal,
            vintages=vintages,
            shifts=shifts,
            watched=self.answered.paging(progress.headline_ms) if self.shifts.done_until_ms else [],
            answers=self.answered.given(progress.headline_ms),
            pages=self.shifts.pages.counts(progress.headline_ms),
            incidents=self.shifts.incidents.shown(),
            others=self.others.step(waited=days_due and not moved),
            suspicions=self.suspicions.shown(),
            detectors=self.shifts.take_record(),
            shown=days.ended,
            buyers=buyers.ended,
            rebased=rebased,
            inherited=self.inheriting.take_inherited(),
            reset=self._reset,
        )

    def _take_reset(self) -> None:
        """Begin a new generation when an operator has set the market's ``as_of`` back."""
        self._reset = None if self._reset_shown else self._reset
        reset = self._history.reset
        if reset is not None and reset.generation > self.progress.generation:
            self.progress.raise_generation(reset.generation)
            self.inheriting.begin()
            self.windows.begin_generation()
            self.days.begin_generation()
            self.shoppers.begin_generation()
            self._days_to_show |= self.ledger.open_days()
            self._must_publish, self._reset, self._reset_shown = True, reset, False

    def _drain(self) -> ChangedSlots:
        """Return what this step has to process; the next one starts from nothing."""
        changed = replace(
            self.ledger.drain(),
            days_due=frozenset([*self._days_to_show, *self._days_redefined[-DAYS_REDEFINED_MAX:]]),
            closings_due=frozenset(self._slots_to_close),
        )
        del self._days_redefined[-DAYS_REDEFINED_MAX:]
        days_left = frozenset(self._days_redefined)
        redefined = self.redefined.take_changed(SLOTS_REDEFINED_MAX, days_left)
        changed = replace(changed, redefined=redefined)
        self._days_to_show.clear()
        self._slots_to_close.clear()
        return changed

    def _days_due(self, now_ms: int) -> bool:
        if not (self.ledger.days_changed or self._days_to_show):
            return False
        return _waited(self._published_at_ms, now_ms)

    def _learn(self, *, history_changed: bool, moved: bool) -> list[LearntVintage]:
        """Learn the vintages that this step's final hours allow; a market of old data needs none."""
        limit_ms = self.progress.hours_limit()
        if not self.progress.live or limit_ms is None:
            return []
        # Only hours that the detectors have passed: the hours of a shift teach nothing.
        limit_ms = min(limit_ms, self.shifts.done_until_ms // HOUR_MS * HOUR_MS)
        observed, newest_ms = self._observed(), self.progress.newest_ms
        found = self.expectation.learn(
            observed, limit_ms, newest_ms, again=history_changed, awaited=moved
        )
        return [LearntVintage(held, self.expectation.table) for held in found]

    def _observed(self) -> Observed:
        orders, payments = (self.ledger.first_hour_ms(topic) for topic in self.progress.topics)
        shifts = self.shifts
        return Observed(
            self.ledger, orders, payments, shifts.shifted, shifts.relevels, shifts.answered
        )

    def _watch(self, *, changed: bool) -> list[FoundShift]:
        """Step the detectors; a market of old data runs none.

        They do not begin in a backlog: its shifts are of the past. It teaches sizes.
        """
        if not self.progress.live:
            return []
        live_ms = min(self.progress.as_of_ms.values())
        ended = self.shifts.take_generation(self.progress.generation, live_ms)
        if self.progress.final_ms == NEVER_MS:
            return ended
        if not self.shifts.done_until_ms and self.progress.reads_backlog:
            return ended
        final_ms = self.progress.final_ms - self.progress.methodology.grace_ms
        orders, payments = (self._read_from(topic, final_ms) for topic in self.progress.topics)
        reach = Reach(
            final_ms=final_ms,
            live_ms=live_ms,
            orders_from_ms=orders,
            payments_from_ms=payments,
        )
        found = ended + self.shifts.step(reach, changed=changed)
        if not self.shifts.behind:
            incidents, from_ms = self.shifts.incidents.kept, max(orders or 0, payments or 0)
            self.suspicions.step(self.shifts.statuses(), incidents, from_ms, reach.live_ms)
        return found

    def _read_from(self, topic: str, final_ms: int) -> int | None:
        """First instant (ms) of which the detectors can read a topic's minutes; None: nothing was seen.

        A clock that had run ahead by more than a day had retention drop the minutes of now. Read as
        empty they are an outage.
        """
        first_ms = self.ledger.first_ms.get(topic)
        kept_ms = self.ledger.horizon_ms - MINUTES_KEPT_MS
        return first_ms if first_ms is None or kept_ms <= final_ms else max(first_ms, kept_ms)

    def _rebase(self) -> Rebased | None:
        """Let the level index check its base; return what readers see of that, None if nothing."""
        base_revision = self.level.revise_base()
        if base_revision is None:
            return None
        self.progress.level = base_revision.record
        return base_revision.rebased

    def _close(self, changed: ChangedSlots) -> ClosedSlots:
        """Close hours and days, and note how far they are closed now."""
        closed = self.closings.step(changed)
        self.progress.hours_until, self.progress.days_until = closed.hours_until, closed.days_until
        self.revised_after_final += closed.revised
        return closed

    def _expire(self, read_ms: int) -> None:
        """Drop what the last publication no longer shows. Where ``as_of`` leapt, it closed that too.

        ``read_ms``: how far the detectors had read in it. Panes read since are kept: if this owner ends
        before they are acknowledged as read, the next one reads them again.
        """
        self._drop_expired(min(read_ms, self.shifts.panes_read_ms(self.progress.horizon_ms)))
        known_ms = (
            min(self.progress.final_ms, *self.progress.as_of_ms.values()) // MINUTE_MS * MINUTE_MS
        )
        known_ms = min(known_ms, self.shifts.horizon_max_ms)
        self.progress.horizon_ms = max(self.progress.horizon_ms, known_ms)

    def _drop_expired(self, read_ms: int) -> None:
        self.ledger.panes_read_ms = read_ms
        for slot_id in self.ledger.expire(self.progress.horizon_ms):
            self._expired.append(slot_id)
            self.closings.forget(slot_id)
        self.days.expire()
        self.shoppers.expire()

    # -- the journal -----------------------------------------------------------------------------

    def _journal_due(self, now_ms: int) -> bool:
        if not self._journal_pending:
            return False
        minute_ms = self.progress.newest_ms // MINUTE_MS * MINUTE_MS
        return minute_ms > self.progress.journaled_ms or _waited(self._journaled_at_ms, now_ms)

    def _journal(self, changed: list[Value], now_ms: int) -> list[Value] | None:
        """Keep changed values until the journal is due; then return all that are kept, else None."""
        for value in changed:
            self._journal_pending[value.key] = value
        if not self._journal_due(now_ms):
            return None
        self.progress.journaled_ms = self.progress.newest_ms // MINUTE_MS * MINUTE_MS
        self._journaled_at_ms = now_ms
        values, self._journal_pending = list(self._journal_pending.values()), {}
        return values


def _of_days(closings: Sequence[Closing]) -> list[Value]:
    return [value for closing in closings if closing.kind == "day" for value in closing.values]


def _waited(since_ms: int, now_ms: int) -> bool:
    """True once the wait has ended, or the clock was set back."""
    return not 0 <= now_ms - since_ms < IDLE_MS
