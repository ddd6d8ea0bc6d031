"""What is new to a receiver since its last message: answers given and taken back, alerts that fire."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from streams.index.operator_answers import (
    ACKNOWLEDGED,
    EXPECTED,
    FALSE_ALARM,
    NOTE,
    NOTES_MAX,
)
from streams.index.shown_text import one_line
from streams.notify.alert_group import WebhookAlert
from streams.notify.notice import NoticeAlert
from streams.publish.incident_records import PublishedAnswer, PublishedIncident
from streams.publish.incident_words import (
    ACKNOWLEDGED_BEFORE,
    STAYS_IN_PAGERDUTY,
    MarketNaming,
    answer_lines,
    clock_time,
)

NEWS_MAX = 2_500
ALERTS_SHOWN = 10
_ACKNOWLEDGES = (ACKNOWLEDGED, ACKNOWLEDGED_BEFORE)
_TAKEN_BACK = {
    ACKNOWLEDGED: "acknowledged",
    ACKNOWLEDGED_BEFORE: "acknowledged",
    EXPECTED: "expected",
    FALSE_ALARM: "a false alarm",
}


def answers_in_force(incident: PublishedIncident) -> list[PublishedAnswer]:
    """Answers to an incident as a receiver's last message is remembered: without their texts."""
    given = (incident.acknowledged, incident.verdict, *incident.notes)
    known = [_without_text(each) for each in given if each is not None]
    if (before := incident.acknowledged_before) is not None:
        known.append(PublishedAnswer(ACKNOWLEDGED_BEFORE, before.by, before.at))
    return known


def _without_text(answer: PublishedAnswer) -> PublishedAnswer:
    return PublishedAnswer(answer.kind, answer.by, answer.at)


def answers_news(
    before: Collection[PublishedAnswer],
    incident: PublishedIncident,
    naming: MarketNaming,
    *,
    in_pagerduty: bool,
) -> str:
    """Say which answers were given or taken back since ``before``; '' where none was.

    ``in_pagerduty``: an alert of the incident is open there.
    """
    taken_back = _taken_back(before, answers_in_force(incident))
    parts = [_say_taken_back(each, incident, naming) for each in taken_back if each.kind != NOTE]
    if in_pagerduty and any(each.kind == ACKNOWLEDGED for each in taken_back):
        parts.append(STAYS_IN_PAGERDUTY)
    if any(each.kind == NOTE for each in taken_back):
        parts.append("Taken back: the notes.")
    given = [
        line for each, line in newest_answers(incident, naming) if _without_text(each) not in before
    ]
    return one_line(" ".join([*parts, *given]), NEWS_MAX)


def newest_answers(
    incident: PublishedIncident, naming: MarketNaming
) -> list[tuple[PublishedAnswer, str]]:
    """Answers in force, each with its line, the newest first: room ends at the oldest."""
    return sorted(answer_lines(incident, naming), key=lambda each: each[0].at, reverse=True)


def alerts_news(
    before: Collection[str], firing: Mapping[str, WebhookAlert], shown: Iterable[NoticeAlert]
) -> str:
    """Say which alerts fire that did not, and which of those ``shown`` have ended.

    ``before``: identities of those that fired when the receiver's last message was sent.
    """
    new = [alert for identity, alert in firing.items() if identity not in before]
    ended = [alert for alert in shown if alert.status != "firing"]
    named = {
        "Fires as well" if before else "Fires": [a.annotation("summary") or a.name for a in new],
        "No longer fires": [alert.summary or alert.name for alert in ended],
    }
    parts = [
        f"{words}: {'; '.join(summaries[:ALERTS_SHOWN])}{_more(summaries)}"
        for words, summaries in named.items()
        if summaries
    ]
    return one_line(". ".join(parts), NEWS_MAX)


def lead_news(before: str, lead: str) -> str:
    """Say that another series leads an incident than in the last message; '' where none does.

    >>> lead_news("Bangladesh", "Toys (category, Bangladesh)")
    'Now about Toys (category, Bangladesh); the last message was about Bangladesh'
    """
    if not before or not lead or before == lead:
        return ""
    return one_line(f"Now about {lead}; the last message was about {before}", NEWS_MAX)


def _more(summaries: Collection[str]) -> str:
    left_out = len(summaries) - ALERTS_SHOWN
    return f" and {left_out} more" if left_out > 0 else ""


def _taken_back(
    before: Collection[PublishedAnswer], now: Collection[PublishedAnswer]
) -> list[PublishedAnswer]:
    """Answers of ``before`` that hold no longer, although no later one stands in their place."""
    gone = [each for each in before if each not in now]
    notes = [each for each in now if each.kind == NOTE]
    # Notes are taken back together; without that the oldest is forgotten once there are many.
    forgotten = len(notes) == NOTES_MAX or any(each in now for each in before if each.kind == NOTE)
    return [
        each for each in gone if not (forgotten if each.kind == NOTE else _is_replaced(each, now))
    ]


def _is_replaced(answer: PublishedAnswer, now: Collection[PublishedAnswer]) -> bool:
    """Whether a later acknowledgement or verdict stands in the place of an answer."""
    acknowledges = answer.kind in _ACKNOWLEDGES
    return any(
        each.kind != NOTE
        and (each.kind in _ACKNOWLEDGES) == acknowledges
        and (each.kind == answer.kind or each.at > answer.at or acknowledges)
        for each in now
    )


def _say_taken_back(
    answer: PublishedAnswer, incident: PublishedIncident, naming: MarketNaming
) -> str:
    at = clock_time(answer.at, naming.time_zone, incident.size.until)
    return f"Taken back: {_TAKEN_BACK.get(answer.kind, answer.kind)} ({answer.by}, {at})."
