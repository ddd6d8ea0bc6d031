"""How many different shoppers: HyperLogLog sketches of keyed hashes, never the ids themselves.

A sketch holds, for each of 4096 registers, the largest rank seen. A shopper's hash chooses the register
by its first 12 bits and the rank by the zeros that follow. Merging takes the larger rank of each
register, so order, grouping and repetition do not matter (exactness rule 10). They do not matter to the
estimate either, which is computed from the registers alone.

Estimate: the improved raw estimator of O. Ertl, New cardinality estimation algorithms for HyperLogLog
sketches (2017, arXiv:1702.01284, algorithm 6). It needs no tables of empirical corrections, and only
IEEE operations that every processor rounds alike. Its relative standard error is 1.04 / sqrt(4096),
and less where few registers are filled.

At rest and on the wire a sketch is bytes. A set of shoppers has one form, and the empty set has no
bytes: most panes have a handful of shoppers, and three bytes for each are less than an array of 4096
registers. ``ShopperSketch`` is the unpacked form, to which shoppers can be added.

Apache DataSketches would have been the library of choice, but its Python binding gives only estimates,
and its bytes depend on the order of the log (decision 0222).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

REGISTERS_LOG2 = 12
REGISTERS = 1 << REGISTERS_LOG2
_RANK_BITS = 64 - REGISTERS_LOG2
_RANK_MAX = _RANK_BITS + 1
STANDARD_ERROR = 1.04 / math.sqrt(REGISTERS)
"""Relative standard error (one sigma); published beside every estimate."""
SHOPPER_SEED = 0x73_68_6F_70_70_65_72_73
"""Key of the hashes of shopper ids. It differs from the key for event ids, and it never changes, so that
sketches of any two days can be merged."""

SPARSE_MAX = 1_000
_SPARSE, _DENSE = b"\x01", b"\x02"
_COUPON_BYTES = 3
DENSE_BYTES = 1 + REGISTERS * 3 // 4
_FEW = 48
"""Number of coupons up to which plain Python is faster than filling an array."""
NOBODY = b""
"""Sketch of no shoppers."""
_ALPHA = 0.5 / math.log(2)

Registers = NDArray[np.uint8]


class Bought(NamedTuple):
    """What the placed orders of a span say about their shoppers."""

    orders: int
    """Orders that name a shopper."""
    known: int
    """Orders that say whether the shopper is new."""
    new: int
    sketch: bytes
    """Sketch of the named shoppers."""


class SketchError(ValueError):
    """Bytes that are no sketch of this kind. The writer of the record is at fault."""


def shopper_hash(shopper_id: str) -> int:
    """64-bit keyed hash of a shopper's id. A sketch keeps 12 + 6 bits of it."""
    return xxh3_64_intdigest(shopper_id.encode(), SHOPPER_SEED)


def coupon_of(shopper_id: str) -> int:
    """All that is kept of a shopper's id: register and rank, as ``register << 6 | rank``."""
    found = shopper_hash(shopper_id)
    rest = found & ((1 << _RANK_BITS) - 1)
    return (found >> _RANK_BITS) << 6 | (_RANK_MAX - rest.bit_length())


