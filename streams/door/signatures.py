"""Whether a delivery was signed with a secret of its source, by the scheme of each vendor.

Bytes are compared, of the body as it came and of the header, before anything of either is read. Every
secret is compared with every signature, in constant time, so an answer's time says nothing of any.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from streams.translate.source_file import WebhookTable

STRIPE_TOLERANCE_MS = 300_000
"""How old a signature of Stripe may be, as in its own libraries. Each try is signed anew."""
_SECONDS = re.compile(rb"\d{1,12}", re.ASCII)
_BEARER = b"bearer"

Signs = Callable[[Sequence[bytes], bytes, bytes, int], bool]
"""From secrets, header, body and the time (ms) to whether one of the secrets signed the body."""


class SignatureScheme(NamedTuple):
    """Where a source's signature stands, and what it is."""

    header: str
    signs: Signs


def scheme_of(webhook: WebhookTable) -> SignatureScheme:
    """Return the scheme of a source."""
    if webhook.signature == "shopify":
        return SignatureScheme("X-Shopify-Hmac-Sha256", _in_base64)
    if webhook.signature == "woocommerce":
        return SignatureScheme("X-WC-Webhook-Signature", _in_base64)
    if webhook.signature == "stripe":
        return SignatureScheme("Stripe-Signature", _as_stripe_does)
    if webhook.signature == "bearer":
        return SignatureScheme("Authorization", _shows_token)
    assert webhook.header is not None, "a source file without it is refused"
    return SignatureScheme(webhook.header, _in_hexadecimal(webhook.before.encode()))


def _in_base64(secrets: Sequence[bytes], shown: bytes, body: bytes, _now_ms: int) -> bool:
    """Base64 of the HMAC-SHA256 of the body: Shopify and WooCommerce."""
    expected = (base64.b64encode(_hmac(secret, body).digest()) for secret in secrets)
    return _any_equal(expected, (shown,))


def _in_hexadecimal(before: bytes) -> Signs:
    """Return the scheme of the HMAC-SHA256 of the body in hexadecimal digits, behind a text."""

    def signs(secrets: Sequence[bytes], shown: bytes, body: bytes, _now_ms: int) -> bool:
        expected = (before.lower() + _hmac(each, body).hexdigest().encode() for each in secrets)
        return _any_equal(expected, (shown.lower(),))

    return signs


def _as_stripe_does(secrets: Sequence[bytes], shown: bytes, body: bytes, now_ms: int) -> bool:
    """``t=SECONDS,v1=HEX``, with a v1 for each of Stripe's own secrets, of ``SECONDS.BODY``."""
    parts = [part.strip().partition(b"=") for part in shown.split(b",")]
    times = [value for name, _, value in parts if name == b"t"]
    if len(times) != 1 or not _SECONDS.fullmatch(times[0]):
        return False
    signed = times[0] + b"." + body
    expected = (_hmac(secret, signed).hexdigest().encode() for secret in secrets)
    is_signed = _any_equal(expected, [value for name, _, value in parts if name == b"v1"])
    return is_signed and now_ms - int(times[0]) * 1_000 <= STRIPE_TOLERANCE_MS


def _shows_token(secrets: Sequence[bytes], shown: bytes, _body: bytes, _now_ms: int) -> bool:
    """A bearer token. The secrets are SHA-256 of tokens, in hexadecimal digits."""
    scheme, _, token = shown.partition(b" ")
    given = hashlib.sha256(token.strip()).hexdigest().encode()
    return _any_equal(secrets, (given,)) and scheme.lower() == _BEARER


def _hmac(secret: bytes, content: bytes) -> hmac.HMAC:
    return hmac.new(secret, content, hashlib.sha256)


def _any_equal(expected: Iterable[bytes], shown: Sequence[bytes]) -> bool:
    found = False
    for each in expected:
        for one in shown:
            found |= hmac.compare_digest(each, one)
    return found
