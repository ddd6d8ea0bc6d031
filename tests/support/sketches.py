"""Sketches from shoppers' hashes, computed in another way than the package's coupons."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streams.index.shoppers import ShopperSketch

REST_BITS = 52


def sketch_of(hashes: array[int] | Sequence[int] | NDArray[np.uint64]) -> ShopperSketch:
    """The rank of each register (first 12 bits): the largest count of zeros that follow, plus one."""
    found = np.asarray(hashes, dtype=np.uint64)
    rest = found & np.uint64((1 << REST_BITS) - 1)
    # 52 bits fit a double exactly, so its exponent is the position of the highest bit.
    exponent = np.frexp(rest.astype(np.float64))[1]
    sketch = ShopperSketch()
    registers = (found >> np.uint64(REST_BITS)).astype(np.int64)
    np.maximum.at(sketch.registers, registers, (REST_BITS + 1 - exponent).astype(np.uint8))
    return sketch
