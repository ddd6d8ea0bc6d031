"""The examples of Stripe: their records become exactly the events that their page says."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path

import pytest

from streams.index.event_types import PaymentEvent
from streams.index.events import decode_payments
from streams.translate.compiled_source import IgnoredRecord, compile_source
from streams.translate.order_state import advance
from streams.translate.whole_orders import kept_by
from tools.stripe_events import (
    CHARGES,
    DAY,
    INTENTS,
    PERSON,
    PROPERTIES,
    START,
    as_bytes,
    card,
    charge,
    charges_story,
    dispute,
    event,
    intent,
    intents_story,
    refund,
)

ROOT = Path(__file__).parents[3]
TEXTS = {
    "charges": (ROOT / CHARGES).with_suffix(".toml").read_text(),
    "intents": (ROOT / INTENTS).with_suffix(".toml").read_text(),
}
SOURCES = {name: compile_source(text) for name, text in TEXTS.items()}


def stated(records, source=SOURCES["charges"]):
    """For each record: its events as (id without the source's name, amount, method)."""
    states, found = {}, []
    for record in records:
        read = source.read(as_bytes(record))
        if not isinstance(read, list):
            found.append(read.reason if isinstance(read, IgnoredRecord) else read.path)
            continue
        events = []
        for each in read:
            advanced = advance(source.name, states.get(kept_by(each)), each, digest=7)
            states[kept_by(each)] = advanced.state
            events += [json.loads(out.value) for out in advanced.events]
        found.append(
            [
                (out["event_id"].removeprefix("stripe:"), out["amount_minor"], out["method"])
                for out in events
            ]
        )
    return found


BACK = [
    [("pi_test1001:refunded:re_test1", 500, "card")],
    [],  # the same delivery
    "condition",  # charge.refunded adds up what the refunds say
    [],  # another event of a refund that is stated
    [("pi_test1001:refunded:re_test2", 700, "card")],
    [("pi_test1003:refunded:re_test3", 900, "bank_transfer")],
    [("pi_test1003:refund_failed:re_test3", 900, "bank_transfer")],
    [],  # refund.updated says the same
    "condition",  # an authorisation that was given up
    "condition",  # a bank's question
    [("pi_test1001:disputed:dp_test1", 3790, "card")],  # which became a dispute
    [("pi_test1002:disputed:dp_test2", 2500, "card")],
    [],
    [],  # won
    [("pi_test1002:reversed:dp_test2", 2500, "card")],  # lost
    [],
]


@pytest.mark.parametrize(("path", "story"), [(CHARGES, charges_story), (INTENTS, intents_story)])
def test_a_fixture_is_what_the_script_writes(path, story):
    assert (ROOT / path).read_bytes() == b"".join(as_bytes(each) + b"\n" for each in story())


def test_the_records_of_charges_become_the_events_that_the_page_says():
    assert stated(charges_story()) == [
        [("pi_test1001:captured:ch_test1001=0-4990", 4990, "wallet")],
        [],  # the same delivery
        [],  # another event of the same charge
        "condition",  # payment_intent.succeeded is of the other file
        "test",
        [],  # authorised, and nothing captured
        [("pi_test1002:captured:ch_test1002=0-1000", 1000, "card")],
        [("pi_test1002:captured:ch_test1002=1000-2500", 1500, "card")],
        [],  # an older event comes last
        [("pi_test1003:failed:ch_test1003", 900, "card")],
        [("pi_test1003:failed:ch_test1003b", 900, "card")],
        [("pi_test1003:captured:ch_test1003c=0-900", 900, "bank_transfer")],
        "$.data.object.currency",  # no market has yen
        "$.data.object.amount_captured",  # 12.5 is no number of cents
        *BACK,
    ]


def test_the_records_of_intents_become_the_events_that_the_page_says():
    failed = "evt_testpayment_intentpayment_failed1003100"
    assert stated(intents_story(), SOURCES["intents"]) == [
        [("pi_test1001:captured:pi_test1001=0-4990", 4990, "card")],
        [],
        "condition",  # charge.succeeded is of the other file
        [],
        [("pi_test1002:captured:pi_test1002=0-1000", 1000, "card")],
        [("pi_test1002:captured:pi_test1002=1000-2500", 1500, "card")],
        [(f"pi_test1003:failed:{failed}", 900, "card")],  # nothing was charged
        [("pi_test1003:failed:ch_test1003b", 900, "card")],
        [("pi_test1003:captured:pi_test1003=0-900", 900, "")],  # it allowed two types
        *BACK,
    ]


@pytest.mark.parametrize(
    ("name", "story"), [("charges", charges_story()), ("intents", intents_story())]
)
def test_the_index_takes_each_event_whole(name, story):
    states, taken = {}, []
    for record in story:
        read = SOURCES[name].read(as_bytes(record))
        for each in read if isinstance(read, list) else []:
            advanced = advance("stripe", states.get(kept_by(each)), each)
            states[kept_by(each)] = advanced.state
            for out in advanced.events:
                (decoded,) = decode_payments([out.value])
                assert type(decoded) is PaymentEvent
                assert out.topic == "payments"
                assert out.key == decoded.order_id.encode()
                taken.append(decoded)
    assert len({each.event_id for each in taken}) == len(taken) >= 11
    assert taken[0].occurred_at.startswith("2026-11-24T10:00:0")
    named = {each.order_id for each in taken if each.type == "payment.captured"}
    assert {"1001", "1002"} < named, "by metadata, else the payment's own id"
    assert {each.provider for each in taken} == {"stripe"}


def test_an_order_is_named_under_the_key_of_the_setting():
    text = TEXTS["charges"].replace('"orderId"', '"cart"')
    paid = charge(1, 5, metadata={"cart": "A-7", "orderId": "B-8"})
    (read,) = compile_source(text).read(as_bytes(event("charge.succeeded", paid)))
    assert read.order_id == "A-7"


@pytest.mark.parametrize("livemode", [False, None, "true "])
def test_what_is_not_said_to_be_live_is_a_test(livemode):
    found = stated([event("charge.succeeded", charge(1, 5), livemode=livemode)])
    assert found == ["test"]


@pytest.mark.parametrize(
    ("currency", "amount", "minor"),
    [
        ("eur", 1099, 1099),
        ("jpy", 500, 500),
        ("krw", 1, 1),
        ("clp", 990, 990),
        ("isk", 500, 5),  # two decimals that are always 00
        ("ugx", 500, 5),
        ("isk", 550, None),
        ("ugx", 1, None),
        ("mga", 7, 700),  # whole for Stripe, with two decimals for ISO 4217
        ("kwd", 5120, 5120),
        ("kwd", 5124, None),  # Stripe's last digit is 0
        ("tnd", 10, 10),
        ("jod", 15, None),
        ("huf", 1045, 1045),  # without decimals in payouts alone
        ("twd", 80045, 80045),
        ("usd", 10**13, 10**13),
        ("usd", 10**13 + 1, None),
        ("usd", -1, None),
    ],
)
def test_money_is_read_by_stripes_own_table(currency, amount, minor):
    text = TEXTS["charges"].replace('eur = "HOME"', f'{currency} = "HOME"')
    paid = charge(1, amount, currency=currency)
    read = compile_source(text).read(as_bytes(event("charge.succeeded", paid)))
    if minor is None:
        assert read.path == "$.data.object.amount_captured"
    else:
        assert (read[0].currency, read[0].amount_minor) == (currency.upper(), minor)


def test_a_payment_without_an_intent_is_known_by_its_charge():
    one = [
        event("charge.succeeded", charge(5, 70, payment_intent=None)),
        event("refund.created", refund(5, 5, 20, payment_intent=None)),
        event("charge.dispute.created", dispute(5, 5, 50, "under_review", payment_intent=None)),
    ]
    assert [each[0][0] for each in stated(one)] == [
        "ch_test5:captured:ch_test5=0-70",
        "ch_test5:refunded:re_test5",
        "ch_test5:disputed:dp_test5",
    ]


def test_what_is_stated_does_not_depend_on_the_order_of_deliveries():
    records = [
        each
        for each in charges_story()
        if isinstance(SOURCES["charges"].read(as_bytes(each)), list)
    ]
    expected = totals(stated(records))
    for seed in range(30):
        shuffled = random.Random(seed).sample(records * 2, 2 * len(records))
        assert totals(stated(shuffled)) == expected


def totals(found):
    """Of each payment and step: the sum of amounts, and the ids but for the steps of a total."""
    sums = {}
    for event_id, amount, _ in itertools.chain(*found):
        key = tuple(event_id.partition("=")[0].split(":"))
        sums[key] = sums.get(key, 0) + amount
    return sums


@pytest.mark.parametrize("name", TEXTS)
def test_each_path_is_a_documented_property(name):
    kind = {"charges": "charge", "intents": "payment_intent"}[name]
    documented = {each for of in (kind, "refund", "dispute") for each in PROPERTIES[of].split()}
    paths = re.findall(r'"(data\.object\.\w+|created|type|id|livemode)[".\[]', TEXTS[name])
    assert len(paths) > 40
    known = {f"data.object.{each}" for each in documented} | set(PROPERTIES["event"].split())
    assert set(paths) <= known


@pytest.mark.parametrize("name", TEXTS)
def test_no_personal_field_is_read(name):
    planted = [*PERSON.values(), "cus_test4711", "Teststadt", "80331"]
    odd = [
        event("charge.succeeded", charge(1, 5, currency=PERSON["name"])),
        event("payment_intent.succeeded", intent(1, 5, PERSON["iban"])),
        event("charge.succeeded", charge(1, 5, amount_captured=PERSON["phone"])),
        event("charge.succeeded", charge(1, 5), created=PERSON["email"]),
        event("refund.created", refund(1, 1, PERSON["number"])),
        event("charge.dispute.created", dispute(1, 1, 5, "lost", id=[PERSON["email"]])),
        event(
            "charge.succeeded", charge(1, 5, payment_method_details=card(None)), type=PERSON["ip"]
        ),
    ]
    refused = 0
    for record in [*charges_story(), *intents_story(), *odd]:
        read = SOURCES[name].read(as_bytes(record))
        shown = repr(read)
        if isinstance(read, list):
            shown += "".join(str(advance("stripe", None, each).events) for each in read)
        elif not isinstance(read, IgnoredRecord):
            refused += 1
            shown += read.detail
        assert not [text for text in planted if text in shown]
    assert refused >= 3


def test_the_time_is_that_of_the_event_whatever_the_age_of_the_object():
    late = refund(1, 1, 500, created=START)
    (read,) = SOURCES["charges"].read(as_bytes(event("refund.updated", late, 3 * DAY)))
    assert read.occurred_ms == (START + 3 * DAY) * 1_000
