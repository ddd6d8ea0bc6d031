"""An incident in sentences: what happened, how it is now, since when, how large, and who is affected.

Page, commands and messages say the same. What is over is said to be over, and what goes on is sized by
its last minutes: a message that says "is up" of what has ended misleads whoever reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from streams.index.answer_records import AUTHOR_MAX, TEXT_MAX
from streams.index.currencies import exponent, major_units
from streams.index.incident_measures import STOPPED_RATIO, is_as_expected
from streams.index.indices import CATEGORY, CHANNEL, MARKET, METHOD, REGION
from streams.index.instants import parse_instant
from streams.index.labels import label
from streams.index.methodology import Market
from streams.index.panes import MINUTE_MS
from streams.index.shift_series import PAYMENT_FAILURE
from streams.index.shown_sizes import count_words, duration, figure, ratio_words, size_words
from streams.index.shown_text import one_line
from streams.publish.incident_records import (
    AffectedMembers,
    IncidentCount,
    IncidentSize,
    PublishedAnswer,
    PublishedIncident,
    ShiftOfIncident,
)
from streams.publish.sent_records import PublishedSent
from streams.publish.suspicion_records import PublishedSuspicion

_COUNTED = {METHOD: "payments", PAYMENT_FAILURE: "failed payments"}
"""What a series of each dimension counts; orders where none is named."""
_DIMENSIONS = {
    CATEGORY: ("category", "categories"),
    REGION: ("region", "regions"),
    CHANNEL: ("channel", "channels"),
    METHOD: ("payment method", "payment methods"),
    PAYMENT_FAILURE: ("method's failed payments", "methods' failed payments"),
}
_ALL = {METHOD: "payments by every method", PAYMENT_FAILURE: "failed payments by every method"}
_TURNS = {"up": "rise", "down": "fall"}
_NO_MINOR_UNITS = 1_000
"""Amounts in major units from here on are said without their minor units."""
_WHOLE_PERCENT_FROM = 0.01
_WHOLE_FROM = 10
"""Evidence from here on is said without a fraction."""
_OTHERS_MAX = 4
LINE_MAX = TEXT_MAX + 2 * AUTHOR_MAX
"""Longest line of an answer: a note, its author and its time."""
_EVIDENCE_MAX = 1_000
"""Evidence is said up to here: more of it is no surer."""

ACKNOWLEDGED_BEFORE = "acknowledged_before"
"""Kind of an acknowledgement that holds no more, among the answers to an incident."""
STAYS_IN_PAGERDUTY = "PagerDuty stays acknowledged unless it is taken back there."
"""Of an acknowledgement that is taken back here: PagerDuty's Events API has no word for it."""


class MarketNaming(NamedTuple):
    """How a market is named, and in which currency and zone its numbers and times are said."""

    name: str
    currency: str | None = None
    time_zone: str = "UTC"


class IncidentWords(NamedTuple):
    """Sentences about an incident. An empty one has nothing to say."""

    headline: str
    """What happened to whom, with the market's name; in the past tense once it is over."""
    title: str
    """The same for a place that is all about the market."""
    now: str
    """How it is now, or since when it is over."""
    size: str
    missed: str
    affected: str
    evidence: str


def naming_of(code: str, market: Market | None) -> MarketNaming:
    """Names of a market; of one that this methodology does not have, its code."""
    if market is None:
        return MarketNaming(code)
    return MarketNaming(market.name, market.currency, market.time_zone)


def namings_of(markets: Mapping[str, Market]) -> dict[str, MarketNaming]:
    """Return how each market of a methodology is named."""
    return {code: naming_of(code, market) for code, market in markets.items()}


def say_incident(
    incident: PublishedIncident,
    naming: MarketNaming,
    suspected: Iterable[PublishedSuspicion] = (),
) -> IncidentWords:
    """Return what there is to say of an incident. ``suspected``: what is suspected of its market."""
    what = _what(incident)
    return IncidentWords(
        headline=f"{series_name(incident.dimension, incident.member, naming.name)}: {what}",
        title=f"{_short_name(incident.dimension, incident.member, naming.name)}: {what}",
        now=_now(incident, naming),
        size=_since_start(incident, naming),
        missed=_missed(incident, naming),
        affected=_affected(incident, suspected),
        evidence=say_evidence(incident.evidence),
    )


