"""The compiled and the Python half of the order fold agree in state and in what they set aside."""

import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.draws import examples

from streams.flow import plain
from streams.flow import state as state_module
from streams.flow.chunk import Chunk, SourcePartition
from streams.flow.fold import SourceFold
from streams.flow.fold_orders import fold_orders
from streams.flow.plain import OrderFold
from streams.flow.remembered import MENDED_NOTE, REFUSED_NOTE
from streams.flow.set_aside import Folded
from streams.flow.source_state import SourceState
from streams.flow.state import CHECKPOINT, COUPONS_MAX, PARTIAL
from streams.index.events import DEPTH_MAX
from streams.index.shoppers import shopper_hash
from tests.support.events import Sent, chunk_of, source_logs, tuned
from tests.support.flow_harness import METHODOLOGY
from tests.support.json_spellings import SCRIPTS, Token, ids, spelled, texts, values
from tests.support.sketches import sketch_of

pytestmark = pytest.mark.skipif(not plain.COMPILED, reason="no compiler at installation")

SP = SourcePartition("orders", 0)
ONE = {
    "event_id": "e-1",
    "type": "order.placed",
    "occurred_at": "2026-09-21T14:13:20.125Z",
    "market": "PK",
    "order_id": "o-1",
    "payment_method": "cod",
    "shopper_id": "s-1",
    "new_shopper": True,
    "seller_id": "seller",
    "region": "punjab",
    "channel": "app",
    "currency": "PKR",
    "lines": [
        {"sku": "a", "category": "Mobiles & Tablets", "quantity": 2, "unit_price_minor": 150},
        {"sku": "b", "category": "mobiles", "quantity": 1, "unit_price_minor": 0},
        {"sku": "c", "category": "books", "quantity": 3, "unit_price_minor": 99},
    ],
}
LONG = 5_000
"""Bytes of a record in which a drawn damage mostly falls into one text."""
ARRIVED_MS = 1_790_000_001_000  # 2026-09-21T14:13:21Z


@pytest.fixture(autouse=True)
def _small_memories(monkeypatch):
    """Make panes lose and regain their id sets within a few events."""
    monkeypatch.setattr(state_module, "_WARM_PANES_MAX", 2)
    monkeypatch.setattr(state_module, "_COLD_HITS_MAX", 2)
    monkeypatch.setattr("streams.flow.admission.DOUBTED_PANES_MAX", 2)


def halves(methodology=METHODOLOGY) -> tuple[SourceFold, SourceFold]:
    found = []
    for compiled in (True, False):
        fold = SourceFold(SourceState(SP, methodology, payments=False))
        fold._orders = OrderFold(fold.source, compiled=compiled)
        found.append(fold)
    return found[0], found[1]


def results(fold: SourceFold, folded) -> tuple:
    return dict(folded.outcomes), folded.late, folded.dead


def state_of(fold: SourceFold) -> dict:
    touched = {flag: sorted(fold.source._touched[flag]) for flag in (CHECKPOINT, PARTIAL)}
    found = {"touched": touched, "held": fold.source.held_ids, "new": fold.source.pending_ids}
    found |= {"through": fold.source.through, "volume": fold.source.volume}
    for code, state in fold.source.markets.items():
        found[code] = (
            state.watermark_ms,
            state.doubts,
            state.next_close_ms,
            {
                start: (
                    (pane.row, list(pane.order), pane.order_set(), pane.saved, pane.flags),
                    pane.shoppers(),
                )
                for start, pane in state.panes.items()
            },
            {number: (day.row, day.flags) for number, day in state.days.items()},
            {day: list(each.order) for day, each in state.remembered.items()},
        )
    return found


def assert_equal(log, cuts=(), methodology=METHODOLOGY) -> None:
    compiled, careful = halves(methodology)
    edges = sorted({0, len(log), *cuts})
    for start, stop in itertools.pairwise(edges):
        chunk = chunk_of([Sent(*each) for each in log], SP, start, stop)
        assert results(compiled, compiled.fold(chunk)) == results(careful, careful.fold(chunk))
        assert state_of(compiled) == state_of(careful)


