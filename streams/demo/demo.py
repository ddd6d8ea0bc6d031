"""``ecindex demo``: a whole index on this machine, fed by simulated shops.

Kafka starts first. The modules that the rest needs are imported while its JVM starts. The shops'
backfill is in the log before the workers read: otherwise they would show an empty minute as the first
live one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil
from rich.console import Console

from streams import clock
from streams.console.progress import ProgressFunction
from streams.console.signals import stop_signals
from streams.demo.demo_plan import SEED_WEEKS, DemoOptions
from streams.local.local_index import LocalIndex, UpOptions
from streams.local.up import local_index, race
from streams.settings import Settings, load_methodology, or_example, require_markets
from streams.shops.simulate_profile import load_profile

if TYPE_CHECKING:
    from streams.demo.demo_show import DemoShow
    from streams.shops.simulate_history import SimulatedSeed


async def demo(
    settings: Settings,
    up: UpOptions,
    options: DemoOptions,
    *,
    console: Console,
    tell: Callable[[str], None],
    progress: ProgressFunction,
) -> str:
    """Run until ``options.for_s`` is over or a signal comes.

    Returns the markets' last snapshots in Redis, as a JSON array. Raises OperationError when a part
    cannot go on, and SettingsError before anything starts.
    """
    settings, profile = or_example(settings, "demo"), load_profile()
    # A wrong option or methodology is reported before anything is downloaded.
    require_markets(settings, options.shops(profile).markets, "the simulated shops (--markets)")
    methodology = load_methodology(settings)

    def say(text: str) -> None:
        tell(f"[{since_start_s():5.1f} s] {text}")

    with stop_signals() as stopped:
        async with local_index(settings, up, tell=tell, progress=progress) as index:
            seeds: dict[str, SimulatedSeed] = {}

            def draw() -> None:
                from streams.shops.simulate_history import Hours, simulated_seeds  # noqa: PLC0415 - numpy

                hours = Hours.before(clock.now_ms(), SEED_WEEKS)
                shops = options.shops(profile)
                seeds.update(simulated_seeds(profile, shops, methodology.markets, hours))

            await race(stopped.wait(), index.watch(), _start(index, say, draw))
            if stopped.is_set():
                return "[]"
            from streams.demo.demo_show import DemoShow  # noqa: PLC0415 - imported while Kafka started

            show = DemoShow(
                index, methodology, profile, options, console, seeds, tell=tell, say=say
            )
            await race(stopped.wait(), index.watch(), _open(index, show))
            if not stopped.is_set():
                await race(index.watch(), show.run(stopped))
            tell("stopping")
        return show.snapshots()


async def _start(index: LocalIndex, say: Callable[[str], None], draw: Callable[[], None]) -> None:
    """Start the servers. Meanwhile ``draw`` prepares what is needed later."""
    await index.launch()
    say("Kafka, Redis and the workers are starting")
    from streams.demo import demo_show  # noqa: F401, PLC0415 - numpy and Redis' client take a while

    await asyncio.gather(index.await_servers(), asyncio.to_thread(draw))
    say("Kafka and Redis answer")


async def _open(index: LocalIndex, show: DemoShow) -> None:
    """Create the topics, except one that the workers wait for, while the first events are drawn."""
    await asyncio.gather(index.create_topics(workers_wait=True), asyncio.to_thread(show.draw))


def since_start_s() -> float:
    """Seconds since this process was started, its imports included."""
    started_s, booted_ms = psutil.Process().create_time(), clock.since_boot_ms()
    if booted_ms is None:
        return clock.now_ms() / 1000 - started_s
    # Linux gives a process's start as time since boot, and the boot itself in whole seconds. Measured by
    # the wall clock, every start seemed up to a second longer than it was.
    return booted_ms / 1000 - (started_s - psutil.boot_time())
