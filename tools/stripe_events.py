"""Events of Stripe: the documented properties of their objects, invented content.

``PROPERTIES`` lists the names of the properties of each object, as the OpenAPI description has them that
Stripe publishes: github.com/stripe/openapi, the objects event, charge, payment_intent, refund and
dispute of its fixtures of version 3 at commit f6c2a48fbac2819d1feba8143d942ffc65e1c0d2, and what the
package ``stripe`` 16.1.0, which is generated from it, has beside them. Nothing but names is taken from
there. ``uv run poe fixtures`` writes the records of ``charges_story`` and ``intents_story`` beside the
source files of the examples.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

EXAMPLES = Path("config/examples/sources")
CHARGES, INTENTS = EXAMPLES / "stripe.ndjson", EXAMPLES / "stripe-intents/stripe.ndjson"
Record = dict[str, Any]
START = 1_795_514_400
"""2026-11-24T10:00:00Z, as Stripe writes times."""
DAY = 86_400

PROPERTIES = {
    "event": "account api_version context created data id livemode object pending_webhooks request type",
    "charge": (
        "amount amount_captured amount_refunded application application_fee application_fee_amount"
        " authorization_code balance_transaction billing_details calculated_statement_descriptor"
        " captured created currency customer description disputed failure_balance_transaction"
        " failure_code failure_message fraud_details id livemode metadata object on_behalf_of outcome"
        " paid payment_intent payment_method payment_method_details presentment_details receipt_email"
        " receipt_number receipt_url refunded review shipping source source_transfer"
        " statement_descriptor statement_descriptor_suffix status transfer_data transfer_group"
    ),
    "payment_intent": (
        "amount amount_capturable amount_details amount_received application application_fee_amount"
        " automatic_payment_methods canceled_at cancellation_reason capture_method client_secret"
        " confirmation_method created currency customer customer_account description"
        " excluded_payment_method_types id last_payment_error latest_charge livemode metadata"
        " next_action object on_behalf_of payment_method payment_method_configuration_details"
        " payment_method_options payment_method_types processing receipt_email review setup_future_usage"
        " shipping source statement_descriptor statement_descriptor_suffix status transfer_data"
        " transfer_group"
    ),
    "refund": (
        "amount balance_transaction charge created currency customer customer_account description"
        " destination_details failure_balance_transaction failure_reason id instructions_email metadata"
        " next_action object payment_intent payment_method pending_reason presentment_details reason"
        " receipt_number source_transfer_reversal status transfer_reversal"
    ),
    "dispute": (
        "amount balance_transactions charge created currency enhanced_eligibility_types evidence"
        " evidence_details id intended_submission_method is_charge_refundable livemode metadata"
        " network_reason_code object payment_intent payment_method_details reason status"
    ),
}
PERSON = {
    "name": "Greta Musterfrau",
    "email": "greta.musterfrau@example.org",
    "phone": "+49 30 555 0199",
    "line1": "Hauptweg 7",
    "ip": "192.0.2.7",
    "last4": "4242",
    "number": "4242424242424242",
    "iban": "DE89370400440532013000",
}
ADDRESS = {
    "city": "Teststadt",
    "country": "DE",
    "line1": PERSON["line1"],
    "line2": None,
    "postal_code": "80331",
    "state": "BY",
}
CONTACT = {"address": ADDRESS, "name": PERSON["name"], "phone": PERSON["phone"]}
PERSONAL: Record = {
    "billing_details": {**CONTACT, "email": PERSON["email"], "tax_id": None},
    "receipt_email": PERSON["email"],
    "instructions_email": PERSON["email"],
    "shipping": {**CONTACT, "carrier": None, "tracking_number": None},
    "customer": "cus_test4711",
    "description": f"Order of {PERSON['name']}",
    "evidence": {
        "customer_email_address": PERSON["email"],
        "customer_name": PERSON["name"],
        "customer_purchase_ip": PERSON["ip"],
        "shipping_address": PERSON["line1"],
    },
}
"""Content of the properties that tell something of a person, wherever an object has them."""


def stripe_object(kind: str, **given: Any) -> Record:
    """An object with every documented property. Raises KeyError for one that there is not."""
    names = PROPERTIES[kind].split()
    for name in given:
        if name not in names:
            raise KeyError(f"{kind} has no property {name}")
    found = {name: PERSONAL.get(name) for name in names}
    return found | {"object": kind} | given


def card(wallet: str | None = None) -> Record:
    """Details of a payment by card."""
    return {
        "card": {
            "brand": "visa",
            "country": "DE",
            "exp_month": 8,
            "exp_year": 2030,
            "fingerprint": "test0fingerprint",
            "funding": "credit",
            "last4": PERSON["last4"],
            "network": "visa",
            "wallet": None
            if wallet is None
            else {"dynamic_last4": PERSON["last4"], "type": wallet},
        },
        "type": "card",
    }


def sepa() -> Record:
    """Details of a payment by direct debit."""
    return {
        "sepa_debit": {"bank_code": "37040044", "country": "DE", "last4": PERSON["iban"][-4:]},
        "type": "sepa_debit",
    }


def charge(number: int, amount: int, captured: int | None = None, **fields: Any) -> Record:
    """A charge of an intent of the same number, captured at once unless it is said how much is."""
    captured = amount if captured is None else captured
    return stripe_object(
        "charge",
        **{
            "id": f"ch_test{number}",
            "amount": amount,
            "amount_captured": captured,
            "amount_refunded": 0,
            "balance_transaction": f"txn_test{number}" if captured else None,
            "captured": captured > 0,
            "created": START,
            "currency": "eur",
            "disputed": False,
            "livemode": True,
            "metadata": {"order_id": str(number), "gift": f"For {PERSON['name']}"},
            "paid": True,
            "payment_intent": f"pi_test{number}",
            "payment_method_details": card(),
            "refunded": False,
            "status": "succeeded",
            **fields,
        },
    )


def intent(number: int, amount: int, received: int = 0, **fields: Any) -> Record:
    """A payment intent of which so much was received."""
    return stripe_object(
        "payment_intent",
        **{
            "id": f"pi_test{number}",
            "amount": amount,
            "amount_capturable": 0,
            "amount_received": received,
            "capture_method": "automatic",
            "client_secret": f"pi_test{number}_secret_test",
            "created": START - 60,
            "currency": "eur",
            "latest_charge": f"ch_test{number}",
            "livemode": True,
            "metadata": {"order_id": str(number)},
            "payment_method_types": ["card"],
            "status": "succeeded",
            **fields,
        },
    )


def refund(number: int, of: int, amount: int, **fields: Any) -> Record:
    """A refund of the charge of a number."""
    return stripe_object(
        "refund",
        **{
            "id": f"re_test{number}",
            "amount": amount,
            "balance_transaction": f"txn_refund{number}",
            "charge": f"ch_test{of}",
            "created": START + DAY,
            "currency": "eur",
            "destination_details": {"card": {"type": "refund"}, "type": "card"},
            "metadata": {},
            "payment_intent": f"pi_test{of}",
            "status": "succeeded",
            **fields,
        },
    )


def dispute(number: int, of: int, amount: int, status: str, **fields: Any) -> Record:
    """A dispute of the charge of a number."""
    return stripe_object(
        "dispute",
        **{
            "id": f"dp_test{number}",
            "amount": amount,
            "balance_transactions": [],
            "charge": f"ch_test{of}",
            "created": START + 9 * DAY,
            "currency": "eur",
            "livemode": True,
            "metadata": {},
            "payment_intent": f"pi_test{of}",
            "payment_method_details": {"card": {"brand": "visa"}, "type": "card"},
            "reason": "fraudulent",
            "status": status,
            **fields,
        },
    )


def event(kind: str, of: Record, after_s: int = 0, **fields: Any) -> Record:
    """An event that an object is as it is, so many seconds after the start."""
    number = f"{kind.replace('.', '')}{str(of['id']).rpartition('test')[2]}{after_s}"
    return stripe_object(
        "event",
        **{
            "id": f"evt_test{number}",
            "api_version": "2026-08-26",
            "created": START + after_s,
            "data": {"object": of},
            "livemode": True,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
            **fields,
        },
    )


def _back() -> list[Record]:
    """Refunds and disputes, which both files read alike."""
    first, second = refund(1, 1001, 500), refund(2, 1001, 700)
    debit = {"destination_details": {"type": "sepa_credit_transfer"}, "status": "pending"}
    pending = refund(3, 1003, 900, **debit)
    failed = {**pending, "status": "failed", "failure_balance_transaction": "txn_back3"}
    given_up = refund(4, 1002, 500, balance_transaction=None, reason="expired_uncaptured_charge")
    return [
        event("refund.created", first, DAY),
        event("refund.created", first, DAY),
        event("charge.refunded", charge(1001, 4990, amount_refunded=500), DAY + 1),
        event("refund.updated", {**first, "receipt_number": "1-2"}, DAY + 2),
        event("refund.created", second, 2 * DAY),
        event("refund.created", pending, 2 * DAY),
        event("refund.failed", failed, 5 * DAY),
        event("refund.updated", failed, 5 * DAY + 1),
        event("refund.updated", given_up, 6 * DAY),
        event("charge.dispute.created", dispute(1, 1001, 3790, "warning_needs_response"), 9 * DAY),
        event("charge.dispute.updated", dispute(1, 1001, 3790, "needs_response"), 12 * DAY),
        event("charge.dispute.created", dispute(2, 1002, 2500, "needs_response"), 13 * DAY),
        event("charge.dispute.funds_withdrawn", dispute(2, 1002, 2500, "needs_response"), 13 * DAY),
        event("charge.dispute.closed", dispute(1, 1001, 3790, "won"), 30 * DAY),
        event("charge.dispute.closed", dispute(2, 1002, 2500, "lost"), 31 * DAY),
        event("charge.dispute.closed", dispute(2, 1002, 2500, "lost"), 31 * DAY),
    ]


def charges_story() -> list[Record]:
    """Records in the order in which Stripe may send them, each a line of the fixture of charges."""
    paid = charge(1001, 4990, payment_method_details=card("apple_pay"))
    held = charge(1002, 3000, 0)
    debit: Record = {"payment_method_details": sepa(), "metadata": {}}
    return [
        event("charge.succeeded", paid),
        event("charge.succeeded", paid),
        event("charge.succeeded", paid, 2),
        event("payment_intent.succeeded", intent(1001, 4990, 4990), 1),
        event("charge.succeeded", {**paid, "livemode": False}, livemode=False),
        event("charge.succeeded", held, 60),
        event("charge.updated", charge(1002, 3000, 1000), DAY),
        event("charge.captured", charge(1002, 3000, 2500), 2 * DAY),
        event("charge.updated", charge(1002, 3000, 1000), DAY),
        event("charge.failed", charge(1003, 900, 0, status="failed", paid=False), 100),
        event(
            "charge.failed",
            charge(1003, 900, 0, id="ch_test1003b", status="failed", paid=False), 130,
        ),
        event("charge.succeeded", charge(1003, 900, id="ch_test1003c", **debit), 3 * DAY),
        event("charge.succeeded", charge(1004, 500, currency="jpy"), 200),
        event("charge.succeeded", {**charge(1005, 500), "amount_captured": 12.5}, 210),
        *_back(),
    ]  # fmt: skip


def intents_story() -> list[Record]:
    """The same of payment intents."""
    error = {"charge": None, "payment_method": {"type": "card", "billing_details": CONTACT}}
    tried = intent(1003, 900, last_payment_error=error, status="requires_payment_method")
    again = intent(1003, 900, last_payment_error={**error, "charge": "ch_test1003b"})
    several = {"payment_method_types": ["card", "sepa_debit"]}
    return [
        event("payment_intent.succeeded", intent(1001, 4990, 4990), 1),
        event("payment_intent.succeeded", intent(1001, 4990, 4990), 1),
        event("charge.succeeded", charge(1001, 4990)),
        event("payment_intent.amount_capturable_updated", intent(1002, 3000), 60),
        event("payment_intent.amount_capturable_updated", intent(1002, 3000, 1000), DAY),
        event("payment_intent.succeeded", intent(1002, 3000, 2500), 2 * DAY),
        event("payment_intent.payment_failed", tried, 100),
        event("payment_intent.payment_failed", again, 130),
        event("payment_intent.succeeded", intent(1003, 900, 900, **several), 3 * DAY),
        *_back(),
    ]


def as_bytes(record: Record) -> bytes:
    """A record as the body of a delivery has it."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


if __name__ == "__main__":
    for fixture, story in ((CHARGES, charges_story()), (INTENTS, intents_story())):
        fixture.write_bytes(b"".join(as_bytes(each) + b"\n" for each in story))
