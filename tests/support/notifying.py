"""Everything that `ecindex notify` needs, on loopback in one process, with local vendors."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace

from support.notifications import NOW_MS
from support.vendors import (
    CHANNEL,
    ROUTING_KEY,
    SECRET,
    TOKEN,
    LocalMail,
    LocalPagerDuty,
    LocalPrometheus,
    LocalSlack,
    LocalWebhook,
)

from streams.notify.chart_data import ChartReader
from streams.notify.delivery import Delivery
from streams.notify.market_now import MarketNow
from streams.notify.notify_metrics import NotifyMetrics
from streams.notify.notify_process import receivers_of
from streams.notify.sent_store import SentStore
from streams.notify.slack import SlackReceiver
from streams.notify.trying import Pace
from streams.publish.incident_words import MarketNaming
from streams.settings import NotifySettings

PK = MarketNaming("Pakistan", "PKR", "Asia/Karachi")
PACE = Pace(delivery_s=0.2, backoff_s=0.01)
PNG = b"\x89PNG\r\n\x1a\n"
EVERYBODY = ("slack", "pagerduty", "mail", "webhook")


def stamp(*_drawn):
    """Stands for a picture where a test is about its message: a real one takes 0.2 s to draw."""
    return PNG


class Known:
    """A market as a test has it."""

    def __init__(self, now=None):
        self.now = MarketNow(unknown="not asked") if now is None else now

    async def read(self, _market):
        return self.now


@contextlib.asynccontextmanager
async def vendors():
    """All of them, listening."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        yield SimpleNamespace(
            slack=await enter(LocalSlack().serving()),
            pagerduty=await enter(LocalPagerDuty().serving()),
            webhook=await enter(LocalWebhook().serving()),
            mail=await enter(LocalMail().serving(asyncio.get_running_loop())),
            prometheus=await enter(LocalPrometheus().serving()),
        )


def settings_for(found, **changes):
    """Settings under which messages go to local vendors."""
    return NotifySettings(
        **{
            "port": 0,
            "prometheus_url": found.prometheus.url,
            "slack_token": TOKEN,
            "slack_channel": CHANNEL,
            "slack_api": f"{found.slack.url}/api",
            "pagerduty_key": ROUTING_KEY,
            "pagerduty_api": found.pagerduty.url,
            "mail_server": found.mail.url,
            "mail_tls": "none",
            "mail_from": "index@shop.example",
            "mail_to": "night@shop.example,day@shop.example",
            "webhook_url": found.webhook.url,
            "webhook_secret": SECRET,
        }
        | changes
    )


@contextlib.asynccontextmanager
async def delivering(found, directory, *, now=None, clock=None, draw=stamp, **changes):
    """A delivery to the vendors; what it keeps is in ``directory``. ``clock``: a list of one time."""
    settings = settings_for(found, **changes)
    receivers = receivers_of(settings)
    receivers["slack"] = SlackReceiver(settings, scanned_every_s=0.01)
    charts = ChartReader(settings.prometheus_url)
    times = clock or [NOW_MS]
    metrics, market_now = NotifyMetrics(receivers), Known(now)
    try:
        yield SimpleNamespace(
            delivery=Delivery(
                receivers,
                SentStore(directory),
                market_now=market_now,
                charts=charts,
                draw=draw,
                metrics=metrics,
                namings={"PK": PK},
                pace=PACE,
                now_ms=lambda: times[0],
            ),
            receivers=receivers,
            market_now=market_now,
            metrics=metrics,
            settings=settings,
        )
    finally:
        await charts.close()
        for receiver in receivers.values():
            await receiver.close()
