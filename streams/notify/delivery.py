"""Decides who gets a message of a notification, and sends it: once a state, again while it is not taken.

Alertmanager is the queue. It comes again with what was not taken, while that fires and with its end, so
nothing is kept here that a crash could lose, and what waits is bounded by what it sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple, Protocol, TypeVar
from weakref import WeakValueDictionary

import msgspec
import structlog

from streams import clock
from streams.index.instants import parse_instant
from streams.index.panes import rfc3339
from streams.index.shown_text import one_line
from streams.notify.alert_group import ALERTS_MAX, AlertGroup
from streams.notify.causes import Cause, causes_of, names_incident
from streams.notify.chart_data import ChartData, NoChartError
from streams.notify.composing import (
    UNKNOWN_QUIET,
    WHOLE_MARKET,
    Lasting,
    compose,
    lasting,
    leading,
    quiet,
    refreshed,
    series_shown,
    unread,
)
from streams.notify.market_now import MarketNow, Series
from streams.notify.message_news import alerts_news, answers_in_force, answers_news, lead_news
from streams.notify.message_receiver import (
    FOLLOWED_UP,
    ILLUSTRATED,
    PICTURED,
    UPDATED,
    MessageReceiver,
    NotTakenError,
)
from streams.notify.message_state import (
    ENDED,
    OVER,
    QUIET,
    UNKNOWN,
    firing_state,
    matters,
    message_id,
    paging_names,
    state_of,
    subject_of,
    whole_group,
    worth_telling,
)
from streams.notify.notice import Notice, NoticeKind
from streams.notify.notify_metrics import NotifyMetrics
from streams.notify.pagerduty_events import PagerDutyReceiver, silence_changed
from streams.notify.posting import SHOWN_MAX
from streams.notify.sent_store import OpenIncident, SentMessage, SentStore
from streams.notify.trying import Pace, PatientSender
from streams.publish.incident_records import PublishedIncident
from streams.publish.incident_words import MarketNaming, naming_of, series_name

REPEAT_MIN_MS = 5 * 60_000
"""The same state within this time is Alertmanager trying again for another receiver, no reminder."""
FOLLOW_UP_MS = 5 * 60_000
"""Who cannot edit a message gets details at most so often: each of 29 members comes by itself."""
END_AWAITED_MS = 10 * 60_000
"""An end reaches Alertmanager within this time: keep_firing_for, its group_interval, and a delivery."""

REFRESHED_AT_A_TIME = 8
"""Incidents whose messages are brought up to date together."""

_Result = TypeVar("_Result")
_log = structlog.get_logger(__name__)


class NowReader(Protocol):
    """Knows how a market is now."""

    async def read(self, market: str) -> MarketNow:
        """Read a market; never raises."""
        ...


class Charts(Protocol):
    """Knows how a series was in the last hours."""

    async def read(
        self, market: str, series: Series, began_ms: int | None, now_ms: int
    ) -> ChartData:
        """Read a series. Raises NoChartError."""
        ...


class Failure(NamedTuple):
    """A receiver that has not taken a message, and why."""

    receiver: str
    error: NotTakenError


Draw = Callable[[ChartData, str, Lasting, int], bytes]


class Delivery:
    """Sends notifications to receivers by name."""

    def __init__(
        self,
        receivers: Mapping[str, MessageReceiver],
        store: SentStore,
        *,
        market_now: NowReader,
        charts: Charts,
        draw: Draw,
        metrics: NotifyMetrics,
        namings: Mapping[str, MarketNaming],
        pace: Pace = Pace(),  # noqa: B008 - a frozen tuple
        now_ms: Callable[[], int] = clock.now_ms,
    ) -> None:
        self._receivers = receivers
        self._store = store
        self._market_now = market_now
        self._charts = charts
        self._draw = draw
        self._metrics = metrics
        self._namings = namings
        self._sender = PatientSender(pace, now_ms)
        self._now_ms = now_ms
        self._drawing = asyncio.Lock()
        """One picture at a time: matplotlib is not made for threads, and a message needs its core."""
        self._locks = WeakValueDictionary[str, asyncio.Lock]()

    async def deliver(self, group: AlertGroup, names: Iterable[str]) -> list[Failure]:
        """Send a notification to the receivers named; return those that have not taken it."""
        market = leading(group.alerts).labels.get("market", "")
        now = await self._market_now.read(market) if market else MarketNow()
        subject = subject_of(market, group.group_key)
        causes = causes_of(group, now.incidents, subject, self._store.held_by)
        # All at once: a vendor that is slow with one must not keep the others' messages back.
        found = await _all(self._deliver(cause, market, now, list(names)) for cause in causes)
        return [failure for failures in found for failure in failures]

    async def refresh(self) -> None:
        """Say in the messages of open incidents how it is now, and what operators have answered.

        A message that is read an hour later must not say how it was. Nobody is told of that; of an
        answer everybody is, once, also where it comes after the end. What is not taken waits for the
        next time.
        """
        limit = asyncio.Semaphore(REFRESHED_AT_A_TIME)
        incidents = [
            *self._store.sent_incidents(closed=False),
            *await self._answered_late(limit),
        ]

        async def bounded(incident: OpenIncident) -> None:
            async with limit, self._alone(incident.subject):
                await self._refresh_incident(incident)

        results = await asyncio.gather(*map(bounded, incidents), return_exceptions=True)
        for incident, result in zip(incidents, results, strict=True):
            if isinstance(result, Exception):  # it must not keep the others from being refreshed
                _log.error("refresh_failed", incident=incident.name, exc_info=result)
            elif result is not None:
                raise result  # the process is being ended

    async def _answered_late(self, limit: asyncio.Semaphore) -> list[OpenIncident]:
        """Incidents that are over and were answered since; each market is read once for all of them."""
        of_market: dict[str, list[OpenIncident]] = {}
        for incident in self._store.sent_incidents(closed=True):
            if incident.notice is not None and names_incident(incident.name):
                of_market.setdefault(incident.notice.market, []).append(incident)

        async def read(market: str) -> MarketNow:
            async with limit:
                return await self._market_now.read(market)

        known = await _all(map(read, of_market))
        published = {each.id: each for now in known for each in now.incidents}
        return [
            incident
            for incidents in of_market.values()
            for incident in incidents
            if (of_it := published.get(incident.name)) is not None
            and any(
                sent.answers != answers_in_force(of_it)
                for name, sent in incident.sent.items()
                if name in self._receivers
            )
        ]

    async def _refresh_incident(self, incident: OpenIncident) -> None:
        notice = incident.notice
        if notice is None:
            return
        now = await self._market_now.read(notice.market)
        published = next((each for each in now.incidents if each.id == incident.name), None)
        if published is None:
            if notice.market and names_incident(incident.name) and not incident.closed:
                zone = self._naming(notice.market).time_zone
                notice = unread(notice, now, self._now_ms(), zone)
                await self._refresh_all(incident, notice, None)
            await self._follow_up(incident, notice, None)
            return
        fresh = refreshed(notice, published, now, self._now_ms(), self._naming(notice.market))
        if not incident.closed:
            if self._is_over(published, notice):
                await self._end(incident, fresh)
                return
            incident.notice = fresh
            if fresh.quiet and fresh.quiet != UNKNOWN_QUIET:
                await self._tell_known(incident, fresh)
            await self._follow_up(incident, fresh, published)
        await self._refresh_all(incident, fresh, published)

    async def _refresh_all(
        self, incident: OpenIncident, fresh: Notice, published: PublishedIncident | None
    ) -> None:
        await _all(
            self._refresh(incident, name, fresh, published)
            for name in sorted(incident.sent.keys() & self._receivers.keys())
        )

    def _is_over(self, published: PublishedIncident, notice: Notice) -> bool:
        """Whether an incident is over and no notification says so any more.

        Alertmanager sends no resolution of an alert that another one inhibits.
        """
        over_ms = None if published.over is None else parse_instant(published.over)
        if over_ms is None:
            return False
        return bool(notice.quiet) or self._now_ms() - over_ms > END_AWAITED_MS

    async def _end(self, incident: OpenIncident, notice: Notice) -> None:
        """Tell everybody who was told of an incident that it is over: no notification will."""
        # Its alerts are those that fired when a message was last sent.
        over = msgspec.structs.replace(
            notice, kind=NoticeKind.OVER, quiet="", alerts=(), left_out=0
        )
        sent = incident.sent.items()
        if await self._tell(incident, over, [n for n, each in sent if each.state != OVER], OVER):
            incident.close(over)
        incident.changed_ms = self._now_ms()
        await self._store.save()

    async def _tell_known(self, incident: OpenIncident, notice: Notice) -> None:
        """Tell those who were told that it is not known whether an incident is over: it goes on."""
        known = msgspec.structs.replace(notice, kind=NoticeKind.CHANGED)
        names = [name for name, sent in incident.sent.items() if sent.state == UNKNOWN]
        await self._tell(incident, known, names, QUIET)

    async def _follow_up(
        self, incident: OpenIncident, notice: Notice, published: PublishedIncident | None
    ) -> None:
        """Tell those whose messages stay as they were sent what has changed meanwhile, in one."""
        firing, now_ms = incident.still_firing(), self._now_ms()
        if not firing or notice.quiet or (published is not None and published.over is not None):
            return
        lead, series = self._lead(notice.market, published)
        names = {
            name
            for name in FOLLOWED_UP & incident.sent.keys() & self._receivers.keys()
            if now_ms - incident.sent[name].at_ms >= FOLLOW_UP_MS
            and worth_telling(incident.sent[name], firing, lead, series)
        }
        if not names:
            return
        drawing = None
        if notice.market and PICTURED & names:
            shown = WHOLE_MARKET if published is None else (published.dimension, published.member)
            span = Lasting(incident.began_ms, None, estimated=True)
            drawing = asyncio.create_task(self._drawn(notice.market, shown, span))
        changed = msgspec.structs.replace(
            notice, kind=NoticeKind.CHANGED, news="", sent_at=rfc3339(now_ms)
        )
        state = firing_state(firing)
        await self._tell(incident, changed, names, state, drawing, lead, series)

    def _lead(self, market: str, published: PublishedIncident | None) -> tuple[str, str]:
        """Name and ``dimension:member`` of the series that leads; '' where it is not known."""
        if published is None:
            return "", ""
        dimension, member = published.dimension, published.member
        return series_name(dimension, member, self._naming(market).name), f"{dimension}:{member}"

    async def _tell(
        self,
        incident: OpenIncident,
        notice: Notice,
        names: Iterable[str],
        state: str,
        drawing: asyncio.Task[bytes] | None = None,
        lead: str = "",
        series: str = "",
    ) -> bool:
        """Send what no notification will say; return whether all have taken it."""
        names = sorted(self._receivers.keys() & names)
        results = await asyncio.gather(
            *(self._send(incident, name, notice, drawing, state, lead, series) for name in names),
            return_exceptions=True,
        )
        failures = [
            self._failure(incident, name, result)
            for name, result in zip(names, results, strict=True)
        ]
        return not any(failures)

    async def _refresh(
        self,
        incident: OpenIncident,
        name: str,
        notice: Notice,
        published: PublishedIncident | None,
    ) -> None:
        """``published`` None: the answers are not known, so none is told as new."""
        sent = incident.sent[name]
        answers, news = sent.answers, ""
        if published is not None:
            answers = answers_in_force(published)
            news = answers_news(
                sent.answers,
                published,
                self._naming(notice.market),
                in_pagerduty=PagerDutyReceiver.name in incident.sent
                and not (incident.closed or notice.silenced),
            )
        of_silence = (
            name == PagerDutyReceiver.name
            and published is not None
            and silence_changed(notice, sent.kept)
        )
        if not news and (incident.closed or not (of_silence or name in UPDATED)):
            sent.answers = answers
            return
        kind = NoticeKind.ANSWERED if news else NoticeKind.REPEATED
        message = message_id(
            incident, name, "|".join(f"{each.kind} {each.by} {each.at}" for each in answers)
        )
        content = msgspec.structs.replace(notice, kind=kind, news=news).as_sent(message)
        try:
            sent.kept = await self._sender.send_once(self._receivers[name], content, sent.kept)
        except NotTakenError as error:
            _log.warning(
                "not_refreshed", receiver=name, incident=incident.name, detail=error.reason
            )
            return
        sent.answers = answers
        if news:
            sent.number += 1
        if news or of_silence:
            await self._store.save()

    def _naming(self, market: str) -> MarketNaming:
        return self._namings.get(market) or naming_of(market, None)

    def _alone(self, subject: str) -> asyncio.Lock:
        """One message of an incident at a time: of two Alertmanagers, two routes, or a refresh."""
        lock = self._locks.get(subject)
        if lock is None:
            lock = self._locks[subject] = asyncio.Lock()
        return lock

    async def _deliver(
        self, cause: Cause, market: str, now: MarketNow, names: list[str]
    ) -> list[Failure]:
        async with self._alone(cause.name):
            return await self._deliver_alone(cause, market, now, names)

    async def _deliver_alone(
        self, cause: Cause, market: str, now: MarketNow, names: list[str]
    ) -> list[Failure]:
        now_ms = self._now_ms()
        group = cause.group
        firing = [alert.identity for alert in group.alerts if alert.firing]
        incident = self._store.incident(cause.name, now_ms, firing=bool(firing), named=cause.named)
        if cause.fires_after_its_end:
            names = self._still_to_change(incident, names)
            if not names:
                return []
        incident.closed = incident.closed and not firing
        known = _known_before(incident, cause, firing)
        seen = dict.fromkeys([*incident.alerts, *firing])
        incident.alerts = list(seen)[-ALERTS_MAX:]
        fired = incident.firing.get(group.group_key)
        again = fired is not None and {alert.identity for alert in fired} == set(firing)
        incident.note(group.group_key, group.alerts)
        group = whole_group(group, incident)
        why_quiet = quiet(group, now, now_ms, cause.incident, named=cause.named, known=known)
        state = state_of(group, why_quiet)
        if state in ENDED and len(incident.firing) > 1:
            # Another group's notification, which has ended before, told some that it goes on.
            names = list(dict.fromkeys([*names, *incident.sent.keys() & self._receivers.keys()]))
        due = {
            name: kind
            for name in names
            if (kind := self._due(incident, name, state, now_ms, again=again))
        }
        if not due and state in ENDED:
            return []
        span = lasting(
            group, now, incident.began_ms, cause.incident, goes_on=bool(why_quiet), known=known
        )
        if span.estimated:
            incident.began_ms = span.began_ms
        notice = compose(
            group,
            name=incident.name,
            kind=NoticeKind.BEGAN,
            span=span,
            now=now,
            incident=cause.incident,
            quiet=why_quiet,
            known=known,
            now_ms=now_ms,
            naming=self._naming(market),
        )
        incident.notice = None if state == OVER else notice
        if not due:
            await self._store.save()
            return []
        lead, series = self._lead(market, cause.incident)
        drawing = None
        if market and any(n in PICTURED and k is not NoticeKind.REPEATED for n, k in due.items()):
            drawn = series_shown(group, cause.incident)
            # A pager has no picture and does not wait for one.
            drawing = asyncio.create_task(self._drawn(market, drawn, span))
        results = await asyncio.gather(
            *(
                self._send(
                    incident,
                    name,
                    msgspec.structs.replace(notice, kind=k),
                    drawing,
                    state,
                    lead,
                    series,
                )
                for name, k in due.items()
            ),
            return_exceptions=True,
        )
        failures = [
            failure
            for name, result in zip(due, results, strict=True)
            if (failure := self._failure(incident, name, result)) is not None
        ]
        if all(sent.state == OVER for sent in incident.sent.values()) and not failures:
            incident.close(notice)
        incident.changed_ms = now_ms
        await self._store.save()
        return failures

    def _still_to_change(self, incident: OpenIncident, names: Iterable[str]) -> list[str]:
        """Of ``names``, those whose message says that an incident fires that is over, as its alerts do.

        An alert fires on for minutes, and may come late. It wakes nobody who was not told before, or who
        knows of the end: the end of the alert tells those who do not.
        """
        found = []
        for name in names:
            before = incident.sent.get(name)
            if before is not None and before.state not in ENDED:
                found.append(name)
            else:
                self._metrics.messages.labels(name, "unchanged").inc()
                _log.info("over_already", receiver=name, incident=incident.name)
        return found

    def _due(
        self, incident: OpenIncident, name: str, state: str, now_ms: int, *, again: bool
    ) -> NoticeKind | None:
        """What a receiver gets to know now; None when it knows it, or that can wait for a follow-up.

        ``again``: Alertmanager has said the same before: it tries again for somebody else, or reminds.
        """
        before = incident.sent.get(name)
        if before is not None and before.state in ENDED and state == UNKNOWN:
            state = before.state  # whatever is not known now, it knows more
        reminds = before is None or (again and now_ms - before.at_ms >= REPEAT_MIN_MS)
        if before is not None and before.state == state:
            if reminds and state not in ENDED:
                return NoticeKind.REPEATED
            self._metrics.messages.labels(name, "unchanged").inc()
            return None
        if state == OVER:
            return NoticeKind.OVER
        if before is None:
            return NoticeKind.BEGAN
        if state in ENDED or name in UPDATED or reminds or matters(before, incident.still_firing()):
            return NoticeKind.CHANGED
        return None

    async def _drawn(self, market: str, series: Series, span: Lasting) -> bytes:
        """Draw a picture. Raises NoChartError."""
        now_ms = self._now_ms()
        data = await self._charts.read(market, series, span.began_ms, now_ms)
        title = f"{market} {'' if series == WHOLE_MARKET else series[1]}"
        async with self._drawing:
            return await asyncio.to_thread(self._draw, data, title, span, now_ms)

    async def _send(
        self,
        incident: OpenIncident,
        name: str,
        notice: Notice,
        drawing: asyncio.Task[bytes] | None,
        state: str,
        lead: str = "",
        series: str = "",
    ) -> None:
        """Send one message and note it. Raises NotTakenError.

        ``lead``: name of the series that leads the incident, ``series``: its ``dimension:member``; empty
        where none is known.
        """
        picture = None
        if drawing is not None and name in ILLUSTRATED:
            picture, why = await _outcome(drawing)
            notice = msgspec.structs.replace(notice, no_picture=why)
        before = incident.sent.get(name)
        message = message_id(incident, name, f"{notice.kind}|{state}")
        firing = incident.still_firing()
        if before is not None and notice.kind is NoticeKind.CHANGED and not notice.quiet:
            parts = (
                lead_news(before.lead, lead),
                alerts_news(before.firing, firing, notice.alerts),
            )
            notice = msgspec.structs.replace(notice, news=". ".join(filter(None, parts)))
        kept = await self._sender.send(
            self._receivers[name],
            notice.as_sent(message),
            picture if name in PICTURED else None,
            {} if before is None else before.kept,
        )
        self._metrics.messages.labels(name, "sent").inc()
        self._metrics.receiver_up.labels(name).set(1)
        sent_ms = self._now_ms()
        incident.sent[name] = SentMessage(
            state,
            sent_ms,
            kept,
            [] if before is None else before.answers,
            list(firing),
            1 if before is None else before.number + 1,
            sent_ms if before is None else before.first_ms,
            lead or ("" if before is None else before.lead),
            paging_names(firing),
        )
        if series:
            incident.note_led(series, sent_ms)
        # At once: a crash while another receiver is being tried must not send this one again.
        await self._store.save()
        _log.info("message_sent", receiver=name, incident=incident.name, kind=notice.kind)

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


def _known_before(incident: OpenIncident, cause: Cause, firing: Iterable[str]) -> Notice | None:
    """What was known of a named incident that cannot be read; None where new alerts know more."""
    if not cause.named or cause.incident is not None or not set(firing) <= set(incident.alerts):
        return None
    return incident.notice


async def _all(works: Iterable[Awaitable[_Result]]) -> list[_Result]:
    """Await every one, then raise what the first of those that failed has raised."""
    found: list[_Result] = []
    for result in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        found.append(result)
    return found


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
