"""What doctor reads from a worker's own server."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from streams.proof.doctor.findings import Level
from streams.proof.doctor.worker_checks import check_workers
from streams.publish.http import MetricsServer, PartitionState


class Owned:
    def states(self):
        return [
            PartitionState("orders", 0, 99, 100, None, 59_000),
            PartitionState("orders", 1, 41, 100, None, 3_600_000),
        ]

    def release(self, topic, partition):
        raise AssertionError


async def test_a_transaction_that_holds_a_partition_is_named():
    server = MetricsServer(
        CollectorRegistry(), lambda: None, partitions=Owned(), host="127.0.0.1", port=0, names=()
    )
    port = await server.start()
    try:
        found = await check_workers([f"http://127.0.0.1:{port}/metrics"])
    finally:
        await server.stop()
    ready, held = found
    assert ready.level is Level.OK
    assert (held.level, held.where) == (Level.WRONG, "orders-1@41")
    assert "open for 3600 s" in held.found
    assert "EcindexOpenTransaction" in held.fix
