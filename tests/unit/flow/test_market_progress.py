"""The headline of a market: the least as_of of the sources that joined. Nothing goes back."""

from __future__ import annotations

import pytest

from streams.flow.chunk import SourcePartition
from streams.flow.fence_record import FenceRecord
from streams.flow.ledger import Ledger
from streams.flow.market_progress import MarketProgress
from streams.flow.state import NEVER_MS
from streams.flow.wire import MarkRecord
from tests.support.events import T0, tuned

METHODOLOGY = tuned()
MARKET = METHODOLOGY.markets["PK"]
STEP = METHODOLOGY.step_ms
SOURCES = {"orders": SourcePartition("shop.orders", 0), "payments": SourcePartition("shop.paid", 0)}
NAMES = {source: sp.topic for source, sp in SOURCES.items()}


class Progress:
    """Progress of a market of an import: each source is as far as its newest event."""

    def __init__(self, *fences: FenceRecord) -> None:
        sps = {sp.topic: [sp] for sp in SOURCES.values()}
        self.of = MarketProgress(MARKET, METHODOLOGY, sps, Ledger(MARKET, METHODOLOGY))
        self.marks = {sp: MarkRecord(1, 0, {}, T0 * 2, T0) for sp in SOURCES.values()}
        for fence in fences:
            self.of.take_fence(fence)

    def read(self, **as_of: int) -> int:
        """Read sources up to an ``as_of``; return the headline, both in steps from T0."""
        for source, steps in as_of.items():
            watermark = T0 + steps * STEP + METHODOLOGY.out_of_order_ms
            self.marks[SOURCES[source]] = MarkRecord(1, 1, {"PK": watermark}, None, T0)
        self.of.advance(self.marks)
        return self.headline

    @property
    def headline(self) -> int:
        return NEVER_MS if self.of.headline_ms == NEVER_MS else (self.of.headline_ms - T0) // STEP

    def sources(self) -> dict[str, int]:
        return {name: (at_ms - T0) // STEP for name, at_ms in self.of.sources().items()}


def fence(headline: int | None, edition: int = METHODOLOGY.edition, **as_of: int) -> FenceRecord:
    """``headline`` None: a record of version 0.2."""
    return FenceRecord(
        edition=edition,
        applied=1,
        live=False,
        as_of={NAMES[source]: T0 + steps * STEP for source, steps in as_of.items()},
        first={},
        hours_until=NEVER_MS,
        days_until=NEVER_MS,
        horizon=NEVER_MS,
        headline=NEVER_MS if headline is None else T0 + headline * STEP,
    )


def test_the_headline_waits_for_the_source_that_stands():
    progress = Progress()
    assert progress.read(orders=10, payments=10) == 10
    assert progress.read(payments=30) == 10
    assert progress.sources() == {"orders": 10, "payments": 30}
    assert progress.read(orders=25) == 25


def test_a_source_joins_once_it_has_reached_the_headline_so_nothing_goes_back():
    progress = Progress()
    assert progress.read(orders=1000) == 1000
    assert progress.read(payments=20) == 1000
    assert progress.of.joined == {NAMES["orders"]}
    assert progress.sources() == {"orders": 1000, "payments": 20}
    assert progress.read(orders=1100) == 1100
    assert progress.read(orders=1200, payments=1150) == 1150
    assert progress.read(orders=1300) == 1150


def test_a_source_that_was_never_seen_holds_nothing_and_is_not_named():
    progress = Progress()
    assert progress.read(orders=7) == 7
    assert progress.sources() == {"orders": 7}


def test_sources_seen_in_one_step_all_join():
    assert Progress().read(orders=100, payments=90) == 90


def test_a_new_owner_keeps_the_headline_and_each_source():
    progress = Progress(fence(10, orders=10, payments=30), fence(8, orders=8, payments=31))
    assert progress.headline == 10
    assert progress.sources() == {"orders": 10, "payments": 31}
    assert progress.read(orders=12, payments=31) == 12
    assert progress.of.joined == set(NAMES.values())


def test_a_fence_record_of_version_0_2_counts_with_what_it_published():
    progress = Progress(fence(None, orders=10, payments=30))
    assert progress.read(orders=20, payments=30) == 30
    assert progress.read(orders=40, payments=35) == 35


@pytest.mark.parametrize("headline", [1000, None])
def test_a_new_edition_begins_where_it_reaches_the_headline_of_the_older(headline):
    older = fence(headline, METHODOLOGY.edition - 1, orders=1000, payments=20)
    progress = Progress(older)
    assert progress.read(payments=20) == NEVER_MS
    assert not progress.of.joined
    assert progress.read(orders=1001) == 1001
    assert progress.of.joined == {NAMES["orders"]}


def test_nothing_is_final_by_more_than_the_partitions_were_known_for():
    # A mark is sent on an answer about the topics that may be two seconds old. A partition that was
    # added in between held an event as late as the grace allows, of an hour that was final already.
    progress = Progress()
    progress.read(orders=12, payments=12)
    until_ms = T0 + 12 * STEP + METHODOLOGY.out_of_order_ms
    assert progress.of.final_ms == until_ms - max(2_000, METHODOLOGY.out_of_order_ms)
