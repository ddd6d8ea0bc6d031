"""Whatever stands in a record, it is refused with a path or becomes events that the index takes."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from streams.index.event_types import Ignored, Rejected
from streams.index.events import decode_orders, decode_payments
from streams.translate.compiled_source import IgnoredRecord, compile_source
from streams.translate.order_state import advance
from streams.translate.refused_records import RefusedRecord, RefusedRecordError
from tests.support.draws import examples
from tools.woocommerce_orders import order, refund, three_lines

EXAMPLES = Path(__file__).parents[2] / "config/examples/sources"
SOURCE = compile_source((EXAMPLES / "woocommerce.toml").read_text())
READ = {
    "id", "status", "currency", "date_created_gmt", "date_modified_gmt", "date_paid_gmt", "total",
    "customer_id", "billing", "shipping", "state", "payment_method", "created_via", "line_items",
    "quantity", "total_tax", "sku", "product_id", "variation_id", "meta_data", "key", "value", "refunds",
}  # fmt: skip
TOKENS = (
    "null", "true", "[]", "{}", "[null]", '""', '"x"', '"\\u0000"', '"a\\u0300"', '"EUR"', '"JPY"',
    "0", "-1", "1.5", "1.0", "1e2", "1e999999", "12345678901234567890123", '"0.005"', '"-3.10"',
    '"99999999999.99"', '"1e2"', '"1,00"', '"cancelled"', '"2026-11-24T10:00:00"', '"2026-02-30T10:00"',
    '"1969-12-31T23:59:59"', '"' + "é" * 90 + '"', '"' + "x" * 2_000 + '"',
)  # fmt: skip


def places(tree, path=()):
    """Paths of the fields that the source file may read."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(key, int) or key in READ:
            yield (*path, key)
            if isinstance(value, dict | list):
                yield from places(value, (*path, key))


RECORD = order(7, three_lines(), refunds=[refund(8, 500)])
PLACES = list(places(RECORD))


@st.composite
def records(draw):
    tree = json.loads(json.dumps(RECORD))
    tokens = {}
    for path in draw(st.lists(st.sampled_from(PLACES), max_size=3)):
        token, at = draw(st.sampled_from(TOKENS)), tree
        try:
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = f"<{len(tokens)}>"
        except (TypeError, IndexError, KeyError):
            continue  # one before it took its place away
        tokens[f'"<{len(tokens)}>"'] = token
    text = json.dumps(tree)
    for mark, token in tokens.items():
        text = text.replace(mark, token)
    return text.encode()


@given(st.lists(records(), min_size=1, max_size=3))
@examples(600)
def test_a_record_is_refused_with_a_path_or_counts(found):
    states = {}
    for record in found:
        read = SOURCE.read(record)
        if isinstance(read, IgnoredRecord | RefusedRecord):
            assert isinstance(read, IgnoredRecord) or (read.path.startswith("$") and read.expected)
            continue
        (whole,) = read
        try:
            advanced = advance("shop", states.get(whole.id), whole)
        except RefusedRecordError:
            continue
        states[whole.id] = advanced.state
        for event in advanced.events:
            decode = decode_orders if event.topic == "orders" else decode_payments
            (decoded,) = decode([event.value])
            assert not isinstance(decoded, Rejected | Ignored), (decoded, event.value)
