"""Fields of the bodies of Shopify's webhooks: names and types, no content.

Provenance: the sample payloads that Shopify documents for the topics orders/create, orders/updated,
orders/cancelled, orders/edited, refunds/create and order_transactions/create of version 2026-07
(shopify.dev/docs/api/webhooks), as JSON Schemas that gadget-inc/shopify-webhook-schemas 0.3.8 inferred
from them and from anonymised deliveries. ``tip`` of a line is of the REST resource Order of the same
vendor. Older versions lack some of these fields.

A type is a name, `?` behind it where null may stand; a table is an object, a list of one an array.
"""

from __future__ import annotations

from typing import Any

Fields = dict[str, Any]

MONEY: Fields = {"amount": "decimal", "currency_code": "currency"}
BOTH: Fields = {"shop_money": MONEY, "presentment_money": MONEY}
UNSETTLED: Fields = {"amount": "decimal", "currency": "currency"}
TAX_LINE: Fields = {
    "channel_liable": "boolean?", "price": "decimal", "price_set": BOTH, "rate": "number",
    "title": "text",
}  # fmt: skip
DISCOUNT: Fields = {
    "amount": "decimal",
    "amount_set": BOTH,
    "discount_application_index": "integer",
}
ADDRESS: Fields = {
    "first_name": "person", "address1": "person", "phone": "person", "city": "person", "zip": "person",
    "province": "person", "country": "person", "last_name": "person", "address2": "person",
    "company": "person", "latitude": "number", "longitude": "number", "name": "person",
    "country_code": "text", "province_code": "text",
}  # fmt: skip
CONSENT: Fields = {"state": "text", "opt_in_level": "text?", "consent_updated_at": "time?"}
CUSTOMER: Fields = {
    "id": "integer", "created_at": "time?", "updated_at": "time?", "first_name": "person",
    "last_name": "person", "state": "text", "note": "person", "verified_email": "boolean",
    "multipass_identifier": "text?", "tax_exempt": "boolean", "email": "person", "phone": "person",
    "email_marketing_consent": CONSENT, "tags": "text", "currency": "currency",
    "tax_exemptions": ["text"], "admin_graphql_api_id": "gid",
    "default_address": {
        "id": "integer", "customer_id": "integer", "first_name": "person", "last_name": "person",
        "company": "person", "address1": "person", "address2": "person", "city": "person",
        "province": "person", "country": "person", "zip": "person", "phone": "person", "name": "person",
        "province_code": "text?", "country_code": "text", "country_name": "person", "default": "boolean",
    },
}  # fmt: skip
LINE: Fields = {
    "id": "integer", "admin_graphql_api_id": "gid",
    "attributed_staffs": [{"id": "text", "quantity": "integer"}], "current_quantity": "integer",
    "fulfillable_quantity": "integer", "fulfillment_service": "text", "fulfillment_status": "text?",
    "gift_card": "boolean", "grams": "integer", "name": "text", "price": "decimal", "price_set": BOTH,
    "product_exists": "boolean", "product_id": "integer?",
    "properties": [{"name": "text", "value": "text"}], "quantity": "integer",
    "requires_shipping": "boolean", "sales_line_item_group_id": "integer?", "sku": "text?",
    "taxable": "boolean", "title": "text", "total_discount": "decimal", "total_discount_set": BOTH,
    "variant_id": "integer?", "variant_inventory_management": "text?", "variant_title": "text?",
    "vendor": "text?", "tax_lines": [TAX_LINE], "duties": ["text"], "discount_allocations": [DISCOUNT],
}  # fmt: skip
TIP: Fields = {"tip": {"payment_gateway": "text", "payment_method": "text"}}
"""Beside the fields of a line, where the line is a tip."""