class ShopperSketch:
    """The different shoppers of one market and slot, as registers of a HyperLogLog sketch."""

    __slots__ = ("registers",)

    def __init__(self) -> None:
        self.registers: Registers = np.zeros(REGISTERS, dtype=np.uint8)

    def estimate(self) -> float:
        """How many different shoppers; 0 for an empty sketch. Ertl 2017, algorithm 6."""
        counts = np.bincount(self.registers, minlength=_RANK_MAX + 1).tolist()
        z = REGISTERS * _tau(1 - counts[_RANK_MAX] / REGISTERS)
        for rank in range(_RANK_BITS, 0, -1):
            z = 0.5 * (z + counts[rank])
        z += REGISTERS * _sigma(counts[0] / REGISTERS)
        return 0.0 if math.isinf(z) else _ALPHA * REGISTERS * REGISTERS / z

    def to_bytes(self) -> bytes:
        """Canonical bytes: equal sketches have equal bytes, and an empty sketch has none.

        Up to 1000 filled registers take three bytes each (register, rank). Beyond that, all registers
        take six bits each.
        """
        filled = np.flatnonzero(self.registers)
        if not len(filled):
            return NOBODY
        if len(filled) > SPARSE_MAX:
            return _DENSE + _packed(self.registers)
        coupons = (filled << 6 | self.registers[filled]).astype(">u4")
        return _SPARSE + coupons.view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> ShopperSketch:
        """Sketch from the bytes that ``to_bytes`` returns; SketchError for anything else."""
        sketch = cls()
        sketch.merge_bytes(data)
        return sketch

    def merge_bytes(self, data: bytes) -> None:
        """Add everybody in a sketch's bytes (``to_bytes``); SketchError for anything else."""
        if data == NOBODY:
            return
        kind, body = data[:1], np.frombuffer(data, dtype=np.uint8, offset=1)
        if kind == _DENSE and len(data) == DENSE_BYTES:
            found = _unpacked(body)
            if int(found.max()) > _RANK_MAX:
                raise SketchError(f"a rank beyond {_RANK_MAX}")
            np.maximum(self.registers, found, out=self.registers)
        elif kind == _SPARSE and len(body) and len(body) % _COUPON_BYTES == 0:
            parts = body.reshape(-1, _COUPON_BYTES).astype(np.int64)
            self.add_coupons(parts[:, 0] << 16 | parts[:, 1] << 8 | parts[:, 2])
        else:
            raise SketchError(f"expected a sketch, found {len(data)} bytes of kind {kind!r}")

    def add_coupons(self, coupons: NDArray[np.int64]) -> None:
        """Add shoppers by their coupons (``coupon_of``); SketchError for a number that is no coupon."""
        registers, ranks = coupons >> 6, (coupons & 63).astype(np.uint8)
        if len(coupons) and (registers.max() >= REGISTERS or ranks.max() > _RANK_MAX):
            raise SketchError(f"a register beyond {REGISTERS} or a rank beyond {_RANK_MAX}")
        np.maximum.at(self.registers, registers, ranks)


def with_coupons(sketch: bytes, coupons: array[int]) -> bytes:
    """Sketch of everybody in ``sketch`` and in ``coupons``. Coupons may repeat (``array("I")``)."""
    if len(coupons) + len(sketch) // _COUPON_BYTES <= _FEW:
        return _few([*_coupons_in(sketch), *coupons])
    total = ShopperSketch.from_bytes(sketch)
    total.add_coupons(np.frombuffer(coupons, dtype=np.uint32).astype(np.int64))
    return total.to_bytes()


def union(sketches: Iterable[bytes]) -> bytes:
    """Sketch of everybody in any of the sketches. Order, grouping and repetition do not matter."""
    parts = {sketch for sketch in sketches if sketch}
    if len(parts) <= 1:
        return next(iter(parts), NOBODY)
    if sum(map(len, parts)) <= _FEW * _COUPON_BYTES:
        return _few([coupon for part in parts for coupon in _coupons_in(part)])
    total = ShopperSketch()
    for part in parts:
        total.merge_bytes(part)
    return total.to_bytes()


def estimate(sketch: bytes) -> int:
    """How many different shoppers the bytes of a sketch hold, to the nearest integer."""
    return round(ShopperSketch.from_bytes(sketch).estimate()) if sketch else 0


def _coupons_in(sketch: bytes) -> list[int]:
    """Coupons of a sparse sketch."""
    return [
        int.from_bytes(sketch[at : at + _COUPON_BYTES])
        for at in range(1, len(sketch), _COUPON_BYTES)
    ]


def _few(coupons: list[int]) -> bytes:
    """Canonical bytes of a few coupons: for each register, the largest rank."""
    # In sorted order the largest rank of a register comes last, and the dict keeps the last one.
    largest = {coupon >> 6: coupon for coupon in sorted(coupons)}
    if not largest:
        return NOBODY
    return _SPARSE + b"".join(each.to_bytes(_COUPON_BYTES) for each in largest.values())


def _packed(registers: Registers) -> bytes:
    """Registers in the dense form: four ranks of six bits in three bytes."""
    a, b, c, d = registers.reshape(-1, 4).T
    packed = np.empty((REGISTERS // 4, 3), dtype=np.uint8)
    packed[:, 0] = a << 2 | b >> 4
    packed[:, 1] = b << 4 | c >> 2
    packed[:, 2] = c << 6 | d
    return packed.tobytes()


def _unpacked(body: Registers) -> Registers:
    a, b, c = body.reshape(-1, 3).T
    found = np.empty((REGISTERS // 4, 4), dtype=np.uint8)
    found[:, 0] = a >> 2
    found[:, 1] = (a & 3) << 4 | b >> 4
    found[:, 2] = (b & 15) << 2 | c >> 6
    found[:, 3] = c & 63
    return found.reshape(-1)


def _sigma(x: float) -> float:
    """Ertl's sigma: correction for registers never filled; infinite when no register was filled."""
    if x == 1.0:
        return math.inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x *= x
        before = z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    """Ertl's tau: correction for registers that are full."""
    if x in (0.0, 1.0):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) * (1 - x) * y
    return z / 3
