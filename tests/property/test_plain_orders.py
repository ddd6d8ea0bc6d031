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
from streams.index.shoppers import shopper_hash
from tests.support.events import Sent, chunk_of, source_logs, tuned
from tests.support.flow_harness import METHODOLOGY
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
        fold.source.book(state)
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
            sorted(state.unbooked),
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
}  # fmt: skip

OTHERS = {
    "escape": text_of({"note": 'a "quote"'}),
    "escaped key": text_of({}).replace(b'"market"', b'"m\\u0061rket"'),
    "not ASCII": text_of({"region": "پنجاب"}, drop=()).replace(b"\\u067e", "پ".encode()),
    "delete character": text_of({"event_id": "e\x7f"}),
    "control character": text_of({}).replace(b'"e-1"', b'"e\x01"'),
    "zero byte": text_of({}).replace(b'"e-1"', b'"e\x00"'),
    "key twice": text_of({}).replace(b'"market": "PK"', b'"market": "PK", "market": "PK"'),
    "unknown key twice": text_of({}).replace(b"{", b'{"n": 1, "n": 2, ', 1),
    "key of a line twice": text_of({}).replace(b'"sku": "a"', b'"sku": "a", "sku": "a"'),
    "nested unknown": text_of({"meta": {"a": [1, {"b": "c"}]}}),
    "float unknown": text_of({"meta": 1.5}),
    "negative unknown": text_of({"meta": -1}),
    "many unknown": text_of({f"k{number}": number for number in range(20)}),
    "cancelled": text_of({"type": "order.cancelled", "placed_at": "2026-09-21T14:13:19Z"}),
    "refunded without placed_at": text_of({"type": "order.refunded"}),
    "placed_at": text_of({"placed_at": "2026-09-21T14:13:19Z"}),
    "null placed_at": text_of({"placed_at": None}),
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
    "worth more in all": text_of({"lines": [ONE["lines"][0] | {"unit_price_minor": 10**11}] * 6}),
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
    "trailing blanks": text_of({}) + b" \n",
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


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_record_is_folded_by_the_compiled_half(name):
    assert_equal(between(PLAIN[name]))
    compiled, _ = halves()
    log = between(PLAIN[name])
    chunk = Chunk(SP, 0, 4, [None] * 5, [value for value, _ in log], [stamp for _, stamp in log])
    compiled.fold(chunk)  # its panes are open now
    folded = Folded()
    assert compiled._orders._plain.fold_plain(chunk, 0, 5, folded) == 5
    assert folded.outcomes["duplicate"] == 5


@pytest.mark.parametrize("stamp", [-1, 4_102_444_799_999, 4_102_444_800_000, 2**62])
def test_a_stamp_of_no_calendar_is_left_to_the_python_half(stamp):
    (before, at_ms), (value, _), *after = between(PLAIN["as it is"])
    assert_equal([(before, at_ms), (value, stamp), *after])
    assert_equal([(value, stamp), *after])


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_record_is_left_to_the_python_half(name):
    assert_equal(between(OTHERS[name]))


def test_labels_of_one_column_count_an_order_once_and_sums_add_up():
    compiled, _ = halves()
    log = between(PLAIN["as it is"])
    chunk = Chunk(SP, 0, 4, [None] * 5, [value for value, _ in log], [stamp for _, stamp in log])
    outcomes = compiled.fold(chunk).outcomes
    assert outcomes == {"accepted": 3, "duplicate": 2}
    state = compiled.source.markets["PK"]
    compiled.source.book(state)
    (pane,) = state.panes.values()
    assert pane.row[:3] == [3, 18, 3 * (2 * 150 + 3 * 99)]


@examples(300)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_a_damaged_record_is_judged_alike(seed, damages):
    dice = random.Random(seed)
    value = bytearray(dice.choice(list(PLAIN.values())))
    for _ in range(damages):
        at = dice.randrange(len(value))
        match dice.randrange(3):
            case 0:
                value[at] = dice.choice(b'"\\{}[]:,0129eE.-+ntf \x00\x7f\x80')
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
    common, odd = PLAIN["as it is"], OTHERS["escape"]

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