@pytest.mark.parametrize("size", [1, 3, 7, 8, 9, 15, 16, 17, 128])
def test_an_order_that_counts_after_it_was_refused_is_noted_by_either_half(size):
    """The compiled half has its own hash of an order's id, and must find what Python entered."""
    ids = [f"{number}" * size for number in range(7)]
    refused = [text_of({"order_id": each, "currency": "XXX"}) for each in ids]
    placed = [
        text_of({"order_id": each, "event_id": f"e {each}"[:128]})
        for each in ["of the pane", "another", *ids, *ids[::-1]]
    ]
    log = [(value, ARRIVED_MS) for value in [*refused, *placed]]
    assert_equal(log)
    compiled, _ = halves()
    compiled.fold(chunk_of([Sent(*each) for each in log], SP, 0, len(log)))
    assert compiled.source.notes == {REFUSED_NOTE: 7, MENDED_NOTE: 7}


@examples(150)
@given(st.data())
def test_both_halves_fold_any_log_alike(data):
    methodology = tuned(open_panes_max=data.draw(st.sampled_from([2, METHODOLOGY.open_panes_max])))
    log = data.draw(source_logs(payments=False))
    cuts = data.draw(st.sets(st.integers(0, len(log)), max_size=4))
    assert_equal(log, cuts, methodology)


def text_of(changes: dict, *, drop: tuple[str, ...] = ()) -> bytes:
    event = {key: value for key, value in (ONE | changes).items() if key not in drop}
    return json.dumps(event).encode()


