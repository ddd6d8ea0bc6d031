"""Where a body's events are, whatever form it has; each keeps its own bytes."""

from __future__ import annotations

import base64
import json

import pytest

from streams.door.request_events import (
    CLOUD_EVENT,
    CLOUD_EVENTS,
    JSON,
    BodyError,
    events_of,
    media_type,
)
from streams.index.event_types import Rejected

LINES = "application/x-ndjson"
HEADERS = {"ce-id": "1", "ce-source": "/shop", "ce-specversion": "1.0", "ce-type": "t"}
ENVELOPE = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "t"}


def values(body, kind=JSON, headers=None):
    return events_of(body, kind, headers or {}).values


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, b'[{"a": 1.50},\n {"b":"\\u00e9"}]'),
        (JSON, b'\xef\xbb\xbf [{"a": 1.50} , {"b":"\\u00e9"} ] '),
        (LINES, b'{"a": 1.50}\r\n\n{"b":"\\u00e9"}'),
        ("application/jsonl", b'\n{"a": 1.50}\n{"b":"\\u00e9"}\n'),
    ],
)
def test_each_event_keeps_its_own_bytes(kind, body):
    assert values(body, kind) == [b'{"a": 1.50}', b'{"b":"\\u00e9"}']


def test_one_event_is_the_body():
    assert values(b' {"a":1}\n') == [b'{"a":1}']


def test_a_line_that_is_broken_is_left_to_the_check_of_events():
    assert values(b'{"a":1}\n{"a":\n', LINES) == [b'{"a":1}', b'{"a":']


@pytest.mark.parametrize("kind", [JSON, LINES, CLOUD_EVENT, CLOUD_EVENTS])
@pytest.mark.parametrize("body", [b"", b" \n ", b"[]"])
def test_a_body_without_events_is_refused(kind, body):
    if body == b"[]" and kind in (LINES, CLOUD_EVENT):
        return  # one event, which the check of events refuses
    with pytest.raises(BodyError) as caught:
        values(body, kind)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'[{"a":1}', JSON, 400),
        (b'[{"a":1},]', JSON, 400),
        (b'{"a":1}', "text/plain", 415),
        (b'{"a":1}', "", 415),
        (b'{"a":1}', "application/x-www-form-urlencoded", 415),
    ],
)
def test_what_cannot_be_split_is_refused(body, kind, status):
    with pytest.raises(BodyError) as caught:
        values(body, kind)
    assert caught.value.status == status


def test_parameters_of_a_media_type_do_not_matter():
    assert media_type("Application/JSON; charset=utf-8") == JSON
    assert media_type(None) == ""


def test_the_data_of_a_cloud_event_is_the_event():
    one = json.dumps(ENVELOPE | {"data": {"a": 1}, "datacontenttype": "application/json"}).encode()
    coded = json.dumps(ENVELOPE | {"data_base64": base64.b64encode(b'{"b":2}').decode()}).encode()
    found = events_of(one, CLOUD_EVENT, {})
    assert (found.values, found.root) == ([b'{"a": 1}'], "$.data")
    assert values(b"[" + one + b"," + coded + b"]", CLOUD_EVENTS) == [b'{"a": 1}', b'{"b":2}']


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"specversion": "0.3"}, "`$.specversion`"),
        ({"id": ""}, "`$.id`"),
        ({"source": None}, "`$.source`"),
        ({"type": ...}, "missing required field `type`"),
        ({"data": ...}, "`$.data`"),
        ({"datacontenttype": "application/xml"}, "`$.datacontenttype`"),
        ({"data": ..., "data_base64": "no base 64!"}, "`$.data_base64`"),
        ({"data": ..., "data_base64": "\u00e9\U0001f600"}, "`$.data_base64`"),
        ({"data_base64": "e30="}, "found both"),
    ],
)
def test_a_cloud_event_that_is_none_says_why(changes, detail):
    both = ENVELOPE | {"data": {}} | changes
    body = json.dumps({key: value for key, value in both.items() if value is not ...}).encode()
    (found,) = values(body, CLOUD_EVENT)
    assert isinstance(found, Rejected)
    assert found.reason == "cloud_event"
    assert detail in found.detail


def test_a_cloud_event_in_binary_mode_has_its_event_as_body():
    assert values(b'{"a":1}', headers=HEADERS) == [b'{"a":1}']


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (b'{"a":1}', {"ce-id": " "}),
        (b'{"a":1}', {"ce-specversion": "0.3"}),
        (b'{"a":1}', {"ce-type": ""}),
        (b'[{"a":1}]', {}),
        (b"", {}),
    ],
)
def test_a_binary_cloud_event_that_is_none_is_refused(body, changes):
    with pytest.raises(BodyError):
        values(body, headers=HEADERS | changes)
