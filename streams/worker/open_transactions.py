"""Since when a transaction holds a source partition open: the broker's stamp on its first record.

A fetch response shows that one is open, and not since when. Counted from the first response, the age
began anew with each worker: a transaction that had been forgotten for an hour was a minute old again
after every rebalance, and its page ended. Kafka tells the time by the name of a transaction, which
nobody but its producer knows (DescribeTransactions); of a partition it tells offsets alone
(DescribeProducers). So the first record at the last stable offset is read, uncommitted, once for each
transaction that lasts.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from streams.flow.incarnation import in_log
from streams.index.stamps import LOG_APPEND_TIME

if TYPE_CHECKING:
    from streams.settings import KafkaSettings
    from streams.worker.intake import Intake

ASK_EVERY_S = 2.0
ASK_AFTER_MS = 5_000
"""Transactions that end within this time are not asked for: a busy producer makes many a second."""
ANSWER_LIMIT_S = 10.0

_log = structlog.get_logger(__name__)


class OpenTransactions:
    """Tells the intake when the open transactions began that hold its source partitions."""

    def __init__(self, kafka: KafkaSettings, intake: Intake) -> None:
        self._kafka = kafka
        self._intake = intake

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await asyncio.sleep(ASK_EVERY_S)
            await self.ask()

    async def ask(self) -> None:
        """Ask once for each transaction that has lasted and was not asked for."""
        for sp, offset in self._intake.undated_transactions(ASK_AFTER_MS):
            tp = TopicPartition(sp.topic, sp.partition)
            try:
                appended_ms = await appended_at(self._kafka, tp, in_log(offset))
            except (KafkaError, TimeoutError) as error:
                # Its age counts from when this worker saw it, until the broker answers.
                _log.info("open_transaction_unread", topic=sp.topic, partition=sp.partition,
                          offset=in_log(offset), error=repr(error))  # fmt: skip
                continue
            self._intake.date_transaction(sp, offset, appended_ms)


async def appended_at(kafka: KafkaSettings, tp: TopicPartition, offset: int) -> int | None:
    """Return when the broker appended the first record at ``offset`` or behind it, in epoch ms.

    None when a producer's clock stamped it: an import's would be years old. Raises KafkaError and
    TimeoutError.
    """
    consumer = AIOKafkaConsumer(
        **kafka.client_options(),
        enable_auto_commit=False,
        isolation_level="read_uncommitted",
        auto_offset_reset="none",
        max_poll_records=1,
    )
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            await consumer.start()
            consumer.assign([tp])
            consumer.seek(tp, offset)
            record = await consumer.getone(tp)
    finally:
        await consumer.stop()
    return record.timestamp if record.timestamp_type == LOG_APPEND_TIME else None
