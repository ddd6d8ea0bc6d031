"""A notification of Alertmanager and what is known of its market -> what a message says.

Pure functions. What comes from labels and annotations is made safe to be shown here, once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from streams.index.instants import parse_instant
from streams.index.panes import rfc3339
from streams.notify.alert_group import AlertGroup, WebhookAlert
from streams.notify.market_now import MarketNow, Series, ShiftNow
from streams.notify.notice import Notice, NoticeAlert, NoticeKind, NoticeLink, Urgency
from streams.notify.number_words import count_words, ratio_words, span_words, time_words
from streams.notify.shown_text import one_line
from streams.publish.incident_records import IncidentSize, PublishedAnswer, PublishedIncident

WHOLE_MARKET: Series = ("market", "all")
TITLE_MAX = 140
SENTENCE_MAX = 600
NAME_MAX = 80
URL_MAX = 2_000
ALERTS_SHOWN = 20
"""A group of a market that stopped has 29. The others are counted."""
NAMES_SHOWN = 5
STALE_AFTER_MS = 30_000
_FIRST = ("EcindexMarketOutage", "EcindexMarketShift")
"""Alerts that stand for their group, whatever else fires in it."""
_PLURALS = {
    "category": "categories",
    "region": "regions",
    "channel": "channels",
    "payment_method": "payment methods",
    "payment_failure": "methods with failed payments",
}
_LINKS = (
    ("page", "Live page", "page_url"),
    ("dashboard", "Dashboard", "dashboard_url"),
    ("runbook", "Runbook", "runbook_url"),
)
_ADDRESS = re.compile(r"https?://[^/\s]+", re.IGNORECASE)
_SINCE = re.compile(r" since |: ?(?=\d)")


class Lasting(NamedTuple):
    """From when until when an incident lasts, as far as it is known. UTC epoch ms."""

    began_ms: int | None
    ended_ms: int | None
    estimated: bool
    """True where the detector has estimated the beginning; else it is the first alert's."""
    exact: bool = False
    """True where the detector has found the end; else it is the last alert's, minutes later."""


def leading(alerts: Sequence[WebhookAlert]) -> WebhookAlert:
    """The alert that stands for a group: firing before resolved, the whole market before its members."""

    def rank(alert: WebhookAlert) -> tuple[bool, int, bool, int]:
        place = _FIRST.index(alert.name) if alert.name in _FIRST else len(_FIRST)
        ticket = alert.labels.get("severity") != Urgency.PAGE
        return (not alert.firing, place, ticket, alert.started_ms() or 0)

    return min(alerts, key=rank)


def series_of(alert: WebhookAlert) -> Series | None:
    """The series that an alert is about; None where it is about the service."""
    labels = alert.labels
    if "market" not in labels:
        return None
    if "method" in labels:
        return "payment_method", labels["method"]
    return labels.get("dimension", "market"), labels.get("member", "all")


def series_shown(group: AlertGroup, incident: PublishedIncident | None) -> Series:
    """The series that a message is about first: the incident's own, else the leading alert's."""
    if incident is not None:
        return incident.dimension, incident.member
    return series_of(leading(group.alerts)) or WHOLE_MARKET


def lasting(
    group: AlertGroup,
    now: MarketNow,
    known_began_ms: int | None,
    incident: PublishedIncident | None = None,
) -> Lasting:
    """From when until when. ``known_began_ms``: what an earlier message has said."""
    began = [at for alert in group.alerts if (at := alert.started_ms()) is not None]
    ended = [at for alert in group.alerts if (at := alert.ended_ms()) is not None]
    over = not any(alert.firing for alert in group.alerts)
    ended_ms = max(ended, default=None) if over else None
    if incident is not None:
        exact_ms = None if incident.over is None else parse_instant(incident.over)
        return Lasting(
            parse_instant(incident.began),
            (exact_ms or ended_ms) if over else None,
            estimated=True,
            exact=exact_ms is not None,
        )
    shift = now.shifts.get(series_of(leading(group.alerts)) or WHOLE_MARKET)
    estimated = None if shift is None else parse_instant(shift.start)
    found = [at for at in (known_began_ms, estimated) if at is not None]
    return Lasting(min(found) if found else min(began, default=None), ended_ms, bool(found))


