"""A finding is told only when it stands: asked again, the system gave the same cause again.

Checks compare readings of different instants, and the system moves on between them. What such a
comparison finds once may be the movement itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from streams.proof.doctor.findings import Diagnosis, Finding, Level

ROUNDS_MAX = 8
PAUSE_S = 3.0
_Key = tuple[str, str, Level, str]


async def confirmed(ask: Callable[[], Awaitable[Diagnosis]], pause_s: float) -> Diagnosis:
    """Ask until each finding of the last round stands or is gone, ``ROUNDS_MAX`` times at most.

    A finding that comes with another cause each time is then told as ``unknown``.
    """
    diagnosis = await ask()
    rounds = _counted(diagnosis, {})
    for _ in range(ROUNDS_MAX - 1):
        if not any(_doubted(finding, rounds) for finding in diagnosis.findings):
            return diagnosis
        await asyncio.sleep(pause_s)
        diagnosis = await ask()
        rounds = _counted(diagnosis, rounds)
    diagnosis.findings = [
        _unsettled(finding) if _doubted(finding, rounds) else finding
        for finding in diagnosis.findings
    ]
    return diagnosis


def _counted(diagnosis: Diagnosis, before: dict[_Key, int]) -> dict[_Key, int]:
    """In how many rounds, without a gap up to this one, each finding came."""
    return {key: before.get(key, 0) + 1 for key in map(_key, diagnosis.findings)}


def _doubted(finding: Finding, rounds: dict[_Key, int]) -> bool:
    return finding.level in (Level.WARNING, Level.WRONG) and rounds[_key(finding)] < finding.rounds


def _key(finding: Finding) -> _Key:
    return finding.check, finding.where, finding.level, finding.cause or finding.found


def _unsettled(finding: Finding) -> Finding:
    return finding._replace(
        level=Level.UNKNOWN,
        found=f"{finding.found}; this changed each time it was asked",
        fix="run `ecindex doctor` again in a minute",
    )
