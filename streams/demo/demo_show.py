"""Shops and screen of a demo; ``streams.demo.demo`` starts the servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from rich.console import Console

from streams import clock
from streams.console.errors import OperationError
from streams.demo.demo_plan import SEED_WEEKS, DemoOptions, make_plan
from streams.demo.demo_story import Story
from streams.demo.demo_view import Screen, shows_demand
from streams.index.methodology import Methodology
from streams.local.local_index import LocalIndex
from streams.local.up import race
from streams.operate.board_stream import markets_shown
from streams.operate.market_views import MarketView, connect, read_markets
from streams.publish.incident_words import namings_of
from streams.publish.redis_clients import REDIS_ERRORS, in_words
from streams.shops.seed_simulated import seed_simulated
from streams.shops.simulate_history import SimulatedSeed
from streams.shops.simulate_profile import Profile
from streams.shops.simulate_run import Span, open_shops, simulate

BACKFILL_MS = 360_000
"""Length of the backfill. At least two whole minutes of it are final when the market becomes live: the
detectors judge by these whether they may step by panes. It covers the windows of up to five minutes."""
LIVE_DEADLINE_MS = 180_000
MARKETS_SHOWN = 2
WAITING_POLL_S = 0.1
SHOWING_POLL_S = 1.0


class DemoShow:
    """Simulates shops into the inputs and shows what a reader of Redis sees of them."""

    def __init__(
        self,
        index: LocalIndex,
        methodology: Methodology,
        profile: Profile,
        options: DemoOptions,
        console: Console,
        seeds: Mapping[str, SimulatedSeed],
        *,
        tell: Callable[[str], None],
        say: Callable[[str], None],
    ) -> None:
        self._start_ms = clock.now_ms()
        for_s = options.for_s
        self._duration_ms = None if for_s is None else round(for_s * 1000)
        self._plan = make_plan(profile, options.markets, self._start_ms, self._duration_ms)
        self._span = Span(self._start_ms, BACKFILL_MS)
        self._floor = open_shops(profile, options.shops(profile, self._plan), self._span)
        self._index = index
        self._settings = index.settings
        self._profile = profile
        self._options = options
        self._console = console
        self._seeds = seeds
        self._namings = namings_of(methodology.markets)
        self._tell = tell
        self._say = say
        self._views: Sequence[MarketView] = ()

    def draw(self) -> None:
        """Draw the backfill. It takes longest, so it is called while the topics are created."""
        self._floor.draw(self._start_ms - BACKFILL_MS, self._start_ms)

    async def run(self, stopped: asyncio.Event) -> None:
        """Simulate and show until the time is over or ``stopped`` is set. Raises OperationError."""
        self._tell(self._index.summary())
        for line in self._plan.opening(self._start_ms):
            self._tell(line)
        watching = asyncio.create_task(self._watch_board())
        try:
            await race(self._simulate(), self._show(stopped))
        finally:
            watching.cancel()

    def snapshots(self) -> str:
        """Return the snapshots as last read from Redis, as one JSON array."""
        encoded = [view.encoded.decode() for view in self._views if view.encoded is not None]
        return f"[{','.join(encoded)}]"

    async def _simulate(self) -> None:
        seeding = asyncio.create_task(self._seed())
        await simulate(
            self._settings,
            self._floor,
            self._span,
            asyncio.Event(),
            on_history=partial(self._open_to_workers, seeding),
        )

    async def _seed(self) -> None:
        seeded = await seed_simulated(self._settings, self._seeds)
        self._say(f"{SEED_WEEKS} weeks of hourly counts are in the log, for {len(seeded)} markets")

    async def _open_to_workers(self, seeding: asyncio.Task[None]) -> None:
        self._say(f"{BACKFILL_MS / 1_000:g} s of events are in the log")
        await seeding
        await self._index.create_topics()
        self._say("all topics exist")

    async def _show(self, stopped: asyncio.Event) -> None:
        plan, duration_ms = self._plan, self._duration_ms
        markets = self._options.shops(self._profile).markets
        with connect(self._settings.redis) as client:
            await self._await_live(client, markets, stopped)
            end_ms = None if duration_ms is None else clock.monotonic_ms() + duration_ms
            story = Story(plan, self._namings)
            with Screen(self._console, plan, self._namings) as screen:
                while not stopped.is_set() and (end_ms is None or clock.monotonic_ms() < end_ms):
                    views = await self._read(client, markets)
                    screen.update(views, clock.now_ms())
                    incidents = {view.market: view.incidents for view in views}
                    screen.say(story.news(incidents, clock.now_ms()))
                    await _pause(stopped, SHOWING_POLL_S)
            await self._read(client, markets)

    async def _await_live(
        self, client: Any, markets: Sequence[str], stopped: asyncio.Event
    ) -> None:
        """Return when every market shows live orders and payments.

        Raises OperationError after LIVE_DEADLINE_MS.
        """
        deadline_ms = clock.monotonic_ms() + LIVE_DEADLINE_MS
        first = True
        while not stopped.is_set():
            views = await self._read(client, markets)
            if first and any(shows_demand(view) for view in views):
                self._say("the first live values are in Redis")
                first = False
            if all(shows_demand(view) for view in views):
                self._say("every market has live values in Redis")
                return
            if clock.monotonic_ms() > deadline_ms:
                seen = ", ".join(f"{view.market} {view.state}" for view in views)
                raise OperationError(
                    f"no live values after {LIVE_DEADLINE_MS // 1000} s ({seen}); see the logs"
                )
            await _pause(stopped, WAITING_POLL_S)

    async def _watch_board(self) -> None:
        """Say when the page first shows more than one market, which the demo promises to show."""
        markets = self._options.shops(self._profile).markets
        shown = await markets_shown(self._index.board_url, min(MARKETS_SHOWN, len(markets)))
        self._say(f"the board has live values of {' and '.join(shown)}")

    async def _read(self, client: Any, markets: Sequence[str]) -> Sequence[MarketView]:
        """Views of the markets in Redis; while Redis is away, the views read last."""
        prefix = self._settings.redis.keys_prefix
        try:
            self._views = await asyncio.to_thread(
                read_markets, client, clock.now_ms(), markets, prefix
            )
        except REDIS_ERRORS as error:
            self._tell(f"Redis does not answer: {in_words(error)}")
        return self._views


async def _pause(stopped: asyncio.Event, duration_s: float) -> None:
    try:
        await asyncio.wait_for(stopped.wait(), duration_s)
    except TimeoutError:
        return
