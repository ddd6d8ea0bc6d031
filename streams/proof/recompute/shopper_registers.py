"""A second implementation of the shopper sketch: its registers, and the number they estimate.

It is written from docs/methodology.md, not from index/shoppers.py. Only the seed of the hash is shared,
which is part of the definition.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
from xxhash import xxh3_64_intdigest

from streams.index.shoppers import SHOPPER_SEED

REGISTERS = 4096
_INDEX_BITS, _HASH_BITS = 12, 64
_RANK_MAX = _HASH_BITS - _INDEX_BITS + 1
_SPARSE, _FULL = 1, 2
_COUPON_BYTES = 3
_PACKED_BYTES = REGISTERS * 6 // 8

Registers = bytearray
"""Largest rank that each register has seen, 0 where it saw none."""


def add_shopper(registers: Registers, shopper_id: str) -> None:
    """Add a shopper: the first 12 bits of the hash are the register, the rest gives the rank."""
    digits = f"{xxh3_64_intdigest(shopper_id.encode(), SHOPPER_SEED):0{_HASH_BITS}b}"
    register, rest = int(digits[:_INDEX_BITS], 2), digits[_INDEX_BITS:]
    rank = rest.find("1") + 1 or _RANK_MAX
    registers[register] = max(registers[register], rank)


def together(left: Registers | None, right: Registers | None) -> Registers | None:
    """Merge two sketches: the maximum of each register. None: a sketch of nobody."""
    if left is None or right is None:
        found = left or right
        return None if found is None else Registers(found)
    return Registers(np.maximum(np.frombuffer(left, np.uint8), np.frombuffer(right, np.uint8)))


def differing(
    expected: Registers | None, found: Registers | None
) -> Iterator[tuple[str, int, int]]:
    """Yield (name, expected, found) of the first register that differs: one is enough."""
    nobody = Registers(REGISTERS)
    for register, (left, right) in enumerate(zip(expected or nobody, found or nobody, strict=True)):
        if left != right:
            yield f"register {register} of the shoppers", left, right
            return


def read(stored: bytes) -> Registers | None:
    """Return the registers of a stored sketch; None if it is empty. Raises ValueError if malformed."""
    if not stored:
        return None
    found = Registers(REGISTERS)
    body = stored[1:]
    if stored[0] == _FULL and len(body) == _PACKED_BYTES:
        bits = int.from_bytes(body)
        for at in range(REGISTERS - 1, -1, -1):
            found[at] = bits & 63
            bits >>= 6
    elif stored[0] == _SPARSE and body and len(body) % _COUPON_BYTES == 0:
        for at in range(0, len(body), _COUPON_BYTES):
            register, rank = divmod(int.from_bytes(body[at : at + _COUPON_BYTES]), 64)
            if register >= REGISTERS:
                raise ValueError(f"register {register} of {REGISTERS}")
            found[register] = rank
    else:
        raise ValueError(f"{len(stored)} bytes are no sketch of shoppers")
    return found


def estimate(registers: Registers | None) -> int:
    """Estimate the different shoppers by Ertl's improved estimator (arXiv:1702.01284, algorithm 6)."""
    if registers is None or not any(registers):
        return 0
    of_rank = Counter(registers)
    harmonic = REGISTERS * _full(1 - of_rank[_RANK_MAX] / REGISTERS)
    for rank in range(_RANK_MAX - 1, 0, -1):
        harmonic = (harmonic + of_rank[rank]) / 2
    harmonic += REGISTERS * _empty(of_rank[0] / REGISTERS)
    return round(REGISTERS**2 / (2 * math.log(2) * harmonic))


def _empty(share: float) -> float:
    """Ertl's sigma: x + sum over k of x^(2^k) 2^(k-1)."""
    found, power, weight = share, share, 1.0
    while True:
        power *= power
        more = found + power * weight
        if more == found:
            return found
        found, weight = more, 2 * weight


def _full(share: float) -> float:
    """Ertl's tau: (1 - x - sum over k of (1 - x^(2^-k))^2 2^-k) / 3."""
    if share in (0.0, 1.0):
        return 0.0
    found, root, weight = 1 - share, share, 1.0
    while True:
        root, weight = math.sqrt(root), weight / 2
        less = found - (1 - root) ** 2 * weight
        if less == found:
            return found / 3
        found = less