def weight_of(incident: PublishedIncident) -> tuple[bool, bool, str]:
    """Key to sort incidents by: outages weigh most, then those of the whole market, then what is new."""
    return incident.kind == "outage", incident.dimension == MARKET, incident.began


def say_evidence(evidence: float) -> str:
    """Return how sure the detector was.

    >>> say_evidence(164_687.4)
    'evidence more than 1,000 times what pages when it was found'
    >>> say_evidence(999.7)
    'evidence 1,000 times what pages when it was found'
    """
    times = f"{evidence:,.{1 if evidence < _WHOLE_FROM else 0}f}"
    if evidence > _EVIDENCE_MAX:
        times = f"more than {_EVIDENCE_MAX:,}"
    return f"evidence {times} times what pages when it was found"


def say_suspicion(suspicion: PublishedSuspicion, naming: MarketNaming) -> str:
    """Return a suspicion in one line.

    It names the series, the count and its span, what is usual and how much of the evidence there is.
    """
    name = series_name(suspicion.dimension, suspicion.member, naming.name)
    length_ms = _ms(suspicion.until) - _ms(suspicion.since)
    share = suspicion.evidence
    # What pages is no suspicion: one is below 100 %, however little.
    percent = min(share * 100, 99.0)
    evidence = "less than 1 %" if share < _WHOLE_PERCENT_FROM else f"{percent:.0f} %"
    return (
        f"{name}: {count_words(suspicion.observed, counted(suspicion.dimension))} "
        f"{'for' if suspicion.observed == 0 else 'in'} {duration(length_ms)}, "
        f"{figure(suspicion.expected_a_minute)} a minute usual; {evidence} of what pages"
    )


def say_answers(incident: PublishedIncident, naming: MarketNaming) -> list[str]:
    """Return what operators said of an incident, each with its author; the newest notes last.

    They are lines for a page, a terminal or a mail, whatever somebody has typed or sent.
    """
    lines = [line for _, line in answer_lines(incident, naming)]
    if incident.verdict is None and incident.silenced_by is not None:
        lines.insert(len(lines) - len(incident.notes), say_silence(incident, naming))
    return lines


def say_silence(incident: PublishedIncident, naming: MarketNaming) -> str:
    """Return by whose answer an incident does not page, in one line; '' where it pages."""
    by = incident.silenced_by
    if by is None:
        return ""
    if incident.verdict is not None and by == incident.id:
        return one_line(_say_verdict(incident, incident.verdict, naming), LINE_MAX)
    return one_line(f"It does not page: {by} was answered.", LINE_MAX)


def answer_lines(
    incident: PublishedIncident, naming: MarketNaming
) -> list[tuple[PublishedAnswer, str]]:
    """Return the answers in force, each with its line: who has taken it on, the verdict, the notes."""
    found = []
    if (given := incident.acknowledged) is not None:
        at = _time(incident, given.at, naming)
        found.append((given, f"Acknowledged by {given.by} at {at}{_why(given)}."))
    if (given := incident.acknowledged_before) is not None:
        at, worse = (
            _time(incident, each, naming) for each in (given.at, incident.worsened or given.at)
        )
        line = f"Acknowledged by {given.by} at {at}, before it became worse at {worse}; not since."
        found.append((PublishedAnswer(ACKNOWLEDGED_BEFORE, given.by, given.at), line))
    if (given := incident.verdict) is not None:
        found.append((given, _say_verdict(incident, given, naming)))
    for note in incident.notes:
        at = _time(incident, note.at, naming)
        found.append((note, f"Note by {note.by} at {at}: {note.text}"))
    return [(answer, one_line(line, LINE_MAX)) for answer, line in found]


