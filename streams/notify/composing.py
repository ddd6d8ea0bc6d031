"""A notification of Alertmanager and what is known of its market -> what a message says.

Pure functions. What comes from labels and annotations is made safe to be shown here, once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from streams.index.incident_measures import DISPLAY_NOISE, is_as_expected
from streams.index.indices import CATEGORY, METHOD
from streams.index.instants import parse_instant
from streams.index.operator_answers import NOTE
from streams.index.panes import rfc3339
from streams.index.shift_ratio import ratio_interval
from streams.index.shift_series import PAYMENT_FAILURE
from streams.index.shown_sizes import count_words, duration, figure, size_words
from streams.index.shown_text import one_line
from streams.notify.advice import advice_on, is_advice
from streams.notify.alert_group import AlertGroup, WebhookAlert
from streams.notify.instant_words import time_words
from streams.notify.market_now import MarketNow, Series, ShiftNow
from streams.notify.message_news import newest_answers
from streams.notify.notice import Notice, NoticeAlert, NoticeKind, NoticeLink, Urgency
from streams.publish.incident_records import PublishedIncident
from streams.publish.incident_words import (
    MarketNaming,
    counted,
    lead_dates,
    say_evidence,
    say_incident,
)

WHOLE_MARKET: Series = ("market", "all")
TITLE_MAX = 140
SENTENCE_MAX = 600
NAME_MAX = 80
URL_MAX = 2_000
ALERTS_SHOWN = 20
"""A group of a market that stopped has 29. The others are counted."""
NAMES_SHOWN = 5
ANSWERED_MAX = 1_000
IN_FORCE_MAX = 150
"""Of an acknowledgement and a verdict in ``answered``: older notes make room for them."""
STALE_AFTER_MS = 30_000
ANSWERED_QUIET = "Answered, no longer pages"
QUIET = "No longer pages, but goes on"
UNKNOWN_QUIET = "No longer reported; whether it is over is not known"
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
_OF_CATEGORY = re.compile(r"&var-category=[^&#]*")
_SINCE = re.compile(r" since |: ?(?=\d)")


class Lasting(NamedTuple):
    """From when until when an incident lasts, as far as it is known. UTC epoch ms.

    It is over by ``ended_ms``: the evidence of an end takes minutes, and alerts fire on after their
    cause (``keep_firing_for``).
    """

    began_ms: int | None
    ended_ms: int | None
    estimated: bool
    """True where the detector has estimated the beginning; else it is the first alert's."""


_NOT_KNOWN = "how it is now is not known"


def leading(alerts: Sequence[WebhookAlert]) -> WebhookAlert:
    """The alert that stands for a group: firing before resolved, the whole market before its members."""

    def rank(alert: WebhookAlert) -> tuple[bool, int, bool, int]:
        place = _FIRST.index(alert.name) if alert.name in _FIRST else len(_FIRST)
        ticket = alert.labels.get("severity") != Urgency.PAGE
        return (not alert.firing, place, ticket, alert.started_ms() or 0)

    return min(alerts, key=rank)


def series_of(alert: WebhookAlert) -> Series | None:
    """The series that an alert is about; None where it is about the service.

    An alert of a market that names no series (no fresh values, no owner) is about the service: the
    detector's words are not of it, and its end is not that of an outage.
    """
    labels = alert.labels
    if "market" not in labels:
        return None
    if "method" in labels:
        return "payment_method", labels["method"]
    if "dimension" not in labels:
        return None
    return labels["dimension"], labels.get("member", "all")


def series_shown(group: AlertGroup, incident: PublishedIncident | None) -> Series:
    """The series that a message is about first: the incident's own, else the leading alert's."""
    if incident is not None:
        return incident.dimension, incident.member
    return series_of(leading(group.alerts)) or WHOLE_MARKET


