"""The events in a request's body: one, an array, lines, or CloudEvents around them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, NamedTuple

import msgspec

from streams.index.event_types import Rejected
from streams.index.formats import json_reader

JSON = "application/json"
LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
CLOUD_EVENT = "application/cloudevents+json"
CLOUD_EVENTS = "application/cloudevents-batch+json"
CONTENT_TYPES = (JSON, *LINES, CLOUD_EVENT, CLOUD_EVENTS)
SPEC_VERSION = "1.0"
CLOUD_HEADERS = ("ce-id", "ce-source", "ce-specversion", "ce-type")
"""Headers of a CloudEvent in binary mode, each of which it must have."""
_BOM = b"\xef\xbb\xbf"

_Named = Annotated[str, msgspec.Meta(min_length=1)]


class CloudEvent(msgspec.Struct, frozen=True):
    """The envelope of a CloudEvent. Only ``data``, the event of the contract, is kept."""

    specversion: Annotated[str, msgspec.Meta(pattern=r"^1\.0$")]
    id: _Named
    source: _Named
    type: _Named
    datacontenttype: str | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | None = None


class RequestEvents(NamedTuple):
    """``values``: each event's own bytes, or what is wrong with its envelope.

    ``root``: where in an element of the request its event stands, for the paths of problems.
    """

    values: list[bytes | Rejected]
    root: str = "$"


class BodyError(ValueError):
    """No events can be read from the body. The sender must act."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        self.status = status
        super().__init__(detail)


_raws = json_reader(list[msgspec.Raw])
_envelope = json_reader(CloudEvent)


def media_type(header: str | None) -> str:
    """The media type in a header Content-Type, without its parameters."""
    return (header or "").partition(";")[0].strip().lower()


def events_of(body: bytes, content_type: str, headers: Mapping[str, str]) -> RequestEvents:
    """Split a body into the bytes of its events. Raises BodyError.

    ``headers``: those of the request; the names of ``CLOUD_HEADERS`` are looked up in it.
    """
    body = body.removeprefix(_BOM).strip()
    if content_type in LINES:
        lines = (line.strip() for line in body.split(b"\n"))
        found = RequestEvents([line for line in lines if line])
    elif content_type in (CLOUD_EVENT, CLOUD_EVENTS):
        wrapped = _elements(body) if content_type == CLOUD_EVENTS else [body] if body else []
        found = RequestEvents([_unwrapped(each) for each in wrapped], "$.data")
    elif content_type == JSON:
        found = RequestEvents(_json_events(body, headers))
    else:
        raise BodyError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"expected a Content-Type of {', '.join(CONTENT_TYPES)}",
        )
    if not found.values:
        raise BodyError(HTTPStatus.BAD_REQUEST, "expected at least one event, found none")
    return found


def _json_events(body: bytes, headers: Mapping[str, str]) -> list[bytes | Rejected]:
    is_array = body.startswith(b"[")
    if not any(name in headers for name in CLOUD_HEADERS):
        return _elements(body) if is_array else [body] if body else []
    missing = [name for name in CLOUD_HEADERS if not headers.get(name, "").strip()]
    if missing or headers["ce-specversion"].strip() != SPEC_VERSION:
        raise BodyError(
            HTTPStatus.BAD_REQUEST,
            f"a CloudEvent in binary mode: expected the headers {', '.join(CLOUD_HEADERS)}, and version "
            f"{SPEC_VERSION}; "
            + (f"found no {', '.join(missing)}" if missing else "found another version"),
        )
    if is_array:
        raise BodyError(
            HTTPStatus.BAD_REQUEST,
            f"a CloudEvent in binary mode: expected one event, found an array; send {CLOUD_EVENTS}",
        )
    return [body] if body else []


def _elements(body: bytes) -> list[bytes | Rejected]:
    try:
        return [bytes(each) for each in _raws(body)]
    except msgspec.DecodeError as error:
        raise BodyError(
            HTTPStatus.BAD_REQUEST, f"expected a JSON array of events: {error}"
        ) from error


def _unwrapped(value: bytes | Rejected) -> bytes | Rejected:
    """The event in a CloudEvent, or what is wrong with the latter."""
    assert isinstance(value, bytes)
    try:
        envelope = _envelope(value)
    except msgspec.ValidationError as error:
        return Rejected("cloud_event", str(error))
    except msgspec.DecodeError as error:
        return Rejected("invalid_json", str(error))
    kind = media_type(envelope.datacontenttype)
    if kind and kind.split("/")[-1].split("+")[-1] != "json":
        return Rejected("cloud_event", "expected JSON, found another type - at `$.datacontenttype`")
    if envelope.data_base64 is None:
        data = b"" if envelope.data is msgspec.UNSET else bytes(envelope.data)
        return data or Rejected("cloud_event", "expected an event, found nothing - at `$.data`")
    return _decoded(envelope, envelope.data_base64)


def _decoded(envelope: CloudEvent, text: str) -> bytes | Rejected:
    if envelope.data is not msgspec.UNSET:
        return Rejected("cloud_event", "expected one of data and data_base64, found both - at `$`")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # a letter that is not ASCII is another kind of it
        return Rejected("cloud_event", "expected Base64, found text - at `$.data_base64`")
