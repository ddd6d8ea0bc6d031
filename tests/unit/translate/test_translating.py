"""Batches in one step and in two become the same events, and refusals name the source's own record."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from streams.translate.compiled_source import compile_source
from streams.translate.order_book import BookLimits, OrderBook
from streams.translate.translating import (
    ByOrder,
    Origin,
    ReadingAndStating,
    RecordPlace,
    RecordReader,
    Stating,
)
from tests.unit.translate.sources import FILE, RECORD

T = 1_795_514_400_000
REFUND = """
[refund]
when = { path = "refund", present = true }
order_id = "order"
id = "refund"
occurred_at = "at"
amount = "amount"
currency = "currency"

[order]
when = { path = "refund", present = false }
"""
SOURCE = compile_source(
    FILE.format(more="", order="", lines='amount = "total"').replace("[order]\n", REFUND)
)
PLACE = RecordPlace("shop-topic", "id-of-topic", 3)


class Record(NamedTuple):
    offset: int
    timestamp: int
    value: bytes | None


def refund(order, name):
    return {"refund": name, "order": order, "at": RECORD["at"], "amount": "1.00", "currency": "EUR"}


def records(*contents):
    return [
        Record(10 + at, T + at, None if each is None else json.dumps(each).encode())
        for at, each in enumerate(contents)
    ]


def parts(waiting_max=100):
    book = OrderBook("shop", BookLimits(86_400_000, 1_000, waiting_max))
    return RecordReader(SOURCE, PLACE, b"pepper"), book


def in_one_step(batch, **limits):
    reader, book = parts(**limits)
    return ReadingAndStating(SOURCE, reader, book).translate(batch, T)


def in_two_steps(batch, **limits):
    reader, book = parts(**limits)
    first = ByOrder(reader).translate(batch, T)
    passed_on = [Record(at, T, value) for at, (_, value) in enumerate(first.by_order)]
    second = Stating(SOURCE, book).translate(passed_on, T)
    second.dead += first.dead
    second.read, second.ignored, second.last_ms = first.read, first.ignored, first.last_ms
    return second


@pytest.mark.parametrize("translate", [in_one_step, in_two_steps])
def test_one_step_and_two_state_the_same(translate):
    found = translate(
        records(
            RECORD, refund(7, "r1"), None, refund(8, "r2"), RECORD, {"id": 8}, RECORD | {"id": 8}
        )
    )
    assert [json.loads(event.value)["event_id"] for event in found.events] == [
        "shop:7:placed", "shop:7:refund:r1", "shop:8:placed", "shop:8:refund:r2",
    ]  # fmt: skip
    assert (found.read, dict(found.ignored), found.last_ms) == (7, {"empty": 1}, T + 6)
    assert len(found.states) == 2
    (dead,) = found.dead
    assert dead.origin == Origin("shop-topic", "id-of-topic", 3, 15, T + 5)
    assert json.loads(dead.value)["path"] == "$.currency"


@pytest.mark.parametrize("translate", [in_one_step, in_two_steps])
def test_what_cannot_be_kept_is_refused_under_the_place_of_its_own_record(translate):
    found = translate(records(refund(1, "a"), refund(2, "b"), RECORD), waiting_max=1)
    (dead,) = found.dead
    assert dead.origin == Origin("shop-topic", "id-of-topic", 3, 11, T + 1)
    assert "at most 1 orders (sources.waiting_max) that wait" in dead.detail
    assert len(found.events) == 1