def _say_verdict(incident: PublishedIncident, given: PublishedAnswer, naming: MarketNaming) -> str:
    why = _why(given)
    pause = ";" if why else ":"
    silent = ""
    if incident.over is None:
        silent = f"{pause} it does not page"
        if incident.silenced_by is None:
            silent = f"{pause} it pages, since more was found later"
    elif incident.beyond_verdict:
        silent = f"{pause} more was found later"
    if _has_passed(incident, given.until):
        silent = f"{pause} it pages again"
    return f"{_claim(incident, given, naming)}{silent}."


def say_verdict_again(
    incident: PublishedIncident, given: PublishedAnswer, naming: MarketNaming
) -> str:
    """Return a verdict that is in force once a later one is taken back, without its consequences."""
    return one_line(_claim(incident, given, naming), LINE_MAX)


def _claim(incident: PublishedIncident, given: PublishedAnswer, naming: MarketNaming) -> str:
    says = f"says {given.by}{_why(given)}"
    if given.until is None:
        return f"A false alarm, {says}"
    until = _time(incident, given.until, naming) + _factor(given, naming)
    verb = "Was expected" if _has_passed(incident, given.until) else "Expected"
    return f"{verb} until {until}, {says}"


def _has_passed(incident: PublishedIncident, until: str | None) -> bool:
    """Whether an incident goes on beyond the end of the event that it was said to be."""
    return until is not None and incident.over is None and _ms(until) <= _ms(incident.size.until)


def _factor(given: PublishedAnswer, naming: MarketNaming) -> str:
    """Say by which factor, and of which series: that of a member is not the market's."""
    if given.factor is None:
        return ""
    name = _short_name(given.dimension or MARKET, given.member or "", naming.name)
    return f", factor {given.factor:g} of {name}"


def _why(answer: PublishedAnswer) -> str:
    return f": {answer.text}" if answer.text else ""


def timeline_of(incident: PublishedIncident, sent: PublishedSent | None) -> list[tuple[str, str]]:
    """Return (what, RFC 3339 instant) of what is known to have happened, in order.

    Title and timeline are of the leading series. Where another one began, was found or was told of
    before, that is "the first of it".
    """
    acknowledged, before = incident.acknowledged, incident.acknowledged_before
    began, found = lead_dates(incident)
    known = [("began", began), ("found", found)]
    for what, first, own in (("began", incident.began, began), ("found", incident.found, found)):
        if _ms(first) < _ms(own):
            known.append((f"first of it {what}", first))
    if sent is not None:
        known += _sent(sent, f"{incident.dimension}:{incident.member}", found)
    if acknowledged is not None:
        known.append(("acknowledged", acknowledged.at))
    elif before is not None:
        known.append(("acknowledged, before it became worse", before.at))
    if incident.over is not None:
        known.append(("withdrawn" if incident.state == "withdrawn" else "over", incident.over))
    return sorted(known, key=lambda each: _ms(each[1]))


def lead_dates(incident: PublishedIncident) -> tuple[str, str]:
    """Return when the leading series began to shift, and when that was found."""
    for shift in incident.shifts:
        series = shift.dimension, shift.member, shift.start
        if series == (incident.dimension, incident.member, incident.size.since):
            return shift.start, shift.found
    return incident.began, incident.found


def _sent(sent: PublishedSent, series: str, found: str) -> list[tuple[str, str]]:
    """Return when people were told of a series that was found then, and of the incident before.

    What was told before it was found was of another shift: of a second stop it is not known.
    """
    first = one_line(f"sent ({', '.join(sent.receivers)})", LINE_MAX), sent.first
    own = sent.led_by.get(series, sent.first)
    if _ms(own) > _ms(sent.first) and _ms(own) >= _ms(found):
        return [(f"first of it {first[0]}", first[1]), ("sent", own)]
    if _ms(sent.first) < _ms(found):
        return [(f"first of it {first[0]}", first[1])]
    return [first]


def series_name(dimension: str, member: str, market: str) -> str:
    """Name of a series for people.

    >>> series_name("market", "all", "Bangladesh"), series_name("region", "sindh", "Pakistan")
    ('Bangladesh', 'Sindh (region, Pakistan)')
    """
    if dimension == MARKET:
        return market
    return f"{label(member)} ({_of_one(dimension)}, {market})"


