"""What each receiver gets next of an incident, by what it knows. Decided here, sent elsewhere.

What a receiver knows is its last message (``SentMessage``). A notification brings what fires; a refresh
brings what the index knows meanwhile: an end that no notification tells, that something goes on, details
for those whose messages stay as they were sent, and answers. Each becomes one message to those to whom
it says something new.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import msgspec

from streams.index.instants import parse_instant
from streams.index.panes import rfc3339
from streams.notify.composing import UNKNOWN_QUIET, WHOLE_MARKET, Lasting
from streams.notify.market_now import Series
from streams.notify.message_news import answers_in_force, answers_news
from streams.notify.message_receiver import FOLLOWED_UP, PICTURED, UPDATED
from streams.notify.message_state import (
    ENDED,
    OVER,
    QUIET,
    UNKNOWN,
    firing_state,
    matters,
    worth_telling,
)
from streams.notify.notice import Notice, NoticeKind
from streams.notify.pagerduty_events import PagerDutyReceiver, silence_changed
from streams.notify.sent_store import OpenIncident, SentMessage
from streams.publish.incident_records import PublishedAnswer, PublishedIncident
from streams.publish.incident_words import MarketNaming, series_name

REPEAT_MIN_MS = 5 * 60_000
"""The same state within this time is Alertmanager trying again for another receiver, no reminder."""
FOLLOW_UP_MS = 5 * 60_000
"""Who cannot edit a message gets details at most so often: each of 29 members comes by itself."""
END_AWAITED_MS = 10 * 60_000
"""An end reaches Alertmanager within this time: keep_firing_for, its group_interval, and a delivery."""


class Lead(NamedTuple):
    """The series that leads an incident: its name, and ``dimension:member``; '' where none is known."""

    name: str = ""
    series: str = ""


class Drawn(NamedTuple):
    """What a message's picture shows."""

    series: Series
    span: Lasting


class Message(NamedTuple):
    """One message of an incident to those to whom it says something.

    ``kinds``: what it is to each receiver. ``state``: what it says fires, which they know then.
    """

    notice: Notice
    state: str
    kinds: Mapping[str, NoticeKind]
    lead: Lead = Lead()
    drawn: Drawn | None = None


class Edit(NamedTuple):
    """What a receiver's message becomes without another state: answers, and how it is now.

    ``notice`` None: it has nothing to say. ``answers``: those that the receiver knows of then.
    """

    notice: Notice | None
    answers: list[PublishedAnswer]
    kept_at_once: bool = False
    """Whether it must be known after a crash: it told somebody."""


def lead_of(published: PublishedIncident | None, naming: MarketNaming) -> Lead:
    """Return what leads an incident."""
    if published is None:
        return Lead()
    dimension, member = published.dimension, published.member
    return Lead(series_name(dimension, member, naming.name), f"{dimension}:{member}")


def knows(before: SentMessage | None, state: str) -> bool:
    """Whether a receiver knows of a state. Whatever is not known now, who was told an end knows more."""
    if before is None:
        return False
    return before.state == state or (before.state in ENDED and state == UNKNOWN)


def kind_for(
    incident: OpenIncident, name: str, state: str, now_ms: int, *, again: bool
) -> NoticeKind | None:
    """What a notification is to a receiver; None where it knows it, or that can wait for details.

    ``again``: Alertmanager has said the same before: it tries again for somebody else, or reminds.
    """
    before = incident.sent.get(name)
    reminds = before is None or (again and now_ms - before.at_ms >= REPEAT_MIN_MS)
    if knows(before, state):
        return NoticeKind.REPEATED if reminds and state not in ENDED else None
    if state == OVER:
        return NoticeKind.OVER
    if before is None:
        return NoticeKind.BEGAN
    if state in ENDED or name in UPDATED or reminds or matters(before, incident.still_firing()):
        return NoticeKind.CHANGED
    return None


def still_to_change(incident: OpenIncident, names: Iterable[str]) -> list[str]:
    """Of ``names``, those whose message says that an incident fires that is over, as its alerts do.

    An alert fires on for minutes, and may come late. It wakes nobody who was not told before, or who
    knows of the end: the end of the alert tells those who do not.
    """
    sent = incident.sent
    return [name for name in names if name in sent and sent[name].state not in ENDED]


