"""Sources that deliver to a door, and their deliveries, signed as vendors sign them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

from tools.woocommerce_orders import order, three_lines

SECRET = "a secret of the shop's webhook"
FORM = "application/x-www-form-urlencoded; charset=UTF-8"
WOOCOMMERCE = """
[webhook]
signature = "woocommerce"
silent_after_s = 3600
"""


def source_file(name, webhook=WOOCOMMERCE, topic=None):
    """The text of a source file of small orders."""
    return f"""
name = "{name}"
format = "json"
[where]
topics = ["{topic or name}"]
{webhook}
[order]
id = "id"
market = {{ constant = "PK" }}
currency = "currency"
placed_at = "at"
shopper_id = "customer.id"
[order.lines]
each = "lines"
id = "id"
quantity = "n"
unit_price = "price"
"""


def sold(number=1, **changes):
    """An order of such a source, with what nobody asked for beside it."""
    return {
        "id": number, "currency": "PKR", "at": "2026-11-24T10:00:00Z",
        "customer": {"id": 7, "name": "Anna Planted", "email": "anna@planted.example"},
        "lines": [{"id": 1, "n": 2, "price": "10.50", "note": "ring at Planted's"}],
    } | changes  # fmt: skip


def in_base64(body, secret=SECRET):
    digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def signed(body, secret=SECRET):
    """Headers of a delivery of WooCommerce."""
    return {"Content-Type": "application/json", "X-WC-Webhook-Signature": in_base64(body, secret)}


def of_stripe(body, seconds, secret=SECRET):
    content = str(seconds).encode() + b"." + body
    digest = hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "Stripe-Signature": f"t={seconds},v1={digest}"}


def woocommerce_order(number):
    """The body of a webhook of WooCommerce, as it comes."""
    return json.dumps(order(number, three_lines())).encode()
