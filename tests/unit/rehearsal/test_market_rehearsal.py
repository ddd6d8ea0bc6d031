"""A rehearsal finds what level 2 finds in the same rows, and learns what it learns."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from streams.flow.chunk import SourcePartition
from streams.flow.market import MarketCompile
from streams.flow.merged import HOUR, MINUTE, MergedRecord
from streams.flow.shift_watch import FINAL
from streams.flow.wire import MarkRecord
from streams.index import shift_clock as clocks
from streams.index.demand import SCALE
from streams.index.methodology import Market
from streams.index.panes import HOUR_MS, MINUTE_MS
from streams.index.partials import ORDERS, Layout, sum_rows, to_wire
from streams.index.shift_budget import ShiftRules
from streams.index.shift_clock import FAST
from streams.rehearsal.market_rehearsal import MarketRehearsal
from streams.rehearsal.recorded_counts import RecordedCounts, alone
from tests.support.flow_harness import METHODOLOGY

FIRST_MS = 1_767_225_600_000  # 2026-01-01 00:00 UTC, a Thursday
LEARNT = 22
"""Days before the first planted shift."""
ORDERS_SP, PAYMENTS_SP = SourcePartition("orders", 0), SourcePartition("payments", 0)
MARKET = Market(
    code="XX",
    name="a shop",
    currency="EUR",
    time_zone="UTC",
    categories=("books", "other"),
    methods=(),
    regions=(),
    channels=(),
    digital=frozenset(),
    method_aliases={},
    channel_aliases={},
)


def times_at(hour: int) -> float:
    """What is planted: a jump, a stop, and a rise that lasts for more than a week."""
    at = hour - LEARNT * 24
    if 10 <= at < 14:
        return 6.0
    if 30 <= at < 33:
        return 0.0
    return 2.5 if at >= 60 else 1.0


def hours(count, width, rate=4.0):
    """Rows by minute of each hour: the total, and a category that has half of it."""
    dice = random.Random(5)
    for hour in range(count):
        rows = {}
        daily = 1 + 0.5 * math.sin(hour / 24 * 2 * math.pi)
        for minute in range(60):
            mean = rate * daily * times_at(hour)
            orders = max(0, round(dice.gauss(mean, math.sqrt(mean)))) if mean else 0
            if orders:
                row = [0] * width
                row[ORDERS] = orders
                row[24] = sum(dice.random() < 0.5 for _ in range(orders))
                rows[FIRST_MS + hour * HOUR_MS + minute * MINUTE_MS] = row
        yield FIRST_MS + hour * HOUR_MS, rows


def level2(played, methodology):
    """Final shifts and vintages of level 2 itself, which takes days at once until it is due to watch."""
    compiled = MarketCompile(
        MARKET, methodology, {"orders": [ORDERS_SP], "payments": [PAYMENTS_SP]}
    )
    ledger, found = compiled.ledger, []
    vintages = {}
    for number, (hour_ms, rows) in enumerate(played):
        for minute_ms, row in rows.items():
            ledger.note_first("orders", minute_ms)
            ledger.restore((MINUTE, minute_ms), MergedRecord(0, to_wire(row), {}))
        total = sum_rows(rows.values(), ledger.layout.live_width)
        ledger.restore((HOUR, hour_ms), MergedRecord(0, to_wire(total), {}))
        if number and number < LEARNT * 24 and number % 24:
            continue
        known_ms = hour_ms + HOUR_MS + methodology.grace_ms + 2_000
        mark = MarkRecord(1, number, {"XX": known_ms}, known_ms, known_ms, ["XX"])
        compiled.note_live(mark)
        marks = {ORDERS_SP: mark, PAYMENTS_SP: replace_watermarks(mark)}
        step = 0
        while step == 0 or compiled.behind:
            publication = compiled.step(marks, number, known_ms)
            step += 1
            if publication is not None:
                found += [shift for shift in publication.shifts if shift.phase == FINAL]
                vintages |= {one.held.name: one.record() for one in publication.vintages}
    return found, vintages


def replace_watermarks(mark):
    """Payments never had a row of the market."""
    return MarkRecord(mark.edition, mark.through, {}, mark.caught_up_at, mark.sent_at)


@pytest.mark.deep
def test_a_rehearsal_finds_and_learns_what_level_2_does():
    methodology = replace(METHODOLOGY, markets={"XX": MARKET})
    width = Layout(MARKET).live_width
    played = list(hours((LEARNT + 10) * 24, width))
    rehearsal = MarketRehearsal(MARKET, methodology, 1.0, orders=True, payments=False)
    found, vintages = [], {}
    for hour_ms, rows in played:
        found += [one.shift for one in rehearsal.hour(hour_ms, rows)]
        vintages |= {
            held.name: held.record(rehearsal.expectation.table)
            for held in rehearsal.expectation.held.values()
        }
    wanted, learnt = level2(played, methodology)
    assert found == wanted
    assert vintages == learnt
    total = [(one.event, one.direction) for one in found if one.member == "all"]
    assert total[:4] == [("page", 1), ("end", 1), ("page", -1), ("end", -1)]
    adopted = [kept.ratio / SCALE for kept in rehearsal.shifts.kept if kept.member == "all"]
    assert max(adopted) == pytest.approx(2.5, rel=0.1)


def test_a_rehearsal_takes_hours_in_order_and_none_is_left_out():
    market = alone(ShiftRules(), "UTC")
    market.hour(FIRST_MS, {})
    with pytest.raises(
        ValueError, match=f"expected the hour {FIRST_MS + HOUR_MS}, found {FIRST_MS}"
    ):
        market.hour(FIRST_MS, {})


def test_a_long_step_is_spread_over_its_minutes_in_whole_events():
    first = FIRST_MS // MINUTE_MS
    recorded = RecordedCounts(first - 30, 30, [7, 31, 61, 5])
    assert list(recorded.hours()) == [(FIRST_MS, [1] * 29 + [2] + [2] * 29 + [3])]


def test_wherever_events_lie_in_a_step_it_adds_the_same_to_older_evidence():
    """So spreading a half hour's count neither makes evidence nor hides any."""
    band = clocks.fast_band(0.01)
    lying = {"spread": [5] * 30, "first": [150] + [0] * 29, "last": [0] * 29 + [150]}
    for direction, factor in zip(FAST.directions, FAST.factors, strict=True):
        edge = band.edge(direction)
        added = {
            name: sum(
                clocks.ln_factor(count, 3.0, band.size, edge, edge * factor) for count in minutes
            )
            for name, minutes in lying.items()
        }
        assert added["first"] == pytest.approx(added["spread"])
        assert added["last"] == pytest.approx(added["spread"])