def quiet(
    group: AlertGroup,
    now: MarketNow,
    now_ms: int,
    incident: PublishedIncident | None,
    *,
    named: bool,
    known: Notice | None = None,
) -> str:
    """Say why an incident of which nothing fires is not over; '' where it fires, or is over.

    An alert ends as well when an operator has answered, and when nobody computes what it looks at.
    ``named``: it is an incident of a market, whose end is published. ``known``: its message
    before, where nothing newer can be read: it may have said the end.
    """
    ended = known is not None and known.ended is not None
    if ended or not named or any(alert.firing for alert in group.alerts):
        return ""
    return _why_quiet(now, now_ms, incident)


def _why_quiet(now: MarketNow, now_ms: int, incident: PublishedIncident | None) -> str:
    if incident is not None and incident.over is not None:
        return ""
    if now.unknown or now_ms - now.as_of_ms > STALE_AFTER_MS:
        return UNKNOWN_QUIET
    if incident is None:
        return ""
    of_all = incident.verdict is not None and not incident.beyond_verdict
    return ANSWERED_QUIET if of_all or incident.silenced_by is not None else QUIET


def lasting(
    group: AlertGroup,
    now: MarketNow,
    known_began_ms: int | None,
    incident: PublishedIncident | None = None,
    *,
    goes_on: bool = False,
    known: Notice | None = None,
) -> Lasting:
    """From when until when. ``known_began_ms``: what an earlier message has said.

    ``goes_on``: it is not known to be over, although nothing of it fires. ``known``: as in ``quiet``.
    """
    began = [at for alert in group.alerts if (at := alert.started_ms()) is not None]
    ended = [at for alert in group.alerts if (at := alert.ended_ms()) is not None]
    over = not goes_on and not any(alert.firing for alert in group.alerts)
    ended_ms = max(ended, default=None) if over else None
    if known is not None and known.ended is not None:
        ended_ms = parse_instant(known.ended)
    if incident is not None:
        over_ms = None if incident.over is None else parse_instant(incident.over)
        # Of one that is over, alerts fire on for minutes.
        return Lasting(parse_instant(incident.began), over_ms or ended_ms, estimated=True)
    series = series_of(leading(group.alerts))
    shift = None if series is None else now.shifts.get(series)
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
    naming: MarketNaming,
    incident: PublishedIncident | None = None,
    quiet: str = "",
    known: Notice | None = None,
) -> Notice:
    """What a message says of the alerts of one cause, which is called ``name``.

    ``now`` is empty for alerts of no market. ``incident``: what is published of it; then page, commands
    and messages say the same. ``known``: as in ``quiet``.
    """
    lead = _leading_alert(group.alerts, incident)
    series = series_of(lead)
    shift = None if series is None else now.shifts.get(series)
    shown = sorted(group.alerts, key=lambda alert: (alert is not lead, not alert.firing))
    notice = Notice(
        incident=name,
        kind=kind,
        urgency=Urgency.PAGE if _pages(group.alerts) else Urgency.TICKET,
        title=_title(lead, now_ms),
        since=_since_lead(span, incident, now_ms, naming.time_zone),
        sent_at=rfc3339(now_ms),
        market=one_line(lead.labels.get("market", ""), NAME_MAX),
        began=None if span.began_ms is None else rfc3339(span.began_ms),
        ended=None if span.ended_ms is None else rfc3339(span.ended_ms),
        size="" if shift is None or series is None else _size(shift, series),
        sureness="" if shift is None else _sureness(shift),
        affected=_affected(group.alerts, lead, now),
        now=""
        if "market" not in lead.labels
        else _now(series, now, now_ms, firing=lead.firing, back=not (lead.firing or quiet)),
        quiet=quiet,
        advice=one_line(lead.annotation("description"), SENTENCE_MAX),
        links=_links(lead, None if incident is None else incident.id),
        alerts=tuple(map(_alert, shown[:ALERTS_SHOWN])),
        left_out=max(len(shown) - ALERTS_SHOWN, 0) + group.truncated_alerts,
    )
    if incident is not None:
        return _described(notice, incident, now, now_ms, naming)
    return (
        notice if known is None else _in_known_words(notice, known, now, now_ms, naming.time_zone)
    )


