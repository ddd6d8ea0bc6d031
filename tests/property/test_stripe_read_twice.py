"""Two readings of Stripe's events agree on money, counts and refusals, whatever a record holds.

The other reading (``tests/support/stripe_by_hand.py``) is written from the page. A plain run compares
2,000 records, ``--long`` 100,000.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from streams.index.instants import parse_instant
from streams.translate.compiled_source import IgnoredRecord, compile_source
from streams.translate.order_state import advance
from streams.translate.refused_records import RefusedRecord
from streams.translate.whole_orders import kept_by
from tests.support.stripe_by_hand import CAPTURES, DISPUTES, REFUNDS, ByHand
from tools.stripe_events import (
    CHARGES,
    DAY,
    PERSON,
    START,
    as_bytes,
    card,
    charge,
    dispute,
    event,
    refund,
    sepa,
)

TEXT = (Path(__file__).parents[2] / CHARGES).with_suffix(".toml").read_text()
CURRENCIES = ("eur", "usd", "jpy", "isk", "ugx", "mga", "kwd", "tnd", "huf", "krw")
SOURCE = compile_source(
    TEXT.replace('eur = "HOME"', "\n".join(f'{each} = "{each.upper()}"' for each in CURRENCIES))
)
METHODS = {"apple_pay": "wallet", "google_pay": "wallet", "sepa_debit": "bank_transfer"}
METHODS |= {"klarna": "pay_later", "eu_bank_transfer": "bank_transfer", "link": "wallet"}
STATUSES = ("needs_response", "won", "lost", "warning_closed", "under_review", "prevented")
PLACES = (
    "type", "created", "livemode", "id", "data.object.id", "data.object.amount",
    "data.object.amount_captured", "data.object.currency", "data.object.payment_intent",
    "data.object.charge", "data.object.metadata", "data.object.metadata.order_id",
    "data.object.metadata.orderId", "data.object.payment_method_details",
    "data.object.payment_method_details.type", "data.object.payment_method_details.card",
    "data.object.payment_method_details.card.wallet",
    "data.object.payment_method_details.card.wallet.type", "data.object.destination_details",
    "data.object.destination_details.type", "data.object.balance_transaction",
    "data.object.failure_balance_transaction", "data.object.status", "data.object.description",
    "data.object.object",
)  # fmt: skip
GONE = object()
VALUES = (
    GONE, GONE, None, "", True, False, [], {}, [1], {"a": 1}, 0, 1, 10, 50, 100, 12_340, -1, -100,
    Decimal("1.5"), Decimal("7.0"), Decimal("1E+2"), 10**13, 10**13 + 1, 10**16, "100", "12.50", "1,00",
    "-5", "eur", "EUR", "isk", "kwd", "xyz", "klarna", "google_pay", "lost", "won", "A-7", "a\x07b",
    "charge.refunded", "refund.updated", "charge.captured", PERSON["name"], PERSON["number"],
    START + 5, "2026-11-24T10:00:00Z", 4_102_444_800,
)  # fmt: skip
BATCH = 250


def drawn(picks):
    """An event that Stripe may send of one of few payments."""
    number, currency = picks.randrange(30), picks.choice(CURRENCIES)
    amount = 100 * picks.randrange(1, 900)
    after_s = picks.randrange(40 * DAY)
    fields = {"currency": currency}
    if picks.random() < 0.3:
        fields["metadata"] = {}
    if picks.random() < 0.1:
        fields["payment_intent"] = None
    kind = picks.random()
    if kind < 0.5:
        details = picks.choice((card(), card("apple_pay"), card("link"), sepa()))
        of = charge(number, amount, picks.choice((0, amount, amount // 200 * 100)), **fields)
        of["payment_method_details"] = details
        return event(picks.choice((*CAPTURES, *CAPTURES, "charge.failed")), of, after_s)
    each = picks.randrange(4)
    if kind < 0.75:
        fields |= {
            "balance_transaction": picks.choice(("txn_test", "txn_test", None)),
            "failure_balance_transaction": picks.choice((None, None, "txn_back")),
        }
        return event(picks.choice(REFUNDS), refund(each, number, amount, **fields), after_s)
    of = dispute(each, number, amount, picks.choice(STATUSES), **fields)
    return event(picks.choice(DISPUTES), of, after_s)


def mutated(picks, record):
    """The record with another value in one place, or as it is."""
    record = json.loads(as_bytes(record))
    if picks.random() < 0.4:
        return record
    *way, last = picks.choice(PLACES).split(".")
    here = record
    for name in way:
        here = here.get(name)
        if not isinstance(here, dict):
            return record
    value = picks.choice(VALUES)
    if value is GONE:
        here.pop(last, None)
    else:
        here[last] = value
    return record


def written(record):
    """JSON in which a Decimal is a number, as it is written."""
    marks = {}

    def mark(number):
        marks[f'"<{len(marks)}>"'] = str(number)
        return f"<{len(marks) - 1}>"

    text = json.dumps(record, default=mark)
    for each, number in marks.items():
        text = text.replace(each, number)
    return text.encode()


class Translated:
    """The same sums as ``ByHand`` has, of the events that the source file states."""

    def __init__(self):
        self.states, self.ids = {}, set()
        self.counts, self.sums = Counter(), Counter()
        self.shown = []

    def take(self, record):
        read = SOURCE.read(record)
        if isinstance(read, IgnoredRecord):
            return "left out"
        if isinstance(read, RefusedRecord):
            self.shown.append(read.detail)
            return read.path
        seconds = Decimal(str(json.loads(record, parse_float=Decimal)["created"]))
        for each in read:
            advanced = advance("stripe", self.states.get(kept_by(each)), each)
            self.states[kept_by(each)] = advanced.state
            for out in advanced.events:
                self._add(json.loads(out.value), each.payment_id, seconds)
                self.shown.append(out.value.decode())
        return ""

    def _add(self, out, payment_id, seconds):
        assert out["event_id"] not in self.ids
        self.ids.add(out["event_id"])
        assert parse_instant(out["occurred_at"]) == int(seconds * 1_000)
        assert out["market"] == out["currency"]
        step = out["type"].removeprefix("payment.")
        key = payment_id, step, out["currency"], out["order_id"], out["method"]
        self.sums[key] += out["amount_minor"]
        if step != "captured":
            self.counts[key] += 1


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_two_readings_agree_on_money_counts_and_refusals(count):
    picks = random.Random(19)
    seen = Counter()
    for _ in range(0, count, BATCH):
        by_hand, translated = ByHand(set(CURRENCIES), METHODS), Translated()
        for _ in range(BATCH):
            record = written(mutated(picks, drawn(picks)))
            expected = by_hand.take(json.loads(record, parse_float=Decimal))
            found = translated.take(record)
            assert found == expected, record
            seen[expected] += 1
        assert translated.sums == by_hand.sums
        assert translated.counts == by_hand.counts
        shown = "".join(translated.shown)
        assert not [
            each
            for name, each in PERSON.items()
            if name in ("email", "phone", "iban", "line1") and each in shown
        ]
    assert seen[""] > sum(seen.values()) / 3
    assert seen["left out"] > sum(seen.values()) / 10
    for path in ("currency", "amount", "amount_captured", "id", "payment_intent", "metadata"):
        assert seen[f"$.data.object.{path}"], path
    assert seen["$.created"]
