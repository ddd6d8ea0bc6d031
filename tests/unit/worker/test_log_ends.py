"""Requests of a worker to the broker before it starts over a state, and without a state none."""

from __future__ import annotations

import pytest
from aiokafka.errors import KafkaError

from streams.flow.chunk import SourcePartition
from streams.local import ports
from streams.settings import KafkaSettings
from streams.worker.topic_ids import check_log_ends

ORDERS = SourcePartition("orders", 0)


@pytest.fixture
def nobody() -> KafkaSettings:
    """A broker that is not there: whoever asks it anything fails."""
    (port,) = ports.choose(1)
    return KafkaSettings(bootstrap_servers=f"{ports.LOOPBACK}:{port}")


async def test_a_first_start_has_no_state_to_compare_and_asks_nothing(nobody):
    await check_log_ends(nobody, {})
    await check_log_ends(nobody, {ORDERS: -1})
    with pytest.raises(KafkaError):
        await check_log_ends(nobody, {ORDERS: 0})