def refreshed(
    notice: Notice, incident: PublishedIncident, now: MarketNow, now_ms: int, naming: MarketNaming
) -> Notice:
    """The message of an open incident as it is now."""
    over_ms = None if incident.over is None else parse_instant(incident.over)
    span = Lasting(parse_instant(incident.began), over_ms, estimated=True)
    fresh = msgspec.structs.replace(
        notice,
        kind=NoticeKind.REPEATED,
        since=_since_lead(span, incident, now_ms, naming.time_zone),
        sent_at=rfc3339(now_ms),
        quiet=_why_quiet(now, now_ms, incident) if notice.quiet else "",
        ended=None if over_ms is None else rfc3339(over_ms),
    )
    return _described(fresh, incident, now, now_ms, naming)


def unread(notice: Notice, now: MarketNow, now_ms: int, zone: str) -> Notice:
    """The message of an incident of which nothing can be read: it must not go on saying "now"."""
    why = now.unknown or "nothing is published of the incident any more"
    span = Lasting(
        None if notice.began is None else parse_instant(notice.began),
        None,
        estimated=True,
    )
    words = f"{_NOT_KNOWN}: {one_line(why, SENTENCE_MAX // 2)}"
    if notice.now and not notice.now.startswith(_NOT_KNOWN):
        words += f". Last known: {notice.now}"
    return msgspec.structs.replace(
        notice,
        kind=NoticeKind.REPEATED,
        since=_since(span, now_ms, zone),
        sent_at=rfc3339(now_ms),
        now=one_line(words, SENTENCE_MAX),
    )


def _in_known_words(
    notice: Notice, known: Notice, now: MarketNow, now_ms: int, zone: str
) -> Notice:
    """A message that was made of alerts alone, in the words of what was known of its incident before.

    Those are of what led it. The alerts that are left, or the last to end, may be of anything in it.
    """
    if not known.size or notice.size:
        return notice
    words = unread(known, now, now_ms, zone)
    return msgspec.structs.replace(
        words,
        kind=notice.kind,
        urgency=notice.urgency,
        since=notice.since,
        began=notice.began,
        ended=notice.ended,
        now=words.now if now.unknown else notice.now,
        quiet=notice.quiet,
        alerts=notice.alerts,
        left_out=notice.left_out,
    )


def _leading_alert(
    alerts: Sequence[WebhookAlert], incident: PublishedIncident | None
) -> WebhookAlert:
    """The alert that stands for a message: that of the series which leads its incident, if one fires.

    An alert of what was called a false alarm fires on for minutes.
    """
    lead = leading(alerts)
    if incident is None:
        return lead
    own = [
        alert
        for alert in alerts
        if alert.firing == lead.firing and _is_of_lead(alert.name, series_of(alert), incident)
    ]
    series = incident.dimension, incident.member
    firing = [alert for alert in alerts if alert.firing and series_of(alert) == series]
    return leading(own or firing or alerts)


def _is_of_lead(name: str, series: Series | None, incident: PublishedIncident) -> bool:
    """Whether an alert is of what leads an incident, and says what to do about it."""
    dimension = METHOD if incident.dimension == PAYMENT_FAILURE else incident.dimension
    return (name, series) == (advice_on(incident).alert, (dimension, incident.member))


def _described(
    notice: Notice, incident: PublishedIncident, now: MarketNow, now_ms: int, naming: MarketNaming
) -> Notice:
    """Say of an incident what the page says of it. Its sentences name their subject; so do facts."""
    words = say_incident(incident, naming, now.suspicions)
    as_of = f" ({_as_of(now, now_ms)})" if incident.over is None else ""
    fits = any(
        _is_of_lead(each.name, (each.dimension, each.member), incident)
        for each in notice.alerts[:1]
    )
    if not fits or is_advice(notice.advice, incident.id):
        # What the alert says, or an earlier message, is about another series.
        notice = msgspec.structs.replace(
            notice,
            advice=one_line(advice_on(incident).words(incident.id), SENTENCE_MAX),
            links=tuple(_led_by(link, incident) for link in notice.links),
        )
    return msgspec.structs.replace(
        notice,
        title=one_line(words.headline, TITLE_MAX),
        size=one_line(f"{words.size} {words.missed}", SENTENCE_MAX),
        sureness=one_line(words.evidence, SENTENCE_MAX),
        affected=one_line(words.affected.removeprefix("Affected: "), SENTENCE_MAX),
        now=one_line(words.now.removeprefix("Now: ") + as_of, SENTENCE_MAX),
        answered=_answered(incident, naming),
        acknowledged_by=""
        if incident.acknowledged is None
        else one_line(incident.acknowledged.by, NAME_MAX),
        acknowledged_before=""
        if incident.acknowledged_before is None
        else one_line(incident.acknowledged_before.by, NAME_MAX),
        acknowledged_before_at=None
        if incident.acknowledged_before is None
        else incident.acknowledged_before.at,
        worsened=incident.worsened,
        silenced=incident.silenced_by is not None,
    )