PLAIN = {
    "as it is": text_of({}),
    "compact": json.dumps(ONE, separators=(",", ":")).encode(),
    "blanks everywhere": json.dumps(ONE, indent=3).replace(":", "\t :\r\n ").encode().replace(
        b"14\t :\r\n 13\t :\r\n 20", b"14:13:20"
    ),
    "other order": json.dumps(dict(reversed(ONE.items()))).encode(),
    "no options": text_of(
        {}, drop=("payment_method", "shopper_id", "new_shopper", "seller_id", "region", "channel")
    ),
    "null options": text_of(
        dict.fromkeys(("payment_method", "shopper_id", "new_shopper", "seller_id", "region"))
    ),
    "not new": text_of({"new_shopper": False}),
    "unknown fields": text_of({"note": "gift", "weight": 12, "b2b": True, "eta": None, "x": False}),
    "an unknown field in a line": text_of({"lines": [ONE["lines"][0] | {"vat": 17, "n": "x"}]}),
    "no lines": text_of({"lines": []}),
    "unknown labels": text_of({"region": "moon", "channel": "fax", "payment_method": "gold"}),
    "empty labels": text_of({"region": "", "channel": "", "payment_method": ""}),
    "offset": text_of({"occurred_at": "2026-09-21T19:13:20.5+05:00"}),
    "negative offset": text_of({"occurred_at": "2026-09-21T04:43:20.123456-09:30"}),
    "no fraction": text_of({"occurred_at": "2026-09-21T14:13:20Z"}),
    "long ids": text_of({"event_id": "e" * 128, "order_id": "o" * 128, "shopper_id": "s" * 128}),
    "zero price": text_of({"lines": [ONE["lines"][1]]}),
    "float quantity": text_of({}).replace(b'"quantity": 2', b'"quantity": 2.00'),
    "float price": text_of({}).replace(b'"unit_price_minor": 150', b'"unit_price_minor": 150.0'),
    "missing sku": text_of({"lines": [{"category": "c", "quantity": 1, "unit_price_minor": 1}]}),
    "other skus": text_of(
        {"lines": [ONE["lines"][0] | {"sku": sku} for sku in ("", None, 5, "s" * 129)]}
    ),
    "missing category": text_of({"lines": [{"quantity": 1, "unit_price_minor": 1}]}),
    "empty and null categories": text_of(
        {"lines": [ONE["lines"][0] | {"category": label} for label in ("", None)]}
    ),
    "guest": text_of({"shopper_id": ""}),
    "no order id": text_of({}, drop=("order_id",)),
    "empty order id": text_of({"order_id": ""}),
    "null order id": text_of({"order_id": None}),
    "seller of any kind": text_of({"seller_id": 5}),
    "nested seller and sku": text_of(
        {"seller_id": {"id": 5}, "lines": [ONE["lines"][0] | {"sku": ["a", {"b": 1}]}]}
    ),
    "escape": text_of({"note": 'a "quote"', "path": "C:\\new\ttab\r\n\f\b"}),
    "a key for each short escape": text_of(dict.fromkeys('\b\f\n\r\t"\\/', 1)),
    "escaped solidus": text_of({}).replace(b'"punjab"', rb'"pun\/jab"'),
    "escaped key": text_of({}).replace(b'"market"', b'"m\\u0061rket"'),
    "escaped type, instant and market": text_of({}).replace(b"order.placed", rb"order\u002eplaced")
    .replace(b"2026-09-21T", rb"2026\u002D09-21T").replace(b'"PK"', rb'"\u0050K"'),
    "a digit of the instant escaped": text_of({}).replace(b"125Z", rb"12\u0035Z"),
    "escaped label": text_of({"region": "پنجاب"}),
    "label beyond ASCII": text_of({}).replace(b'"punjab"', '"پنجاب"'.encode()),
    "the same label both ways": text_of(
        {"lines": [ONE["lines"][0] | {"category": label} for label in ("চাল", "~", "চাল")]}
    ).replace(b'"~"', '"চাল"'.encode()),
    "astral letters": text_of({"channel": "👗"}).replace(b'"cod"', '"🛍"'.encode()),
    "ids beyond ASCII": text_of({"event_id": "é", "order_id": "ঢ", "shopper_id": "👩"}),
    "id of 128 bytes": text_of({"event_id": "é" * 64, "order_id": "ঢ" * 42 + "o"}),
    "raw id of 128 bytes": text_of({}).replace(b'"e-1"', ('"' + "👩" * 32 + '"').encode()),
    "controls in a label": text_of({"region": "a\x00\n\x7f\x80"}),
    "delete character in a label": text_of({}).replace(b'"punjab"', b'"p\x7f"'),
    "label as long as are kept": text_of({"region": "r" * 512}),
    "long escaped note": text_of({"note": '"' * 50_000}),
    "nested unknown": text_of({"meta": {"a": [1, {"b": "c"}, [], {}]}}),
    "nested unknown in a line": text_of(
        {"lines": [ONE["lines"][0] | {"tax": {"rate": [0.17, None], "tax": {"rate": True}}}] * 2}
    ),
    "an unknown name in lines and in the order": text_of(
        {"lines": [line | {"note": 1} for line in ONE["lines"]], "note": 2}
    ),
    "more escaped keys than fit at once": text_of({"meta": [{"চাবি": 1}] * 1_500}),
    "known names within an unknown field": text_of({"meta": ONE, "also": [ONE, ONE]}),
    "numbers unread": text_of({}).replace(
        b'"seller"', b"[0, -0, 1.5, -1, 1e400, 0.0E-9, 2e+7, " + b"9" * 40 + b"]"
    ),
    "many unknown": text_of({f"k{number}": number for number in range(128)}),
    "as deep as may be": text_of({}).replace(
        b'"seller"', b"[" * (DEPTH_MAX - 1) + b"]" * (DEPTH_MAX - 1)
    ),
    "as deep as may be in a line": text_of({}).replace(
        b'"a"', b'{"a":' * (DEPTH_MAX - 3) + b"0" + b"}" * (DEPTH_MAX - 3)
    ),
    "trailing blanks": text_of({}) + b" \n",
    "brackets in texts": text_of({"note": "[{" * 100}),
    "null placed_at and refund_id": text_of({"placed_at": None, "refund_id": None}),
    "empty placed_at and refund_id": text_of({"placed_at": "", "refund_id": ""}),
}  # fmt: skip