def compose(
    group: AlertGroup,
    *,
    name: str,
    kind: NoticeKind,
    span: Lasting,
    now: MarketNow,
    now_ms: int,
    zones: Mapping[str, str] | None = None,
    incident: PublishedIncident | None = None,
) -> Notice:
    """What a message says of the alerts of one cause, which is called ``name``.

    ``zones``: time zone of each market. ``now`` is empty for alerts of no market. ``incident``: what is
    published of it.
    """
    lead = leading(group.alerts)
    series = series_of(lead)
    market = one_line(lead.labels.get("market", ""), NAME_MAX)
    zone = (zones or {}).get(lead.labels.get("market", ""))
    shift = None if series is None else now.shifts.get(series)
    shown = sorted(group.alerts, key=lambda alert: (alert is not lead, not alert.firing))
    if incident is not None:
        series = (incident.dimension, incident.member)
        size, sureness = _size(incident.size, series), _sureness(incident.evidence)
        affected = _affected_of(incident)
        at_present = _now_of(incident, now, now_ms)
    else:
        size = "" if shift is None or series is None else _size(shift, series)
        sureness = _sureness(None if shift is None else shift.evidence)
        affected = _affected(group.alerts, lead, now)
        at_present = "" if series is None else _now(series, now, now_ms, firing=lead.firing)
    return Notice(
        incident=name,
        kind=kind,
        urgency=Urgency.PAGE if _pages(group.alerts) else Urgency.TICKET,
        title=_title(lead),
        since=_since(span, now_ms, zone),
        sent_at=rfc3339(now_ms),
        market=market,
        began=None if span.began_ms is None else rfc3339(span.began_ms),
        ended=None if span.ended_ms is None else rfc3339(span.ended_ms),
        size=size,
        sureness=sureness,
        affected=affected,
        now=at_present,
        answered="" if incident is None else _answered(incident, zone),
        acknowledged_by="" if incident is None else _acknowledged_by(incident),
        advice=one_line(lead.annotation("description"), SENTENCE_MAX),
        links=_links(lead, None if incident is None else incident.id),
        alerts=tuple(map(_alert, shown[:ALERTS_SHOWN])),
        left_out=max(len(shown) - ALERTS_SHOWN, 0) + group.truncated_alerts,
    )


def refreshed(
    notice: Notice, incident: PublishedIncident, now: MarketNow, now_ms: int, zone: str | None
) -> Notice:
    """The message of an open incident as it is now."""
    over_ms = None if incident.over is None else parse_instant(incident.over)
    span = Lasting(parse_instant(incident.began), over_ms, estimated=True, exact=True)
    return msgspec.structs.replace(
        notice,
        kind=NoticeKind.REPEATED,
        since=_since(span, now_ms, zone),
        sent_at=rfc3339(now_ms),
        size=_size(incident.size, (incident.dimension, incident.member)),
        affected=_affected_of(incident),
        now=_now_of(incident, now, now_ms),
        answered=_answered(incident, zone),
        acknowledged_by=_acknowledged_by(incident),
    )


def _pages(alerts: Sequence[WebhookAlert]) -> bool:
    return any(alert.labels.get("severity") == Urgency.PAGE for alert in alerts)


def _title(lead: WebhookAlert) -> str:
    """The summary without its numbers, which are of the time when the alert began to fire."""
    summary = one_line(lead.annotation("summary"), SENTENCE_MAX)
    short = _SINCE.split(summary, maxsplit=1)[0] if lead.labels.get("dimension") else summary
    return one_line(short or lead.name or "An alert without a name", TITLE_MAX)


