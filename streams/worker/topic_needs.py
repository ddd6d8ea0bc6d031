"""What the topics of an installation need: to be there, with as many partitions as states are of.

A topic that is missing, or was created again with fewer partitions, is named with the command that
mends it. Those of our own get their partitions from the worker, where the broker lets it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiokafka.errors import KafkaError

from streams.clock import monotonic_ms
from streams.flow.chain import NEW_EDITION
from streams.flow.chunk import SourcePartition
from streams.publish.metrics import Metrics
from streams.settings import Settings
from streams.worker import names
from streams.worker.topic_watch import TopicWatch

GROW_EVERY_MS = 5_000

_log = structlog.get_logger(__name__)


class TopicNeeds:
    """Compares the topics that there are with what an edition needs.

    ``grow``: gives topics partitions.
    """

    def __init__(
        self,
        settings: Settings,
        edition: int,
        watch: TopicWatch,
        metrics: Metrics,
        grow: Callable[[Mapping[str, int]], Awaitable[Mapping[str, int]]],
    ) -> None:
        topics = settings.topics
        self.inputs = (topics.orders, topics.payments)
        self.changelogs = names.inputs_of(settings, edition)
        """The changelog of each input's checkpoints -> the input."""
        self.merged = names.changelog_topic(
            names.app_id(edition, topics.prefix), names.MERGED_TABLE
        )
        self._to_publish = {
            topics.partials, topics.values, topics.journal, topics.shifts, self.merged,
        }  # fmt: skip
        self._settings, self._edition = settings, edition
        self._watch = watch
        self._metrics = metrics
        self._grow = grow
        self._grown_ms = -GROW_EVERY_MS

    async def check(self) -> None:
        """Show which topics are missing or too short, and give partitions to those of our own."""
        for topic, exists in self._watch.exists.items():
            # A changelog of checkpoints is short whenever its input has grown; its partitions halt.
            lacks = self._lacks(topic) and topic not in self.changelogs
            self._metrics.topic_missing.labels(topic).set(lacks or not exists)
        await self._grow_short(self._short())

    @property
    def publishing_stands(self) -> bool:
        """Whether a topic is missing, or too short, without which nothing can be published."""
        return any(topic in self._to_publish for topic in (*self._watch.missing, *self._short()))

    def awaited(self, input_topic: str, before: int) -> int:
        """Return how many partitions of an input ``as_of`` waits for; ``before``: what it has.

        As many as there are states of its partitions. While an input has fewer than that, what is
        missing was counted once and may be written to again.
        """
        return max(before, self._inputs_needed()[input_topic])

    # -- what mends them -------------------------------------------------------------------------

    def advice(self, topic: str) -> str:
        """Return what mends a topic that is missing or has too few partitions; empty: neither."""
        if topic not in self._watch.missing:
            return self._lacks(topic)
        if topic in self.inputs:
            had = names.partitions_had(self._settings, self._edition, self._counts)
            return (
                f"topic {topic} is missing: create it again with as many partitions as it had "
                f"(`ecindex topics create --inputs {had}`)"
            )
        if topic == self.merged:
            return f"topic {topic} is missing, and with it what was merged; {NEW_EDITION}"
        return f"topic {topic} is missing: run `ecindex topics create`"

    def advice_unpaired(self, sp: SourcePartition) -> str:
        """Return what brings the changelog of a partition back, or gives it as many partitions."""
        changelog = next((c for c, of in self.changelogs.items() if of == sp.topic), self.merged)
        return (
            self.advice(changelog)
            or self._lacks(sp.topic)
            or "run `ecindex topics create`, then `ecindex topics migrate`"
        )

    def say_short(self, topic: str) -> bool:
        """Log what a topic with too few partitions lacks; return whether it has too few."""
        lacks = self._lacks(topic)
        if lacks:
            _log.error("topic_too_short", topic=topic, action=lacks)
        return bool(lacks)

    # -- partitions ------------------------------------------------------------------------------

    @property
    def _counts(self) -> dict[str, int]:
        return {topic: found.partitions for topic, found in self._watch.known.items()}

    def _needed(self) -> dict[str, int]:
        return names.needed(self._settings, self._edition, self._counts)

    def _inputs_needed(self) -> dict[str, int]:
        return names.inputs_needed(self._settings, self._edition, self._counts)

    def _lacks(self, topic: str) -> str:
        """Return what a topic lacks, and what gives it to it; empty: nothing.

        An input that was created again with fewer partitions than it had is not ours to change.
        """
        counts = self._counts
        if topic in self.inputs:
            count = self._inputs_needed()[topic]
            return names.shortfalls({topic: count}, counts, f" --inputs {count}")
        return names.shortfalls({topic: self._needed().get(topic, 0)}, counts)

    def _short(self) -> dict[str, int]:
        """Return topics that exist with fewer partitions than they need -> what they need."""
        counts = self._counts
        return {
            topic: count
            for topic, count in self._needed().items()
            if 0 < counts.get(topic, 0) < count
        }

    async def _grow_short(self, short: Mapping[str, int]) -> None:
        now = monotonic_ms()
        if not short or now - self._grown_ms < GROW_EVERY_MS:
            return
        self._grown_ms = now
        try:
            grown = await self._grow(short)
        except KafkaError as error:
            action = "run `ecindex topics migrate`"
            _log.error("topics_not_grown", wanted=short, error=repr(error), action=action)
            return
        _log.info("topics_grown", partitions=dict(grown))


def watched_topics(settings: Settings, edition: int) -> list[str]:
    """Return every topic of an installation's edition."""
    return [settings.topics.orders, settings.topics.payments, *names.needed(settings, edition, {})]
