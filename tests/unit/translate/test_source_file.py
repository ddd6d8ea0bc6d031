"""What is wrong with a source file is said of the key that it is in."""

from __future__ import annotations

import pytest

from streams.translate.compiled_source import compile_source
from streams.translate.source_file import SourceFileError
from tests.unit.translate.sources import FILE, source

HOOK = '[where]\ntopics = ["t"]\n[webhook]\nsignature = '
PAYMENT = """
[[payment]]
states = "{}"
payment = "p"
id = "id"
occurred_at = "at"
market = {{ constant = "DE" }}
currency = "currency"
{}
"""


@pytest.mark.parametrize(
    ("parts", "mistake"),
    [
        ({"order": 'regoin = "x"'}, "order.regoin: no such key; did you mean `region`?"),
        ({"order": "region = 3"}, "order.region: expected `"),
        ({"order": 'region = "a..b"'}, "order.region: expected a name at character 3 of 'a..b'"),
        ({"order": 'region = "lines[].id"'}, "order.region: expected one value"),
        ({"order": "region = {}"}, "order.region: expected one of path, constant"),
        ({"order": 'region = { jon = ["a"] }'}, "order.region: expected one of path"),
        ({"order": 'region = { lower = "a", with = "b" }'}, "order.region.with: expected nothing"),
        ({"order": 'region = { lookup = "a", table = "t" }'}, "order.region.table: expected a table"),
        ({"order": 'region = { sum = ["a"] }'}, "order.region: expected no `sum`"),
        ({"order": 'region = { money = "a" }'}, "order.region: expected no `money`"),
        ({"order": 'region = { time = "a" }'}, "order.region: expected no `time`"),
        ({"order": 'region = { first = "a" }'}, "order.region.first: expected a list"),
        ({"order": "new_shopper = { constant = 7 }"}, "order.new_shopper.constant: expected true"),
        ({"order": "placed = {}"}, "order.placed: expected a condition"),
        ({"order": 'placed = { path = "a", in = "b" }'}, "order.placed.in: expected a text"),
        ({"order": 'placed = { path = "a", present = 1 }'}, "order.placed.present: expected true"),
        ({"order": 'region = "lines"'}, "order.lines.each: expected 'lines': another path reads"),
        ({"lines": ""}, "order.lines: expected either `amount` or `unit_price`"),
        ({"lines": 'amount = { difference = ["a"] }'}, "order.lines.amount.difference: expected two"),
        ({"lines": 'amount = { times = ["a"] }'}, "order.lines.amount.times: expected two values"),
        ({"order": 'region = { times = ["a", "b"] }'}, "order.region: expected no `times`"),
        ({"lines": 'amount = "a"\nwhen = {}'}, "order.lines.when: expected a condition"),
        ({"lines": 'amount = "a"\n[order.refunds]\neach = "r"\nid = "i"\namount = "a"\n'
          'adjustment = "b"'},
         "order.refunds.adjustment: expected `lines` beside it"),
        ({"more": "[money]\nunit = 'euro'"}, "money.unit: "),
        ({"more": "[money]\ndecimal = ''"}, "order.lines.amount: expected a `decimal`"),
        ({"more": "[time]\nzone = 'Mars'"}, "order.placed_at: expected format"),
        ({"more": '[record]\nignore_types = ["a"]'}, "record.type: expected a value"),
        ({"more": '[webhook]\nsignature = "stripe"'}, "where.topics: expected a topic, into which"),
        ({"more": HOOK.replace("[webhook]", "keyed_by_order = true\n[webhook]") + '"stripe"'},
         "where.keyed_by_order: expected false"),
        ({"more": HOOK + '"hmac"'}, "webhook.header: expected the header"),
        ({"more": HOOK + '"stripe"\nheader = "x"'}, "webhook: expected `header` and `before` with"),
        ({"more": HOOK + '"stripe"\nsilent_after_s = 10'}, "webhook.silent_after_s: expected `int`"),
        ({"more": HOOK + '"stripe"\nsecret = "x"'}, "webhook.secret: no such key"),
        ({"more": "[refund]\nid = 'a'\norder_id = 'b'\noccurred_at = 'c'\namount = 'd'"},
         "refund.when: expected a condition"),
        ({"more": "[money.multiples]\nKWD = 0"}, "money.multiples"),
        ({"more": PAYMENT.format("captured", "amount = 'a'")},
         "payment[0].when: expected a condition, since the file has [order] too"),
        ({"more": PAYMENT.format("lost", "amount = 'a'")}, "payment[0].states: "),
        ({"more": PAYMENT.format("captured", "amuont = 'a'")},
         "payment[0].amuont: no such key; did you mean `amount`?"),
        ({"more": PAYMENT.format("captured", "")}, "payment[0]: expected either `amount` or `total`"),
        ({"more": PAYMENT.format("failed", "amount = 'a'\ntotal = 'b'")},
         "payment[0]: expected either `amount` or `total`"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_key(parts, mistake):
    with pytest.raises(SourceFileError) as raised:
        source(**parts)
    assert any(each.startswith(mistake) for each in raised.value.mistakes), raised.value


def test_of_several_payments_each_says_when_and_a_failed_one_needs_no_amount():
    head = 'name = "shop"\nformat = "json"\n'
    one = PAYMENT.format("failed", "")
    assert compile_source(head + one).read(
        b'{"p":1,"id":2,"at":"2026-11-24T10:00:00Z","currency":"EUR"}'
    )
    with pytest.raises(SourceFileError) as raised:
        compile_source(head + one + one)
    assert [each.partition(":")[0] for each in raised.value.mistakes] == [
        "payment[0].when",
        "payment[1].when",
    ]


def test_all_mistakes_are_named_at_once():
    with pytest.raises(SourceFileError) as raised:
        source(order='region = "a..b"\nchannel = "c["', lines="amount = {}")
    keys = [each.partition(":")[0] for each in raised.value.mistakes]
    assert keys == ["order.region", "order.channel", "order.lines.amount"]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("name = ", "no TOML"),
        ('name = "Shop"\nformat = "json"', "name: expected `str` matching"),
        ('name = "shop"\nformat = "xml"', "format: invalid enum value 'xml'"),
        ('name = "shop"\nformat = "json"', "order: expected at least one of"),
        ('format = "json"', "name: expected a value, found nothing"),
        (FILE.format(more="", order="", lines='amount = "a"').replace('each = "lines"\n', ""),
         "order.lines.each: expected a value, found nothing"),
    ],
)  # fmt: skip
def test_a_file_of_another_form_is_refused(text, mistake):
    with pytest.raises(SourceFileError) as raised:
        compile_source(text)
    assert str(raised.value).startswith(mistake), raised.value
