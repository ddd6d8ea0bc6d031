"""Metrics of the contract that no worker shows yet. To be emptied; a test fails when one is shown."""

from __future__ import annotations

WITHOUT_SAMPLES = {
    "ecindex_demand_index",
    "ecindex_detector_warming",
    "ecindex_demand_shift_direction",
    "ecindex_demand_shift_evidence_ratio",
    "ecindex_market_demand_index",
    "ecindex_market_orders_expected",
    "ecindex_orders_expected",
}
