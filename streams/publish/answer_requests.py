"""A request to answer an incident, of the page, a command or another system, and the answer that it is.

Whoever answers with one click names the incident and the kind alone. What else an expected event needs
is taken from the incident: it began when the incident did, and multiplies demand as measured since. If
it is said to be expected already, what is left out is taken from that answer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Literal

import msgspec

from streams.index.answer_records import AnswerError, answer_record
from streams.index.demand import SCALE
from streams.index.instants import in_zone, parse_instant, typed_instant
from streams.index.learning import WHOLE, Scope
from streams.index.methodology import FACTOR_MAX, FACTOR_MIN, Market
from streams.index.operator_answers import EXPECTED, NOTE, Answer
from streams.index.panes import HOUR_MS, rfc3339
from streams.index.shift_series import PAYMENT_FAILURE
from streams.publish.incident_records import PublishedAnswer, PublishedIncident

EXPECTED_FOR_MS = 6 * HOUR_MS
"""How long an event that goes on is expected where nobody says until when."""


class AnswerRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One answer as it is asked for (docs/contract.md#an-answer).

    ``factor`` None: as measured. ``member``: `all` or dimension:member; empty: the leading series. What
    is left out of an `expected` event that is in force stays as it was said: to change its end, name its
    end. ``text`` None: left out.
    """

    incident: str
    kind: str
    taken_back: bool = False
    text: str | None = None
    until: str = ""
    factor: float | Literal["unknown"] | None = None
    member: str = ""


def answer_of(
    request: AnswerRequest,
    incidents: Mapping[str, PublishedIncident],
    market: Market,
    by: str,
    at_ms: int,
) -> Answer:
    """Return the answer that is asked for. Raises AnswerError, which says what was expected.

    ``incidents``: those of the market that are known, by id.
    """
    incident = incidents.get(request.incident)
    if incident is None:
        known = ", ".join(sorted(incidents)[-3:]) or "none"
        raise AnswerError(
            f"{request.incident}: market {market.code} has no such incident; the last ones: {known}"
        )
    answer = Answer(
        incident.id, request.kind, by, at_ms, request.taken_back, _text(request.text or "")
    )
    is_expected = request.kind == EXPECTED and not request.taken_back
    if not is_expected and (request.until or request.member or request.factor is not None):
        raise AnswerError("until, factor and member: only of `expected`")
    if is_expected:
        answer = _expected(answer, request, incident, market)
    answer_record(answer)  # whatever else is wrong is said now, and not by those who read it
    if answer.taken_back:
        _refuse_undo_of_nothing(answer.kind, incident)
    elif answer.kind == NOTE and not _says_something(answer.text):
        raise AnswerError(f"text {answer.text!r}: expected what there is to note")
    return answer


def _refuse_undo_of_nothing(kind: str, incident: PublishedIncident) -> None:
    given = {
        each.kind
        for each in (
            incident.acknowledged,
            incident.acknowledged_before,
            incident.verdict,
            incident.earlier_verdict,
            *incident.notes,
        )
        if each
    }
    if kind not in given:
        raise AnswerError(
            f"{incident.id}: expected an answer to take back, found no `{kind}` in force (in force: "
            f"{', '.join(sorted(given)) or 'none'}). One that was just given is known within seconds"
        )


def _expected(
    answer: Answer, request: AnswerRequest, incident: PublishedIncident, market: Market
) -> Answer:
    leading = incident.dimension, incident.member
    in_force = _in_force(incident)
    scope = _scope(request, leading if in_force is None else _scope_of(in_force), leading, market)
    if in_force is not None and request.text is None:
        answer = answer._replace(text=in_force.text)
    start_ms = parse_instant(incident.size.since)  # of its series: others may have begun before
    over = incident.over and (incident.size.until if scope == leading else incident.over)
    until = request.until or over  # what is over lasts no longer
    if not until and in_force is not None and (in_force.until or "") > rfc3339(answer.at_ms):
        until = in_force.until
    until_ms = answer.at_ms + EXPECTED_FOR_MS if not until else typed_instant(until)
    if start_ms is None or until_ms is None:
        example = in_zone(
            rfc3339(answer.at_ms + EXPECTED_FOR_MS), market.time_zone, least="minutes"
        )
        raise AnswerError(
            f"until {request.until!r}: expected an instant with its offset, such as {example}"
        )
    if incident.over is None and until_ms <= answer.at_ms:
        raise AnswerError(
            f"until {until}: expected an instant after now ({rfc3339(answer.at_ms)}), since "
            f"{incident.id} goes on: it would page again at once"
        )
    factor = _factor(request, incident, scope)
    if factor == "unknown":
        return answer._replace(start_ms=start_ms, until_ms=until_ms, scope=scope)
    if factor and not FACTOR_MIN <= factor <= FACTOR_MAX:
        raise AnswerError(
            f"factor {factor}: expected 0, a number from {FACTOR_MIN:g} to {FACTOR_MAX:g}, or `unknown`"
        )
    return answer._replace(
        start_ms=start_ms, until_ms=until_ms, scope=scope, factor=round(factor * SCALE)
    )


def _factor(
    request: AnswerRequest, incident: PublishedIncident, scope: Scope
) -> float | Literal["unknown"]:
    """Return the factor of a series, as asked for, as said before or as measured. Raises AnswerError."""
    factor, in_force = request.factor, _in_force(incident)
    if scope[0] == PAYMENT_FAILURE:
        if factor not in (None, "unknown"):
            raise AnswerError(
                "factor: failed payments have no expectation of their own; leave it out"
            )
        return "unknown"
    if factor is not None:
        return factor
    if in_force is not None and scope == _scope_of(in_force):
        return "unknown" if in_force.factor is None else in_force.factor
    leading = scope == (incident.dimension, incident.member)
    return measured_factor(incident.size.ratio) if leading else "unknown"


def _in_force(incident: PublishedIncident) -> PublishedAnswer | None:
    """Return the answer in force that the incident is expected; None: nobody says so."""
    verdict = incident.verdict
    return verdict if verdict is not None and verdict.kind == EXPECTED else None


def _scope_of(answer: PublishedAnswer) -> Scope:
    return answer.dimension or WHOLE[0], answer.member or WHOLE[1]


def _scope(request: AnswerRequest, default: Scope, leading: Scope, market: Market) -> Scope:
    """Return the series of the factor. Raises AnswerError."""
    if not request.member:
        return default
    # These two may be no member of the methodology: failed payments are none, and members go.
    named = {":".join(each): each for each in (leading, default)}
    scope = named.get(request.member) or market.scope_of(request.member)
    if scope is None:
        raise AnswerError(
            f"member {request.member!r}: expected `all` or dimension:member of {market.code}"
        )
    return scope


def measured_factor(ratio: float) -> float:
    """Return the factor that a ratio says, to two digits: its interval is hardly ever narrower.

    A few stray orders in an outage are as good as none: divided by so small a factor they would teach.
    """
    return min(float(f"{ratio:.2g}"), FACTOR_MAX) if ratio >= FACTOR_MIN else 0.0


def _says_something(text: str) -> bool:
    """Whether anything of a text is to be seen: spaces and what is not shown say nothing."""
    return any(unicodedata.category(each)[0] not in "CZ" for each in text)


def _text(text: str) -> str:
    if any(unicodedata.category(each) == "Cc" and each not in "\n\t" for each in text):
        raise AnswerError("text: expected no control characters beside line ends and tabs")
    return text.strip()
