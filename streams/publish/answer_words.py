"""What an answer does, in lines for whoever has just given it."""

from __future__ import annotations

from streams.index.demand import SCALE
from streams.index.instants import in_zone
from streams.index.learning import WHOLE, Scope
from streams.index.operator_answers import ACKNOWLEDGED, EXPECTED, FALSE_ALARM, NOTE, Answer
from streams.index.panes import rfc3339
from streams.publish.incident_records import PublishedIncident
from streams.publish.incident_words import STAYS_IN_PAGERDUTY, MarketNaming, say_verdict_again

_SERIES_MAX = 4


def say_effect(answer: Answer, incident: PublishedIncident, naming: MarketNaming) -> list[str]:
    """Return until when and by which factor an event is expected, and what the answer silences.

    Of one that is taken back: what holds now.
    """
    if answer.taken_back:
        stays = f"where `ecindex notify` has told it: {STAYS_IN_PAGERDUTY}"
        return [stays] if answer.kind == ACKNOWLEDGED else _in_force(answer, incident, naming)
    if answer.kind == FALSE_ALARM:
        return [
            f"silenced: what was found of {incident.id} by now, and what that explains; the rest pages",
            "its hours are learnt as any others",
        ]
    if answer.kind != EXPECTED:
        return []
    until = in_zone(rfc3339(answer.until_ms), naming.time_zone, "minutes")
    return [f"until {until}, {_factor(answer)}", _silenced(answer, incident)]


def _in_force(answer: Answer, incident: PublishedIncident, naming: MarketNaming) -> list[str]:
    """Say which verdict holds once one is taken back: an earlier one of somebody else may."""
    if answer.kind == NOTE:
        return []
    verdicts = (incident.verdict, incident.earlier_verdict)
    left = next((each for each in verdicts if each and each.kind != answer.kind), None)
    if left is None:
        return ["in force: neither expected nor false alarm"]
    words = say_verdict_again(incident, left, naming)
    undo = f"ecindex answer {incident.id} {left.kind.replace('_', '-')} --undo"
    return [f"in force now: {words}", f"to take that back too: {undo}"]


def _factor(answer: Answer) -> str:
    if answer.factor is None:
        return "factor unknown: its hours teach nothing"
    return f"factor {answer.factor / SCALE:g} of {_name(answer.scope)}"


def _silenced(answer: Answer, incident: PublishedIncident) -> str:
    """Say which shifts page no more (``flow.answered_shifts`` decides it)."""
    if answer.until_ms <= answer.at_ms:
        return "silenced: nothing, since the event is over; it is learnt as expected"
    series = {answer.scope, *((each.dimension, each.member) for each in incident.shifts)}
    names = sorted(map(_name, series))
    more = len(names) - _SERIES_MAX
    of = f"{', '.join(names[:_SERIES_MAX])}{f' and {more} more' if more > 0 else ''}"
    if WHOLE in series:
        of = "any series, since the whole market is among them"
    return (
        f"silenced until then: every shift of {incident.id}, and later ones {incident.direction} "
        f"of {of}"
    )


def _name(series: Scope) -> str:
    return "all" if series == WHOLE else ":".join(series)
