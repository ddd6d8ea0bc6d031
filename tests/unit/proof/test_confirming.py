"""Doctor tells what stands, and nothing of a system that only moved on between two readings."""

from __future__ import annotations

import pytest

from streams.proof.doctor.confirming import ROUNDS_MAX, confirmed
from streams.proof.doctor.findings import Diagnosis, Finding, Level


def found(level=Level.WRONG, text="gone", *, cause="", rounds=2):
    return Finding("redis", level, "PK", "there", text, "do this", cause=cause, rounds=rounds)


async def asked(*answers):
    """(levels and texts of what is told, number of rounds); the last answer comes again."""
    rounds = 0

    async def ask():
        nonlocal rounds
        rounds += 1
        return Diagnosis([], list(answers[min(rounds, len(answers)) - 1]))

    diagnosis = await confirmed(ask, 0)
    return [(each.level, each.found) for each in diagnosis.findings], rounds


OK = found(Level.OK, "well")


async def test_what_is_well_is_asked_once():
    assert await asked([OK]) == ([(Level.OK, "well")], 1)


@pytest.mark.parametrize("level", [Level.WRONG, Level.WARNING])
async def test_what_stands_is_told_after_it_was_asked_again(level):
    assert await asked([found(level)]) == ([(level, "gone")], 2)


async def test_what_is_gone_when_asked_again_is_not_told():
    assert await asked([found()], [OK]) == ([(Level.OK, "well")], 2)


async def test_what_comes_and_goes_is_not_told():
    assert await asked([found()], [OK], [found()], [OK]) == ([(Level.OK, "well")], 2)


async def test_what_came_later_is_asked_again_as_well():
    late = found(text="later")
    assert await asked([found()], [late], [late]) == ([(Level.WRONG, "later")], 3)


async def test_a_number_that_grows_has_one_cause():
    first, second = found(text="31 s", cause="no renewal"), found(text="34 s", cause="no renewal")
    assert await asked([first], [second]) == ([(Level.WRONG, "34 s")], 2)


async def test_what_never_is_the_same_twice_is_not_told_as_wrong():
    answers = [[found(text=f"{number} left")] for number in range(ROUNDS_MAX + 1)]
    ((level, text),), rounds = await asked(*answers)
    assert (level, rounds) == (Level.UNKNOWN, ROUNDS_MAX)
    assert "changed each time" in text


async def test_what_needs_patience_is_asked_as_often():
    assert await asked([found(rounds=4)]) == ([(Level.WRONG, "gone")], 4)
    assert await asked([found(rounds=4)], [found(rounds=4)], [OK]) == ([(Level.OK, "well")], 3)
