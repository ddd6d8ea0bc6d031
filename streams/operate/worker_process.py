"""``ecindex worker``: asks the broker for its topics, then runs until a signal stops it."""

from __future__ import annotations

import asyncio
import json
import sys

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.clock import monotonic_ms
from streams.console.chatter import libraries_silenced
from streams.console.errors import OperationError, WrongTopicsError
from streams.console.logs import configure_logs
from streams.flow import plain
from streams.records.kafka_words import in_words
from streams.settings import Settings, load_methodology
from streams.worker import batches, names
from streams.worker.app import IndexWorker
from streams.worker.counted_inputs import other_inputs
from streams.worker.runner import one_arena, run
from streams.worker.stated_topics import other_places

BROKER_PATIENCE_MS = 60_000
_RETRY_S = 0.25
_SAY_AGAIN_MS = 15_000
"""How often a worker that waits for the broker says so."""
_TOPICS_RETRY_S = 0.1

_log = structlog.get_logger(__name__)


def run_worker(settings: Settings, *, as_json: bool = False, wait_for_topics_s: float = 0.0) -> int:
    """Run one worker and return its exit code (streams.worker.stops.ExitCode).

    ``wait_for_topics_s``: how long topics may be missing before that is an error. A worker that is
    started together with the broker has imported everything by the time the topics are created. Raises
    OperationError and SettingsError.
    """
    one_arena()
    configure_logs(settings.log)
    methodology = load_methodology(settings)
    counts = asyncio.run(_discover(settings, methodology.edition, wait_for_topics_s))
    topics = settings.topics
    inputs = {topic: counts[topic] for topic in (topics.orders, topics.payments)}
    places = asyncio.run(_other_places(settings, methodology.edition, counts))
    if places is not None:
        raise WrongTopicsError(
            f"topics.partials_partitions is {topics.partials_partitions}; set it to {places}, with "
            "which what is kept by market was made: the number is fixed at creation"
        )

    def on_listening(port: int) -> None:
        url = f"http://{settings.metrics.host}:{port}/metrics"
        _log.info(
            "listening",
            metrics=url,
            compiled=plain.COMPILED and batches.COMPILED,
            methodology=str(settings.methodology),
            markets=[*methodology.markets],
        )
        if as_json:
            sys.stdout.write(json.dumps({"metrics": url}) + "\n")
            sys.stdout.flush()

    worker = IndexWorker(settings, methodology, inputs, on_listening=on_listening)
    return run(worker.create)


async def _other_places(settings: Settings, edition: int, counts: dict[str, int]) -> int | None:
    try:
        return await other_places(settings, edition, counts)
    except KafkaError as error:
        raise OperationError(f"the checkpoints cannot be read: {error}") from error


async def _discover(settings: Settings, edition: int, wait_s: float) -> dict[str, int]:
    """Return the partition count of each topic.

    It waits for a broker that is not up yet, and for the topics that a worker needs. Raises
    OperationError.
    """
    patience_ms = BROKER_PATIENCE_MS + int(wait_s * 1000)
    began_ms = monotonic_ms()
    deadline_ms, say_at_ms = began_ms + patience_ms, began_ms
    while True:
        admin = AIOKafkaAdminClient(**settings.kafka.client_options())
        try:
            # aiokafka logs each attempt.
            with libraries_silenced(but_show=settings.log.level == "debug"):
                await admin.start()
            return await _await_topics(admin, settings, edition, wait_s)
        except KafkaError as error:
            at_ms = monotonic_ms()
            if at_ms > deadline_ms:
                raise OperationError(
                    f"Kafka at {settings.kafka.bootstrap_servers} (kafka.bootstrap_servers): "
                    f"no answer in {patience_ms // 1000} s: {in_words(error)}"
                ) from error
            if at_ms >= say_at_ms:
                say_at_ms = at_ms + _SAY_AGAIN_MS
                _log.warning(
                    "broker_not_reachable",
                    servers=settings.kafka.bootstrap_servers,
                    error=in_words(error),
                    waited_ms=at_ms - began_ms,
                    patience_ms=patience_ms,
                )
            await asyncio.sleep(_RETRY_S)
        finally:
            await admin.close()


async def _await_topics(
    admin: AIOKafkaAdminClient, settings: Settings, edition: int, wait_s: float
) -> dict[str, int]:
    deadline_ms = monotonic_ms() + int(wait_s * 1000)
    while True:
        described = await admin.describe_topics()
        counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
        other = await other_inputs(settings, edition, counts)
        if other is not None:
            raise WrongTopicsError(str(other))
        missing = _missing(settings, edition, counts)
        if not missing:
            return counts
        if monotonic_ms() >= deadline_ms:
            had = names.partitions_had(settings, edition, counts)
            inputs = {settings.topics.orders, settings.topics.payments}
            hint = f" (with --inputs {had} where the inputs are yours to create)"
            raise WrongTopicsError(
                f"topics that do not exist: {', '.join(missing)}; run `ecindex topics create`"
                f"{hint if inputs & set(missing) else ''}"
            )
        await asyncio.sleep(_TOPICS_RETRY_S)


def _missing(settings: Settings, edition: int, counts: dict[str, int]) -> list[str]:
    inputs = (settings.topics.orders, settings.topics.payments)
    needed = [*inputs, *names.needed(settings, edition, counts)]
    return [name for name in needed if not counts.get(name)]
