"""Whether the logs that an audit reads are those that the service folded, from beginning to end.

The audit reads topics by name, as the service does. Of a topic that was deleted and made anew both would
read another log, and could agree about it.
"""

from __future__ import annotations

from collections.abc import Sequence

from streams.flow.chunk import SourcePartition
from streams.proof.audit.checkpoints import CheckpointChain
from streams.proof.audit.report import CHECKPOINT, PROGRESS, Report
from streams.records.kafka_topics import connected
from streams.settings import KafkaSettings
from streams.worker.topic_ids import UNKNOWN, TopicIdentity, topic_identities


class TopicsJudge:
    """Identities of the topics that an audit reads."""

    def __init__(self, kafka: KafkaSettings, topics: Sequence[str], report: Report) -> None:
        self._kafka = kafka
        self._topics = topics
        self._report = report
        self._first: dict[str, TopicIdentity] | None = None

    async def ask(self) -> None:
        """Ask for the identities, at the start and at the end. Raises TopicsError."""
        async with connected(self._kafka) as admin:
            found = await topic_identities(admin, self._topics)
        if self._first is None:
            self._first = found
            return
        for topic, before in self._first.items():
            now = found.get(topic)
            if now is None or now.topic_id != before.topic_id:
                now_id = "none" if now is None else now.topic_id
                self._report.differs(
                    PROGRESS,
                    topic,
                    "topic id",
                    before.topic_id,
                    now_id,
                    "start and end of the audit",
                )

    @property
    def topic_ids(self) -> dict[str, str]:
        """Id of each topic that there was at the start; UNKNOWN where the broker tells none."""
        return {topic: found.topic_id for topic, found in (self._first or {}).items()}

    def judge_chain(self, sp: SourcePartition, chain: CheckpointChain) -> None:
        """Compare the topic that level 1 folded with the one that the audit reads."""
        found = (self._first or {}).get(sp.topic)
        if found is None or UNKNOWN in {found.topic_id, chain.topic_id}:
            return
        if chain.topic_id != found.topic_id:
            self._report.differs(
                CHECKPOINT, str(sp), "topic id", found.topic_id, chain.topic_id, chain.where
            )
