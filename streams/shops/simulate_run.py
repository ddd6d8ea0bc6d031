"""Runs the simulated shops against Kafka: first the backfill, then live events paced by the clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

from streams import clock
from streams.console.errors import OperationError
from streams.console.send_progress import NO_PROGRESS, SendProgress, send_progress
from streams.console.signals import stop_signals
from streams.index.panes import HOUR_MS, rfc3339
from streams.records.kafka_topics import require_inputs
from streams.records.producing import EventSender, Sent, event_sender
from streams.settings import Settings, load_methodology, require_markets
from streams.shops.seed_simulated import seed_simulated
from streams.shops.simulate_history import WEEK_HOURS, Hours, simulated_seeds
from streams.shops.simulate_market import slowest_delivery_ms
from streams.shops.simulate_options import SECOND_MS, Planted, ShopOptions
from streams.shops.simulate_profile import Profile
from streams.shops.simulator import Shopfloor

TICK_MS = 20
"""Events are sent at most this long after they are due."""


class Span(NamedTuple):
    """Time span of a simulation.

    ``start_ms``: start of the live part; the backfill lies before it. ``for_ms``: length of the live
    part, None: no end.
    """

    start_ms: int
    backfill_ms: int = 0
    for_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of what was sent.

    ``start_ms``: end of the backfill. ``behind_ms_max``: longest delay of a live event.
    """

    seed: int
    start_ms: int
    events: int
    by_type: dict[str, int]
    by_market: dict[str, int]
    first_ms: int | None
    last_ms: int | None
    seconds: float
    behind_ms_max: int


async def _nothing() -> None:
    return


def open_shops(profile: Profile, options: ShopOptions, span: Span) -> Shopfloor:
    """Make the shop floor for a span. Raises SettingsError.

    The shops have been open for longer than the slowest delivery takes: cash on delivery comes in from
    the first event on, also when a simulation follows an earlier one.
    """
    first_ms = span.start_ms - span.backfill_ms
    opened_ms = first_ms - slowest_delivery_ms(profile, options.lag_scale) - HOUR_MS
    return Shopfloor(profile, options, max(0, opened_ms), first_ms)


async def simulate(
    settings: Settings,
    floor: Shopfloor,
    span: Span,
    stopping: asyncio.Event,
    progress: SendProgress = NO_PROGRESS,
    on_history: Callable[[], Awaitable[None]] = _nothing,
) -> Summary:
    """Send the shops' events until the span ends or ``stopping`` is set; report what was sent.

    ``floor`` comes from ``open_shops``. Event times come from the simulation, not from the clock: after
    a stall (a stopped process, a slow broker) every due event is sent, with the time at which it was
    due. A backfill under LogAppendTime is refused: the broker would stamp it as arriving now, hence too
    late. ``on_history`` is awaited once the backfill is acknowledged, before any live event is sent.
    Raises TopicsError and ProduceError.
    """
    await require_inputs(settings, producer_time=span.backfill_ms > 0)
    begun_ms = clock.monotonic_ms()
    async with event_sender(settings) as sender:
        if span.backfill_ms:
            await _send_history(floor, span, sender, stopping, progress)
            await sender.flush()
        await on_history()
        behind_ms = await _send_live(floor, span, sender, stopping, progress)
    took_ms = clock.monotonic_ms() - begun_ms
    return _summary(floor.options.seed, span.start_ms, sender.sent, took_ms, behind_ms)


async def _send_history(
    floor: Shopfloor,
    span: Span,
    sender: EventSender,
    stopping: asyncio.Event,
    progress: SendProgress,
) -> None:
    sent_until = span.start_ms - span.backfill_ms
    while not stopping.is_set() and sent_until < span.start_ms:
        # A block at a time, so that a long backfill fits in memory and can be stopped.
        until = min(span.start_ms, sent_until + floor.block_ms)
        await sender.send_history(floor.events_between(sent_until, until))
        progress.show(sender.sent.events, f"until {rfc3339(until)}")
        sent_until = until


async def _send_live(
    floor: Shopfloor,
    span: Span,
    sender: EventSender,
    stopping: asyncio.Event,
    progress: SendProgress,
) -> int:
    end_ms = None if span.for_ms is None else span.start_ms + span.for_ms
    sent_until = span.start_ms
    behind_ms_max = 0
    caught_up = span.backfill_ms == 0
    while not stopping.is_set() and (end_ms is None or sent_until < end_ms):
        now_ms = clock.now_ms()
        due_ms = now_ms if end_ms is None else min(now_ms, end_ms)
        if due_ms <= sent_until:
            await _pause(stopping, TICK_MS)
            continue
        if due_ms - sent_until <= SECOND_MS:
            caught_up = True
        if caught_up:
            behind_ms_max = max(behind_ms_max, due_ms - sent_until)
        until = min(due_ms, sent_until + floor.block_ms)
        await _send_between(floor, sent_until, until, sender, progress)
        sent_until = until
    return behind_ms_max


async def _send_between(
    floor: Shopfloor, start_ms: int, until_ms: int, sender: EventSender, progress: SendProgress
) -> None:
    for event in floor.events_between(start_ms, until_ms):
        await sender.send(event)
    progress.show(sender.sent.events, f"until {rfc3339(until_ms)}")


async def _pause(stopping: asyncio.Event, duration_ms: int) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), duration_ms / SECOND_MS)
    except TimeoutError:
        return


def _summary(seed: int, start_ms: int, sent: Sent, took_ms: int, behind_ms: int) -> Summary:
    return Summary(
        seed=seed,
        start_ms=start_ms,
        events=sent.events,
        by_type=dict(sorted(sent.by_type.items())),
        by_market=dict(sorted(sent.by_market.items())),
        first_ms=sent.first_ms,
        last_ms=sent.last_ms,
        seconds=took_ms / SECOND_MS,
        behind_ms_max=behind_ms,
    )


async def simulate_command(
    settings: Settings,
    profile: Profile,
    options: ShopOptions,
    planted: Planted,
    *,
    backfill_s: float,
    for_s: float | None,
    seed_weeks: int = 0,
) -> Summary:
    """Simulate from now until SIGINT, SIGTERM or the end of ``for_s``.

    ``seed_weeks``: the hours of that many weeks are sent to ``ecindex.history`` first. Raises
    TopicsError, ProduceError, OperationError and SettingsError; the latter also if a market of the
    shops is not in the methodology.
    """
    start_ms, week_ms = clock.now_ms(), WEEK_HOURS * HOUR_MS
    if start_ms < backfill_s * SECOND_MS + seed_weeks * week_ms:
        raise OperationError(
            "--backfill and --seed-history: expected a history that begins after 1970"
        )
    for_ms = None if for_s is None else round(for_s * SECOND_MS)
    # Weeks of history are not sent first and a mistake named then.
    markets = planted.into(options, start_ms, for_ms).checked(profile).markets
    require_markets(settings, markets, "the simulated shops (--markets)")
    if seed_weeks:
        await _seed(settings, profile, options, seed_weeks)
    start_ms = clock.now_ms()
    options = planted.into(options, start_ms, for_ms)
    span = Span(start_ms, round(backfill_s * SECOND_MS), for_ms)
    with stop_signals() as stopping, send_progress("simulating") as progress:
        return await simulate(
            settings, open_shops(profile, options, span), span, stopping, progress
        )


async def _seed(settings: Settings, profile: Profile, options: ShopOptions, weeks: int) -> None:
    options = options.checked(profile)
    markets = load_methodology(settings).markets
    hours = Hours.before(clock.now_ms(), weeks)
    await seed_simulated(settings, simulated_seeds(profile, options, markets, hours))
