"""What is believed of the brokers' answers about topics, and when they say something about now."""

from __future__ import annotations

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.worker import topic_watch as module
from streams.worker.topic_ids import TopicIdentity
from streams.worker.topic_watch import FRESH_MS, TopicEvent, TopicWatch

A, B, GROWN = TopicIdentity("a", 2), TopicIdentity("b", 2), TopicIdentity("a", 3)


@pytest.fixture
def answers(monkeypatch):
    queue = []

    async def identities(_ask, topics):
        found = queue.pop(0)
        if isinstance(found, Exception):
            raise found
        return {topic: each for topic, each in found.items() if topic in topics}

    monkeypatch.setattr(module, "identities_of", identities)
    return queue


class Clock:
    now = 1_000

    def __call__(self):
        return self.now


async def asked(watch, answers, *found):
    answers += found
    return [await watch.ask_again() for _ in found]


async def test_a_change_is_believed_when_two_answers_agree(answers):
    watch = TopicWatch(None, ["orders"], clock=Clock())
    assert await asked(watch, answers, {"orders": A}) == [[TopicEvent("orders", None, A)]]
    # A broker that lags, once: nothing has changed.
    assert await asked(watch, answers, {"orders": B}, {"orders": A}, {"orders": A}) == [[], [], []]
    assert await asked(watch, answers, {}, {}) == [[], [TopicEvent("orders", A, None)]]
    assert watch.missing == ["orders"]
    assert await asked(watch, answers, {"orders": B}, {"orders": B}) == [
        [],
        [TopicEvent("orders", None, B)],
    ]
    assert watch.missing == []


async def test_an_answer_counts_from_when_it_was_asked_and_one_of_a_change_does_not(answers):
    clock = Clock()
    watch = TopicWatch(None, ["orders"], clock=clock)
    assert not watch.fresh()
    assert watch.missing == []
    await asked(watch, answers, {"orders": A})
    clock.now += FRESH_MS
    assert watch.fresh()
    clock.now += 1
    assert not watch.fresh()
    await asked(watch, answers, KafkaConnectionError())
    assert not watch.fresh()
    await asked(watch, answers, {"orders": GROWN})
    assert not watch.fresh()  # it may have had more partitions all the time
    await asked(watch, answers, {"orders": GROWN})
    assert watch.fresh()


async def test_a_broker_without_topic_ids_is_not_watched(answers):
    watch = TopicWatch(None, ["orders"], clock=Clock())
    assert await asked(watch, answers, NotImplementedError()) == [[]]
    assert watch.fresh()
