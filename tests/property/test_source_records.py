"""Whatever stands in a record, it is refused with a path or becomes events that the index takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.index.event_types import Ignored, Rejected
from streams.index.events import decode_orders, decode_payments
from streams.translate.compiled_source import IgnoredRecord, compile_source
from streams.translate.order_state import advance
from streams.translate.refused_records import RefusedRecord, RefusedRecordError
from streams.translate.whole_orders import WholeOrder
from tests.support.draws import examples
from tools.shopify_story import story
from tools.woocommerce_orders import order, refund, three_lines

EXAMPLES = Path(__file__).parents[2] / "config/examples/sources"
TOKENS = (
    "null", "true", "[]", "{}", "[null]", '""', '"x"', '"\\u0000"', '"a\\u0300"', '"EUR"', '"JPY"',
    "0", "-1", "1.5", "1.0", "1e2", "1e999999", "12345678901234567890123", '"0.005"', '"-3.10"',
    '"99999999999.99"', '"1e2"', '"1,00"', '"cancelled"', '"2026-11-24T10:00:00"', '"2026-02-30T10:00"',
    '"1969-12-31T23:59:59"', '"' + "é" * 90 + '"', '"' + "x" * 2_000 + '"',
)  # fmt: skip


def places(tree, node, path=()):
    """Paths of the fields that the source file reads."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        inside = node if isinstance(key, int) else node.fields.get(key, (None, None))[1]
        if inside is not None:
            yield (*path, key)
            if isinstance(value, dict | list):
                yield from places(value, inside, (*path, key))


RECORD = order(7, three_lines(), refunds=[refund(8, 500)])
SHOPIFY = [
    record for said, record in story() if "refund" in said or "tax" in said or "sale" in said
]


@st.composite
def records(draw, of, places_of):
    tree = json.loads(json.dumps(of))
    tokens = {}
    for path in draw(st.lists(st.sampled_from(places_of), max_size=3)):
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


def example(name, *trees):
    """A source file of the examples, and records of it in which anything may stand anywhere."""
    source = compile_source((EXAMPLES / f"{name}.toml").read_text())
    spoilt = [records(tree, list(places(tree, source.fields))) for tree in trees]
    return pytest.param(source, st.lists(st.one_of(spoilt), min_size=1, max_size=3), id=name)


@pytest.mark.parametrize(
    ("source", "found"), [example("woocommerce", RECORD), example("shopify", *SHOPIFY)]
)
@given(st.data())
@examples(600)
def test_a_record_is_refused_with_a_path_or_counts(source, found, data):
    states = {}
    for record in data.draw(found):
        read = source.read(record)
        if isinstance(read, IgnoredRecord | RefusedRecord):
            assert isinstance(read, IgnoredRecord) or (read.path.startswith("$") and read.expected)
            continue
        (said,) = read
        order_id = said.id if isinstance(said, WholeOrder) else said.order_id
        try:
            advanced = advance("shop", states.get(order_id), said)
        except RefusedRecordError:
            continue
        states[order_id] = advanced.state
        for event in advanced.events:
            decode = decode_orders if event.topic == "orders" else decode_payments
            (decoded,) = decode([event.value])
            assert not isinstance(decoded, Rejected | Ignored), (decoded, event.value)