OTHERS = {
    "unknown escape": text_of({}).replace(b'"seller"', rb'"\x"'),
    "cut escape": text_of({}).replace(b'"seller"', rb'"\u12"'),
    "escape that is no number": text_of({}).replace(b'"seller"', rb'"\u12g4"'),
    "lone high surrogate": text_of({"region": "\ud83d"}),
    "lone low surrogate": text_of({"region": "\udc57"}),
    "lone surrogate in an unread field": text_of({"note": "\ud83d!"}),
    "pair the wrong way round": text_of({"note": "\udc57\ud83d"}),
    "high surrogate and a letter": text_of({"note": "\ud83da"}),
    "two high surrogates": text_of({"note": "\ud83d\ud83d\udc57"}),
    "escaped control in an id": text_of({"event_id": "e\x01"}),
    "escaped delete in an id": text_of({}).replace(b'"e-1"', rb'"e\u007F"'),
    "control of two bytes in an id": text_of({}).replace(b'"e-1"', '"e\x85"'.encode()),
    "last control in an order id": text_of({"order_id": "o\x9f"}),
    "control of two bytes in a shopper": text_of({"shopper_id": "s\x80"}),
    "long id in bytes": text_of({"event_id": "é" * 65}),
    "long shopper in bytes": text_of({}).replace(b'"s-1"', ('"' + "ঢ" * 43 + '"').encode()),
    "long order id in bytes": text_of({"order_id": "👩" * 33}),
    "label longer than are kept": text_of({"region": "r" * 513}),
    "many long escaped labels": text_of(
        {"lines": [ONE["lines"][0] | {"category": f"{n}" + "চ" * 150} for n in range(40)]}
    ),
    "known key twice, one escaped": text_of({}).replace(
        b'"market": "PK"', rb'"market": "PK", "mar\u006bet": "PK"'
    ),
    "unknown key twice, one escaped": text_of({}).replace(
        b"{", rb'{"note": 1, "n\u006fte": 2, ', 1
    ),
    "unknown key twice beyond ASCII": text_of({}).replace(
        b"{", '{"চাল": 1, "\\u099A\\u09be\\u09B2": 2, '.encode(), 1
    ),
    "nested key twice": text_of({"meta": {"a": {"b": 1, "~": 2}}}).replace(b"~", rb"\u0062"),
    "key of a line twice, one escaped": text_of({}).replace(
        b'"sku": "a"', rb'"sku": "a", "\u0073ku": "a"'
    ),
    "unknown key of a line twice": text_of({}).replace(
        b'"sku": "a"', b'"sku": "a", "n": 1, "n": [1]'
    ),
    "empty key twice": text_of({}).replace(b"{", b'{"": 1, "": 2, ', 1),
    "too deep": text_of({}).replace(b'"seller"', b"[" * DEPTH_MAX + b"]" * DEPTH_MAX),
    "too deep in a line": text_of({}).replace(
        b'"a"', b'{"a":' * (DEPTH_MAX - 2) + b"0" + b"}" * (DEPTH_MAX - 2)
    ),
    "overlong letter": text_of({}).replace(b'"seller"', b'"\xc0\xaf"'),
    "overlong letter of three bytes": text_of({}).replace(b'"seller"', b'"\xe0\x9f\xbf"'),
    "overlong letter of four bytes": text_of({}).replace(b'"seller"', b'"\xf0\x8f\xbf\xbf"'),
    "surrogate in UTF-8": text_of({}).replace(b'"punjab"', b'"\xed\xa0\xbd\xed\xb1\x97"'),
    "beyond Unicode": text_of({}).replace(b'"seller"', b'"\xf4\x90\x80\x80"'),
    "no first byte": text_of({}).replace(b'"seller"', b'"\xf8\x88\x80\x80"'),
    "cut letter": text_of({}).replace(b'"punjab"', b'"\xe0\xa6"'),
    "a letter of two bytes cut within a text": text_of({}).replace(b'"seller"', b'"\xc3x"'),
    "a letter of three bytes cut within a text": text_of({}).replace(b'"seller"', b'"\xe0\xa6x"'),
    "a letter of four bytes cut within a text": text_of({}).replace(
        b'"seller"', b'"\xf0\x9f\x91x"'
    ),
    "cut letter at the end": text_of({}) + b"\xe0",
    "byte that continues nothing": text_of({}).replace(b'"punjab"', b'"\x9a"'),
    "control character in an unread text": text_of({}).replace(b'"seller"', b'"\n"'),
    "control character in a nested text": text_of({}).replace(b'"seller"', b'["\x1f"]'),
    "number with a leading zero": text_of({}).replace(b'"seller"', b"-01"),
    "number without digits": text_of({}).replace(b'"seller"', b"-"),
    "point without digits": text_of({}).replace(b'"seller"', b"1.e5"),
    "exponent without digits": text_of({}).replace(b'"seller"', b"1e+"),
    "no number": text_of({}).replace(b'"seller"', b"NaN"),
    "plus": text_of({}).replace(b'"seller"', b"+1"),
    "comma at the end of an array": text_of({}).replace(b'"seller"', b"[1,]"),
    "comma at the end of an object": text_of({}).replace(b'"seller"', b'{"a":1,}'),
    "no comma": text_of({}).replace(b'"seller"', b"[1 2]"),
    "no colon": text_of({}).replace(b'"seller"', b'{"a" 1}'),
    "key that is no text": text_of({}).replace(b'"seller"', b"{1:1}"),
    "brackets that do not match": text_of({}).replace(b'"seller"', b"[{]}"),
    "an array that does not end": text_of({}).replace(b'"seller"', b"[1"),
    "refund_id of a placed order": text_of({"refund_id": "r"}),
    "delete character": text_of({"event_id": "e\x7f"}),
    "control character": text_of({}).replace(b'"e-1"', b'"e\x01"'),
    "zero byte": text_of({}).replace(b'"e-1"', b'"e\x00"'),
    "key twice": text_of({}).replace(b'"market": "PK"', b'"market": "PK", "market": "PK"'),
    "unknown key twice": text_of({}).replace(b"{", b'{"n": 1, "n": 2, ', 1),
    "key of a line twice": text_of({}).replace(b'"sku": "a"', b'"sku": "a", "sku": "a"'),
    "more unknown than are remembered": text_of({f"k{number}": number for number in range(129)}),
    "cancelled": text_of({"type": "order.cancelled", "placed_at": "2026-09-21T14:13:19Z"}),
    "refunded without placed_at": text_of({"type": "order.refunded"}),
    "placed_at": text_of({"placed_at": "2026-09-21T14:13:19Z"}),
    "other type": text_of({"type": "order.shipped"}),
    "null type": text_of({"type": None}),
    "null market": text_of({"market": None}),
    "unknown market": text_of({"market": "XX"}),
    "prefix of a market": text_of({"market": "P"}),
    "other currency": text_of({"currency": "USD"}),
    "empty id": text_of({"event_id": ""}),
    "long id": text_of({"event_id": "e" * 129}),
    "zero quantity": text_of({"lines": [ONE["lines"][0] | {"quantity": 0}]}),
    "negative price": text_of({"lines": [ONE["lines"][0] | {"unit_price_minor": -1}]}),
    "fraction": text_of({}).replace(b'"quantity": 2', b'"quantity": 2.01'),
    "no fraction after the point": text_of({}).replace(b'"quantity": 2', b'"quantity": 2.'),
    "fraction and exponent": text_of({}).replace(b'"quantity": 2', b'"quantity": 2.0e1'),
    "ids as numbers": text_of({"event_id": 5, "shopper_id": 6, "order_id": 7}),
    "label as number": text_of({"region": 5}),
    "bad lines": text_of({"lines": [None, ONE["lines"][0] | {"quantity": 0}, ONE["lines"][2]]}),
    "shopper that is none": text_of({"shopper_id": [1]}),
    "broken text": text_of({}).replace(b'"o-1"', b'"o-1", "note": "\xff"'),
    "byte order mark": b"\xef\xbb\xbf" + text_of({}),
    "exponent": text_of({}).replace(b'"quantity": 2', b'"quantity": 2e0'),
    "leading zero": text_of({}).replace(b'"quantity": 2', b'"quantity": 02'),
    "quantity as text": text_of({"lines": [ONE["lines"][0] | {"quantity": "2"}]}),
    "large quantity": text_of({"lines": [ONE["lines"][0] | {"quantity": 10**7}]}),
    "largest price": text_of({"lines": [ONE["lines"][0] | {"unit_price_minor": 2**63 - 1}]}),
    "price past 63 bits": text_of({"lines": [ONE["lines"][0] | {"unit_price_minor": 2**63}]}),
    "worth more than an order may be": text_of(
        {
            "lines": [
                ONE["lines"][0],
                ONE["lines"][1] | {"quantity": 10**5, "unit_price_minor": 10**11},
            ]
        }
    ),
    "worth more in all": text_of({"lines": [ONE["lines"][0] | {"unit_price_minor": 10**11}] * 60}),
    "many lines": text_of({"lines": [ONE["lines"][0]] * 70}),
    "too many lines": text_of({"lines": [ONE["lines"][0]] * 501}),
    "missing event_id": text_of({}, drop=("event_id",)),
    "missing lines": text_of({}, drop=("lines",)),
    "empty object": b"{}",
    "no object": b"[]",
    "nothing": b"",
    "tombstone": None,
    "cut": text_of({})[:-1],
    "cut in a string": text_of({})[:40],
    "trailing comma": text_of({})[:-1] + b",}",
    "trailing text": text_of({}) + b"x",
    "two objects": text_of({}) + text_of({}),
    "30 February": text_of({"occurred_at": "2026-02-30T14:13:20Z"}),
    "29 February": text_of({"occurred_at": "2028-02-29T00:00:00Z"}),
    "no 29 February": text_of({"occurred_at": "2026-02-29T00:00:00Z"}),
    "second 60": text_of({"occurred_at": "2026-09-21T14:12:60Z"}),
    "leap second": text_of({"occurred_at": "2026-09-20T23:59:60Z"}),
    "hour 24": text_of({"occurred_at": "2026-09-20T24:00:00Z"}),
    "nine digits": text_of({"occurred_at": "2026-09-21T14:13:20.123456789Z"}),
    "empty fraction": text_of({"occurred_at": "2026-09-21T14:13:20.Z"}),
    "no zone": text_of({"occurred_at": "2026-09-21T14:13:20.000"}),
    "small t": text_of({"occurred_at": "2026-09-21t14:13:20.000Z"}),
    "offset without colon": text_of({"occurred_at": "2026-09-21T19:13:20+0500"}),
    "offset of 24 hours": text_of({"occurred_at": "2026-09-21T14:13:20+24:00"}),
    "offset of 60 minutes": text_of({"occurred_at": "2026-09-21T14:13:20+00:60"}),
    "year 1969": text_of({"occurred_at": "1969-09-21T14:13:20Z"}),
    "time as number": text_of({"occurred_at": 1790000000}),
    "ahead": text_of({"occurred_at": "2026-09-22T14:13:20Z"}),
    "too late": text_of({"occurred_at": "2026-09-21T14:10:20Z"}),
    "large unread field": text_of({"note": "x" * 262_144}),
}


