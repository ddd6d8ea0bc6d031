"""A heartbeat that was answered counts for a while."""

from __future__ import annotations

import pytest

from streams.worker.answers import Answers


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