def message_at_refresh(
    incident: OpenIncident,
    notice: Notice,
    published: PublishedIncident | None,
    lead: Lead,
    receivers: Collection[str],
    now_ms: int,
) -> Message | None:
    """What no notification says of an open incident; None where there is nothing.

    ``notice``: as it is now. ``published``: None where nothing can be read of it.
    """
    message = None
    if published is not None and _is_over(incident, published, now_ms):
        message = _end(incident, notice)
    elif published is not None and notice.quiet:
        message = _goes_on(incident, notice)
    elif not notice.quiet:
        message = _details(incident, notice, published, lead, receivers, now_ms)
    if message is None:
        return None
    return message._replace(
        kinds={name: kind for name, kind in message.kinds.items() if name in receivers}
    )


def _is_over(incident: OpenIncident, published: PublishedIncident, now_ms: int) -> bool:
    """Whether an incident is over and no notification says so any more.

    Alertmanager sends no resolution of an alert that another one inhibits.
    """
    over_ms = None if published.over is None else parse_instant(published.over)
    if over_ms is None or incident.notice is None:
        return False
    return bool(incident.notice.quiet) or now_ms - over_ms > END_AWAITED_MS


def _end(incident: OpenIncident, notice: Notice) -> Message:
    """The end, for everybody who was told of the incident."""
    # Its alerts are those that fired when a message was last sent.
    over = msgspec.structs.replace(notice, kind=NoticeKind.OVER, quiet="", alerts=(), left_out=0)
    names = [name for name, sent in incident.sent.items() if sent.state != OVER]
    return Message(over, OVER, dict.fromkeys(names, NoticeKind.OVER))


def _goes_on(incident: OpenIncident, notice: Notice) -> Message | None:
    """That it goes on, for those who were told that this is not known."""
    names = [name for name, sent in incident.sent.items() if sent.state == UNKNOWN]
    if notice.quiet == UNKNOWN_QUIET or not names:
        return None
    return Message(notice, QUIET, dict.fromkeys(names, NoticeKind.CHANGED))


def _details(
    incident: OpenIncident,
    notice: Notice,
    published: PublishedIncident | None,
    lead: Lead,
    receivers: Collection[str],
    now_ms: int,
) -> Message | None:
    """What has changed meanwhile, in one, for those whose messages stay as they were sent."""
    firing = incident.still_firing()
    if not firing or (published is not None and published.over is not None):
        return None
    names = {
        name
        for name in FOLLOWED_UP & incident.sent.keys() & set(receivers)
        if now_ms - incident.sent[name].at_ms >= FOLLOW_UP_MS
        and worth_telling(incident.sent[name], firing, *lead)
    }
    if not names:
        return None
    drawn = None
    if notice.market and PICTURED & names:
        series = WHOLE_MARKET if published is None else (published.dimension, published.member)
        drawn = Drawn(series, Lasting(incident.began_ms, None, estimated=True))
    changed = msgspec.structs.replace(notice, news="", sent_at=rfc3339(now_ms))
    kinds = dict.fromkeys(sorted(names), NoticeKind.CHANGED)
    return Message(changed, firing_state(firing), kinds, lead, drawn)


def edit_for(
    incident: OpenIncident,
    name: str,
    notice: Notice,
    published: PublishedIncident | None,
    naming: MarketNaming,
) -> Edit:
    """What a receiver's message becomes. ``published`` None: the answers are not known, none is new."""
    sent = incident.sent[name]
    answers, news, of_silence = sent.answers, "", False
    if published is not None:
        answers = answers_in_force(published)
        news = answers_news(
            sent.answers,
            published,
            naming,
            in_pagerduty=PagerDutyReceiver.name in incident.sent
            and not (incident.closed or notice.silenced),
        )
        of_silence = name == PagerDutyReceiver.name and silence_changed(notice, sent.kept)
    if not news and (incident.closed or not (of_silence or name in UPDATED)):
        return Edit(None, answers)
    kind = NoticeKind.ANSWERED if news else NoticeKind.REPEATED
    edited = msgspec.structs.replace(notice, kind=kind, news=news)
    return Edit(edited, answers, kept_at_once=bool(news) or of_silence)
