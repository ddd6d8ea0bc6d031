"""Shopper sketches: independent of order, as exact as published, canonical bytes, no ids."""

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.draws import examples
from support.sketches import sketch_of

from streams.index.shoppers import (
    NOBODY,
    STANDARD_ERROR,
    ShopperSketch,
    SketchError,
    coupon_of,
    estimate,
    shopper_hash,
    union,
    with_coupons,
)

IDS = st.lists(st.text(max_size=6).map("s{}".format), max_size=150)
HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=300)


def drawn(rng, count):
    return rng.integers(0, 2**64, count, dtype=np.uint64)


@examples(60)
@given(parts=st.lists(HASHES, max_size=5), seed=st.randoms())
def test_order_grouping_and_repetition_do_not_matter(parts, seed):
    everybody = [one for part in parts for one in part]
    at_once = sketch_of(everybody)
    merged = ShopperSketch()
    shuffled = parts + parts
    seed.shuffle(shuffled)
    for part in shuffled:
        seed.shuffle(part)
        merged.merge_bytes(sketch_of(part).to_bytes())
    assert merged.to_bytes() == at_once.to_bytes()
    assert merged.estimate() == at_once.estimate()


@examples(60)
@given(hashes=HASHES)
def test_bytes_give_the_sketch_back(hashes):
    sketch = sketch_of(hashes)
    data = sketch.to_bytes()
    again = ShopperSketch.from_bytes(data)
    assert (again.registers == sketch.registers).all()
    assert again.to_bytes() == data


@examples(80)
@given(parts=st.lists(IDS, max_size=6), seed=st.randoms())
def test_coupons_and_unions_of_bytes_are_the_sketch_of_everybody(parts, seed):
    everybody = sketch_of([shopper_hash(one) for part in parts for one in part]).to_bytes()
    coupons = [array("I", map(coupon_of, part)) for part in parts]
    seed.shuffle(coupons)
    one_by_one = NOBODY
    for each in coupons:
        one_by_one = with_coupons(one_by_one, each)
    assert one_by_one == everybody
    held = [with_coupons(NOBODY, each) for each in coupons + coupons]
    seed.shuffle(held)
    cut = len(held) // 2
    assert union([union(held[:cut]), union(held[cut:])]) == everybody
    assert estimate(everybody) == round(ShopperSketch.from_bytes(everybody).estimate())


def test_full_and_sparse_sketches_unite():
    rng = np.random.default_rng(7)
    many, few = drawn(rng, 30_000), drawn(rng, 20)
    both = sketch_of(np.concatenate([many, few])).to_bytes()
    assert union([sketch_of(many).to_bytes(), sketch_of(few).to_bytes()]) == both
    coupons = array("I", [int(h) >> 52 << 6 | 53 - (int(h) & 2**52 - 1).bit_length() for h in few])
    assert with_coupons(sketch_of(many).to_bytes(), coupons) == both


def test_dense_bytes_give_the_sketch_back():
    sketch = sketch_of(drawn(np.random.default_rng(1), 50_000))
    data = sketch.to_bytes()
    assert len(data) == 3073
    assert ShopperSketch.from_bytes(data).to_bytes() == data


@pytest.mark.parametrize("count", [1, 10, 100, 1_000, 10_000, 200_000])
def test_the_error_is_the_published_one(count):
    rng = np.random.default_rng(count)
    trials = 60
    errors = np.array([sketch_of(drawn(rng, count)).estimate() / count - 1 for _ in range(trials)])
    assert np.sqrt((errors**2).mean()) < 1.25 * STANDARD_ERROR
    assert abs(errors.mean()) < 3.5 * STANDARD_ERROR / np.sqrt(trials)


def test_nobody_is_nobody_and_one_is_one():
    assert ShopperSketch().estimate() == 0.0
    assert ShopperSketch().to_bytes() == b""
    assert sketch_of([shopper_hash("s-1")] * 3).estimate() == pytest.approx(1, abs=1e-3)


def test_the_ends_of_the_hashes_range():
    sketch = sketch_of(array("Q", [0, 2**64 - 1]))
    assert sketch.registers[0] == 53
    assert sketch.registers[4095] == 1
    assert ShopperSketch.from_bytes(sketch.to_bytes()).to_bytes() == sketch.to_bytes()


def test_the_hash_is_fixed_for_ever_and_not_that_of_event_ids():
    assert shopper_hash("shopper-1") == 16146747166765691400
    assert shopper_hash("shopper-1") != shopper_hash("shopper-2")


def test_a_sketch_holds_no_id():
    data = sketch_of([shopper_hash("maria@example.org")]).to_bytes()
    assert b"maria" not in data
    assert len(data) == 4


BAD = [b"\x01", b"\x03", b"\x02abc", b"\x01ab", b"\x01\xff\xff\xff", b"\x01\x00\x00\x3f"]


@pytest.mark.parametrize("data", [*BAD, b"\x02" + b"\xff" * 3072])
def test_other_bytes_are_refused(data):
    with pytest.raises(SketchError):
        ShopperSketch.from_bytes(data)
