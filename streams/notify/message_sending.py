"""Sends messages of an incident to receivers, with its picture, and notes what each has taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import msgspec
import structlog

from streams.index.shown_text import one_line
from streams.notify.chart_data import ChartData, NoChartError
from streams.notify.composing import WHOLE_MARKET, Lasting
from streams.notify.due_messages import Drawn, Edit, Message
from streams.notify.market_now import Series
from streams.notify.message_news import alerts_news, lead_news
from streams.notify.message_receiver import (
    ILLUSTRATED,
    PICTURED,
    MessageReceiver,
    NotTakenError,
)
from streams.notify.message_state import message_id, paging_names
from streams.notify.notice import Notice, NoticeKind
from streams.notify.notify_metrics import NotifyMetrics
from streams.notify.posting import SHOWN_MAX
from streams.notify.sent_store import OpenIncident, SentMessage, SentStore
from streams.notify.trying import PatientSender

_log = structlog.get_logger(__name__)


class Charts(Protocol):
    """Knows how a series was in the last hours."""

    async def read(
        self, market: str, series: Series, began_ms: int | None, now_ms: int
    ) -> ChartData:
        """Read a series. Raises NoChartError."""
        ...


Draw = Callable[[ChartData, str, Lasting, int], bytes]


class Failure(NamedTuple):
    """A receiver that has not taken a message, and why."""

    receiver: str
    error: NotTakenError


class MessageSending:
    """Sends to receivers by name."""

    def __init__(
        self,
        receivers: Mapping[str, MessageReceiver],
        store: SentStore,
        *,
        charts: Charts,
        draw: Draw,
        metrics: NotifyMetrics,
        sender: PatientSender,
        now_ms: Callable[[], int],
    ) -> None:
        self._receivers = receivers
        self._store = store
        self._charts = charts
        self._draw = draw
        self._metrics = metrics
        self._sender = sender
        self._now_ms = now_ms
        self._drawing = asyncio.Lock()
        """One picture at a time: matplotlib is not made for threads, and a message needs its core."""

    async def tell(self, incident: OpenIncident, message: Message) -> list[Failure]:
        """Send a message to all of its receivers at once; return those that have not taken it."""
        drawing = None
        if message.drawn is not None:
            # A pager has no picture and does not wait for one.
            drawing = asyncio.create_task(self._drawn(message.notice.market, message.drawn))
        results = await asyncio.gather(
            *(self._tell(incident, name, message, drawing) for name in message.kinds),
            return_exceptions=True,
        )
        found = (
            self._failure(incident, name, result)
            for name, result in zip(message.kinds, results, strict=True)
        )
        return [failure for failure in found if failure is not None]

    async def edit(self, incident: OpenIncident, name: str, edit: Edit) -> None:
        """Bring a receiver's message up to date. What is not taken waits for the next time."""
        sent = incident.sent[name]
        if edit.notice is not None:
            content = "|".join(f"{each.kind} {each.by} {each.at}" for each in edit.answers)
            notice = edit.notice.as_sent(message_id(incident, name, content))
            try:
                sent.kept = await self._sender.send_once(self._receivers[name], notice, sent.kept)
            except NotTakenError as error:
                _log.warning(
                    "not_refreshed", receiver=name, incident=incident.name, detail=error.reason
                )
                return
        sent.answers = edit.answers
        if edit.notice is not None and edit.notice.news:
            sent.number += 1
        if edit.kept_at_once:
            await self._store.save()

    async def _tell(
        self,
        incident: OpenIncident,
        name: str,
        message: Message,
        drawing: asyncio.Task[bytes] | None,
    ) -> None:
        """Send one message and note it. Raises NotTakenError."""
        notice = msgspec.structs.replace(message.notice, kind=message.kinds[name])
        picture = None
        if drawing is not None and name in ILLUSTRATED:
            picture, why = await _outcome(drawing)
            notice = msgspec.structs.replace(notice, no_picture=why)
        before, firing = incident.sent.get(name), incident.still_firing()
        own_id = message_id(incident, name, f"{notice.kind}|{message.state}")
        if before is not None:
            notice = _with_news(notice, before, incident, message.lead.name)
        kept = await self._sender.send(
            self._receivers[name],
            notice.as_sent(own_id),
            picture if name in PICTURED else None,
            {} if before is None else before.kept,
        )
        self._metrics.messages.labels(name, "sent").inc()
        self._metrics.receiver_up.labels(name).set(1)
        sent_ms = self._now_ms()
        incident.sent[name] = SentMessage(
            message.state,
            sent_ms,
            kept,
            [] if before is None else before.answers,
            list(firing),
            1 if before is None else before.number + 1,
            sent_ms if before is None else before.first_ms,
            message.lead.name or ("" if before is None else before.lead),
            paging_names(firing),
        )
        if message.lead.series:
            incident.note_led(message.lead.series, sent_ms)
        # At once: a crash while another receiver is being tried must not send this one again.
        await self._store.save()
        _log.info("message_sent", receiver=name, incident=incident.name, kind=notice.kind)

    async def _drawn(self, market: str, drawn: Drawn) -> bytes:
        """Draw a picture. Raises NoChartError."""
        now_ms, (series, span) = self._now_ms(), drawn
        data = await self._charts.read(market, series, span.began_ms, now_ms)
        title = f"{market} {'' if series == WHOLE_MARKET else series[1]}"
        async with self._drawing:
            return await asyncio.to_thread(self._draw, data, title, span, now_ms)

    def _failure(
        self, incident: OpenIncident, name: str, result: BaseException | None
    ) -> Failure | None:
        """Say that a receiver has not taken a message, whether by its own fault or by ours."""
        if result is None:
            return None
        if isinstance(result, NotTakenError):
            error = result
        elif isinstance(result, Exception):
            words = one_line(f"{type(result).__name__}: {result}", SHOWN_MAX)
            error = NotTakenError(f"ecindex could not send it: {words}", "report it, with the log")
            _log.error("sending_failed", receiver=name, exc_info=result)
        else:
            raise result  # the process is being ended
        self._metrics.messages.labels(name, "failed").inc()
        self._metrics.receiver_up.labels(name).set(0)
        _log.error(
            "message_not_taken",
            receiver=name,
            incident=incident.name,
            detail=error.reason,
            action=error.action or "nothing yet: Alertmanager sends it again",
        )
        return Failure(name, error)


def _with_news(notice: Notice, before: SentMessage, incident: OpenIncident, lead: str) -> Notice:
    """Say what has changed since a receiver's last message."""
    if notice.kind is not NoticeKind.CHANGED or notice.quiet:
        return notice
    parts = (
        lead_news(before.lead, lead),
        alerts_news(before.firing, incident.still_firing(), notice.alerts),
    )
    return msgspec.structs.replace(notice, news=". ".join(filter(None, parts)))


async def _outcome(drawing: asyncio.Task[bytes]) -> tuple[bytes | None, str]:
    """A picture, or why there is none: a message goes without it, whatever went wrong."""
    await asyncio.wait({drawing})
    error = drawing.exception()
    if error is None:
        return drawing.result(), ""
    if isinstance(error, NoChartError):
        _log.warning("no_picture", detail=str(error))
        return None, str(error)
    _log.error("picture_failed", exc_info=error)
    return None, f"it could not be drawn ({type(error).__name__}): report it, with the log"