def _answered(incident: PublishedIncident, naming: MarketNaming) -> str:
    """What operators have said, the newest first. Older notes give way to what is in force."""
    answers = newest_answers(incident, naming)
    in_force = sum(answer.kind != NOTE for answer, _ in answers)
    room, lines = ANSWERED_MAX - in_force * (IN_FORCE_MAX + 1), list[str]()
    for answer, line in answers:
        if answer.kind != NOTE:
            lines.append(one_line(line, IN_FORCE_MAX))
        elif room > 0:
            lines.append(one_line(line, room))
            room -= len(lines[-1]) + 1
    if incident.verdict is None and incident.silenced_by is not None:
        lines.insert(0, f"It does not page: {incident.silenced_by} was answered.")
    return one_line(" ".join(lines), ANSWERED_MAX)


def _pages(alerts: Sequence[WebhookAlert]) -> bool:
    return any(alert.labels.get("severity") == Urgency.PAGE for alert in alerts)


def _title(lead: WebhookAlert, now_ms: int) -> str:
    """The summary without its numbers, or with the instant that they are of.

    Those of a shift are of the time when the alert began to fire.
    """
    summary = one_line(lead.annotation("summary"), SENTENCE_MAX)
    if not summary:
        return one_line(lead.name or "An alert without a name", TITLE_MAX)
    if lead.labels.get("dimension"):
        return one_line(_SINCE.split(summary, maxsplit=1)[0] or lead.name, TITLE_MAX)
    at = f" ({time_words(now_ms)})" if lead.firing else ""
    return one_line(summary, TITLE_MAX - len(at)) + at


def _since(span: Lasting, now_ms: int, zone: str | None) -> str:
    if span.began_ms is None:
        return ""
    began = time_words(span.began_ms, zone)
    if span.ended_ms is not None:
        over = f"{began}; over by {time_words(span.ended_ms)}"
        # The two may be of different clocks.
        if span.ended_ms < span.began_ms:
            return over
        return f"{over}, after {duration(span.ended_ms - span.began_ms)} at most"
    of_alert = "" if span.estimated else ", when the alert began to fire"
    if now_ms < span.began_ms:
        behind = duration(span.began_ms - now_ms)
        return f"{began}{of_alert}; the clock here is behind by {behind} or more"
    # Never "ago": a mail, and a message that can no longer be edited, are read hours later.
    return f"{began}{of_alert}: {duration(now_ms - span.began_ms)} before {time_words(now_ms)}"


def _since_lead(
    span: Lasting, incident: PublishedIncident | None, now_ms: int, zone: str | None
) -> str:
    """Since when it is of the series that the title names, and since when of the first one."""
    lead_ms = None if incident is None else parse_instant(lead_dates(incident)[0])
    if lead_ms is None or span.began_ms is None or lead_ms <= span.began_ms:
        return _since(span, now_ms, zone)
    own = _since(span._replace(began_ms=lead_ms), now_ms, zone)
    return f"{own}; the first of it began {time_words(span.began_ms)}"


def _size(shift: ShiftNow, series: Series) -> str:
    limits = [each for each in (shift.lower, shift.upper) if each is not None]
    words = size_words(shift.ratio, *limits)
    if shift.observed is None or shift.expected is None:
        return words
    observed = count_words(shift.observed, counted(series[0]))
    return f"{words}: {observed} counted since then, {figure(shift.expected)} expected"


