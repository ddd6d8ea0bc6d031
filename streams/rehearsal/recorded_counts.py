"""A recorded series of counts, rehearsed as the total of a market of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streams.index.methodology import Market, Methodology
from streams.index.panes import DAY_MS, MINUTE_MS
from streams.index.partials import ORDERS, Row
from streams.index.shift_budget import ShiftRules
from streams.rehearsal.market_rehearsal import MarketRehearsal, Rehearsed

HOUR_MINUTES = 60


@dataclass(frozen=True, slots=True)
class RecordedCounts:
    """Counts of a series.

    ``counts[i]`` is the count of the i-th step of ``step_minutes``, counted from ``first_minute``. A
    step must divide an hour, and ``first_minute`` must begin one.
    """

    first_minute: int
    step_minutes: int
    counts: Sequence[int]

    def hours(self) -> Iterator[tuple[int, list[int]]]:
        """Yield (start in ms, counts of its 60 minutes) of each whole hour.

        A step's count is spread evenly over its minutes, in whole events. The evidence of a minute is
        linear in its count (``shift_clock``). So a step adds to the evidence of a shift that began
        before it what real minutes of the same sum add, wherever in the step their events lay. Put into
        one minute, the count would be 29 minutes of a stop and one of a jump. A step taken for a minute
        would be a thirtieth of the evidence.
        """
        step = self.step_minutes
        a_hour = HOUR_MINUTES // step
        skipped = -self.first_minute % HOUR_MINUTES // step
        for at in range(skipped, len(self.counts) - a_hour + 1, a_hour):
            minutes = [
                count * (part + 1) // step - count * part // step
                for count in self.counts[at : at + a_hour]
                for part in range(step)
            ]
            yield (self.first_minute + at * step) * MINUTE_MS, minutes


def methodology_of(market: Market, rules: ShiftRules) -> Methodology:
    """Return a methodology that has this market alone, and the times of the default one."""
    return Methodology(
        edition=1,
        pane_ms=5_000,
        grace_ms=120_000,
        ahead_ms=300_000,
        out_of_order_ms=2_000,
        day_grace_ms=35 * DAY_MS,
        open_panes_max=128,
        markets={market.code: market},
        shifts=rules,
    )


def alone(rules: ShiftRules, zone: str) -> MarketRehearsal:
    """Return a market that has nothing but its total: its one category never has an order."""
    market = Market(
        code="XX",
        name="recorded",
        currency="EUR",
        time_zone=zone,
        categories=("other",),
        methods=(),
        regions=(),
        channels=(),
        digital=frozenset(),
        method_aliases={},
        channel_aliases={},
    )
    return MarketRehearsal(market, methodology_of(market, rules), 1.0, orders=True, payments=False)


def watch(recorded: RecordedCounts, zone: str, rules: ShiftRules) -> Iterator[Rehearsed]:
    """Yield the shifts of a recorded series and their ends, in order.

    Nothing is found before three weeks were learnt: until then its expectation is warming.
    """
    market = alone(rules, zone)
    for hour_ms, counts in recorded.hours():
        rows: dict[int, Row] = {}
        for minute, count in enumerate(counts):
            if count:
                row = rows[hour_ms + minute * MINUTE_MS] = [0] * market.live_width
                row[ORDERS] = count
        yield from market.hour(hour_ms, rows)
