"""What the watchers of a run call wrong, and what they do not."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.watchers import MetricsWatch, Scrape


@pytest.mark.parametrize(
    ("scrapes", "wrong"),
    [
        ([("a", 0.0, 0.1), ("b", 0.2, 0.3), ("a", 0.4, 0.5)], 1),
        ([("a", 0.0, 0.1), ("b", 0.0, 0.1), ("a", 0.2, 0.3), ("b", 0.2, 0.3), ("a", 0.4, 0.5)], 1),
        # Frozen while it answered, and it answers when another has long shown the market.
        ([("a", 0.0, 0.1), ("b", 7.9, 8.0), ("a", 0.1, 8.1), ("b", 8.1, 8.2)], 0),
        # A handover, there and back.
        ([("a", 0.0, 0.1), ("b", 2.0, 2.1), ("a", 4.0, 4.1)], 0),
    ],
)  # fmt: skip
def test_two_workers_that_show_a_market_in_turn_own_it_at_once(scrapes, wrong):
    watch = MetricsWatch(SimpleNamespace(began=0.0))
    for url, asked, answered in scrapes:
        watch._compare(Scrape(asked, answered, url, {"AA": 1.0}))
    assert len(watch.violations) == wrong