def _sureness(shift: ShiftNow) -> str:
    return "" if shift.evidence is None else say_evidence(shift.evidence)


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


def _now(series: Series | None, now: MarketNow, now_ms: int, *, firing: bool, back: bool) -> str:
    if now.unknown:
        return f"{_NOT_KNOWN}: {one_line(now.unknown, SENTENCE_MAX // 2)}"
    sentences = []
    for window, words in (("1m", "the last minute"), ("5m", "5 minutes")):
        count = now.counts.get((series or WHOLE_MARKET, window))
        if count is not None:
            expected = "" if count.expected is None else f", {figure(count.expected)} expected"
            sentences.append(f"{count_words(count.value, count.counted)} in {words}{expected}")
    if series is None:
        verdict = ""
    elif firing and series in now.shifts:
        verdict = "still so"
    elif firing and series[0] != "payment_method":
        verdict = "the detector no longer sees it; the alert ends within minutes"
    else:
        verdict = "back within what is expected" if back and _looks_as_expected(series, now) else ""
    numbers = "; ".join(sentences)
    text = ": ".join(filter(None, (verdict, numbers)))
    if not now.as_of_ms:
        return one_line(text, SENTENCE_MAX)
    as_of = _as_of(now, now_ms)
    return one_line(f"{text} ({as_of})" if text else f"the newest values are {as_of}", SENTENCE_MAX)


def _looks_as_expected(series: Series, now: MarketNow) -> bool:
    """False where a shift of a series, or its last minute, contradicts that it is back."""
    last = now.counts.get((series, "1m"))
    if series in now.shifts:
        return False
    if last is None or not last.expected:
        return True
    size = ratio_interval(last.value, last.expected, DISPLAY_NOISE)
    return is_as_expected(size.observed, size.expected, size.lower, size.upper)


def _as_of(now: MarketNow, now_ms: int) -> str:
    """Of which instant numbers are, and how old they were where a healthy index has newer ones.

    They are not of the future: then a clock is wrong, and every length of time in the message with it.
    """
    age_ms = now_ms - now.as_of_ms
    if age_ms < -STALE_AFTER_MS:
        behind = duration(-age_ms)
        return f"as of {time_words(now.as_of_ms)}; the clock here is behind the index's by {behind}"
    old = f", {duration(age_ms)} before this was written" if age_ms > STALE_AFTER_MS else ""
    return f"as of {time_words(now.as_of_ms)}{old}"


def _links(lead: WebhookAlert, incident: str | None) -> tuple[NoticeLink, ...]:
    """Links whose settings are set: an annotation is empty, or a relative path, where one is not."""
    found = []
    for name, text, annotation in _LINKS:
        url = lead.annotation(annotation)
        if name == "page" and incident is not None and url and "incident=" not in url:
            url += f"{'&' if '?' in url else '?'}incident={quote(incident, safe='')}"
        if _ADDRESS.match(url) and len(url) <= URL_MAX:
            # What no address has was put there by a label.
            found.append(NoticeLink(name, text, quote(url, safe="/:?#[]@!$&'()*+,;=%~-._")))
    return tuple(found)


def _led_by(link: NoticeLink, incident: PublishedIncident) -> NoticeLink:
    """Let a link lead to what is said or shown of the series that leads an incident."""
    url = link.url
    if link.name == "runbook":
        url = f"{url.partition('#')[0]}#{advice_on(incident).alert.lower()}"
    elif link.name == "dashboard":
        url = _OF_CATEGORY.sub("", url)
        if incident.dimension == CATEGORY:
            url += f"&var-category={quote(incident.member, safe='')}"
    return NoticeLink(link.name, link.text, url)


def _alert(alert: WebhookAlert) -> NoticeAlert:
    dimension, member = series_of(alert) or ("", "")
    return NoticeAlert(
        name=one_line(alert.name, NAME_MAX),
        status="firing" if alert.firing else "resolved",
        summary=one_line(alert.annotation("summary"), SENTENCE_MAX),
        dimension=one_line(dimension, NAME_MAX),
        member=one_line(member, NAME_MAX),
    )
