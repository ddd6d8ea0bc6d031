"""What was sent, of each incident to each receiver, kept over restarts: nobody gets a message twice.

One small file, replaced whole. Memory is what counts while the process runs: a disk that is full must
not keep anybody from being woken.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import structlog

from streams.index.formats import json_reader
from streams.notify.alert_group import WebhookAlert
from streams.notify.message_receiver import Kept
from streams.notify.notice import Notice
from streams.publish.incident_records import PublishedAnswer

INCIDENTS_MAX = 500
"""The ones closed for longest are forgotten first."""
LED_MAX = 50
"""Series that have led an incident, of which it is kept when somebody was told."""
FILE = "notify/sent.json"

_log = structlog.get_logger(__name__)


class SentMessage(msgspec.Struct):
    """The last message of an incident to a receiver. ``state`` is what it said."""

    state: str
    at_ms: int
    kept: Kept = {}
    answers: list[PublishedAnswer] = []
    """Answers in force that it knows of, without their texts."""
    firing: list[str] = []
    """Identities of the alerts that fired when it was sent."""
    number: int = 1
    """How many messages of the incident the receiver has taken."""
    first_ms: int = 0
    """When it has taken the first of them; 0 where that was not noted."""
    lead: str = ""
    """Name of the series that led the incident when it was sent; empty where none is known."""
    paging: list[str] | None = None
    """Names of the alerts that paged when it was sent; None where that was not noted."""


class OpenIncident(msgspec.Struct):
    """An incident that was told of. ``subject``: what it is one time of, or its own name.

    ``alerts``: what tells its alerts, since it began, apart from others of their group. ``notice``: the
    last message, or what was known since; of one that is over, without its alerts. ``firing``: what
    fires of it, by Alertmanager's group; a group whose alerts have ended has none.
    """

    name: str
    subject: str
    number: int
    changed_ms: int
    alerts: list[str] = []
    began_ms: int | None = None
    closed: bool = False
    sent: dict[str, SentMessage] = {}
    notice: Notice | None = None
    firing: dict[str, list[WebhookAlert]] = {}
    led: dict[str, int] = {}
    """When somebody was first told that a series leads it, by ``dimension:member``."""

    def first_sent(self) -> dict[str, int]:
        """When each receiver was first told of it, UTC epoch ms."""
        return {name: sent.first_ms for name, sent in self.sent.items() if sent.first_ms}

    def note_led(self, series: str, at_ms: int) -> None:
        """Note that somebody was told that a series leads it."""
        if len(self.led) < LED_MAX:
            self.led.setdefault(series, at_ms)

    def note(self, group_key: str, alerts: list[WebhookAlert]) -> None:
        """Note what a group of Alertmanager says of the incident: which of its alerts fire now."""
        ended = {alert.identity for alert in alerts if not alert.firing}
        self.firing = {
            key: [alert for alert in known if alert.identity not in ended]
            for key, known in self.firing.items()
        }
        self.firing[group_key] = [alert for alert in alerts if alert.firing]

    def still_firing(self) -> dict[str, WebhookAlert]:
        """What fires of it in any group, by what tells alerts apart."""
        return {alert.identity: alert for known in self.firing.values() for alert in known}

    def close(self, notice: Notice) -> None:
        """Note that everybody knows of the end. ``notice`` says it; an answer may come after it."""
        self.closed, self.alerts, self.firing = True, [], {}
        self.notice = msgspec.structs.replace(notice, alerts=(), left_out=0)


class _Content(msgspec.Struct):
    incidents: list[OpenIncident] = []
    v: int = 1


_decode = json_reader(_Content)


class SentStore:
    """Incidents by subject, the newest of each."""

    def __init__(self, data_dir: Path) -> None:
        """Read what is kept below ``data_dir``. A file that cannot be read is moved away."""
        self._file = data_dir / FILE
        self._incidents: dict[str, OpenIncident] = {}
        self._lock = asyncio.Lock()
        self.changed = asyncio.Event()
        """Set when something was saved; whoever waits for it clears it."""
        for incident in _read(self._file).incidents:
            self._incidents[incident.subject] = incident

    def incidents(self) -> list[OpenIncident]:
        """Every incident that is kept."""
        return list(self._incidents.values())

    def sent_incidents(self, *, closed: bool) -> list[OpenIncident]:
        """Incidents that were told of: those that are over, or those that are not."""
        return [each for each in self._incidents.values() if each.closed is closed and each.sent]

    def held_by(self, alert: str) -> str | None:
        """The subject whose open incident has counted an alert to itself."""
        for incident in self._incidents.values():
            if not incident.closed and alert in incident.alerts:
                return incident.subject
        return None

    def incident(
        self, subject: str, now_ms: int, *, firing: bool, named: bool = False
    ) -> OpenIncident:
        """The incident of a subject. ``named``: the subject's name is the incident's, for good.

        Where it is not, a closed incident that fires again is a new one.
        """
        known = self._incidents.get(subject)
        if known is not None and (named or not (known.closed and firing)):
            return known
        number = 1 if known is None else known.number + 1
        name = subject if named else f"{subject}-{number}"
        incident = OpenIncident(name, subject, number, now_ms)
        self._incidents.pop(subject, None)
        self._incidents[subject] = incident
        while len(self._incidents) > INCIDENTS_MAX:
            oldest = min(
                self._incidents.values(), key=lambda each: (not each.closed, each.changed_ms)
            )
            del self._incidents[oldest.subject]
        return incident

    async def save(self) -> None:
        """Write everything, so that the next process knows it. A failure is logged."""
        self.changed.set()
        async with self._lock:
            encoded = msgspec.json.encode(_Content(list(self._incidents.values())))
            try:
                await asyncio.to_thread(_write, self._file, encoded)
            except OSError as error:
                _log.error(
                    "sent_not_kept",
                    file=str(self._file),
                    detail=str(error),
                    action="make room in data_dir: after a restart messages would be sent again",
                )


def _read(file: Path) -> _Content:
    try:
        return _decode(file.read_bytes())
    except FileNotFoundError:
        return _Content()
    except (OSError, msgspec.DecodeError) as error:
        unreadable = file.with_suffix(".unreadable")
        _log.error("sent_unreadable", file=str(file), detail=str(error), moved_to=str(unreadable))
        try:
            file.replace(unreadable)
        except OSError as failed:
            _log.warning("sent_not_moved", file=str(file), detail=str(failed))
        return _Content()


def _write(file: Path, encoded: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    with partial.open("wb") as out:
        out.write(encoded)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)
