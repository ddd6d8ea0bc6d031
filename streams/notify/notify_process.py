"""`ecindex notify` from start to end: receivers, what they need, and the port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from typing import NamedTuple

import structlog

from streams import clock
from streams.notify.chart_data import ChartReader
from streams.notify.delivery import Delivery
from streams.notify.mail import MailReceiver
from streams.notify.market_now import MarketNowReader
from streams.notify.message_receiver import PICTURED, MessageReceiver
from streams.notify.notify_metrics import NotifyMetrics
from streams.notify.notify_server import NotifyServer
from streams.notify.pagerduty_events import PagerDutyReceiver
from streams.notify.picture import draw
from streams.notify.sent_publisher import SentPublisher
from streams.notify.sent_store import SentStore
from streams.notify.signed_webhook import WebhookReceiver
from streams.notify.slack import SlackReceiver
from streams.notify.trial import trial_picture
from streams.publish.incident_words import namings_of
from streams.settings import NotifySettings, Settings, load_methodology

REFRESH_S = 20.0
"""How often a message of an open incident is brought up to date, and answers are told."""
RECEIVERS = ("slack", "pagerduty", "mail", "webhook")

_log = structlog.get_logger(__name__)


class Notifying(NamedTuple):
    """What runs: the bound port, and who sends."""

    port: int
    delivery: Delivery


def receivers_of(settings: NotifySettings) -> dict[str, MessageReceiver]:
    """Each receiver that is set, by name. To be called within a running event loop."""
    found: list[MessageReceiver] = []
    if settings.slack_credential() is not None:
        found.append(SlackReceiver(settings))
    if settings.pagerduty_credential() is not None:
        found.append(PagerDutyReceiver(settings))
    if settings.mail_server is not None:
        found.append(MailReceiver(settings))
    if settings.webhook_url is not None:
        found.append(WebhookReceiver(settings))
    return {receiver.name: receiver for receiver in found}


@contextlib.asynccontextmanager
async def notifying(settings: Settings) -> AsyncIterator[Notifying]:
    """Listen while within.

    Raises OSError when the address cannot be bound, SettingsError when the methodology is wrong.
    """
    markets = load_methodology(settings).markets
    async with contextlib.AsyncExitStack() as stack:
        receivers = receivers_of(settings.notify)
        for receiver in receivers.values():
            stack.push_async_callback(receiver.close)
        market_now = MarketNowReader(settings.redis)
        stack.push_async_callback(market_now.close)
        charts = ChartReader(settings.notify.prometheus_url)
        stack.push_async_callback(charts.close)
        metrics = NotifyMetrics(receivers)
        store = SentStore(settings.data_dir)
        await stack.enter_async_context(_publishing(settings, store, markets))
        delivery = Delivery(
            receivers,
            store,
            market_now=market_now,
            charts=charts,
            draw=draw,
            metrics=metrics,
            namings=namings_of(markets),
        )
        server = NotifyServer(
            delivery,
            tuple(receivers),
            metrics,
            host=settings.notify.host,
            port=settings.notify.port,
            names=settings.notify.hosts,
            token=settings.notify.revealed_token(),
        )
        port = await server.start()
        stack.push_async_callback(server.stop)
        if PICTURED & receivers.keys():
            # matplotlib looks for the machine's fonts before its first picture, for seconds.
            await asyncio.to_thread(trial_picture, clock.now_ms())
        if not receivers:
            _log.error(
                "nobody_is_notified",
                action="set a receiver: notify.slack_token, pagerduty_key, mail_server or webhook_url",
            )
        if PagerDutyReceiver.name in receivers and settings.answers.pagerduty_secret is None:
            _log.warning(
                "pagerduty_not_heard",
                detail="what is acknowledged there and becomes worse does not ring again",
                action="set answers.pagerduty_secret, for the board and for ecindex notify",
            )
        yield Notifying(port, delivery)


@contextlib.asynccontextmanager
async def _publishing(
    settings: Settings, store: SentStore, markets: Collection[str]
) -> AsyncIterator[None]:
    """Keep Redis saying what was sent while within."""
    publisher, stopped = SentPublisher(settings.redis, store, markets), asyncio.Event()
    running = asyncio.create_task(publisher.run(stopped))
    try:
        yield
    finally:
        stopped.set()
        store.changed.set()
        await asyncio.wait({running})
        await publisher.close()


async def notify(
    settings: Settings, stopped: asyncio.Event, on_listening: Callable[[str], None]
) -> None:
    """Take notifications until ``stopped`` is set. ``on_listening`` gets the address to post to."""
    async with notifying(settings) as running:
        host = settings.notify.host
        url = f"http://{f'[{host}]' if ':' in host else host}:{running.port}/alerts"
        _log.info("listening", alerts=url)
        on_listening(url)
        while not stopped.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), REFRESH_S)
            if not stopped.is_set():
                refresh = asyncio.create_task(running.delivery.refresh())
                await asyncio.wait({refresh})
                if (error := refresh.exception()) is not None:
                    # It must not end what tells people.
                    _log.error("refresh_failed", exc_info=error)
