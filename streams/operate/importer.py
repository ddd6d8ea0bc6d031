"""``import``: sends the events of a data set in event-time order, with their own times."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from streams import clock
from streams.console.send_progress import NO_PROGRESS, SendProgress, send_progress
from streams.console.signals import stop_signals
from streams.index.panes import rfc3339
from streams.operate.import_files import Source, open_source
from streams.records.kafka_topics import require_inputs
from streams.records.producing import Sent, event_sender
from streams.settings import Problem, Settings, SettingsError, require_markets
from streams.sources.imports import Imported, Tally

SECOND_MS = 1_000


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop for ``seconds`` once ``after`` (0..1) of the events are acknowledged."""

    after: float
    seconds: float


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """Counts of what was sent and what was left out. Times are RFC 3339, None when nothing was sent.

    ``skipped``: rows left out, by reason. ``filled``: values that were filled in or ignored, by reason.
    ``complete`` is false when the import was stopped.
    """

    source: str
    complete: bool
    events: int
    by_type: dict[str, int]
    first_occurred_at: str | None
    last_occurred_at: str | None
    read: dict[str, int]
    skipped: dict[str, int]
    filled: dict[str, int]
    seconds: float


async def import_events(
    settings: Settings,
    imported: Imported,
    source: str,
    *,
    stopping: asyncio.Event,
    pause: Pause | None = None,
    progress: SendProgress = NO_PROGRESS,
) -> ImportSummary:
    """Send all events, both inputs interleaved in event-time order, until done or ``stopping`` is set.

    The record timestamp is the event time, and a header says so. By the log, an event of 2017 then
    arrived in 2017, and no event is too late. Inputs stamped by the broker are refused. Raises
    TopicsError and ProduceError.
    """
    await require_inputs(settings, producer_time=True)
    begun_ms = clock.monotonic_ms()
    pause_at = None if pause is None else round(pause.after * imported.count)
    async with event_sender(settings) as sender:
        for number, event in enumerate(imported.events):
            if pause is not None and number == pause_at:
                await sender.flush()
                await _sleep(stopping, pause.seconds)
            if stopping.is_set():
                break
            await sender.send(event, imported=True)
            progress.show(number + 1, f"until {rfc3339(event.timestamp_ms)}")
    took_ms = clock.monotonic_ms() - begun_ms
    return _summary(source, imported, sender.sent, took_ms)


async def _sleep(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return


def _summary(source: str, imported: Imported, sent: Sent, took_ms: int) -> ImportSummary:
    tally: Tally = imported.tally
    return ImportSummary(
        source=source,
        complete=sent.events == imported.count,
        events=sent.events,
        by_type=dict(sorted(sent.by_type.items())),
        first_occurred_at=None if sent.first_ms is None else rfc3339(sent.first_ms),
        last_occurred_at=None if sent.last_ms is None else rfc3339(sent.last_ms),
        read=dict(tally.read),
        skipped=dict(tally.skipped),
        filled=dict(tally.filled),
        seconds=took_ms / SECOND_MS,
    )


async def import_command(
    settings: Settings, source: Source, directory: Path, *, pause_after: float, pause_s: float
) -> ImportSummary:
    """Import a directory until done, SIGINT or SIGTERM.

    Raises SettingsError, ImportFilesError, TopicsError and ProduceError.
    """
    if not 0 <= pause_after <= 1:
        problem = Problem("--pause-after", repr(pause_after), "command line", "0 to 1")
        raise SettingsError([problem])
    imported = open_source(source, directory)
    require_markets(settings, imported.markets, f"`import {source}`")
    pause = Pause(pause_after, pause_s) if pause_s else None
    with (
        stop_signals() as stopping,
        send_progress(f"importing {source}", imported.count) as progress,
    ):
        return await import_events(
            settings, imported, source, stopping=stopping, pause=pause, progress=progress
        )
