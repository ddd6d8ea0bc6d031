"""What `dead-letters release` says where it could release nothing."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from streams.console.errors import OperationError
from streams.local import ports
from streams.operate.workers_http import WorkerError, release
from streams.publish.http import MetricsServer, PartitionState, Released


class Owned:
    def states(self):
        return [
            PartitionState("orders", 3, 99, 100, "poison at 99"),
            PartitionState("orders", 4, 41, 100, None),
        ]

    def release(self, topic, partition):
        return Released.NOT_OWNED


async def test_a_partition_that_there_is_not_is_answered_with_those_that_are_halted():
    server = MetricsServer(
        CollectorRegistry(), lambda: None, partitions=Owned(), host="127.0.0.1", port=0, names=()
    )
    port = await server.start()
    try:
        with pytest.raises(OperationError, match=r"Halted at those given: orders-3$"):
            await release([f"127.0.0.1:{port}"], "orderz", 3)
    finally:
        await server.stop()
    with pytest.raises(OperationError, match=r"Halted at those given: none$"):
        await release([], "orders", 3)


async def test_a_worker_that_is_not_there_is_said_in_words():
    nowhere = f"127.0.0.1:{ports.choose(1)[0]}"
    with pytest.raises(WorkerError, match="no answer from") as told:
        await release([nowhere], "orders", 3)
    assert f"http://{nowhere}: Cannot connect to host {nowhere}" in str(told.value)
    assert "ConnectionKey" not in str(told.value)