def _short_name(dimension: str, member: str, market: str) -> str:
    return market if dimension == MARKET else f"{label(member)} ({_of_one(dimension)})"


def _of_one(dimension: str) -> str:
    return "payments" if dimension in _COUNTED else _DIMENSIONS.get(dimension, (dimension,))[0]


def counted(dimension: str) -> str:
    """What a series of this dimension counts.

    >>> counted("category"), counted("payment_failure")
    ('orders', 'failed payments')
    """
    return _COUNTED.get(dimension, "orders")


def clock_time(instant: str, time_zone: str, today: str | None = None) -> str:
    """Time of day of an RFC 3339 instant in a zone, with its name.

    ``today``: an instant of the day that the reader takes it to be of. The time has a date where it is
    of another day, and where no day is given.

    >>> clock_time("2026-11-24T10:02:00.000Z", "Asia/Karachi")
    '24 Nov 15:02 PKT'
    >>> clock_time("2026-11-24T10:02:00.000Z", "Asia/Dhaka", "2026-11-24T11:00:00.000Z")
    '16:02 UTC+06'
    """
    local = _local(instant, time_zone)
    same_day = today is not None and _local(today, time_zone).date() == local.date()
    date = "" if same_day else f"{local.day} {local:%b} "
    return f"{date}{local:%H:%M} {zone_name(instant, time_zone)}"


def zone_name(instant: str, time_zone: str) -> str:
    """Name of a zone at an RFC 3339 instant, as every time that is said has it.

    >>> [zone_name("2026-11-24T10:02:00.000Z", zone) for zone in ("Asia/Karachi", "Asia/Kathmandu")]
    ['PKT', 'UTC+0545']
    """
    name = _local(instant, time_zone).tzname() or "UTC"
    return name if name.isalpha() else f"UTC{name}"


def _local(instant: str, time_zone: str) -> datetime:
    return datetime.fromtimestamp(_ms(instant) / 1_000, UTC).astimezone(ZoneInfo(time_zone))


def _time(incident: PublishedIncident, instant: str, naming: MarketNaming) -> str:
    """Time of an instant of an incident. What is over may be read weeks later: it has its date."""
    today = incident.size.until if incident.over is None else None
    return clock_time(instant, naming.time_zone, today)


def _what(incident: PublishedIncident) -> str:
    """Return what happened, in the tense that its state asks for."""
    noun, going = counted(incident.dimension), incident.over is None
    if incident.state == "withdrawn":
        return f"a shift of {noun} was taken back by events that came late"
    if going and incident.now is None and incident.now_counted is not None:
        # Nothing is expected of now, so nothing is too few now: what is said is what was.
        was = "had all but stopped"
        if not _had_stopped(incident):
            was = f"were at {size_words(incident.size.ratio)}"
        return f"{noun} {was}, and none are expected now"
    if _had_stopped(incident):
        return f"{noun} {_of_outage(incident)}"
    if incident.state == "returning":
        return f"{noun} look as usual again after {size_words(incident.size.ratio)}"
    size = _last_minutes(incident) or incident.size
    verb = "are at" if going else "were at"
    if incident.kind == "drift":
        verb = "have drifted to" if going else "had drifted to"
    return f"{noun} {verb} {size_words(size.ratio)}"


def _had_stopped(incident: PublishedIncident) -> bool:
    return incident.kind == "outage" or incident.stopped is not None


def _last_minutes(incident: PublishedIncident) -> IncidentSize | None:
    """Return its last minutes; None where they are in part from before it began, or not known.

    A jump x6 that was found at once was "at 143 %", and a market that had just stopped "at 23 %".
    """
    now = incident.now
    return now if now is not None and _ms(now.since) >= _ms(incident.size.since) else None


def _of_outage(incident: PublishedIncident) -> str:
    if incident.state == "returning":
        return "had all but stopped and are coming back"
    now, going = _last_minutes(incident), incident.over is None
    if going and now is not None and now.ratio > STOPPED_RATIO:
        return f"had all but stopped, and are at {size_words(now.ratio)}"
    return f"{'have' if going else 'had'} all but stopped"


