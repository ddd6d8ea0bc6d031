"""The OpenAPI 3.1 document: answers as the code's types have them, events as the contract has them.

An event's type in the code is what the fast decoder takes. What the contract takes is more, and stands
in config/schemas/, so those schemas are used, whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from streams.door.door_answers import Accepted, Delivered, Health, RequestProblem
from streams.door.door_server import EVENTS, HEALTH, OPENAPI, SOURCES
from streams.door.request_events import (
    CLOUD_EVENT,
    CLOUD_EVENTS,
    CLOUD_HEADERS,
    JSON,
    LINES,
    CloudEvent,
)
from streams.door.signatures import scheme_of
from streams.door.source_door import FORM
from streams.index.formats import json_reader
from streams.settings import DeclaredSource, DoorSettings, default_config

VERSION = "1"
PROBLEM = "application/problem+json"
_HERE = "#/components/schemas/"
_INPUTS = ("orders", "payments")
_REFUSALS = {
    "400": "The body is not what its Content-Type or Content-Encoding says, or has no events.",
    "401": "No token that is let in.",
    "403": "The token may not send such events, or it came without TLS, or from a web page.",
    "408": "The body was not there in time.",
    "413": "The body is too large, or has too many events.",
    "415": "The body's type is none of those above.",
    "422": "Events break the contract; the answer names each with its field.",
    "429": "The token sends too much; Retry-After says when to come again.",
    "503": "Nothing could be kept; Retry-After says when to come again.",
}

_DELIVERY_REFUSALS = {
    "400": "The body is not what its Content-Encoding says.",
    "401": "No signature by a secret of the source, or more than one.",
    "403": "It came without TLS, or from a web page.",
    "408": "The body was not there in time.",
    "413": "The body is too large.",
    "429": "More deliveries a second than the source may send; Retry-After says when to come again.",
    "503": "Nothing could be kept; Retry-After says when to come again.",
}

_tree = json_reader(dict[str, Any])


def document(settings: DoorSettings, sources: Sequence[DeclaredSource]) -> bytes:
    """The document of a door with these limits and sources, as JSON."""
    _, schemas = msgspec.json.schema_components(
        [Accepted, Delivered, RequestProblem, Health, CloudEvent], ref_template=_HERE + "{name}"
    )
    for name in _INPUTS:
        schemas |= _contract_schemas(name)
    schemas["Event"] = {"anyOf": [_ref(name) for name in _INPUTS]}
    schemas["CloudEvent"]["properties"]["data"] = _ref("Event")
    schemas["CloudEvent"]["oneOf"] = [{"required": ["data"]}, {"required": ["data_base64"]}]
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "ecindex door",
            "version": VERSION,
            "description": "Takes order and payment events. A request is accepted whole or not at all.",
        },
        "paths": {
            EVENTS: {"post": _post(settings)},
            **{SOURCES + each.name: {"post": _delivery(settings, each)} for each in sources},
            OPENAPI: {"get": _get("This document", {"type": "object"}, "openapi")},
            HEALTH: {"get": _get("Whether events are taken", _ref("Health"), "health")},
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                **{each.name: _security(each) for each in sources},
            },
        },
    }
    responses = described["paths"][HEALTH]["get"]["responses"]
    responses["503"] = _answer("The spool is full.", "application/json", _ref("Health"))
    return msgspec.json.encode(described)


def _post(settings: DoorSettings) -> dict[str, Any]:
    event, events = _ref("Event"), _many("Event", settings.events_max)
    return {
        "operationId": "sendEvents",
        "summary": "Send events",
        "description": f"At most {settings.events_max} events, and {settings.body_bytes_max} bytes "
        f"after decompression. With the headers {', '.join(CLOUD_HEADERS)}, {JSON} is a CloudEvent in "
        "binary mode.",
        "security": [{"token": []}],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": {"anyOf": [event, events]}},
                **{name: {"schema": {"type": "string"}} for name in LINES},
                CLOUD_EVENT: {"schema": _ref("CloudEvent")},
                CLOUD_EVENTS: {"schema": _many("CloudEvent", settings.events_max)},
            },
        },
        "responses": {
            "202": _answer("Every event is kept.", "application/json", _ref("Accepted")),
            **_refusals(_REFUSALS),
        },
    }


def _delivery(settings: DoorSettings, source: DeclaredSource) -> dict[str, Any]:
    content: dict[str, Any] = {JSON: {"schema": {}}}
    assert source.file.webhook is not None, "no other source delivers"
    if source.file.webhook.signature == "woocommerce":
        ping = {"type": "object", "properties": {"webhook_id": {"type": "integer", "minimum": 0}}}
        content[FORM] = {"schema": ping | {"required": ["webhook_id"]}}
    return {
        "operationId": f"deliver_{source.name}",
        "summary": f"Deliver a record of {source.name}",
        "description": f"At most {settings.body_bytes_max} bytes, whatever is in them. What cannot "
        "be read is a dead letter.",
        "security": [{source.name: []}],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": _answer("It is kept.", "application/json", _ref("Delivered")),
            **_refusals(_DELIVERY_REFUSALS),
        },
    }


def _security(source: DeclaredSource) -> dict[str, str]:
    assert source.file.webhook is not None, "no other source delivers"
    if source.file.webhook.signature == "bearer":
        return {"type": "http", "scheme": "bearer"}
    header = scheme_of(source.file.webhook).header
    description = f"The signature of the body, as {source.file.webhook.signature} has it."
    return {"type": "apiKey", "in": "header", "name": header, "description": description}


def _refusals(texts: Mapping[str, str]) -> dict[str, Any]:
    """The answers to what is not kept, by status."""
    problem = _ref("RequestProblem")
    responses = {
        status: _answer(text, PROBLEM, problem, retry=status in {"429", "503"})
        for status, text in texts.items()
    }
    # What is refused before it is known to be a request of the door.
    text = {"schema": {"type": "string"}}
    responses["400"]["content"]["text/plain"] = text
    responses["421"] = {
        "description": "The Host header has a name that is not among door.hosts.",
        "content": {"text/plain": text},
    }
    return responses


def _get(summary: str, schema: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": _answer(summary, "application/json", schema)},
    }


def _answer(
    description: str, content_type: str, schema: dict[str, Any], *, retry: bool = False
) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": description,
        "content": {content_type: {"schema": schema}},
    }
    if retry:
        seconds = {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}
        answer["headers"] = {"Retry-After": seconds | {"required": True}}
    return answer


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _HERE + name}


def _many(name: str, most: int) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name), "minItems": 1, "maxItems": most}


def _contract_schemas(name: str) -> dict[str, Any]:
    """A schema of the contract, and what it defines, by names of this document."""
    schema = _tree(default_config(f"schemas/{name}.json").read_bytes())
    del schema["$schema"]
    defined = schema.pop("$defs")
    found = {name: schema} | {f"{name}.{part}": each for part, each in defined.items()}
    return {each: _renamed(part, name) for each, part in found.items()}


def _renamed(node: Any, name: str) -> Any:
    if isinstance(node, list):
        return [_renamed(each, name) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        key: value.replace("#/$defs/", f"{_HERE}{name}.")
        if key == "$ref"
        else _renamed(value, name)
        for key, value in node.items()
    }
