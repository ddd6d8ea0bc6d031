"""Level 2 of one market: ``as_of``, windows, closings and revisions -> publications."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from streams.flow.chunk import SourcePartition
from streams.flow.daybook import DayBook, ShownDay, name_of
from streams.flow.ledger import Ledger, SlotId
from streams.flow.market_shifts import MarketShifts, Reach, encode_shifts
from streams.flow.merged import (
    DAY_KIND,
    HOUR,
    HOURS_KEPT_MS,
    MINUTES_KEPT_MS,
    PANES_KEPT_MS,
)
from streams.flow.progress import topic_progress
from streams.flow.publication import Closing, Publication, Revision
from streams.flow.shift_watch import FoundShift
from streams.flow.state import NEVER_MS
from streams.flow.usual import MarketUsual, Observed
from streams.flow.vintages import Learnt
from streams.flow.wire import MarkRecord
from streams.index.changes import AGO_DAYS, CHANGES, HOURS, change_entries, hours_before
from streams.index.indices import MARKET, ORDERS_BASIS, Entry, live_entries
from streams.index.ledgers import book_entries, cause_of
from streams.index.measured import Usual, columns_of, demand_entries, usual_of, usual_of_day
from streams.index.methodology import Market, Methodology
from streams.index.panes import DAY_MS, HOUR_MS, MINUTE_MS, day_name, rfc3339
from streams.index.partials import Row
from streams.index.shift_budget import market_shares
from streams.index.values import (
    COVERED_MIN,
    DAY_WINDOW,
    MINUTE_STEP_WINDOWS,
    WINDOWS_MS,
    Fence,
    Value,
)

Span = tuple[int, int]
"""[start, end) of a window, ms."""
JOURNAL_IDLE_MS = 5_000
"""When ``as_of`` stands still (an import ended), changes are journaled after this long."""
EMPTY_HOURS_MAX = 48
_WIDEST_WINDOW_MS = DAY_MS


class FenceRecord(msgspec.Struct, omit_defaults=True):
    """What a new owner must not fall behind: one a market and writer (exactness rule 7)."""

    edition: int
    applied: int
    live: bool
    as_of: dict[str, int]
    first: dict[str, int]
    hours_until: int
    days_until: int
    horizon: int
    journaled: int = NEVER_MS
    partials_id: str = ""
    """Incarnation of the partials topic that ``applied`` is an offset of; empty: not known."""


class MarketCompile:
    """One market of a partials partition."""

    def __init__(
        self,
        market: Market,
        methodology: Methodology,
        sps: Mapping[str, Sequence[SourcePartition]],
    ) -> None:
        self.market = market
        self.methodology = methodology
        self.ledger = Ledger(market, methodology)
        self.usual = MarketUsual(market, self.ledger)
        shares = market_shares(
            {code: each.shift_weight for code, each in methodology.markets.items()}
        )
        self.shifts = MarketShifts(
            self.ledger,
            self.usual,
            methodology.shifts,
            shares[market.code],
            lambda day: self.usual.early(self._observed(), day),
        )
        self.book = DayBook(self.ledger.layout)
        self._noise_columns = columns_of(self.ledger.layout)
        self.live = False
        self.as_of_ms: dict[str, int] = {}
        """Per basis (orders, payments); never goes back."""
        self._reach_ms: dict[str, int] = {}
        """``as_of`` of an older edition, below which this one does not publish."""
        self.revised_after_final = 0
        self._sps = sps
        self._final_ms = NEVER_MS
        self._horizon_ms = NEVER_MS
        """What lies further behind it than rows are kept is no longer shown, and dropped as soon as
        the publication that says so is acknowledged."""
        self._hours_until = NEVER_MS
        self._days_until = NEVER_MS
        self.floor_applied = -1
        """Partials offset that the last publication contains, an earlier owner's included."""
        self._must_publish = False
        self._days_due: set[int] = set()
        """Days whose values this owner has not published yet, though nothing changed in them."""
        self._closings_due: set[SlotId] = set()
        """Final hours and days that an earlier owner may have changed without closing them again."""
        self._final_revisions: dict[SlotId, int] = {}
        self._published: dict[str, Value] = {}
        self._minute_values: dict[str, list[Value]] = {}
        self._minutes_made_of: dict[str, tuple[object, ...]] = {}
        self._days_published: dict[str, Value] = {}
        self._journal_pending: dict[str, Value] = {}
        self._journaled_ms = NEVER_MS
        self._journaled_at_ms = NEVER_MS
        self._expired: list[SlotId] = []

    # -- recovery --------------------------------------------------------------------------------

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
        for topic, first_ms in fence.first.items():
            held = self.ledger.first_ms
            held[topic] = min(first_ms, held.get(topic, first_ms))
        if fence.applied > self.floor_applied:
            # Of whoever had applied most: a paused owner that saw less of the log may have taken
            # for final what the other knew to be open.
            self.floor_applied = fence.applied
            self._hours_until = fence.hours_until
            self._days_until = fence.days_until
            self._journaled_ms = fence.journaled
            self._horizon_ms = fence.horizon

    def recovered(self) -> None:
        """Find what was merged after the last acknowledged publication: it may not contain it."""
        self._drop_expired()
        for (kind, start), merged in self.ledger.merged.items():
            if merged.applied <= self.floor_applied:
                continue
            if kind == DAY_KIND:
                self._days_due.add(start)
            until = {DAY_KIND: self._days_until, HOUR: self._hours_until}.get(kind, NEVER_MS)
            if start < until:
                self._closings_due.add((kind, start))
        self.ledger.recover_first()

    def replayed(self) -> None:
        """Everything is to be published once: nobody else keeps this market's values alive."""
        self._days_due |= self.ledger.open_days()
        self._must_publish = True

    def fence_record(self, applied: int) -> FenceRecord:
        """Floor for the next owner."""
        return FenceRecord(
            edition=self.methodology.edition,
            applied=max(applied, self.floor_applied),
            live=self.live,
            as_of=dict(self.as_of_ms),
            first=dict(self.ledger.first_ms),
            hours_until=self._hours_until,
            days_until=self._days_until,
            horizon=self._horizon_ms,
            journaled=self._journaled_ms,
        )

    def take_expired(self) -> list[SlotId]:
        """Merged slots dropped by retention since the last call."""
        expired, self._expired = self._expired, []
        return expired

    # -- marks -----------------------------------------------------------------------------------

    def note_live(self, mark: MarkRecord) -> None:
        """Whether this mark's writer has shown the market's events arriving about now, ever."""
        self.live = self.live or self.market.code in mark.live

    def fold_closed(self, sp: SourcePartition, mark: MarkRecord) -> None:
        """Fold what this source partition's watermark has closed."""
        watermark_ms = mark.watermarks.get(self.market.code)
        if watermark_ms is not None:
            self.ledger.fold_closed(sp, watermark_ms)

    # -- stepping --------------------------------------------------------------------------------

    def step(
        self, marks: Mapping[SourcePartition, MarkRecord], applied: int, now_ms: int
    ) -> Publication | None:
        """Publication of the present state, or None when nothing is new.

        To be called again only when the fence record of the last publication was acknowledged: what
        retention drops now was closed in that one, and a new owner could not close it any more.
        """
        moved = self._advance(marks)
        if not self.as_of_ms:
            return None
        revised = any(pane < self._as_of_of_any() for pane in self.ledger.changed_panes)
        days_changed = bool(self.ledger.changed_days or self._days_due)
        journal_due = self._journal_due(now_ms)
        told = self.usual.take_history()
        due = moved or revised or days_changed or journal_due or told or self.shifts.behind
        if not (due or self._must_publish):
            return None
        self._must_publish = False
        after_final = self._changed_after_final()
        revisions: list[Revision] = []
        shifts = self._watch(changed=revised or told)
        vintages = self._learn(told=told)
        days, shown = self._days(revisions, applied)
        closings = self._closings_again(after_final) + self._closings()
        self._expire()
        values = self._values()
        changed = self._differences(values, revisions)
        days += [value for closing in closings if closing.kind == "day" for value in closing.values]
        self.ledger.changed_panes.clear()
        for value in (*changed, *days):
            self._journal_pending[value.key] = value
        journal = self._take_journal(now_ms)
        self.revised_after_final += len(after_final)
        as_of_ms = max(self.as_of_ms.values())
        self.floor_applied = max(applied, self.floor_applied)
        return Publication(
            market=self.market.code,
            fence=Fence(self.methodology.edition, as_of_ms, self.floor_applied),
            as_of_ms=as_of_ms,
            phase="live",
            values=values,
            changed=changed,
            days=days,
            revisions=revisions,
            closings=closings,
            journal_changed=journal,
            vintages=vintages,
            shifts=shifts,
            watched=self.shifts.statuses() if self.shifts.done_until_ms else [],
            detectors=self._detectors(),
            shown=shown,
            fence_record=msgspec.to_builtins(self.fence_record(applied)),
        )

    def _learn(self, *, told: bool) -> list[Learnt]:
        """Vintages that this step's final hours make possible; a market of old data needs none."""
        limit_ms = self._hours_limit()
        if not self.live or limit_ms is None:
            return []
        # Not before the detectors were there: the hours of a shift teach nothing.
        limit_ms = min(limit_ms, self.shifts.done_until_ms // HOUR_MS * HOUR_MS)
        found = self.usual.learn(self._observed(), limit_ms, self._as_of_of_any(), again=told)
        return [Learnt(held, self.usual.table) for held in found]

    def _observed(self) -> Observed:
        orders, payments = (self.ledger.first_hour_ms(topic) for topic in self._topics())
        shifts = self.shifts
        return Observed(self.ledger, orders, payments, shifts.shifted, shifts.relevels)

    def _watch(self, *, changed: bool) -> list[FoundShift]:
        """Step the detectors; a market of old data has none at work."""
        if not self.live or self._final_ms == NEVER_MS:
            return []
        orders, payments = (self.ledger.first_ms.get(topic) for topic in self._topics())
        reach = Reach(
            final_ms=self._final_ms - self.methodology.grace_ms,
            live_ms=min(self.as_of_ms.values()),
            orders_from_ms=orders,
            payments_from_ms=payments,
        )
        return self.shifts.step(reach, changed=changed)

    def _detectors(self) -> bytes | None:
        if self.shifts.written:
            return None
        self.shifts.written = True
        return encode_shifts(self.shifts.record())

    def _as_of_of_any(self) -> int:
        return max(self.as_of_ms.values())

    def _advance(self, marks: Mapping[SourcePartition, MarkRecord]) -> bool:
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
            self._final_ms = max(self._final_ms, min(known_ms))
        return moved

    def _expire(self) -> None:
        """Drop what the last publication no longer shows; where ``as_of`` leaps it closed it too."""
        self._drop_expired()
        known_ms = min(self._final_ms, *self.as_of_ms.values()) // MINUTE_MS * MINUTE_MS
        if self.shifts.behind:  # its minutes are still to be read
            known_ms = min(known_ms, self.shifts.done_until_ms + DAY_MS)
        self._horizon_ms = max(self._horizon_ms, known_ms)

    def _drop_expired(self) -> None:
        for slot_id in self.ledger.expire(self._horizon_ms):
            self._expired.append(slot_id)
            self._final_revisions.pop(slot_id, None)
        self.book.expire(self._days_until)

    # -- values ----------------------------------------------------------------------------------

    def _topics(self) -> tuple[str, str]:
        """(orders topic, payments topic): the order in which they were configured."""
        orders, payments = self._sps
        return orders, payments

    def _values(self) -> list[Value]:
        values: list[Value] = []
        for window, length_ms in WINDOWS_MS.items():
            step_ms = MINUTE_MS if window in MINUTE_STEP_WINDOWS else self.methodology.step_ms
            ends = [
                self.as_of_ms.get(topic, NEVER_MS) // step_ms * step_ms for topic in self._topics()
            ]
            kept_ms = MINUTES_KEPT_MS if window in MINUTE_STEP_WINDOWS else PANES_KEPT_MS
            spans = [self._span(end, length_ms, kept_ms) for end in ends]
            firsts = [self.ledger.first_ms.get(topic) for topic in self._topics()]
            made_of = (spans, firsts, self.usual.version, self.live)
            if (
                window in MINUTE_STEP_WINDOWS
                and self._minutes_made_of.get(window) == made_of
                and not any(self._touches(*span) for span in spans)
            ):
                values += self._minute_values[window]
                continue
            found = self._window(window, length_ms, spans)
            if window in HOURS and self.live:
                found += self._changes(window)
            if window in MINUTE_STEP_WINDOWS:
                self._minute_values[window] = found
                self._minutes_made_of[window] = made_of
            values += found
        return values

    def _span(self, end_ms: int, length_ms: int, kept_ms: int) -> Span:
        """[start, end) of a window, as far back as rows are kept.

        Retention cuts a window only when a topic's ``as_of`` begins far behind the other's: an
        import whose payments are read after its orders.
        """
        if end_ms <= NEVER_MS // 2:
            return NEVER_MS, NEVER_MS
        return max(end_ms - length_ms, min(self._horizon_ms - kept_ms, end_ms)), end_ms

    def _touches(self, start_ms: int, end_ms: int) -> bool:
        return any(start_ms <= pane < end_ms for pane in self.ledger.changed_panes)

    def _window(self, window: str, length_ms: int, spans: list[Span]) -> list[Value]:
        rows = [self.ledger.window_sum(*span) for span in spans[:1]]
        rows.append(rows[0] if spans[0] == spans[1] else self.ledger.window_sum(*spans[1]))
        covers = [
            self._covered(topic, span, length_ms)
            for topic, span in zip(self._topics(), spans, strict=True)
        ]
        texts = [rfc3339(end_ms) if end_ms != NEVER_MS else "" for _, end_ms in spans]
        values = []
        for entry, usual in self._measured(rows, spans, window):
            which = 0 if entry.basis == ORDERS_BASIS else 1
            if texts[which]:
                values.append(
                    self._value(entry, window, texts[which], covers[which], "live", usual=usual)
                )
        return values

    def _changes(self, window: str) -> list[Value]:
        """Orders up to the last whole hour against the same hours a day and a week earlier."""
        orders, _ = self._topics()
        end_ms = self.as_of_ms.get(orders, NEVER_MS) // HOUR_MS * HOUR_MS
        first_ms = self.ledger.first_hour_ms(orders)
        if first_ms is None or orders not in self.as_of_ms:
            return []  # payments alone have been read so far
        covers: dict[str, float] = {}
        found: dict[str, tuple[Row, Row] | None] = {}
        for name, days in AGO_DAYS.items():
            own, before = hours_before(self.usual.hours, end_ms, HOURS[window], days)
            covers[name] = sum(hour_ms >= first_ms for hour_ms in before) / len(before)
            rows = self.ledger.hours_sum(own), self.ledger.hours_sum(before)
            found[name] = rows if covers[name] == 1 else None
        return [
            self._value(entry, window, rfc3339(end_ms), covers[entry.name], "live")
            for entry in change_entries(self.ledger.layout, found)
        ]

    def _measured(
        self, rows: list[Row], spans: list[Span], window: str
    ) -> list[tuple[Entry, Usual | None]]:
        """Entries of a window with what is usual; of a live market the demand indices too."""
        entries = list(live_entries(self.ledger.layout, *rows))
        usual = self._usual_of(entries, spans, window)
        measured = demand_entries(entries, usual) if self.live else ()
        return [*zip(entries, usual, strict=True), *measured]

    def _usual_of(
        self, entries: list[Entry], spans: list[Span], window: str
    ) -> Sequence[Usual | None]:
        """What is usual for each entry; of a market that is not live nothing is."""
        if not self.live:
            return [None] * len(entries)
        orders, payments = (
            self.usual.of_span(max(span[0], self.ledger.first_ms.get(topic, span[1])), span[1])
            for topic, span in zip(self._topics(), spans, strict=True)
        )
        layout = self.ledger.layout
        return usual_of(entries, layout, self._noise_columns, orders, payments, window)

    def _covered(self, topic: str, span: Span, length_ms: int) -> float:
        start_ms, end_ms = span
        start_ms = max(start_ms, self.ledger.first_ms.get(topic, end_ms))
        return max(0, end_ms - start_ms) / length_ms

    def _value(
        self,
        entry: Entry,
        window: str,
        as_of: str,
        covered: float,
        phase: str,
        *,
        revision: int = 0,
        day: str | None = None,
        usual: Usual | None = None,
    ) -> Value:
        status, value = "ok", entry.value
        if entry.name in CHANGES and covered < 1:
            status = "filling"
        elif covered < COVERED_MIN and day is None:
            status, value = "filling", None
        elif entry.measured and (usual is None or usual.warming):
            status = "warming"
        elif value is None:
            status = "no_data"
        return Value(
            market=self.market.code,
            index=entry.name,
            dimension=entry.dimension,
            member=entry.member,
            window=window,
            as_of=as_of,
            value=value,
            unit=entry.unit,
            observed=entry.observed,
            covered=covered,
            n=entry.n,
            status=status,
            phase=phase,
            revision=revision,
            edition=self.methodology.edition,
            day=day,
            expected=None if usual is None else usual.expected,
            lower=None if usual is None else usual.lower,
            upper=None if usual is None else usual.upper,
            vintage=None if usual is None else usual.vintage,
        )

    def _differences(self, values: list[Value], revisions: list[Revision]) -> list[Value]:
        changed: list[Value] = []
        for position, computed in enumerate(values):
            value = computed
            old = self._published.get(value.field)
            if old is value:
                continue
            if old is not None and old.as_of == value.as_of:
                if not _differs(old, value):
                    values[position] = old
                    continue
                same = (old.value, old.observed, old.n) == (value.value, value.observed, value.n)
                revision = old.revision if same else old.revision + 1
                value = msgspec.structs.replace(computed, revision=revision)
                values[position] = value
                if not same:
                    counted = (old.observed, old.n) != (value.observed, value.n)
                    revisions.append(
                        Revision(value, old.value, "late" if counted else "definition")
                    )
            if old is None or _differs(old, value):
                changed.append(value)
            self._published[value.field] = value
        return changed

    # -- days ------------------------------------------------------------------------------------

    def _days(self, revisions: list[Revision], applied: int) -> tuple[list[Value], list[ShownDay]]:
        """(day values that changed, days whose shown row is to be stored with them)."""
        found: list[Value] = []
        stored: list[ShownDay] = []
        today = self.ledger.local_days.day_of(self._as_of_of_any())
        ended = self.book.newly_ended(today, self.ledger.days(), self._days_until)
        for day in sorted(self.ledger.changed_days | self._days_due | ended):
            row = self.ledger.day_sum(day)
            if row is None:
                continue
            revised = self._revised(day, row) if day < today else {}
            for entry, computed in self._day_values(day, row):
                value, name = computed, name_of(entry)
                if name in revised:
                    value = msgspec.structs.replace(value, revision=value.revision + 1)
                    revisions.append(Revision(value, *revised[name]))
                old = self._days_published.get(value.key)
                if old is None or _differs(old, value) or old.revision != value.revision:
                    self._days_published[value.key] = value
                    found.append(value)
            if day < today:
                shown = self.book.show(day, row, list(revised), applied)
                stored += [] if shown is None else [ShownDay(day, shown)]
        self.ledger.changed_days.clear()
        self._days_due.clear()
        self._forget_old_days()
        return found, stored

    def _revised(self, day: int, row: Row) -> dict[str, tuple[int | float | None, str]]:
        """Values of an ended day that are not as they were shown: (what they were, cause)."""
        shown = self.book.days.get(day)
        if shown is None or shown.row == row:
            return {}
        found: dict[str, tuple[int | float | None, str]] = {}
        for entry in book_entries(self.ledger.layout, row):
            was = self.book.was(day, name_of(entry))
            before = None if was is None else was.value
            if was is None or (was.value, was.observed, was.n) != (
                entry.value,
                entry.observed,
                entry.n,
            ):
                found[name_of(entry)] = before, cause_of(self.ledger.layout, entry, shown.row, row)
        return found

    def _forget_old_days(self) -> None:
        oldest = day_name(self.ledger.local_days.day_of(self._as_of_of_any()) - 64)
        if len(self._days_published) > 40_000:  # noqa: PLR2004 - about two months of a wide market
            self._days_published = {
                key: value
                for key, value in self._days_published.items()
                if (value.day or "") >= oldest
            }

    def _day_values(
        self, day: int, row: Row, *, closing: bool = False
    ) -> list[tuple[Entry, Value]]:
        local_days = self.ledger.local_days
        start_ms, end_ms = local_days.start_ms(day), local_days.end_ms(day)
        as_of_ms = self._as_of_of_any()
        covered = max(0, min(as_of_ms, end_ms) - start_ms) / (end_ms - start_ms)
        as_of = rfc3339(min(as_of_ms, end_ms))
        phase = "final" if closing or day < self._days_until else "live"
        name = day_name(day)
        entries = list(book_entries(self.ledger.layout, row))
        span = self.usual.of_span(start_ms, min(as_of_ms, end_ms)) if self.live else None
        usual = usual_of_day(entries, self._noise_columns, span)
        return [
            (
                entry,
                self._value(
                    entry,
                    DAY_WINDOW,
                    as_of,
                    covered,
                    phase,
                    revision=self.book.revision(day, name_of(entry)),
                    day=name,
                    usual=own,
                ),
            )
            for entry, own in zip(entries, usual, strict=True)
        ]

    # -- closings and the journal ----------------------------------------------------------------

    def _changed_after_final(self) -> set[SlotId]:
        """Hours and days that were final and changed: none while inputs keep their arrival times."""
        hours = {pane - pane % HOUR_MS for pane in self.ledger.changed_panes}
        changed: set[SlotId] = {(HOUR, start) for start in hours if start < self._hours_until}
        changed |= {(DAY_KIND, day) for day in self.ledger.changed_days if day < self._days_until}
        for slot_id in changed:
            self._final_revisions[slot_id] = self._final_revisions.get(slot_id, 0) + 1
        return changed

    def _closings_again(self, changed: set[SlotId]) -> list[Closing]:
        """Close again what changed after it was final: the journal's last word on it is right."""
        due, self._closings_due = changed | self._closings_due, set()
        return [
            self._hour_closing(start) if kind == HOUR else self._day_closing(start)
            for kind, start in sorted(due)
        ]

    def _closings(self) -> list[Closing]:
        closings: list[Closing] = []
        hours_limit = self._hours_limit()
        if hours_limit is None:
            return closings
        if hours_limit > self._hours_until:
            closings += [self._hour_closing(start) for start in self._hours_to_close(hours_limit)]
            self._hours_until = hours_limit
        days_limit = self.ledger.local_days.day_of(self._final_ms - self.methodology.day_grace_ms)
        if days_limit > self._days_until:
            for day in sorted(self.ledger.days()):
                if self._days_until <= day < days_limit:
                    closings.append(self._day_closing(day))
            self._days_until = days_limit
        return closings

    def _hours_limit(self) -> int | None:
        """Hours that end up to here are final."""
        if self._final_ms == NEVER_MS:
            return None
        return (self._final_ms - self.methodology.grace_ms) // HOUR_MS * HOUR_MS

    def _hours_to_close(self, limit_ms: int) -> list[int]:
        hours = {hour for hour in self.ledger.hours() if self._hours_until <= hour < limit_ms}
        if self.live and self._hours_until > NEVER_MS:
            # In a live market an hour without an order is a finding, not a gap.
            first = max(self._hours_until, limit_ms - EMPTY_HOURS_MAX * HOUR_MS)
            hours |= set(range(first, limit_ms, HOUR_MS))
        return sorted(hours)

    def _hour_closing(self, start_ms: int) -> Closing:
        row = self.ledger.hour_sum(start_ms) or [0] * self.ledger.layout.live_width
        end_ms = start_ms + HOUR_MS
        as_of = rfc3339(end_ms)
        span = self._span(end_ms, HOUR_MS, HOURS_KEPT_MS)
        covers = {topic: self._covered(topic, span, HOUR_MS) for topic in self._topics()}
        orders, payments = self._topics()
        entries = list(live_entries(self.ledger.layout, row, row))
        usual = self._usual_of(entries, [span, span], "1h")
        kept = _with_something(entries)
        values = [
            self._value(
                entry,
                "1h",
                as_of,
                covers[orders if entry.basis == ORDERS_BASIS else payments],
                "final",
                revision=self._final_revisions.get((HOUR, start_ms), 0),
                usual=own,
            )
            for entry, own in zip(entries, usual, strict=True)
            if entry.dimension == MARKET or (entry.dimension, entry.member) in kept
        ]
        return Closing("hour", start_ms, end_ms, values)

    def _day_closing(self, day: int) -> Closing:
        row = self.ledger.day_sum(day) or [0] * self.ledger.layout.day_width
        values = [value for _, value in self._day_values(day, row, closing=True)]
        for value in values:
            self._days_published.pop(value.key, None)
        local_days = self.ledger.local_days
        return Closing("day", local_days.start_ms(day), local_days.end_ms(day), values)

    def _journal_due(self, now_ms: int) -> bool:
        if not self._journal_pending:
            return False
        minute_ms = self._as_of_of_any() // MINUTE_MS * MINUTE_MS
        return minute_ms > self._journaled_ms or now_ms - self._journaled_at_ms >= JOURNAL_IDLE_MS

    def _take_journal(self, now_ms: int) -> list[Value] | None:
        if not self._journal_due(now_ms):
            return None
        self._journaled_ms = self._as_of_of_any() // MINUTE_MS * MINUTE_MS
        self._journaled_at_ms = now_ms
        values, self._journal_pending = list(self._journal_pending.values()), {}
        return values


def _with_something(entries: Iterable[Entry]) -> set[tuple[str, str]]:
    """Members of which something was counted: of a wide market's quiet hour that is few."""
    return {(each.dimension, each.member) for each in entries if each.observed}


def _differs(old: Value, new: Value) -> bool:
    return (
        old.value != new.value
        or old.observed != new.observed
        or old.n != new.n
        or old.status != new.status
        or old.covered != new.covered
        or old.phase != new.phase
        # What is expected moves with every pane; a record keeps that of its own as_of.
        or (old.as_of == new.as_of and old.expected != new.expected)
    )
