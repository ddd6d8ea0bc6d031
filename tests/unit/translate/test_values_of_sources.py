"""Values of a source file: exact money, times, texts; what is refused names path, expected and found."""

from __future__ import annotations

import pytest

from streams.translate.compiled_source import IgnoredRecord
from streams.translate.refused_records import RefusedRecord
from tests.unit.translate.sources import read, source


def amount_of(more, found, currency="EUR"):
    line = {"id": 1, "quantity": 1, "total": found}
    record = read(source(more=more), currency=currency, lines=[line])
    return record if isinstance(record, RefusedRecord) else record.lines[0].amount_minor


COMMA = '[money]\ndecimal = ","\ngroup = "."'
TENS, MINOR_TENS = "[money]\nmultiples = { KWD = 10 }\n", 'unit = "minor"\n'
MINOR = '[money]\nunit = "minor"\ndigits = { ISK = 2, UGX = 2 }'


@pytest.mark.parametrize(
    ("more", "found", "currency", "minor"),
    [
        ("", "19.9", "EUR", 1990),
        ("", 19.99, "EUR", 1999),
        ("", 20, "eur", 2000),
        ("", "1.5000", "EUR", 150),
        ("", 1e2, "EUR", 10000),
        ("", "1500", "JPY", 1500),
        ("", "1500.0", "JPY", 1500),
        ("", "0.125", "KWD", 125),
        ("", 0.1 + 0.7, "EUR", None),
        ("", "19.999", "EUR", None),
        ("", "1.5", "JPY", None),
        ("", "0.1255", "KWD", None),
        ("", "1,50", "EUR", None),
        ("", "1.50 EUR", "EUR", None),
        ("", "1e2", "EUR", None),
        ("", True, "EUR", None),
        ("", "100000000000.01", "EUR", None),
        ("", 1e300, "EUR", None),
        (COMMA, "1.234,56", "EUR", 123456),
        (COMMA, "1234,5", "EUR", 123450),
        (COMMA, 19.99, "EUR", 1999),
        (COMMA, "12.34", "EUR", None),
        (COMMA, "1.2.3,4", "EUR", None),
        (MINOR, 1999, "EUR", 1999),
        (MINOR, 500, "ISK", 5),
        (MINOR, 550, "ISK", None),
        (MINOR, 19.5, "EUR", None),
        (MINOR, 1999, "JPY", 1999),
        (TENS, "5.12", "KWD", 5120),
        (TENS, "5.124", "KWD", None),
        (TENS, "5.1240", "KWD", None),
        (TENS, 5, "KWD", 5000),
        (TENS, "5.12", "EUR", 512),
        (TENS + MINOR_TENS, 5120, "KWD", 5120),
        (TENS + MINOR_TENS, 5124, "KWD", None),
    ],
)
def test_money_is_exact_or_refused(more, found, currency, minor):
    got = amount_of(more, found, currency)
    if minor is None:
        assert isinstance(got, RefusedRecord)
        assert (got.source, got.path) == ("shop", "$.lines[0].total")
        assert got.expected.startswith("an amount")
    else:
        assert got == minor


def test_a_refusal_shows_the_form_of_what_was_found_and_no_content():
    got = amount_of("", "call Greta on 030 5550199")
    assert got.detail == (
        "shop: expected an amount such as 1234.50, found the text "
        "'xxxx xxxxx xx 999 999999...' - at `$.lines[0].total`"
    )


