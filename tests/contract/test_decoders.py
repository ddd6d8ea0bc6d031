"""Bytes that cannot be decoded raise one kind of error, whatever is wrong with them.

msgspec raises UnicodeDecodeError and RecursionError beside its DecodeError. Who expects the last alone
ends at the others.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streams.flow.merged import decode_merged
from streams.index.formats import json_decoder, json_reader
from streams.index.input_reports import read_reports
from streams.records.redis_records import refused

STREAMS = Path(__file__).parents[2] / "streams"
_OWN = re.compile(r"msgspec\.(json|msgpack)\.(decode|Decoder)\b")
ALLOWED = {
    "index/formats.py",  # where the errors become one kind
    "index/events.py",  # the fast path; it reads what fails again, field by field
}
NO_UTF8 = b'{"v":0,"market":"\xff"}'
DEEP = b'{"v":0,"x":' + b'{"x":' * 3_000 + b"1" + b"}" * 3_001


class _Record(msgspec.Struct):
    v: int = 0
    market: str = ""


def test_nobody_uses_the_decoders_of_msgspec_but_those_that_know_its_errors():
    users = {
        str(path.relative_to(STREAMS))
        for path in STREAMS.rglob("*.py*")
        if path.suffix in {".py", ".pyx"} and _OWN.search(path.read_text())
    }
    assert users == ALLOWED


@pytest.mark.parametrize("encoded", [NO_UTF8, DEEP, b'"\xff"', b"[" * 5_000, b"{", b""])
def test_json_that_cannot_be_read_raises_one_kind_of_error(encoded):
    for decode in (json_reader(Any), json_reader(_Record), json_decoder(_Record, "a record", 1)):
        with pytest.raises(msgspec.DecodeError):
            decode(encoded)


def test_so_do_the_records_that_workers_keep_for_themselves():
    text = msgspec.msgpack.encode({"v": 0}).replace(b"\xa1v", b"\xa1\xff")
    nested = b"\x81\xa1x" * 3_000 + b"\x01"
    for encoded in (text, nested):
        with pytest.raises(msgspec.DecodeError):
            decode_merged(encoded)


@pytest.mark.parametrize("encoded", [NO_UTF8, DEEP])
def test_doctor_names_what_of_a_key_in_redis_cannot_be_read(encoded):
    entry = (b"1-1", {b"as_of": b"2026-11-24T10:00:00Z", b"changes": encoded})
    for key, content in (
        ("ecindex:v1:{PK}:snapshot", encoded),
        ("ecindex:v1:{PK}:shifts", {b"category:books": encoded}),
        ("ecindex:v1:{PK}:changes", [entry]),
        ("ecindex:v1:{PK}:history", [encoded]),
        ("ecindex:v1:inputs", {b"orders-0": encoded}),
    ):
        (found,) = refused(key, content)
        assert found.where.startswith(key)
    assert read_reports({b"orders-0": encoded}) == []
