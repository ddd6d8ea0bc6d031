"""Drawn bodies of Shopify count as a second reading says, and what is wrong is refused with its path."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from random import Random

import pytest

from streams.translate.compiled_source import IgnoredRecord, compile_source
from streams.translate.order_state import advance
from streams.translate.refused_records import RefusedRecord, RefusedRecordError
from tests.support.shopify_histories import history
from tests.support.shopify_reading import OrderReading

FILE = Path(__file__).parents[2] / "config/examples/sources/shopify.toml"
MARKETS = {"EUR": "HOME", "JPY": "JP", "KWD": "KW"}
SOURCE = compile_source(
    FILE.read_text().replace(
        'EUR = "HOME"', "\n".join(f'{key} = "{name}"' for key, name in MARKETS.items())
    )
)


class Translated:
    """What is stated of one order, body by body."""

    def __init__(self):
        self.state = None
        self.events = {}

    def take(self, body):
        """Say what became of a body, as the second reading does."""
        read = SOURCE.read(body)
        if isinstance(read, IgnoredRecord):
            return "left out"
        assert not isinstance(read, RefusedRecord), read
        (reported,) = read
        try:
            advanced = advance(SOURCE.name, self.state, reported)
        except RefusedRecordError:
            return "refused"
        self.state = advanced.state
        for event in advanced.events:
            found = json.loads(event.value)
            assert found["event_id"] not in self.events
            self.events[found["event_id"]] = found
        return "read"

    def of_type(self, kind):
        return [event for event in self.events.values() if event["type"] == kind]


def require_equal(translated, reading):
    placed = translated.of_type("order.placed")
    cancelled = translated.of_type("order.cancelled")
    assert len(placed) == (reading.placed is not None)
    if placed:
        (event,) = placed
        found = event["market"], event["currency"], at(event)
        assert found == (reading.placed.market, reading.placed.currency, reading.placed.at)
        units, minor = Counter(), Counter()
        for goods in reading.placed.goods.values():
            units[goods.article] += goods.units
            minor[goods.article] += goods.minor
        for each in [event, *cancelled]:
            assert sums(each) == (+units, +minor)
    assert len(cancelled) == (reading.placed is not None and reading.cancelled_at is not None)
    refunds = {}
    for event in translated.of_type("order.refunded"):
        units, minor = sums(event)
        named = Counter({article: count for article, count in units.items() if article != ("", "")})
        refunds[event["refund_id"]] = at(event), named, minor.total()
    assert refunds == {
        each: (when, Counter({key: n for key, n in units.items() if key != ("", "")}), minor)
        for each, (when, units, minor) in reading.refunds.items()
    }
    captures = {
        event["event_id"].rpartition(":")[2]: (at(event), event["method"], event["amount_minor"])
        for event in translated.of_type("payment.captured")
    }
    assert captures == reading.captures
    steps = {
        (event["type"].partition(".")[2], event["event_id"].rpartition(":")[2]): (
            event["market"], at(event), event["method"], event["amount_minor"],
        )
        for event in translated.of_type("payment.failed") + translated.of_type("payment.refunded")
    }  # fmt: skip
    assert steps == reading.steps
    assert (translated.state.waits if translated.state else 0) == len(reading.waiting)


def at(event):
    return datetime.fromisoformat(event["occurred_at"])


def sums(event):
    units, minor = Counter(), Counter()
    for line in event["lines"]:
        article = line["sku"], line["category"]
        units[article] += line["quantity"]
        minor[article] += line["quantity"] * line["unit_price_minor"]
    return +units, +minor


@pytest.mark.parametrize(
    ("bodies", "seed"),
    [(2_000, 1), pytest.param(100_000, 2, marks=pytest.mark.long)],
)
def test_drawn_bodies_count_as_a_second_reading_says_and_wrong_ones_are_refused(bodies, seed):
    draw, number = Random(seed), 0
    outcomes, events, paths = Counter(), Counter(), set()
    while outcomes.total() < bodies:
        number += 1
        translated, reading = Translated(), OrderReading(MARKETS)
        for body in history(draw, number):
            if body.refused_at is None:
                outcome = translated.take(body.raw)
                assert outcome == reading.take(body.raw), body.raw
            else:
                refused = SOURCE.read(body.raw)
                assert isinstance(refused, RefusedRecord), (body.refused_at, body.raw)
                assert refused.path == body.refused_at
                outcome = "wrong"
                paths.add(body.refused_at.translate(str.maketrans("", "", "0123456789")))
            outcomes[outcome] += 1
        require_equal(translated, reading)
        events.update(event["type"] for event in translated.events.values())
    assert min(outcomes[each] for each in ("read", "left out", "refused", "wrong")) > bodies // 100
    assert min(events[each] for each in ("order.cancelled", "order.refunded")) > bodies // 50
    assert min(events[each] for each in ("payment.failed", "payment.refunded")) > bodies // 100
    assert len(paths) > 20
