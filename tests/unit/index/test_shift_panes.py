"""Panes of a minute say together what the minute says: steps of a pane keep the minute's bound."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.draws import examples

from streams.index import shift_clock as clocks
from streams.index.shift_clock import FAST

PANES = 12


@examples(60)
@given(
    panes=st.lists(st.integers(0, 300), min_size=PANES, max_size=PANES),
    mu=st.floats(0.01, 2_000),
    size=st.floats(1, 200),
    noise=st.floats(0, 0.3),
)
def test_the_panes_of_a_minute_add_up_to_the_minute(panes, mu, size, noise):
    band = clocks.fast_band(noise)
    for direction, factor in zip(FAST.directions, FAST.factors, strict=True):
        edge = band.edge(direction)
        whole = clocks.ln_factor(sum(panes), mu, size, edge, edge * factor)
        parts = [clocks.ln_factor(x, mu / PANES, size / PANES, edge, edge * factor) for x in panes]
        assert math.fsum(parts) == pytest.approx(whole, rel=1e-9, abs=1e-9)
