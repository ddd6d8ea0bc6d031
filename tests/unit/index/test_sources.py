"""Each index is counted from one source, wherever it is published: readers judge its age by that."""

from __future__ import annotations

import pytest

from streams.index.changes import change_entries
from streams.index.demand import SCALE
from streams.index.indices import live_entries, shopper_entries, source_of
from streams.index.ledgers import book_entries
from streams.index.measured import ValueExpectation, demand_entries
from streams.index.partials import Layout
from tests.support.flow_harness import METHODOLOGY

LAYOUT = Layout(METHODOLOGY.markets["PK"])


def entries():
    live = list(live_entries(LAYOUT, [1] * LAYOUT.live_width, [1] * LAYOUT.live_width))
    expected = ValueExpectation(SCALE, 0.5, 2.0, "2026-11-24", warming=False)
    yield from live
    yield from (entry for entry, _ in demand_entries(live, [expected] * len(live)))
    yield from book_entries(LAYOUT, [1] * LAYOUT.day_width)
    yield from shopper_entries(3, 2, 1, 2)
    row = [1] * LAYOUT.live_width
    yield from change_entries(LAYOUT, dict.fromkeys(("a", "b"), (row, row)))


def test_the_source_of_an_index_is_the_basis_of_all_its_values():
    wrong = {
        (entry.name, entry.basis) for entry in entries() if source_of(entry.name) != entry.basis
    }
    assert not wrong
    assert {entry.basis for entry in entries()} == {"orders", "payments"}


@pytest.mark.parametrize("index", ["sales_level_index", "orders", "payment_chosen_share"])
def test_what_is_not_counted_from_payments_is_of_orders(index):
    assert source_of(index) == "orders"
