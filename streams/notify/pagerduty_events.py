"""PagerDuty by Events API v2: one alert for an incident, by its name as the key that nobody else uses.

A picture would need a public address, so there is none; the links lead to where it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from streams.index.instants import parse_instant
from streams.index.shown_text import one_line
from streams.notify.composing import UNKNOWN_QUIET
from streams.notify.message_receiver import Kept, NotTakenError
from streams.notify.notice import Notice, NoticeKind, Urgency
from streams.notify.posting import new_session, post
from streams.settings import NotifySettings

SUMMARY_MAX = 1_024
KEY_MAX = 255
OF_PAGERDUTY = "(PagerDuty)"
"""End of an author's name who has acknowledged it there (streams/board/acknowledgements.py)."""
EVENT_BYTES_MAX = 512 * 1024
_ACKNOWLEDGED = "acknowledged"
"""Noted of an alert: in whose name it was acknowledged from here."""
_WORSENED = "worsened"
"""Noted of an alert: when its incident had last become worse in kind when it was triggered anew."""
_SILENCED = "silenced"
"""Noted of an alert that was resolved since an answer keeps its incident from paging."""
_ACTION = "check notify.pagerduty_key: the routing key of an integration Events API v2"


class EventAction(StrEnum):
    """What an event does to PagerDuty's alert."""

    TRIGGER = "trigger"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"


def dedup_key(incident: str) -> str:
    """Key of an incident: its own name, or a digest of one that is too long."""
    if len(incident) <= KEY_MAX:
        return incident
    return hashlib.sha256(incident.encode()).hexdigest()


def event(notice: Notice, routing_key: str, action: EventAction) -> dict[str, Any]:
    """Content of an event, within PagerDuty's limits."""
    known = {"routing_key": routing_key, "dedup_key": dedup_key(notice.incident)}
    if action is not EventAction.TRIGGER:
        return {**known, "event_action": action}
    return {
        **known,
        "event_action": action,
        "client": "ecindex",
        "links": [{"href": link.url, "text": link.text} for link in notice.links],
        "payload": {
            "summary": one_line(notice.headline(), SUMMARY_MAX),
            "source": notice.market or "ecindex",
            "severity": "critical" if notice.urgency is Urgency.PAGE else "warning",
            "timestamp": notice.began or notice.sent_at,
            "component": "ecindex",
            "group": notice.market or "service",
            "class": notice.alerts[0].name if notice.alerts else "ecindex",
            "custom_details": {
                **dict(notice.facts()),
                **({"New": notice.news} if notice.news else {}),
                "Alerts": [f"{alert.name}: {alert.summary}" for alert in notice.alerts],
                **({"Alerts left out": notice.left_out} if notice.left_out else {}),
            },
        },
    }


def _action_of(notice: Notice, kept: Mapping[str, str]) -> EventAction | None:
    """What a message does there; None: nothing, since it knows it, or has no word for it."""
    if notice.quiet == UNKNOWN_QUIET:
        return None  # to resolve it would say that it is over
    ended = notice.over or bool(notice.quiet)
    if not ended and (notice.silenced or _SILENCED in kept):
        if not silence_changed(notice, kept):
            return None
        return EventAction.RESOLVE if notice.silenced else EventAction.TRIGGER
    if notice.kind is NoticeKind.ANSWERED:
        return None if ended else _action_of_answer(notice, kept)
    return EventAction.RESOLVE if ended else EventAction.TRIGGER


def _action_of_answer(notice: Notice, kept: Mapping[str, str]) -> EventAction | None:
    by, known = notice.acknowledged_by, kept.get(_ACKNOWLEDGED, "")
    if by and by != known and not by.endswith(OF_PAGERDUTY):
        return EventAction.ACKNOWLEDGE
    if _must_ring_again(notice, kept):
        return EventAction.TRIGGER
    # No event takes an acknowledgement back: its log says that it was, and nobody is paged.
    return EventAction.TRIGGER if known and not by else None


def silence_changed(notice: Notice, kept: Mapping[str, str]) -> bool:
    """Whether an answer silences what is open there, or silences no longer what was resolved for it.

    Its alerts fire on for minutes after an answer. One that lapses meanwhile changes none of them.
    """
    return not notice.quiet and not notice.done and notice.silenced != (_SILENCED in kept)


def _must_ring_again(notice: Notice, kept: Mapping[str, str]) -> bool:
    """Whether who has acknowledged an alert that is open there knew of something less.

    Nobody is called again for an alert that is acknowledged. One that was triggered anew since is not.
    """
    if not kept or not notice.worsened or not notice.acknowledged_before:
        return False
    rang_ms = parse_instant(kept.get(_WORSENED, "")) or 0
    given_ms = parse_instant(notice.acknowledged_before_at or "") or 0
    return rang_ms <= given_ms and kept.get(_WORSENED, "") != notice.worsened


class PagerDutyReceiver:
    """Triggers and resolves the alert of each incident.

    Once an incident has become worse in kind than what was acknowledged, its alert is resolved and
    triggered anew. While an answer keeps an incident from paging, its alert is resolved.
    What is acknowledged there is known where PagerDuty tells the board.
    """

    name = "pagerduty"

    def __init__(self, settings: NotifySettings) -> None:
        self._key = settings.pagerduty_credential() or ""
        self._url = f"{settings.pagerduty_api.rstrip('/')}/v2/enqueue"
        self._session = new_session()

    async def send(self, notice: Notice, picture: bytes | None, kept: Mapping[str, str]) -> Kept:
        """Trigger, which adds to the log of an alert that is open, acknowledge or resolve.

        Raises NotTakenError.
        """
        del picture
        action = _action_of(notice, kept)
        if action is None:
            return dict(kept)
        silenced = _SILENCED in kept
        anew = action is EventAction.TRIGGER and (silenced or _must_ring_again(notice, kept))
        if anew and not silenced:
            await self._post(notice, EventAction.RESOLVE)
        await self._post(notice, action)
        by = notice.acknowledged_by if action is EventAction.ACKNOWLEDGE else ""
        if action is EventAction.TRIGGER and notice.kind is not NoticeKind.ANSWERED and not anew:
            by = kept.get(_ACKNOWLEDGED, "")
        noted = {_ACKNOWLEDGED: by}
        if anew or not kept:
            noted[_WORSENED] = notice.worsened or ""
        else:
            noted[_WORSENED] = kept.get(_WORSENED, "")
        if action is EventAction.RESOLVE and notice.silenced and not notice.quiet:
            noted[_SILENCED] = "yes"
        return {"dedup_key": dedup_key(notice.incident)} | {k: v for k, v in noted.items() if v}

    async def _post(self, notice: Notice, action: EventAction) -> None:
        body = msgspec.json.encode(event(notice, self._key, action))
        if len(body) > EVENT_BYTES_MAX:  # 20 alerts of 700 characters are far from it
            raise NotTakenError(
                f"an event of {len(body)} bytes; at most {EVENT_BYTES_MAX}", again=False
            )
        await post(self._session, self._url, body, {}, _ACTION)

    async def close(self) -> None:
        """Close connections."""
        await self._session.close()