@pytest.mark.parametrize(
    ("time", "found", "instant_ms"),
    [
        ("", "2026-11-24T11:00:00+01:00", 1_795_514_400_000),
        ("", "2026-11-24T10:00:00", None),
        ('format = "s"', 1_795_514_400, 1_795_514_400_000),
        ('format = "s"', "1795514400.5", 1_795_514_400_500),
        ('format = "s"', 1_795_514_400_000, None),
        ('format = "ms"', 1_795_514_400_123, 1_795_514_400_123),
        ('format = "ms"', "soon", None),
        ('format = "us"', 1_795_514_400_123_999, 1_795_514_400_123),
        ('format = "us"', "1795514400123999", 1_795_514_400_123),
        ('format = "us"', 17_955_144_001_239_990, None),
        ('format = "naive"', "2026-11-24 10:00:00", 1_795_514_400_000),
        ('format = "naive"\nzone = "Europe/Berlin"', "2026-11-24T11:00", 1_795_514_400_000),
        ('format = "naive"\nzone = "Europe/Berlin"', "2026-07-24T11:00:00", 1_784_883_600_000),
        ('format = "naive"', "2026-11-24", None),
        ('format = "naive"', "2026-11-24T10:00:00Z", None),
        ('format = "naive"', "2026-02-30T10:00:00", None),
    ],
)
def test_a_time_is_read_in_its_format_and_zone(time, found, instant_ms):
    got = read(source(more=f"[time]\n{time}"), at=found)
    if instant_ms is None:
        assert isinstance(got, RefusedRecord)
        assert got.path == "$.at"
    else:
        assert got.placed_ms == instant_ms


HAS_A = '{ if = { path = "x[key=a][first]", present = true }, then = { constant = 1 } }'
IS_TRUE, NO_Y = '{ path = "x", is = true }', '{ path = "y", present = false }'


@pytest.mark.parametrize(
    ("value", "fields", "region"),
    [
        ('{ first = ["x", "y"] }', {"x": "", "y": "b"}, "b"),
        ('{ first = ["x", { constant = "none" }] }', {}, "none"),
        ('{ lower = "x" }', {"x": "BY"}, "by"),
        ('{ path = "x", unless = [0, "n/a"] }', {"x": 0}, None),
        ('{ path = "x", unless = [0, "n/a"] }', {"x": "n/a"}, None),
        ('{ path = "x", unless = [0] }', {"x": 10}, "10"),
        ('{ lookup = "x", table = "t" }', {"x": "one"}, "1st"),
        ('{ lookup = "x", table = "t", default = "x" }', {"x": "two"}, "two"),
        ('{ lookup = "x", table = "t", default = { constant = "c" } }', {}, "c"),
        ('{ if = { path = "x", is = 1 }, then = "y", else = "z" }', {"x": "1", "y": "a"}, "a"),
        ('{ if = { path = "x", is = 1 }, then = "y" }', {"x": 2, "y": "a"}, None),
        (f"{{ if = {{ all = [{IS_TRUE}, {NO_Y}] }}, then = {{ constant = 1 }} }}", {"x": True}, "1"),
        (f"{{ if = {{ any = [{IS_TRUE}, {NO_Y}] }}, then = {{ constant = 1 }} }}", {"y": 1}, None),
        (HAS_A, {"x": [{"key": "b"}, {"key": "a"}]}, "1"),
        (HAS_A, {"x": [{"key": "b"}]}, None),
    ],
)  # fmt: skip
def test_a_function_gives_its_value(value, fields, region):
    found = read(source(order=f"region = {value}", more='[tables.t]\none = "1st"'), **fields)
    assert found.region == region


def test_what_a_lookup_does_not_know_is_refused():
    compiled = source(order='region = { lookup = "x", table = "t" }', more='[tables.t]\na = "b"')
    found = read(compiled, x="Greta")
    assert found == ("shop", "$.x", "a name in tables.t", "the text 'xxxxx'")


@pytest.mark.parametrize(
    ("fields", "path", "expected"),
    [
        ({"id": None}, "$.id", "a value of `order.id`"),
        ({"id": 1.5}, "$.id", "an id: a text or a whole number"),
        ({"id": "a\nb"}, "$.id", "an id without control characters"),
        ({"currency": "EURO"}, "$.currency", "a currency of three letters, such as EUR"),
        ({"lines": {}}, "$.lines", "array | null"),
        ({"lines": [3]}, "$.lines[0]", "object | null"),
        ({"lines": [{"id": 1, "quantity": 1.5, "total": 1}]}, "$.lines[0].quantity", "a whole "),
        ({"lines": [{"id": 1, "quantity": 1}]}, "$.lines[0].total", "a value of `order.lines.amou"),
        ({"lines": [{"id": 1}] * 1001}, "$.lines", "at most 1000 lines"),
    ],
)
def test_a_record_that_is_wrong_is_refused_with_its_path(fields, path, expected):
    found = read(source(), **fields)
    assert isinstance(found, RefusedRecord)
    assert found.path == path
    assert found.expected.startswith(expected)


