"""Fixtures that the tests of the fetch share."""

from __future__ import annotations

import pytest
from aiokafka.record.memory_records import MemoryRecords
from support import batches as made

from streams.worker import batches


@pytest.fixture(
    params=[
        "aiokafka",
        pytest.param(
            "compiled",
            marks=pytest.mark.skipif(not batches.COMPILED, reason="no compiler at installation"),
        ),
    ],
)
def each_reader(request, monkeypatch):
    """Every test reads aiokafka's own way and the compiled one."""
    wrap = MemoryRecords if request.param == "aiokafka" else batches.RawRecords
    monkeypatch.setattr(made, "original_wrap", wrap)
