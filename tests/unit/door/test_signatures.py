"""Signatures that vendors and others have published are known; whatever else is shown is none.

Published: of Stripe in the tests of its library for .NET, of `hmac` in GitHub's documentation of its
webhooks, and of Shopify's scheme, which is WooCommerce's too, in the tests of SQLPage.
"""

from __future__ import annotations

import hashlib

import pytest

from streams.door.signatures import STRIPE_TOLERANCE_MS, scheme_of
from streams.translate.source_file import WebhookTable

STRIPE_BODY = b"""{
  "id": "evt_123",
  "object": "event",
  "account": "acct_123",
  "api_version": "2017-05-25",
  "created": 1533204620,
  "data": {
    "object": {
      "id": "ii_123",
      "object": "invoiceitem",
      "amount": 1000,
      "currency": "usd",
      "customer": "cus_123",
      "date": 1533204620,
      "description": "Test Invoice Item",
      "discountable": false,
      "invoice": "in_123",
      "livemode": false,
      "metadata": {},
      "period": {
        "start": 1533204620,
        "end": 1533204620
      },
      "plan": null,
      "proration": false,
      "quantity": null,
      "subscription": null
    }
  },
  "livemode": false,
  "pending_webhooks": 1,
  "request": {
    "id": "req_123",
    "idempotency_key": "idempotency-key-123"
  },
  "type": "invoiceitem.created"
}
"""
STRIPE_MS = 1_533_204_620_000
V1 = b"f0bdba6d4eacbd8ad8a3bbadd7248e633ec1477f7899c124c51b39405fa36613"
V0 = b"63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef"
STRIPE_SIGNATURE = b"t=1533204620,v1=" + V1 + b",v0=" + V0
BODY = b'{"id":1234567890,"email":"customer@example.com","total_price":"123.45"}'
HEXADECIMAL = b"40dc8e6d394a6ccc76a8394f17f64e65c06a8393a03e0fb6a24cb7ce575cd06c"
BASE64 = b"QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw="
TOKEN = b"ecd_a-token-of-a-vendor"

SHOPIFY, WOOCOMMERCE, STRIPE, BEARER = (
    WebhookTable(signature=each) for each in ("shopify", "woocommerce", "stripe", "bearer")
)
GITHUB = WebhookTable(signature="hmac", header="X-Hub-Signature-256", before="sha256=")
PLAIN = WebhookTable(signature="hmac", header="X-Signature")
PUBLISHED = {
    "shopify": (SHOPIFY, "X-Shopify-Hmac-Sha256", b"test-webhook-secret", BASE64, BODY),
    "woocommerce": (WOOCOMMERCE, "X-WC-Webhook-Signature", b"test-webhook-secret", BASE64, BODY),
    "stripe": (
        STRIPE, "Stripe-Signature", b"webhook_secret", b"t=1533204620,v1=" + V1, STRIPE_BODY,
    ),
    "hmac": (PLAIN, "X-Signature", b"test-webhook-secret", HEXADECIMAL, BODY),
    "hmac in capitals": (PLAIN, "X-Signature", b"test-webhook-secret", HEXADECIMAL.upper(), BODY),
    "hmac with a prefix": (
        GITHUB, "X-Hub-Signature-256", b"It's a Secret to Everybody",
        b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        b"Hello, World!",
    ),
    "bearer": (
        BEARER, "Authorization", hashlib.sha256(TOKEN).hexdigest().encode(), b"Bearer " + TOKEN, b"",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_signature_is_known_by_either_secret_and_no_other(name):
    webhook, header, secret, shown, body = PUBLISHED[name]
    scheme = scheme_of(webhook)
    assert scheme.header == header
    other = b"x" * len(secret)
    assert scheme.signs([secret], shown, body, STRIPE_MS)
    assert scheme.signs([other, secret], shown, body, STRIPE_MS)
    assert not scheme.signs([other], shown, body, STRIPE_MS)
    assert not scheme.signs([], shown, body, STRIPE_MS)
    if name != "bearer":  # which signs no body
        assert not scheme.signs([secret], shown, body + b" ", STRIPE_MS)
    for wrong in (b"", shown[:-1], shown + b"=", shown[1:], b"\xff", shown.replace(b"=", b"")):
        if wrong != shown:
            assert not scheme.signs([secret], wrong, body, STRIPE_MS), wrong


@pytest.mark.parametrize(
    ("shown", "late_ms", "is_signed"),
    [
        (STRIPE_SIGNATURE, STRIPE_TOLERANCE_MS, True),
        (STRIPE_SIGNATURE, STRIPE_TOLERANCE_MS + 1, False),
        (STRIPE_SIGNATURE, -86_400_000, True),  # our clock is behind: nothing old is sent again
        (b"t=1533204620, v1=" + b"0" * 64 + b", v1=" + V1, 0, True),  # of the secret before, too
        (b"t=1533204620,v0=" + V1, 0, False),
        (b"t=1533204621,v1=" + V1, 0, False),
        (b"t=1533204620,t=1533204620,v1=" + V1, 0, False),
        (b"v1=" + V1, 0, False),
        (b"t=,v1=" + V1, 0, False),
        (b"t=1533204620.0,v1=" + V1, 0, False),
    ],
)
def test_a_signature_of_stripe_says_when_it_was_made(shown, late_ms, is_signed):
    signs = scheme_of(STRIPE).signs
    assert signs([b"webhook_secret"], shown, STRIPE_BODY, STRIPE_MS + late_ms) is is_signed


def test_a_bearer_token_is_shown_as_one():
    secret = [hashlib.sha256(TOKEN).hexdigest().encode()]
    signs = scheme_of(BEARER).signs
    assert signs(secret, b"bearer  " + TOKEN + b" ", b"", 0)
    for wrong in (TOKEN, b"Basic " + TOKEN, b"Bearer " + secret[0], b"Bearer"):
        assert not signs(secret, wrong, b"", 0)


def test_every_secret_is_compared_with_every_signature(monkeypatch):
    compared = []
    monkeypatch.setattr(
        "streams.door.signatures.hmac.compare_digest",
        lambda own, shown: compared.append((own, shown)) or own == shown,
    )
    shown = b"t=1533204620,v1=" + V1 + b",v1=" + V0
    assert scheme_of(STRIPE).signs([b"webhook_secret", b"another"], shown, STRIPE_BODY, STRIPE_MS)
    assert [each for _, each in compared] == [V1, V0, V1, V0]
    assert len({own for own, _ in compared}) == 2