def between(value: bytes | None) -> list[tuple[bytes | None, int]]:
    """The record among plain ones, twice (the second is a duplicate, or as bad again)."""
    before, after = text_of({"event_id": "before"}), text_of({"event_id": "after"})
    return [(raw, ARRIVED_MS) for raw in (before, value, after, value, before)]


def taken(value: bytes | None) -> bool:
    """Whether the compiled half folds the record, where its pane is open."""
    compiled, _ = halves()
    stamps = [ARRIVED_MS] * 2
    compiled.fold(Chunk(SP, 0, 1, [None] * 2, [text_of({"event_id": "before"}), value], stamps))
    after = text_of({"event_id": "after"})
    chunk = Chunk(SP, 2, 3, [None] * 2, [value, after], stamps)
    reached = compiled._orders._plain.fold_plain(chunk, 0, 2, Folded())
    assert reached in (0, 2)
    return reached == 2


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_record_is_folded_by_the_compiled_half(name):
    assert_equal(between(PLAIN[name]))
    assert taken(PLAIN[name])


@pytest.mark.parametrize("stamp", [-1, 4_102_444_799_999, 4_102_444_800_000, 2**62])
def test_a_stamp_of_no_calendar_is_left_to_the_python_half(stamp):
    (before, at_ms), (value, _), *after = between(PLAIN["as it is"])
    assert_equal([(before, at_ms), (value, stamp), *after])
    assert_equal([(value, stamp), *after])


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_record_is_left_to_the_python_half(name):
    assert_equal(between(OTHERS[name]))
    assert not taken(OTHERS[name])