TRANSACTION: Fields = {
    "id": "integer", "order_id": "integer", "kind": "text", "gateway": "text", "status": "text",
    "message": "text?", "created_at": "time", "test": "boolean", "authorization": "text?",
    "location_id": "integer?", "user_id": "integer?", "parent_id": "integer?", "processed_at": "time?",
    "device_id": "integer?", "error_code": "text?", "source_name": "text",
    "payment_details": {
        "credit_card_bin": "person", "avs_result_code": "text?", "cvv_result_code": "text?",
        "credit_card_number": "person", "credit_card_company": "text", "buyer_action_info": "text?",
        "credit_card_name": "person", "credit_card_wallet": "text?",
        "credit_card_expiration_month": "integer?", "credit_card_expiration_year": "integer?",
        "payment_method_name": "text",
    },
    "receipt": {}, "amount": "decimal", "currency": "currency", "payment_id": "text",
    "total_unsettled_set": {"presentment_money": UNSETTLED, "shop_money": UNSETTLED},
    "manual_payment_gateway": "boolean", "amount_rounding": "decimal?", "admin_graphql_api_id": "gid",
}  # fmt: skip
REFUND: Fields = {
    "id": "integer", "order_id": "integer", "created_at": "time", "note": "person",
    "user_id": "integer?",
    "processed_at": "time?", "duties": ["text"], "total_duties_set": BOTH,
    "return": {"id": "integer", "admin_graphql_api_id": "gid"}, "restock": "boolean",
    "refund_shipping_lines": ["text"], "admin_graphql_api_id": "gid",
    "order_adjustments": [
        {
            "id": "integer", "order_id": "integer", "refund_id": "integer", "amount": "decimal",
            "tax_amount": "decimal", "kind": "text", "reason": "text", "amount_set": BOTH,
            "tax_amount_set": BOTH,
        }
    ],
    "refund_line_items": [
        {
            "id": "integer", "quantity": "integer", "line_item_id": "integer", "location_id": "integer?",
            "restock_type": "text", "subtotal": "number", "total_tax": "number", "subtotal_set": BOTH,
            "total_tax_set": BOTH, "line_item": LINE,
        }
    ],
    "transactions": [TRANSACTION],
}  # fmt: skip
ORDER: Fields = {
    "id": "integer", "admin_graphql_api_id": "gid", "app_id": "integer?", "browser_ip": "person",
    "buyer_accepts_marketing": "boolean", "cancel_reason": "text?", "cancelled_at": "time?",
    "cart_token": "text?", "checkout_token": "text?",
    "client_details": {
        "accept_language": "text?", "browser_height": "integer?", "browser_ip": "person",
        "browser_width": "integer?", "session_hash": "text?", "user_agent": "person",
    },
    "closed_at": "time?", "confirmation_number": "text?", "confirmed": "boolean",
    "contact_email": "person", "created_at": "time", "currency": "currency",
    "current_shipping_price_set": BOTH, "current_subtotal_price": "decimal",
    "current_subtotal_price_set": BOTH, "current_total_additional_fees_set": "money?",
    "current_total_discounts": "decimal", "current_total_discounts_set": BOTH,
    "current_total_duties_set": "money?", "current_total_price": "decimal",
    "current_total_price_set": BOTH, "current_total_tax": "decimal", "current_total_tax_set": BOTH,
    "customer_locale": "text?", "device_id": "text?",
    "discount_codes": [{"code": "text", "amount": "decimal", "type": "text"}],
    "duties_included": "boolean", "email": "person", "estimated_taxes": "boolean",
    "financial_status": "text", "fulfillment_status": "text?", "landing_site": "text?",
    "landing_site_ref": "text?", "location_id": "integer?", "merchant_business_entity_id": "text",
    "merchant_of_record_app_id": "integer?", "name": "text", "note": "person",
    "note_attributes": [{"name": "text", "value": "person"}], "number": "integer",
    "order_number": "integer", "order_status_url": "text",
    "original_total_additional_fees_set": "money?", "original_total_duties_set": "money?",
    "payment_gateway_names": ["text"], "phone": "person", "po_number": "text?",
    "presentment_currency": "currency", "processed_at": "time?", "reference": "text?",
    "referring_site": "text?", "source_identifier": "text?", "source_name": "text",
    "source_url": "text?",
    "subtotal_price": "decimal", "subtotal_price_set": BOTH, "tags": "text", "tax_exempt": "boolean",
    "tax_lines": [TAX_LINE], "taxes_included": "boolean", "test": "boolean", "token": "text",
    "total_cash_rounding_payment_adjustment_set": BOTH,
    "total_cash_rounding_refund_adjustment_set": BOTH, "total_discounts": "decimal",
    "total_discounts_set": BOTH, "total_line_items_price": "decimal",
    "total_line_items_price_set": BOTH, "total_outstanding": "decimal", "total_price": "decimal",
    "total_price_set": BOTH, "total_shipping_price_set": BOTH, "total_tax": "decimal",
    "total_tax_set": BOTH, "total_tip_received": "decimal", "total_weight": "integer",
    "updated_at": "time", "user_id": "integer?", "billing_address": ADDRESS, "customer": CUSTOMER,
    "discount_applications": [
        {
            "target_type": "text", "type": "text", "value": "decimal", "value_type": "text",
            "allocation_method": "text", "target_selection": "text", "code": "text",
        }
    ],
    "fulfillments": ["text"], "line_item_groups": ["text"], "line_items": [LINE],
    "payment_terms": "text?",
    "refunds": [REFUND], "returns": ["text"], "shipping_address": ADDRESS,
    "shipping_lines": [
        {
            "id": "integer", "carrier_identifier": "text?", "code": "text?",
            "current_discounted_price_set": BOTH, "discounted_price": "decimal",
            "discounted_price_set": BOTH, "is_removed": "boolean", "phone": "person", "price": "decimal",
            "price_set": BOTH, "requested_fulfillment_service_id": "text?", "source": "text?",
            "title": "text", "tax_lines": [TAX_LINE], "discount_allocations": [DISCOUNT],
        }
    ],
}  # fmt: skip
EDIT: Fields = {
    "order_edit": {
        "id": "integer", "app_id": "integer?", "created_at": "time", "notify_customer": "boolean",
        "order_id": "integer", "staff_note": "person", "user_id": "integer?", "committed_at": "time",
        "line_items": {
            "additions": [{"id": "integer", "delta": "integer"}],
            "removals": [{"id": "integer", "delta": "integer"}],
        },
        "discounts": {"line_item": {"additions": ["text"], "removals": ["text"]}},
        "shipping_lines": {"additions": ["text"], "removals": ["text"]},
    }
}  # fmt: skip
