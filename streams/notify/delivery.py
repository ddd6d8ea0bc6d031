"""Decides what is known of the incidents of a notification, and has each receiver told: once a state.

Alertmanager is the queue. It comes again with what was not taken, while that fires and with its end, so
nothing is kept here that a crash could lose, and what waits is bounded by what it sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

import structlog

from streams import clock
from streams.notify.alert_group import ALERTS_MAX, AlertGroup
from streams.notify.causes import Cause, causes_of, names_incident
from streams.notify.composing import (
    compose,
    lasting,
    leading,
    quiet,
    refreshed,
    series_shown,
    unread,
)
from streams.notify.due_messages import (
    Drawn,
    Message,
    edit_for,
    kind_for,
    knows,
    lead_of,
    message_at_refresh,
    still_to_change,
)
from streams.notify.market_now import MarketNow
from streams.notify.message_news import answers_in_force
from streams.notify.message_receiver import PICTURED, MessageReceiver
from streams.notify.message_sending import Charts, Draw, Failure, MessageSending
from streams.notify.message_state import ENDED, OVER, state_of, subject_of, whole_group
from streams.notify.notice import Notice, NoticeKind
from streams.notify.notify_metrics import NotifyMetrics
from streams.notify.sent_store import OpenIncident, SentStore
from streams.notify.trying import Pace, PatientSender
from streams.publish.incident_records import PublishedIncident
from streams.publish.incident_words import MarketNaming, naming_of

REFRESHED_AT_A_TIME = 8
"""Incidents whose messages are brought up to date together."""

_Result = TypeVar("_Result")
_log = structlog.get_logger(__name__)


class NowReader(Protocol):
    """Knows how a market is now."""

    async def read(self, market: str) -> MarketNow:
        """Read a market; never raises."""
        ...


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
        self._metrics = metrics
        self._namings = namings
        self._now_ms = now_ms
        self._sending = MessageSending(
            receivers,
            store,
            charts=charts,
            draw=draw,
            metrics=metrics,
            sender=PatientSender(pace, now_ms),
            now_ms=now_ms,
        )
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
        now_ms, naming = self._now_ms(), self._naming(notice.market)
        now = await self._market_now.read(notice.market)
        published = next((each for each in now.incidents if each.id == incident.name), None)
        edited = published is not None
        if published is not None:
            notice = refreshed(notice, published, now, now_ms, naming)
        elif notice.market and names_incident(incident.name) and not incident.closed:
            notice, edited = unread(notice, now, now_ms, naming.time_zone), True
        if not incident.closed and await self._tell_meanwhile(incident, notice, published):
            return
        if edited:
            await self._edit_all(incident, notice, published)

    async def _tell_meanwhile(
        self, incident: OpenIncident, notice: Notice, published: PublishedIncident | None
    ) -> bool:
        """Tell what no notification says of an open incident; return whether that was its end."""
        lead = lead_of(published, self._naming(notice.market))
        message = message_at_refresh(
            incident, notice, published, lead, self._receivers.keys(), self._now_ms()
        )
        ends = message is not None and message.state == OVER
        if published is not None and not ends:
            incident.notice = notice
        failures = [] if message is None else await self._sending.tell(incident, message)
        if message is not None and ends:
            if not failures:
                incident.close(message.notice)
            incident.changed_ms = self._now_ms()
            await self._store.save()
        return ends

    async def _edit_all(
        self, incident: OpenIncident, notice: Notice, published: PublishedIncident | None
    ) -> None:
        naming = self._naming(notice.market)
        await _all(
            self._sending.edit(incident, name, edit_for(incident, name, notice, published, naming))
            for name in sorted(incident.sent.keys() & self._receivers.keys())
        )

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
        due = self._due(incident, names, state, now_ms, again=again)
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
        drawn = None
        if market and any(n in PICTURED and k is not NoticeKind.REPEATED for n, k in due.items()):
            drawn = Drawn(series_shown(group, cause.incident), span)
        lead = lead_of(cause.incident, self._naming(market))
        failures = await self._sending.tell(incident, Message(notice, state, due, lead, drawn))
        if all(sent.state == OVER for sent in incident.sent.values()) and not failures:
            incident.close(notice)
        incident.changed_ms = now_ms
        await self._store.save()
        return failures

    def _still_to_change(self, incident: OpenIncident, names: list[str]) -> list[str]:
        found = still_to_change(incident, names)
        for name in names:
            if name not in found:
                self._metrics.messages.labels(name, "unchanged").inc()
                _log.info("over_already", receiver=name, incident=incident.name)
        return found

    def _due(
        self,
        incident: OpenIncident,
        names: Iterable[str],
        state: str,
        now_ms: int,
        *,
        again: bool,
    ) -> dict[str, NoticeKind]:
        """What the notification is to each receiver that gets it now; counts those that know it."""
        found = {}
        for name in names:
            kind = kind_for(incident, name, state, now_ms, again=again)
            if kind is not None:
                found[name] = kind
            elif knows(incident.sent.get(name), state):
                self._metrics.messages.labels(name, "unchanged").inc()
        return found


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