def _since(span: Lasting, now_ms: int, zone: str | None) -> str:
    if span.began_ms is None:
        return ""
    began = time_words(span.began_ms, zone)
    if span.ended_ms is not None:
        length = span_words(span.ended_ms - span.began_ms)
        if span.exact:
            return f"{began}; over since {time_words(span.ended_ms)}, after {length}"
        # An alert fires on for minutes after its cause: keep_firing_for.
        return f"{began}; over by {time_words(span.ended_ms)}, after {length} at most"
    of_alert = "" if span.estimated else ", when the alert began to fire"
    return f"{began}{of_alert}: {span_words(now_ms - span.began_ms)} ago"


def _size(shift: ShiftNow | IncidentSize, series: Series) -> str:
    words = f"{ratio_words(shift.ratio)} {'of ' if shift.ratio < 1 else ''}what is expected"
    if shift.lower is not None and shift.upper is not None:
        words += f" (95 % interval: {ratio_words(shift.lower)} to {ratio_words(shift.upper)})"
    if shift.observed is None or shift.expected is None:
        return words
    counted = _counted(series[0])
    observed, expected = count_words(shift.observed), count_words(shift.expected)
    return f"{words}: {observed} {counted} counted since then, {expected} expected"


def _sureness(evidence: float | None) -> str:
    if evidence is None:
        return ""
    return f"when it was found, the evidence was {evidence:.1f} times what pages"


def _affected_of(incident: PublishedIncident) -> str:
    """The members that an incident affects, by dimension."""
    own = (incident.dimension, incident.member)
    parts = ["the whole market" if own == WHOLE_MARKET else _member(own)]
    for found in incident.affected:
        plural = _PLURALS.get(found.dimension, found.dimension)
        if found.affected == found.of > 1:
            parts.append(f"all {found.of} {plural}")
        elif any((found.dimension, each.member) != own for each in found.members):
            names = ", ".join(one_line(each.member, NAME_MAX) for each in found.members)
            parts.append(f"{found.affected} of {found.of} {plural}, most {names}")
    return one_line("; ".join(parts).replace("_", " "), SENTENCE_MAX)


def _member(series: Series) -> str:
    return f"{series[0]} {one_line(series[1], NAME_MAX)}"


def _now_of(incident: PublishedIncident, now: MarketNow, now_ms: int) -> str:
    """How an incident is now: going on, coming back, or over."""
    counted = _counted(incident.dimension)
    if incident.over is not None:
        return "over"
    verdict = "coming back, not confirmed yet" if incident.state == "returning" else "still so"
    size = incident.now
    if size is None:
        return f"{verdict}: nothing is expected of the last minutes"
    since_ms, until_ms = (parse_instant(each) or 0 for each in (size.since, size.until))
    length = span_words(until_ms - since_ms)
    numbers = (
        f"{count_words(size.observed)} {counted} in {length}, {count_words(size.expected)} expected"
    )
    age_ms = now_ms - now.as_of_ms
    old = f"; these numbers are {span_words(age_ms)} old" if age_ms > STALE_AFTER_MS else ""
    return f"{verdict}: {numbers}{old}"


def _answered(incident: PublishedIncident, zone: str | None) -> str:
    """What operators have said of an incident, with the last note."""
    given = (incident.acknowledged, incident.verdict, *incident.notes[-1:])
    return one_line("; ".join(_answer(each, zone) for each in given if each), SENTENCE_MAX)


def _acknowledged_by(incident: PublishedIncident) -> str:
    return "" if incident.acknowledged is None else one_line(incident.acknowledged.by, NAME_MAX)


