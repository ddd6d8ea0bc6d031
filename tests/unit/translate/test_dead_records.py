"""A dead letter of a source says where and what kind, and nothing of what stood there."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from streams.translate.dead_records import refused_value
from tests.unit.translate.sources import RECORD, source

SOURCE = source(order='region = "address.state"\nshopper_id = "customer.id"')


def kept(record, key=b"pepper"):
    content = record if isinstance(record, bytes) else json.dumps(record).encode()
    value = refused_value(SOURCE.read(content), content, SOURCE.fields, key)
    return json.loads(value), value


def test_it_has_paths_and_types_and_a_keyed_hash_and_no_content():
    record = RECORD | {
        "id": None,
        "address": {"state": "Anna's", "city": "Annaburg", "anna@example.org": 1},
        "customer": {"id": 5.5, "name": "Anna"},
        "Anna": "Anna",
    }
    found, value = kept(record)
    assert b"nna" not in value
    assert (found["source"], found["path"], found["found"]) == ("shop", "$.id", "nothing")
    assert found["types"] == {
        "$.id": "null", "$.currency": "text", "$.at": "text", "$.lines[].id": "number",
        "$.lines[].quantity": "number", "$.lines[].total": "text", "$.address.state": "text",
        "$.customer.id": "text",
    }  # fmt: skip
    content = json.dumps(record).encode()
    assert found["hash"] == hmac.new(b"pepper", content, hashlib.sha256).hexdigest()
    assert "hash" not in kept(record, key=None)[0]


@pytest.mark.parametrize(
    "content", [b'{"Anna": ', b'{"id": "Anna \xff"}', b'{"id":' * 3_000 + b"1" + b"}" * 3_000]
)
def test_what_cannot_be_decoded_has_no_paths(content):
    found, value = kept(content)
    assert (found["path"], found["types"]) == ("$", {})
    assert b"Anna" not in value
