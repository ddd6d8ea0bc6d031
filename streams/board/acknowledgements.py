"""Webhooks of PagerDuty (version 3): what was acknowledged there is acknowledged here. Pure functions.

The signature is the header ``X-PagerDuty-Signature``: ``v1=`` and the HMAC-SHA256 of the body in hex;
several of them, separated by commas, while a secret is being changed. An incident's ``incident_key`` is
the dedup key of the event that opened it: it must be the id of our incident.

`ecindex notify` acknowledges there what was acknowledged here, and PagerDuty delivers that too. Only a
person's acknowledgement is one: else ours would come back under the integration's name.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from streams.index.answer_records import (
    AUTHOR_MAX,
    AnswerError,
    answer_record,
    is_author,
    market_of,
)
from streams.index.formats import json_reader
from streams.index.instants import parse_instant
from streams.index.operator_answers import ACKNOWLEDGED, Answer

SIGNATURE_HEADER = "X-PagerDuty-Signature"
_TAKEN_BACK = {"incident.acknowledged": False, "incident.unacknowledged": True}
PAGERDUTY = "(PagerDuty)"
"""End of the name of an author who has answered there."""
_SUFFIX = f" {PAGERDUTY}"
_PERSON = "user_reference"
"""Type of an agent who is somebody; the others are integrations, services and keys."""


class _Agent(msgspec.Struct):
    type: str = ""
    summary: str | None = None


class _Data(msgspec.Struct):
    incident_key: str | None = None


class _Event(msgspec.Struct):
    event_type: str
    occurred_at: str
    data: _Data = msgspec.field(default_factory=_Data)
    agent: _Agent | None = None


class _Delivery(msgspec.Struct):
    event: _Event


_decode = json_reader(_Delivery)


def is_signed(body: bytes, header: str, secret: str) -> bool:
    """Whether one of the header's signatures is that of the body."""
    own = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    signatures = (part.strip() for part in header.split(","))
    return any(
        hmac.compare_digest(f"v1={own}".encode(), each.encode(errors="replace"))
        for each in signatures
    )


def acknowledgement(body: bytes) -> Answer | None:
    """Return the answer that a delivery is; None: it is about something else.

    The instant is PagerDuty's, so a delivery that comes twice has one key. Raises AnswerError.
    """
    try:
        event = _decode(body).event
    except msgspec.DecodeError as error:
        raise AnswerError(f"expected a delivery of PagerDuty's webhooks v3: {error}") from error
    incident, taken_back = event.data.incident_key or "", _TAKEN_BACK.get(event.event_type)
    if taken_back is None or not _is_ours(incident):
        return None
    person = event.agent if event.agent is not None and event.agent.type == _PERSON else None
    if person is None and not taken_back:
        return None
    at_ms = parse_instant(event.occurred_at)
    if at_ms is None:
        raise AnswerError(f"occurred_at {event.occurred_at!r}: expected an instant, RFC 3339")
    name = (person.summary if person is not None else None) or "somebody"
    by = f"{name.strip()[: AUTHOR_MAX - len(_SUFFIX)]}{_SUFFIX}"
    answer = Answer(
        incident, ACKNOWLEDGED, by if is_author(by) else f"somebody{_SUFFIX}", at_ms, taken_back
    )
    answer_record(answer)
    return answer


def _is_ours(incident_key: str) -> bool:
    try:
        return bool(market_of(incident_key))
    except AnswerError:
        return False