@pytest.mark.parametrize("escape", 'bfnrt"\\/')
def test_a_key_is_the_same_in_each_of_its_escapes(escape):
    letter = json.loads(f'"\\{escape}"')
    twice = f'{{"\\{escape}": 1, "\\u{ord(letter):04x}": 2, '
    value = text_of({}).replace(b"{", twice.encode(), 1)
    assert_equal(between(value))
    assert not taken(value)


@st.composite
def any_script(draw) -> tuple[dict, random.Random]:
    """A placed order in texts of any script, with fields that nobody reads; and how to spell it."""
    event = ONE | {"event_id": draw(ids()), "order_id": draw(ids()), "shopper_id": draw(ids())}
    for name in ("region", "channel", "payment_method"):
        event[name] = draw(texts(max_size=12))
    event["lines"] = [
        line | {"category": draw(texts(max_size=12)), "sku": draw(values())}
        for line in ONE["lines"][: draw(st.integers(0, 3))]
    ]
    unknown = texts(max_size=8).filter(lambda key: key not in {*ONE, "placed_at", "refund_id"})
    for each in [event, *event["lines"]]:
        for key, value in draw(st.dictionaries(unknown, values(), max_size=3)).items():
            each.setdefault(key, value)
    return event, random.Random(draw(st.integers(0, 2**32)))


