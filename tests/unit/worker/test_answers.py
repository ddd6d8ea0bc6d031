"""A heartbeat that was answered counts for a while."""

from __future__ import annotations

import pytest

from streams.worker.answers import UNHEARD_MS, Answers


async def ok():
    return True


async def refused():
    return False


@pytest.mark.parametrize(("later_ms", "lately"), [(3000, True), (3001, False)])
async def test_an_answer_counts_until_the_limit(later_ms, lately):
    times = [1000]
    answers = Answers(3000, lambda: times[-1])
    assert not answers.lately
    assert await answers.heard(ok)
    times.append(1000 + later_ms)
    assert answers.lately is lately


async def test_a_heartbeat_that_was_refused_is_none():
    answers = Answers(3000, lambda: 1000)
    assert not await answers.heard(refused)
    assert not answers.lately


def fetching(answers, times, *at_ms):
    for at in at_ms:
        times.append(at)
        answers.fetched(at)
    return answers.unheard_ms


async def test_a_worker_that_fetches_and_gets_no_heartbeat_answered_is_forgotten_by_the_group():
    times = [0]
    answers = Answers(3000, lambda: times[-1])
    assert await answers.heard(ok)
    assert fetching(answers, times, *range(0, UNHEARD_MS + 1, 1000)) is None
    assert fetching(answers, times, UNHEARD_MS + 1) == UNHEARD_MS + 1
    assert await answers.heard(ok)
    assert answers.unheard_ms is None, "it is heard again"


async def test_brokers_that_were_away_are_no_reason():
    times = [0]
    answers = Answers(3000, lambda: times[-1])
    assert await answers.heard(ok)
    answers.fetched(0)
    back_ms = 10 * UNHEARD_MS
    assert fetching(answers, times, back_ms, back_ms + 1000) is None
    assert fetching(answers, times, *range(back_ms, back_ms + UNHEARD_MS + 2, 3000)) is None


async def test_a_rebalance_however_long_is_no_reason():
    times = [0]
    answers = Answers(3000, lambda: times[-1])
    assert await answers.heard(ok)
    assert fetching(answers, times, *range(0, UNHEARD_MS, 1000)) is None
    answers.on_revoked()
    times.append(2 * UNHEARD_MS)
    assert answers.unheard_ms is None
    assert fetching(answers, times, 2 * UNHEARD_MS, 2 * UNHEARD_MS + 1000) is None


def test_a_session_longer_than_usual_is_waited_for():
    answers = Answers(15_000, lambda: 0)
    assert fetching(answers, [0], *range(0, 90_001, 5000)) is None
    assert fetching(answers, [0], 90_001) == 90_001
