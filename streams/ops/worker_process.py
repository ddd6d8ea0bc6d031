"""``ecindex worker``: ask the broker what is there, then run until told to stop."""

from __future__ import annotations

import asyncio
import json
import sys

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.clock import monotonic_ms
from streams.ops.errors import OperationError
from streams.settings import Settings, load_methodology
from streams.worker import names
from streams.worker.app import IndexWorker
from streams.worker.runner import run

BROKER_PATIENCE_MS = 60_000
_RETRY_S = 1.0

_log = structlog.get_logger(__name__)


def run_worker(settings: Settings, *, as_json: bool = False) -> int:
    """Run one worker; its exit code (streams.worker.stops.ExitCode)."""
    methodology = load_methodology(settings)
    counts = asyncio.run(_partition_counts(settings))
    topics = settings.topics
    inputs = {topic: counts.get(topic, 0) for topic in (topics.orders, topics.payments)}
    missing = [topic for topic, count in inputs.items() if not count]
    own = names.changelogs(settings, methodology.edition, inputs)
    missing += [name for name in (*own, topics.partials, topics.values) if name not in counts]
    if missing:
        raise OperationError(
            f"topics that do not exist: {', '.join(missing)}; run `ecindex topics create` "
            "(with --inputs N where orders and payments are yours to create)"
        )
    found = counts[topics.partials]
    if found != topics.partials_partitions:
        raise OperationError(
            f"{topics.partials} has {found} partitions, topics.partials_partitions says "
            f"{topics.partials_partitions}; set it to {found}: it is fixed at creation"
        )

    def on_listening(port: int) -> None:
        url = f"http://{settings.metrics.host}:{port}/metrics"
        _log.info("listening", metrics=url)
        if as_json:
            sys.stdout.write(json.dumps({"metrics": url}) + "\n")
            sys.stdout.flush()

    worker = IndexWorker(settings, methodology, inputs, on_listening=on_listening)
    return run(worker.create)


async def _partition_counts(settings: Settings) -> dict[str, int]:
    """Partitions of every topic; waits for a broker that is not up yet."""
    deadline_ms = monotonic_ms() + BROKER_PATIENCE_MS
    while True:
        admin = AIOKafkaAdminClient(**settings.kafka.client_options())
        try:
            await admin.start()
            described = await admin.describe_topics()
        except KafkaError as error:
            if monotonic_ms() > deadline_ms:
                raise OperationError(
                    f"Kafka at {settings.kafka.bootstrap_servers} (kafka.bootstrap_servers): "
                    f"no answer in {BROKER_PATIENCE_MS // 1000} s: {error}"
                ) from error
            _log.warning("broker_not_reachable", error=str(error))
            await asyncio.sleep(_RETRY_S)
        else:
            return {topic["topic"]: len(topic["partitions"]) for topic in described}
        finally:
            await admin.close()