@examples(300)
@given(any_script())
def test_texts_of_any_script_and_unread_values_are_folded_by_the_compiled_half(drawn):
    value = spelled(*drawn).encode()
    assert_equal(between(value))
    assert taken(value)


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_is_folded_by_the_compiled_half_in_labels_ids_and_notes(script):
    letters = SCRIPTS[script]
    of_id = "".join(each for each in letters if not "\x7f" <= each < "\xa0")
    fields = {"region": letters, "note": letters, "order_id": of_id, letters: {letters: [letters]}}
    for ensure_ascii in (True, False):
        value = json.dumps(ONE | fields, ensure_ascii=ensure_ascii).encode()
        assert_equal(between(value))
        assert taken(value)


def _twice(event: dict, dice: random.Random) -> bytes:
    """Name one key of some object twice, each time in another spelling."""
    key = dice.choice(["চাল", "👗", "market", "a", ""])
    objects = [event, *event["lines"], {key: [1], "b": key}]
    doubled = dice.choice(objects)
    key = dice.choice(list(doubled))
    text = spelled(doubled, dice)[:-1] + f",{spelled(key, dice)}:{spelled(doubled[key], dice)}}}"
    if doubled is event:
        return text.encode()
    if doubled is objects[-1]:
        return spelled(event | {"doubled": Token(text)}, dice).encode()
    lines = [Token(text) if line is doubled else line for line in event["lines"]]
    return spelled(event | {"lines": lines}, dice).encode()


def _cut_letter(event: dict, dice: random.Random) -> bytes:
    """Take a byte of a letter away."""
    value = spelled(event, dice).encode()
    beyond = [at for at, byte in enumerate(value) if byte >= 0x80]
    if not beyond:
        return value[:-1] + b',"cut":"\xe0\xa6"}'
    at = dice.choice(beyond)
    return value[:at] + value[at + 1 :]


def _with_text(event: dict, text: str, dice: random.Random) -> bytes:
    """Put the JSON of a text where some text may be."""
    name = dice.choice(["cut", "region", "event_id", "order_id", "seller_id"])
    if dice.randrange(2):
        return spelled(event | {name: Token(text)}, dice).encode()
    return spelled(event | {"nested": [{"a": Token(text)}]}, dice).encode()


def _half_of_a_pair(event: dict, dice: random.Random) -> bytes:
    half = dice.choice([r"\ud83d", r"\uDC57", r"\ud83dx", r"\ud83d\u0041", r"\udc57\ud83d"])
    return _with_text(event, f'"e{half}"', dice)


def _control(event: dict, dice: random.Random) -> bytes:
    return _with_text(event, f'"{dice.choice(["", "é"])}{chr(dice.randrange(0x20))}"', dice)


def _deep(event: dict, dice: random.Random) -> bytes:
    opened = [dice.choice(["[", '{"a":']) for _ in range(dice.randrange(DEPTH_MAX, 3 * DEPTH_MAX))]
    closed = ["]" if each == "[" else "}" for each in reversed(opened)]
    deep = Token("".join([*opened, "1", *closed]))
    return spelled(event | {"deep": deep}, dice).encode()


@pytest.mark.parametrize("damage", [_twice, _cut_letter, _half_of_a_pair, _deep, _control])
@given(any_script())
def test_what_json_or_the_contract_refuses_is_left_to_the_python_half(damage, drawn):
    event, dice = drawn
    value = damage(event, dice)
    assert_equal(between(value))
    assert not taken(value)


def test_labels_of_one_column_count_an_order_once_and_sums_add_up():
    compiled, _ = halves()
    log = between(PLAIN["as it is"])
    chunk = Chunk(SP, 0, 4, [None] * 5, [value for value, _ in log], [stamp for _, stamp in log])
    outcomes = compiled.fold(chunk).outcomes
    assert outcomes == {"accepted": 3, "duplicate": 2}
    state = compiled.source.markets["PK"]
    (pane,), (day,) = state.panes.values(), state.days.values()
    assert pane.row.numbers[:3] == day.row.numbers[:3] == [3, 18, 3 * (2 * 150 + 3 * 99)]


