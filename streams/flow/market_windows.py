"""Values of one market's windows with their expectations, and how they differ from the last ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from streams.flow.changed_slots import ChangedSlots
from streams.flow.entry_value import differs, value_of
from streams.flow.ledger import Ledger
from streams.flow.market_expectation import MarketExpectation
from streams.flow.market_progress import MarketProgress, Span
from streams.flow.market_shoppers import MarketShoppers
from streams.flow.merged import MINUTES_KEPT_MS, PANES_KEPT_MS
from streams.flow.publication import Revision
from streams.flow.state import NEVER_MS
from streams.index.changes import AGO_DAYS, HOURS, change_entries, hours_before
from streams.index.indices import MARKET, ORDERS_BASIS, SHOPPER_WINDOWS, Entry, live_entries
from streams.index.ledgers import DEFINITION
from streams.index.measured import ValueExpectation, demand_entries, window_expectations
from streams.index.panes import HOUR_MS, MINUTE_MS, rfc3339
from streams.index.partials import Row
from streams.index.values import MINUTE_STEP_WINDOWS, WINDOWS_MS, Value


class ShownWindows(NamedTuple):
    """What a step shows of the windows."""

    values: list[Value]
    """Every window value."""
    changed: list[Value]
    """Values that differ from those published before."""
    revisions: list[Revision]
    gone: list[str]
    """Keys of values that are not published any more, of members that are none and after a reset."""


class MarketWindows:
    """The windows that end at ``as_of``."""

    def __init__(
        self,
        progress: MarketProgress,
        ledger: Ledger,
        expectation: MarketExpectation,
        shoppers: MarketShoppers,
    ) -> None:
        self._progress = progress
        self._ledger = ledger
        self._expectation = expectation
        self._shoppers = shoppers
        self._published: dict[str, Value] = {}
        self._to_withdraw: set[str] = set()
        """Keys of values that go with the next publication, unless that shows them again."""
        self._redefined = False
        """Whether what was published last was by other definitions."""
        self._all: list[Value] = []
        self._all_made_of: tuple[object, ...] = ()
        self._compared: list[Value] | None = None
        self._minute_values: dict[str, list[Value]] = {}
        self._minutes_made_of: dict[str, tuple[object, ...]] = {}

    def take_over(self, old: MarketWindows) -> None:
        """Go on from the same market by other definitions: what they change is revised by them."""
        self._published, self._redefined = old._published, True
        self._to_withdraw = old._to_withdraw | _keys(old._published.values())

    def begin_generation(self) -> None:
        """Publish every value anew: the records of those that stay the same are of a later ``as_of``."""
        self._to_withdraw |= _keys(self._published.values())
        self._published, self._compared = {}, None

    def step(self, changed: ChangedSlots) -> ShownWindows:
        """Show every window at the present ``as_of``."""
        values = self._values(changed)
        if values is self._compared:
            return ShownWindows(values, [], [], [])
        self._compared = values
        return self._compare(values)

    def _values(self, changed: ChangedSlots) -> list[Value]:
        """Return every window value: the list of the last call where none can differ.

        Day rows arrive each second and ``as_of`` moves every five: most steps concern days alone.
        """
        # Each in a tuple of its own: run together, an as_of that a reset took away and the start of its
        # log, which came at the same time, were what both had been before.
        made_of = (
            tuple(self._progress.as_of_ms.items()),
            tuple(self._ledger.first_ms.items()),
            self._progress.horizon_ms,
            self._expectation.version,
            self._progress.live,
        )
        if changed.before(self._progress.newest_ms) or made_of != self._all_made_of:
            self._all, self._all_made_of = self._computed(changed), made_of
        return self._all

    def _computed(self, changed: ChangedSlots) -> list[Value]:
        values: list[Value] = []
        for window, length_ms in WINDOWS_MS.items():
            step_ms = (
                MINUTE_MS if window in MINUTE_STEP_WINDOWS else self._progress.methodology.step_ms
            )
            ends = [
                self._progress.as_of_ms.get(topic, NEVER_MS) // step_ms * step_ms
                for topic in self._progress.topics
            ]
            kept_ms = MINUTES_KEPT_MS if window in MINUTE_STEP_WINDOWS else PANES_KEPT_MS
            spans = [self._progress.span(end, length_ms, kept_ms) for end in ends]
            firsts = [self._ledger.first_ms.get(topic) for topic in self._progress.topics]
            spans_read = spans[:]
            if window in SHOPPER_WINDOWS:
                spans_read.append(self._shoppers.span(window))
            made_of = (spans_read, firsts, self._expectation.version, self._progress.live)
            if (
                window in MINUTE_STEP_WINDOWS
                and self._minutes_made_of.get(window) == made_of
                and not any(changed.within(*span) for span in spans_read)
            ):
                values += self._minute_values[window]
                continue
            found = self._window(window, length_ms, spans)
            if window in HOURS and self._progress.live:
                found += self._changes(window)
            found += self._shoppers.window(window)
            if window in MINUTE_STEP_WINDOWS:
                self._minute_values[window] = found
                self._minutes_made_of[window] = made_of
            values += found
        return values

    def _window(self, window: str, length_ms: int, spans: list[Span]) -> list[Value]:
        rows = [self._ledger.window_sum(*span) for span in spans[:1]]
        rows.append(rows[0] if spans[0] == spans[1] else self._ledger.window_sum(*spans[1]))
        covers = [
            self._progress.covered(topic, span, length_ms)
            for topic, span in zip(self._progress.topics, spans, strict=True)
        ]
        texts = [rfc3339(end_ms) if end_ms != NEVER_MS else "" for _, end_ms in spans]
        values = []
        for entry, expectation in self._measured(rows, spans, window):
            which = 0 if entry.basis == ORDERS_BASIS else 1
            if texts[which]:
                values.append(
                    value_of(
                        self._progress,
                        entry,
                        window,
                        texts[which],
                        covers[which],
                        "live",
                        expectation=expectation,
                    )
                )
        return values

    def _changes(self, window: str) -> list[Value]:
        """Compare orders up to the last whole hour with the same hours a day and a week earlier."""
        orders, _ = self._progress.topics
        end_ms = self._progress.as_of_ms.get(orders, NEVER_MS) // HOUR_MS * HOUR_MS
        first_ms = self._ledger.first_hour_ms(orders)
        if first_ms is None or orders not in self._progress.as_of_ms:
            return []  # payments alone have been read so far
        covers: dict[str, float] = {}
        found: dict[str, tuple[Row, Row] | None] = {}
        for name, days in AGO_DAYS.items():
            own, before = hours_before(self._expectation.hours, end_ms, HOURS[window], days)
            covers[name] = sum(hour_ms >= first_ms for hour_ms in before) / len(before)
            rows = self._ledger.hours_sum(own), self._ledger.hours_sum(before)
            found[name] = rows if covers[name] == 1 else None
        return [
            value_of(self._progress, entry, window, rfc3339(end_ms), covers[entry.name], "live")
            for entry in change_entries(self._ledger.layout, found)
        ]

    def _measured(
        self, rows: list[Row], spans: list[Span], window: str
    ) -> list[tuple[Entry, ValueExpectation | None]]:
        """Return a window's entries with expectations, and a live market's demand indices."""
        entries = list(live_entries(self._ledger.layout, *rows))
        expectation = self.window_expectations(entries, spans, window)
        measured = demand_entries(entries, expectation) if self._progress.live else ()
        return [*zip(entries, expectation, strict=True), *measured]

    def expects_by_definitions_of_now(self, hour_ms: int) -> bool:
        """Whether what is expected of an hour was learnt under the definitions of now."""
        return self._expectation.is_of_now(self._expectation.hours.day_of_hour(hour_ms))

    def window_expectations(
        self, entries: list[Entry], spans: list[Span], window: str
    ) -> Sequence[ValueExpectation | None]:
        """Return the expectation of each entry; in a market that is not live there is none."""
        if not self._progress.live:
            return [None] * len(entries)
        orders, payments = (
            self._expectation.of_span(
                max(span[0], self._ledger.first_ms.get(topic, span[1])), span[1]
            )
            for topic, span in zip(self._progress.topics, spans, strict=True)
        )
        columns = self._expectation.noise_columns
        return window_expectations(entries, self._ledger.layout, columns, orders, payments, window)

    def _compare(self, values: list[Value]) -> ShownWindows:
        """Compare each value with the one published before; a change at one ``as_of`` revises it.

        A value that does not differ is replaced in ``values`` by the published one.
        """
        changed: list[Value] = []
        revisions: list[Revision] = []
        for position, computed in enumerate(values):
            value, field = computed, computed.field
            old = self._published.get(field)
            if old is value:
                continue
            if old is not None and old.as_of == value.as_of:
                if not differs(old, value):
                    values[position] = old
                    continue
                same = (old.value, old.observed, old.n) == (value.value, value.observed, value.n)
                revision = old.revision if same else old.revision + 1
                value = msgspec.structs.replace(computed, revision=revision)
                values[position] = value
                if not same:
                    # Definitions move no total. Of a member nobody can tell what else has moved it.
                    redefined = self._redefined and value.dimension != MARKET
                    counted = (old.observed, old.n) != (value.observed, value.n)
                    late = counted and not redefined
                    revisions.append(Revision(value, old.value, "late" if late else DEFINITION))
            if old is None or differs(old, value):
                changed.append(value)
            self._published[field] = value
        self._redefined = False
        return ShownWindows(values, changed, revisions, self._withdraw(values))

    def _withdraw(self, shown: list[Value]) -> list[str]:
        """Return the keys of values that were published and are not any more."""
        if not self._to_withdraw:
            return []
        gone = self._to_withdraw - _keys(shown)
        self._to_withdraw = set()
        self._published = {at: each for at, each in self._published.items() if each.key not in gone}
        return sorted(gone)


def _keys(values: Iterable[Value]) -> set[str]:
    return {value.key for value in values}
