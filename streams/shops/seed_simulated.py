"""Sends the history of simulated shops to ``ecindex.history``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from streams.index.panes import HOUR_MS, rfc3339
from streams.operate.seeding import Seeded, send_history
from streams.settings import Settings

if TYPE_CHECKING:  # it imports numpy, which a demo imports only while its servers start
    from streams.shops.simulate_history import SimulatedSeed


async def seed_simulated(settings: Settings, seeds: Mapping[str, SimulatedSeed]) -> list[Seeded]:
    """Send the hours of simulated shops, as ``ecindex seed`` sends those of a warehouse."""
    await send_history(settings, [record for found in seeds.values() for record in found.records])
    return [
        Seeded(
            code,
            (found.hours.end_ms - found.hours.start_ms) // HOUR_MS,
            rfc3339(found.hours.start_ms),
            rfc3339(found.hours.end_ms),
            [f"{dimension} {measure}" for dimension, measure in found.given],
            [],
        )
        for code, found in seeds.items()
    ]
