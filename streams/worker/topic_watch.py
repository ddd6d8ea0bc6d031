"""Asks once a second which topics there are, with their ids and partition counts.

A topic may be deleted, created again or given more partitions while workers run. aiokafka notices a
changed count some time later and a changed id never. What this module finds is two equal answers old: a
broker whose metadata lags must not make a topic vanish and come back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import structlog
from aiokafka.errors import KafkaError

from streams.clock import monotonic_ms
from streams.flow.topic_progress import asked_within_ms
from streams.worker.topic_ids import UNKNOWN, identities_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from streams.worker.topic_ids import Ask, TopicIdentity

EVERY_S = 1.0
FRESH_MS = asked_within_ms(0)
"""An answer older than this says nothing about records of now."""

_log = structlog.get_logger(__name__)


class TopicEvent(NamedTuple):
    """A topic that is not what it was. None: there is none under this name."""

    topic: str
    old: TopicIdentity | None
    new: TopicIdentity | None


class TopicWatch:
    """What the brokers say of the topics of an installation."""

    def __init__(
        self, ask: Ask, topics: Iterable[str], *, clock: Callable[[], int] = monotonic_ms
    ) -> None:
        self._ask = ask
        self._topics = list(topics)
        self._clock = clock
        self._last: Mapping[str, TopicIdentity] | None = None
        self._known: dict[str, TopicIdentity] = {}
        self._asked_ms: int | None = None
        self._blind = False

    @property
    def known(self) -> Mapping[str, TopicIdentity]:
        """Topics that exist, by name."""
        return self._known

    def topic_id(self, topic: str) -> str:
        """Return a topic's id; UNKNOWN where there is none, or none is known."""
        found = self._known.get(topic)
        return UNKNOWN if found is None else found.topic_id

    @property
    def missing(self) -> list[str]:
        """Topics that do not exist; empty before the first answer."""
        return [topic for topic, exists in self.exists.items() if not exists]

    @property
    def exists(self) -> Mapping[str, bool]:
        """Whether each topic exists; empty before the first answer."""
        if self._asked_ms is None:
            return {}
        return {topic: topic in self._known for topic in self._topics}

    def fresh(self, within_ms: int = FRESH_MS) -> bool:
        """Return whether an answer that was asked within this time has shown the topics unchanged."""
        if self._blind:
            return True
        return self._asked_ms is not None and self._clock() - self._asked_ms <= within_ms

    async def ask(self) -> list[TopicEvent]:
        """Ask; return what changed since, as far as the answer before this one says so too.

        Raises KafkaError.
        """
        if self._blind:
            return []
        asked_ms = self._clock()
        try:
            answer = await identities_of(self._ask, self._topics)
        except NotImplementedError:
            # Kafka before 2.8. Ids are then not known either, so nothing can be compared.
            _log.warning("topics_not_watched", reason="the broker knows no topic ids")
            self._blind = True
            return []
        last, self._last = self._last, answer
        events = []
        changed = False
        for topic in self._topics:
            old, new = self._known.get(topic), answer.get(topic)
            if old == new:
                continue
            if last is not None and last.get(topic) != new:
                changed = True  # or a broker that lags: the next answer tells
                continue
            events.append(TopicEvent(topic, old, new))
            if new is None:
                del self._known[topic]
            else:
                self._known[topic] = new
        if not changed:
            self._asked_ms = asked_ms
        return events

    async def ask_again(self) -> list[TopicEvent]:
        """Ask; a failure is an empty answer, and `fresh` says how old the last one is."""
        try:
            return await self.ask()
        except KafkaError as error:
            _log.debug("topics_not_answered", error=repr(error))
            return []