def _now(incident: PublishedIncident, naming: MarketNaming) -> str:
    if incident.state == "withdrawn" and incident.over is not None:
        shown = duration(max(0, _ms(incident.over) - _ms(incident.found)))
        return (
            f"Withdrawn at {_time(incident, incident.over, naming)}: events that came late showed that "
            f"it was no shift. It had been shown for {shown}."
        )
    if incident.over is not None:
        # The evidence of an end takes minutes: a jump of six minutes "lasted" ten.
        lasted = duration(max(0, _ms(incident.over) - _ms(incident.began)))
        over = f"Over by {_time(incident, incident.over, naming)}; it lasted {lasted} at most."
        return over + _market_back(incident, naming)
    return _going_now(incident) + _market_back(incident, naming)


def _going_now(incident: PublishedIncident) -> str:
    if incident.now is None:
        return _unexpected_now(incident)
    now = _last_minutes(incident)
    if now is None:
        return "Now: not known, its first whole minute has not ended."
    count = f"{count_words(now.observed, counted(incident.dimension))} in {_last(now)}"
    back = " Its end is not confirmed yet." if incident.state == "returning" else ""
    return f"Now: {count}, {figure(now.expected)} usual.{back}"


def _market_back(incident: PublishedIncident, naming: MarketNaming) -> str:
    """Say by when the shift of the market's own total was over, where something else went on; else ''.

    It is called back only where it goes on and its last minutes say so: a jump is over, too, when the
    market stops, and a fall when it sells 2.4 times the usual.
    """
    leads = incident.dimension == MARKET
    ends = [
        (each.over, each)
        for each in incident.shifts
        if each.dimension == MARKET and each.over is not None and not each.withdrawn
    ]
    if not ends or (leads and incident.over is None):
        return ""
    over, shift = max(ends, key=lambda each: _ms(each[0]))
    if over == incident.over:
        return ""
    by = _time(incident, over, naming)
    back = _is_back(incident)
    what = (
        "The market as a whole was back"
        if back
        else f"The market's {_TURNS[shift.direction]} was over"
    )
    words = f" {what} by {by}"
    if not leads:  # else its counts are those of the incident
        words += (
            f": {figure(shift.observed)} {counted(MARKET)} since "
            f"{_time(incident, shift.start, naming)}, {figure(shift.expected)} usual"
        )
    return f"{words}.{'' if back else _market_now(incident)}"


def _is_back(incident: PublishedIncident) -> bool:
    """Whether it is known that the market's own total is as usual now. Of what is over it is not."""
    now = incident.market_now
    if now is None or incident.over is not None or incident.market_again is not None:
        return False
    return is_as_expected(now.observed, now.expected, now.lower, now.upper)


def _market_now(incident: PublishedIncident) -> str:
    """Say how the market's own total is, where it is not back."""
    now, again, words = incident.market_now, incident.market_again, ""
    if now is not None:
        count = count_words(now.observed, counted(MARKET))
        words = f" It had {count} in {_last(now)}, {figure(now.expected)} usual."
    if again is not None and incident.over is None:
        words += f" A {_TURNS[again]} of it is seen since."
    return words


def _unexpected_now(incident: PublishedIncident) -> str:
    """Say the count of minutes of which nothing is expected: that it is not 0 may be what is wrong."""
    found = incident.now_counted
    if found is None:
        return "Now: nothing is expected of the last minutes, and their count is not known."
    count = f"{count_words(found.observed, counted(incident.dimension))} in {_last(found)}"
    return f"Now: {count}, where none are expected."


def _last(size: IncidentSize | IncidentCount) -> str:
    length_ms = _ms(size.until) - _ms(size.since)
    return "the last minute" if length_ms == MINUTE_MS else f"the last {duration(length_ms)}"


def _since_start(incident: PublishedIncident, naming: MarketNaming) -> str:
    size = incident.size
    began = _time(incident, size.since, naming)
    span = f"Since {began}"
    if incident.over is not None:
        same = size.until == incident.over
        span = (
            f"From {began} {'until then' if same else f'to {_time(incident, size.until, naming)}'}"
        )
    if incident.state == "withdrawn":
        span = f"Counted before they came, since {began}"
    return (
        f"{span}: {count_words(size.observed, counted(incident.dimension))}, "
        f"{figure(size.expected)} usual, {ratio_words(size.ratio, size.lower, size.upper)}."
    )