@pytest.mark.parametrize(
    "record", [b"", b"{", b"[]", b'{"id":NaN}', b'{"id":"\xff"}', b'{"id":' + b"[" * 100_000]
)
def test_bytes_that_are_no_record_are_refused(record):
    found = source().read(record)
    assert isinstance(found, RefusedRecord)
    assert found.path == "$"


def test_a_composed_value_that_is_missing_is_named_by_its_first_path():
    lines = 'amount = { sum = ["net", "tax"] }'
    found = read(source(lines=lines), lines=[{"id": 1, "quantity": 1}])
    assert (found.path, found.found) == ("$.lines[0].net", "nothing")


@pytest.mark.parametrize(
    ("line", "minor", "path"),
    [
        ({"quantity": 3, "price": "3.33"}, 999, None),
        ({"quantity": 3, "price": "3.33", "less": ["1.00", "0.99"]}, 800, None),
        ({"quantity": "3.0", "price": 2}, 600, None),
        ({"quantity": 3}, None, "$.lines[0].price"),
        ({"price": "1"}, None, "$.lines[0].quantity"),
        ({"quantity": 3, "price": "3.335"}, None, "$.lines[0].price"),
    ],
)
def test_a_price_times_units_is_exact_and_missing_where_one_of_them_is(line, minor, path):
    amount = 'amount = { difference = [{ times = ["price", "quantity"] }, { sum = ["less[]"] }] }'
    found = read(source(lines=amount), lines=[{"id": 1, **line}])
    if path is not None:
        assert found.path == path
    else:
        assert found.lines[0].amount_minor == minor


def test_elements_that_are_no_goods_are_no_lines_and_need_nothing_of_one():
    kept = 'when = { path = "card", is_not = true }\namount = "total"'
    lines = [{"id": 1, "quantity": 1, "total": "3"}, {"card": True, "total": "soon"}]
    found = read(source(lines=kept), lines=lines)
    assert [line.id for line in found.lines] == ["1"]
    assert found.uncounted == 0


def test_numeric_ids_are_the_text_of_their_digits():
    for found in (12, 12.0, "12"):
        assert read(source(), id=found).id == "12"
    assert read(source(), id=2**70).id == str(2**70)
    assert isinstance(source().read(b'{"currency":"EUR","id":1e99}'), RefusedRecord)


def test_lines_that_cannot_be_counted_are_left_out_and_those_of_one_id_are_one():
    lines = [
        {"id": 1, "quantity": 1, "total": "3"},
        {"id": 1, "quantity": 2, "total": "5"},
        {"id": 2, "quantity": 0, "total": "0"},
        {"id": 3, "quantity": 1, "total": "-5"},
    ]
    found = read(source(), lines=lines)
    assert [(each.quantity, each.amount_minor) for each in found.lines] == [(3, 800)]
    assert found.uncounted == 2
    unit = read(source(lines='unit_price = "total"'), lines=lines[1:2])
    assert unit.lines[0].amount_minor == 1000


def test_types_tests_and_conditions_are_left_out_each_with_its_reason():
    more = (
        '[record]\ntype = "topic"\nignore_types = ["ping"]\ntest = { path = "test", is = true }\n'
        'ignore = { path = "state", in = ["draft"] }'
    )
    compiled = source(more=more)
    assert read(compiled, topic="ping") == IgnoredRecord("type")
    assert read(compiled, test=True) == IgnoredRecord("test")
    assert read(compiled, state="draft") == IgnoredRecord("condition")
    assert read(compiled, topic="other", test=False).id == "7"


def test_a_record_that_no_section_takes_is_refused():
    found = read(source(order='when = { path = "lines", present = true }'), lines=None)
    assert found == ("shop", "$", "a record that a `when` of the file takes", "another")