@examples(300)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_a_damaged_record_is_judged_alike(seed, damages):
    dice = random.Random(seed)
    value = bytearray(dice.choice([each for each in PLAIN.values() if len(each) < LONG]))
    for _ in range(damages):
        at = dice.randrange(len(value))
        match dice.randrange(3):
            case 0:
                value[at] = dice.choice(b'"\\{}[]:,0129eE.-+ntfu \x00\x7f\x80\xa6\xe0\xed\xf0')
            case 1:
                del value[at : at + dice.randrange(1, 12)]
            case _:
                value[at:at] = value[at : at + dice.randrange(1, 40)]
        if not value:
            break
    assert_equal(between(bytes(value)))


def test_many_markets_panes_and_labels_in_one_chunk():
    dice = random.Random(3)
    codes = {code: market.currency for code, market in METHODOLOGY.markets.items()}
    log = []
    for number in range(6_000):
        market = dice.choice(list(codes))
        second = dice.randrange(100)
        changes = {
            "event_id": f"e{dice.randrange(5_000)}",
            "market": market,
            "currency": codes[market],
            "occurred_at": f"2026-09-21T14:{12 + second // 60:02}:{second % 60:02}.{number % 1000:03}Z",
            "shopper_id": dice.choice([None, f"s{dice.randrange(2_000)}"]),
            "region": f"r{dice.randrange(3_000)}",
            "payment_method": f"m{dice.randrange(3_000)}",
        }
        log.append((text_of(changes), ARRIVED_MS + number * 20))
    assert_equal(log, cuts=(1, 700, 3_000))


def test_the_shoppers_of_a_busy_pane_are_counted_alike():
    """More than wait at once, in a call and in a pane; then few, one by one, into a full sketch."""
    log = [
        (text_of({"event_id": f"e{n}", "shopper_id": f"s{n % 7_000}"}), ARRIVED_MS)
        for n in range(12_000)
    ]
    assert_equal(log, cuts=(1, 5_000, 5_001, 11_990, 11_999))
    compiled, _ = halves()
    values, stamps = [value for value, _ in log], [stamp for _, stamp in log]
    compiled.fold(Chunk(SP, 0, len(log) - 1, [None] * len(log), values, stamps))
    (pane,) = compiled.source.markets["PK"].panes.values()
    everybody = sketch_of([shopper_hash(f"s{n}") for n in range(7_000)])
    assert len(pane.coupons) < COUPONS_MAX
    assert pane.shoppers() == everybody.to_bytes()


def test_instants_agree_over_the_years():
    dice = random.Random(5)
    compiled, careful = halves()
    for _ in range(400):
        moment = dice.randrange(31_536_000, 7_200_000_000)
        text = json.loads(json.dumps(_rfc3339(moment, dice)))
        log = [(text_of({"occurred_at": text, "event_id": f"e{n}"}), moment * 1000) for n in (1, 2)]
        chunk = Chunk(SP, 0, 1, [None] * 2, [v for v, _ in log], [s for _, s in log])
        for fold in (compiled, careful):
            fold.source.markets["PK"].watermark_ms = -(2**62)
            fold.fold(chunk)
    assert state_of(compiled) == state_of(careful)


def _rfc3339(seconds: int, dice: random.Random) -> str:
    from datetime import UTC, datetime, timedelta, timezone

    zone = dice.choice([UTC, timezone(timedelta(minutes=dice.randrange(-1439, 1440)))])
    moment = datetime.fromtimestamp(seconds, UTC) + timedelta(
        microseconds=dice.randrange(1_000_000)
    )
    return moment.astimezone(zone).isoformat()


def test_the_python_half_takes_runs_in_stretches_and_then_one_by_one_again(monkeypatch):
    """Chunks shorter than a stretch once kept it long: one odd event then slowed all behind it."""
    taken = []

    def spy(source, chunk, start, stop, folded):
        taken.append(stop - start)
        fold_orders(source, chunk, start, stop, folded)

    monkeypatch.setattr(plain, "fold_orders", spy)
    compiled, _ = halves()
    common, odd = PLAIN["as it is"], OTHERS["broken text"]

    def fold(*values):
        count = len(values)
        stamps = [ARRIVED_MS] * count
        compiled.fold(Chunk(SP, 0, count - 1, [None] * count, list(values), stamps))

    fold(odd, common)  # opens the pane
    fold(*[odd] * 60)
    assert taken == [1, 1, 2, 4, 8, 16, 29]
    taken.clear()
    for _ in range(20):
        fold(common, common)
    assert taken == []
    fold(odd, *[common] * 9)
    assert taken == [1]