def _missed(incident: PublishedIncident, naming: MarketNaming) -> str:
    found = incident.difference
    if found is None or incident.state == "withdrawn":
        return ""
    missed = found.events < 0
    word = "Missed" if missed else "In excess"
    so_far = " so far" if incident.over is None else ""
    numbers = [-found.events, -found.upper, -found.lower] if missed else [
        found.events, found.lower, found.upper,
    ]  # fmt: skip
    least, most = (figure(max(0.0, number)) for number in numbers[1:])
    events = count_words(max(0.0, numbers[0]), counted(incident.dimension))
    text = f"{word}{so_far}: {events} ({least} to {most})"
    if found.amount_minor is None or found.lower_minor is None or found.upper_minor is None:
        return f"{text}."
    minor = [found.amount_minor, found.lower_minor, found.upper_minor]
    minor = [-minor[0], -minor[2], -minor[1]] if missed else minor
    amount, least, most = (_money(max(0, number), naming.currency) for number in minor)
    return f"{text}; {naming.currency or 'minor units'} {amount} ({least} to {most})."


def _affected(incident: PublishedIncident, suspected: Iterable[PublishedSuspicion]) -> str:
    if incident.state == "withdrawn":
        return ""
    own = (incident.dimension, incident.member)
    if incident.dimension == MARKET:
        parts = [_part(each) for each in incident.affected]
        return f"Affected: {', '.join(parts)}." if parts else ""
    others = [
        (shift.over is not None and incident.over is None, _name_of(shift))
        for shift in incident.shifts
        if (shift.dimension, shift.member) != own
        and not (shift.withdrawn or _is_good(shift))
        # How the market is now, `_now` says: "over: the whole market" stood beside one at 0.
        and not (shift.dimension == MARKET and shift.over is not None)
    ]
    if incident.over is not None:
        suspected = ()
    suspects = [
        _name_of(each) if each.direction == incident.direction
        # In a fall's card a jump read as one more that falls.
        else f"a {_TURNS[each.direction]} of {_name_of(each)}"
        for each in suspected
        if (each.dimension, each.member) != own
    ]  # fmt: skip
    sentences = (
        _listed("Shifted too", [name for over, name in others if not over]),
        _listed("Over", [name for over, name in others if over]),
        ""
        if others or incident.over is not None
        else "No other series is confirmed to shift with it.",
        _listed("Suspected", suspects),
    )
    return " ".join(filter(None, sentences))


def _is_good(shift: ShiftOfIncident) -> bool:
    """True for fewer failed payments. Where nothing is paid nothing fails: they affect nobody."""
    return shift.dimension == PAYMENT_FAILURE and shift.direction == "down"


def _name_of(shift: ShiftOfIncident | PublishedSuspicion) -> str:
    if shift.dimension == PAYMENT_FAILURE:
        return f"{label(shift.member)} ({counted(shift.dimension)})"
    return _short_name(shift.dimension, shift.member, "the whole market")


def _listed(what: str, names: list[str]) -> str:
    more = len(names) - _OTHERS_MAX
    most = ", ".join(names[:_OTHERS_MAX])
    return f"{what}: {most}{f' and {more} more' if more > 0 else ''}." if names else ""


def _part(affected: AffectedMembers) -> str:
    singular, plural = _DIMENSIONS.get(affected.dimension, (affected.dimension,) * 2)
    if affected.affected == affected.of:
        return _ALL.get(affected.dimension, f"every {singular}")
    most = ", ".join(label(each.member) for each in affected.members[:2])
    return f"{affected.affected} of {affected.of} {plural} (most {most})"


def _money(minor: int, currency: str | None) -> str:
    if currency is None:
        return f"{minor:,}"
    if minor >= _NO_MINOR_UNITS * 10 ** exponent(currency):
        return major_units(minor, currency).split(".")[0]
    return major_units(minor, currency)


def _ms(instant: str) -> int:
    return parse_instant(instant) or 0
