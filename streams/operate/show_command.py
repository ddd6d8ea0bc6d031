"""``ecindex show``: shows the markets that the settings point to, once or until stopped."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

from rich.console import Console

from streams.clock import now_ms
from streams.console.errors import OperationError
from streams.index.input_reports import InputNote
from streams.operate import show
from streams.operate.market_views import (
    MarketView,
    connect,
    read_input_notes,
    read_markets,
    refuse_unknown,
)
from streams.publish.incident_words import MarketNaming, namings_of
from streams.publish.redis_clients import REDIS_ERRORS, advice, in_words
from streams.settings import Settings, load_methodology


def show_once(
    settings: Settings, markets: Sequence[str] | None, console: Console, *, as_json: bool
) -> bool:
    """Print the markets. True if each is live. Raises OperationError when Redis does not answer."""
    with _client(settings) as client:
        return show.show(
            client,
            console,
            _namings(settings),
            markets,
            prefix=settings.redis.keys_prefix,
            as_json_line=as_json,
        )


def show_until_stopped(settings: Settings, markets: Sequence[str] | None, console: Console) -> None:
    """Show the markets each second until SIGINT or SIGTERM. While Redis is away, the error is shown."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    with _client(settings) as client:
        namings = _namings(settings)
        read = partial(_read, client, markets, settings.redis.keys_prefix, namings)
        show.watch(read, namings, console, stop)


def _read(
    client: Any, markets: Sequence[str] | None, prefix: str, known: Collection[str]
) -> tuple[list[MarketView], list[InputNote]]:
    views = read_markets(client, now_ms(), markets, prefix, known)
    refuse_unknown(client, prefix, views, known)
    return views, read_input_notes(client, prefix)


def _namings(settings: Settings) -> dict[str, MarketNaming]:
    return namings_of(load_methodology(settings).markets)


@contextlib.contextmanager
def _client(settings: Settings) -> Iterator[Any]:
    try:
        with connect(settings.redis) as client:
            yield client
    except REDIS_ERRORS as error:
        words = "; ".join(filter(None, (in_words(error), advice(error))))
        raise OperationError(f"Redis at {settings.redis.url} (redis.url): {words}") from error
