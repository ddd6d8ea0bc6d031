"""Paths of a source file: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

import pytest

from streams.translate.paths import PathMistakeError, parse_path
from tests.unit.translate.sources import read, source


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a", "x"),
        ("b.c", "y"),
        ("b.none.deeper", None),
        ('"odd.name"', "z"),
        ("many[first].v", "one"),
        ("many[k=2].v", None),
        ("many[k=2][first].v", "two"),
        ('many[k="3 or so"][first].v', "three"),
        ("many[k=4][first].v", None),
        ("$.b.c", "y"),
        ("null.c", None),
        ("texts[first]", "t"),
    ],
)
def test_a_path_leads_to_its_value(path, found):
    record = {
        "a": "x",
        "b": {"c": "y"},
        "odd.name": "z",
        "many": [None, {"k": 1, "v": "one"}, {"k": 2, "v": "two"}, {"k": "3 or so", "v": "three"}],
        "null": None,
        "texts": ["t", "u"],
    }
    text = path.replace('"', '\\"')
    value = f'{{ join = ["{text}"] }}' if "=2]." in path else f'"{text}"'
    got = read(source(order=f"region = {value}"), **record).region
    assert got == ("two" if "=2]." in path and found is None else found)


def test_several_values_of_a_path_are_joined_and_summed():
    order = 'region = { join = ["lines[].id", "currency"], with = "-" }'
    lines = 'amount = { sum = ["parts[].price", "total"] }'
    parts = [{"price": "1.10"}, {"price": 2}, {"price": None}]
    line = {"id": 1, "quantity": 1, "total": "0.05", "parts": parts}
    found = read(source(order=order, lines=lines), lines=[line, line | {"id": 2}])
    assert found.region == "1-2-EUR"
    assert [each.amount_minor for each in found.lines] == [315, 315]


def test_the_root_of_the_record_is_reached_from_inside_a_line():
    lines = 'amount = "total"\ncategory = "$.kind"\nsku = { join = ["$.id", "id"], with = "/" }'
    (line,) = read(source(lines=lines), kind="books").lines
    assert (line.category, line.sku) == ("books", "7/1")


def test_an_alias_is_another_name_at_any_depth():
    more = '[aliases]\nlines = ["lineItems", "items"]\ntotal = ["sum"]'
    compiled = source(more=more)
    for name in ("lines", "lineItems", "items"):
        record = {"lines": None, name: [{"id": 1, "quantity": 1, "total": "", "sum": "3"}]}
        assert [each.amount_minor for each in read(compiled, **record).lines] == [300]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "expected a name at character 1"),
        ("a..b", "expected a name at character 3"),
        ("a[0].b", "expected `.`, `[]`, `[first]` or `[name=value]` at character 2"),
        ("a b", "expected `.`"),
        ("a[first][].b", "nothing may follow `[first]`"),
        ("a[][k=1]", "`[]` stands alone"),
        (".".join("a" * 17), "at most 16"),
    ],
)
def test_a_mistake_in_a_path_says_where_it_is(text, mistake):
    with pytest.raises(PathMistakeError) as raised:
        parse_path(text)
    assert mistake in str(raised.value)
