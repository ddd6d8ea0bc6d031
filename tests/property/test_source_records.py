"""Whatever stands in a record, it is refused with a path or becomes events that the index takes.

What is cut from it at the door changes neither.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.index.event_types import Ignored, Rejected
from streams.index.events import decode_orders, decode_payments
from streams.translate.compiled_source import CUT_BYTES_MAX, IgnoredRecord, compile_source
from streams.translate.order_state import advance
from streams.translate.refused_records import RefusedRecord, RefusedRecordError
from streams.translate.whole_orders import kept_by
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


def spoilt(source, *trees):
    """Records of a source in which anything may stand anywhere."""
    return st.one_of([records(tree, list(places(tree, source.fields))) for tree in trees])


WOOCOMMERCE_FILE, SHOPIFY_FILE = (
    compile_source((EXAMPLES / f"{name}.toml").read_text()) for name in ("woocommerce", "shopify")
)
SPOILT = spoilt(WOOCOMMERCE_FILE, RECORD), spoilt(SHOPIFY_FILE, *SHOPIFY)


def example(source, of):
    return pytest.param(source, st.lists(of, min_size=1, max_size=3), id=source.name)


@pytest.mark.parametrize(
    ("source", "found"), [*map(example, (WOOCOMMERCE_FILE, SHOPIFY_FILE), SPOILT)]
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
        order_id = kept_by(said)
        try:
            advanced = advance("shop", states.get(order_id), said)
        except RefusedRecordError:
            continue
        states[order_id] = advanced.state
        for event in advanced.events:
            decode = decode_orders if event.topic == "orders" else decode_payments
            (decoded,) = decode([event.value])
            assert not isinstance(decoded, Rejected | Ignored), (decoded, event.value)


ODD = compile_source(
    """
name = "odd"
format = "json"
[aliases]
total = ["sum", "Total"]
[record]
test = { path = "meta[kind=test][first].value", is = "yes" }
ignore = { any = [
  { path = "customer", present = false }, { path = "rows[first]", present = false },
  { path = "flag", in = [1.5, true, "1e2"] },
] }
[order]
id = { join = ["tags[]", "id"], with = "-" }
market = { constant = "DE" }
currency = { first = ["meta[kind=currency][of=order][first].value", "currency"] }
placed_at = { time = "at", format = "s" }
shopper_id = "customer.id"
[order.lines]
each = "rows"
id = "id"
quantity = "n"
unit_price = { difference = ["total", "meta[kind=off][first].value"] }
category = "$.names[id=c][first].text"
"""
)
ODD_RECORD = {
    "id": 1, "customer": {"id": "c", "name": "Anna"}, "tags": ["a", 2.5], "flag": 1.0,
    "at": 1_795_000_000.25, "currency": "EUR", "names": [{"id": "c", "text": "Books"}, None],
    "meta": [
        {"kind": "currency", "of": "order", "value": "EUR"}, {"kind": "phone", "value": "0171"},
        {"kind": "test", "value": "no"},
    ],
    "rows": [
        {"id": 1, "n": 2, "sum": "10.00", "meta": [{"kind": "off", "value": 0.5}]},
        {"id": 2, "n": 1, "total": None, "Total": 3.25, "meta": []},
    ],
}  # fmt: skip
ODD_PLACES = [*((name,) for name in ODD_RECORD), *(
    (name, at) for name, value in ODD_RECORD.items() if isinstance(value, dict | list)
    for at in (value if isinstance(value, dict) else range(len(value)))
), *(("rows", at, key) for at in (0, 1) for key in ("id", "n", "sum", "total", "Total", "meta")),
    *(("meta", at, key) for at in (0, 1, 2) for key in ("kind", "of", "value"))]  # fmt: skip


@given(st.one_of(*SPOILT, records(ODD_RECORD, ODD_PLACES)))
@examples(600)
def test_what_is_cut_from_a_record_reads_as_the_record_itself(record):
    for source in (WOOCOMMERCE_FILE, SHOPIFY_FILE, ODD):
        cut = source.cut(record)
        if isinstance(cut, RefusedRecord):
            assert source.read(record) == cut
            continue
        assert source.read(cut) == source.read(record)
        assert source.cut(cut) == cut


def marked(tree, mark):
    """A record with a mark beside every field, and in every element of its arrays."""
    if isinstance(tree, list):
        beside = [{"key": mark, "kind": mark, "of": mark, "value": mark, "id": mark}]
        is_chosen = any("key" in each or "kind" in each for each in tree if isinstance(each, dict))
        return [marked(each, mark) for each in tree] + (beside if is_chosen else [])
    if not isinstance(tree, dict):
        return tree
    return {mark: mark, "name": mark} | {key: marked(each, mark) for key, each in tree.items()}


def test_nothing_that_is_not_mapped_is_left_of_a_record():
    for source, record in ((WOOCOMMERCE_FILE, RECORD), (ODD, ODD_RECORD)):
        planted = json.dumps(marked(record, "anna@example.org")).encode()
        assert b"anna" not in source.cut(planted)
        assert source.read(source.cut(planted)) == source.read(json.dumps(record).encode())
        assert not isinstance(source.read(planted), RefusedRecord | IgnoredRecord)


def test_a_long_record_is_cut_to_what_is_mapped_and_refused_where_that_is_too_long():
    assert WOOCOMMERCE_FILE.cut(
        json.dumps(RECORD | {"note": "x" * 5_000_000}).encode()
    ) == WOOCOMMERCE_FILE.cut(json.dumps(RECORD).encode())
    refused = WOOCOMMERCE_FILE.cut(json.dumps(RECORD | {"status": "x" * CUT_BYTES_MAX}).encode())
    assert (refused.path, refused.expected) == ("$", "at most 1000000 bytes that are mapped")