def _answer(answer: PublishedAnswer, zone: str | None) -> str:
    words = {"expected": "expected", "false_alarm": "called a false alarm"}.get(
        answer.kind, answer.kind
    )
    at_ms, until_ms = (parse_instant(each or "") for each in (answer.at, answer.until))
    text = f"{words} by {answer.by}"
    if at_ms is not None:
        text += f" at {time_words(at_ms, zone)}"
    if until_ms is not None:
        text += f", until {time_words(until_ms, zone)}"
    return f"{text}: {answer.text}" if answer.text else text


def _counted(dimension: str) -> str:
    return {"payment_failure": "failed payments", "payment_method": "payments"}.get(
        dimension, "orders"
    )


def _affected(alerts: Sequence[WebhookAlert], lead: WebhookAlert, now: MarketNow) -> str:
    """Every series that is shifted as the leading alert's is, those without an alert too."""
    series = series_of(lead)
    if series is None:
        return ""
    shift = now.shifts.get(series)
    found = {s for alert in alerts if alert.firing and (s := series_of(alert)) is not None}
    if shift is not None:
        found |= {s for s, other in now.shifts.items() if other.direction == shift.direction}
    parts = []
    for dimension, plural in _PLURALS.items():
        members = sorted(member for d, member in found if d == dimension)
        known = {member for (d, member), _window in now.counts if d == dimension} - {"all"}
        if members and known and set(members) >= known:
            parts.append(f"all {len(members)} {plural}")
        elif members:
            names = ", ".join(one_line(member, NAME_MAX) for member in members[:NAMES_SHOWN])
            more = f" and {len(members) - NAMES_SHOWN} more" if len(members) > NAMES_SHOWN else ""
            parts.append(f"{plural} {names}{more}" if len(members) > 1 else f"{dimension} {names}")
    whole = ["the whole market"] if WHOLE_MARKET in found else []
    return one_line("; ".join([*whole, *parts]).replace("_", " "), SENTENCE_MAX)


def _now(series: Series, now: MarketNow, now_ms: int, *, firing: bool) -> str:
    if now.unknown:
        return f"how it is now is not known: {one_line(now.unknown, SENTENCE_MAX // 2)}"
    sentences = []
    for window, words in (("1m", "the last minute"), ("5m", "5 minutes")):
        count = now.counts.get((series, window))
        if count is not None:
            expected = "" if count.expected is None else f", {count_words(count.expected)} expected"
            sentences.append(f"{count_words(count.value)} {count.counted} in {words}{expected}")
    age_ms = now_ms - now.as_of_ms
    old = f"; these numbers are {span_words(age_ms)} old" if age_ms > STALE_AFTER_MS else ""
    if firing and series in now.shifts:
        verdict = "still so"
    elif firing and series[0] != "payment_method":
        verdict = "the detector no longer sees it; the alert ends within minutes"
    else:
        verdict = "" if firing else "back within what is expected"
    counted = "; ".join(sentences)
    return one_line(": ".join(filter(None, (verdict, counted))) + old, SENTENCE_MAX)


def _links(lead: WebhookAlert, incident: str | None) -> tuple[NoticeLink, ...]:
    """Links whose settings are set: an annotation is empty, or a relative path, where one is not."""
    found = []
    for name, text, annotation in _LINKS:
        url = lead.annotation(annotation)
        if name == "page" and incident is not None and url:
            url += f"{'&' if '?' in url else '?'}incident={quote(incident, safe='')}"
        if _ADDRESS.match(url) and len(url) <= URL_MAX:
            # What no address has was put there by a label.
            found.append(NoticeLink(name, text, quote(url, safe="/:?#[]@!$&'()*+,;=%~-._")))
    return tuple(found)


def _alert(alert: WebhookAlert) -> NoticeAlert:
    dimension, member = series_of(alert) or ("", "")
    return NoticeAlert(
        name=one_line(alert.name, NAME_MAX),
        status="firing" if alert.firing else "resolved",
        summary=one_line(alert.annotation("summary"), SENTENCE_MAX),
        dimension=one_line(dimension, NAME_MAX),
        member=one_line(member, NAME_MAX),
    )
