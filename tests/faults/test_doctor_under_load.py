"""`ecindex doctor` tells nothing of an index that is busy and well, even over a rebalance."""

from __future__ import annotations

import pytest
from faults.doctor_soak import soak
from support.installation import Installation

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.mark.deep
async def test_doctor_tells_nothing_of_an_index_that_moves_on(stack, unique, tmp_path):
    """``python -m faults.doctor_soak`` asks for half an hour."""
    installed = Installation(stack, unique("soak"), tmp_path, inputs=2, arrival="broker")
    told, asked = await soak(installed, minutes=0.4, rate=400, every_s=8, tell=lambda _: None)
    assert asked > 0
    assert not told
