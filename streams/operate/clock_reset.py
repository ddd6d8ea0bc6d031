"""``clock reset``: let the ``as_of`` of a market go back, in a new generation."""

from __future__ import annotations

from typing import NamedTuple

from aiokafka.structs import TopicPartition

from streams.clock import now_ms
from streams.console.errors import OperationError, unknown_market
from streams.flow.history_book import HistoryBook
from streams.flow.wire import partition_of
from streams.index.history_records import ClockReset, reset_record
from streams.index.panes import rfc3339
from streams.operate.seeding import send_history
from streams.records.kafka_logs import Logs, open_logs
from streams.records.kafka_topics import connected, existing_partitions
from streams.records.values_log import read_values
from streams.settings import Settings, load_methodology
from streams.worker.topic_ids import UNKNOWN, topic_identities

REASON_CHARACTERS_MAX = 500


class ResetDone(NamedTuple):
    """What was declared, and how far the market was published before."""

    market: str
    generation: int
    as_of: str | None
    """None: the market was never published."""
    reason: str


async def reset_clock(settings: Settings, code: str, reason: str) -> ResetDone:
    """Declare a new generation of the market. Raises OperationError.

    Its owner begins it with the next step; a worker that does not know it yet is refused by Redis,
    and by readers of the topics.
    """
    markets = load_methodology(settings).markets
    if code not in markets:
        raise unknown_market(code, markets)
    reason = reason.strip()
    if not reason or len(reason) > REASON_CHARACTERS_MAX or not reason.isprintable():
        raise OperationError(
            f"--reason {reason[:40]!r}: expected one line of 1 to {REASON_CHARACTERS_MAX} characters"
        )
    topics, counts = settings.topics, await existing_partitions(settings.kafka)
    missing = [topic for topic in (topics.values, topics.history) if not counts.get(topic)]
    if missing:
        raise OperationError(f"no topic {', '.join(missing)}: run `ecindex topics create`")
    async with open_logs(settings.kafka) as logs:
        market = (await read_values(logs, topics.values, counts[topics.values])).markets.get(code)
        fence = None if market is None else market.fence
        known = await _declared(logs, topics.history, counts[topics.history], code)
    as_of_ms = None if fence is None else fence.as_of_ms
    # Both count: the topic of what operators declare may have been made anew since.
    known = max(known, 0 if fence is None else fence.generation)
    # From here on, marks are of clocks as they are now.
    end, topic_id = await _partials_end(settings, code, counts.get(topics.partials, 0))
    at = rfc3339(now_ms())
    reset = ClockReset(code, known + 1, at, reason, partials_end=end, partials_id=topic_id)
    await send_history(settings, [reset_record(reset)])
    as_of = None if as_of_ms is None else rfc3339(as_of_ms)
    return ResetDone(code, reset.generation, as_of, reason)


async def _partials_end(settings: Settings, code: str, count: int) -> tuple[int, str]:
    """Return where the market's partition of the partials ends (-1: nowhere), and the topic's id."""
    topic = settings.topics.partials
    number = partition_of(code, settings.topics.partials_partitions)
    if number >= count:
        return -1, UNKNOWN
    async with connected(settings.kafka) as admin:
        identity = (await topic_identities(admin, [topic])).get(topic)
    if identity is None:
        return -1, UNKNOWN
    async with open_logs(settings.kafka) as logs:
        tp = TopicPartition(topic, number)
        return (await logs.extents_of([tp]))[tp].end, identity.topic_id


async def _declared(logs: Logs, topic: str, count: int, code: str) -> int:
    """Return the largest generation of the market that an operator has declared; 0: none."""
    book = HistoryBook([code])
    for tp, extent in (await logs.extents([(topic, count)])).items():
        async for batch in logs.read(tp, extent):
            for stored in batch:
                book.apply_record(stored.key, stored.value)
    reset = book.markets[code].reset
    return 0 if reset is None else reset.generation
