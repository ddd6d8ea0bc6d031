"""The batch recomputation: the meaning of a log prefix, written as plainly as possible.

It is a second implementation, written from docs/exactness.md, docs/contract.md and docs/methodology.md
without any code of streams/. Events are JSON dicts, rows are counters by name, sums are loops over
events. It is slow on purpose. Every published value must equal it to the last digit.

``SourceReference`` is one source partition's log, ``LogReference`` all of them together.
"""

from .counting import Counted, SourceReference, day_counts, live_counts
from .labels import Limits, Room
from .log import LogReference
from .rules import WINDOWS, MarketRules, Rules, day_end_ms, local_day, to_ms, unknown_labels
from .values import (
    PAYMENT_INDICES,
    SHOPPER_INDICES,
    Found,
    day_orders,
    day_values,
    live_values,
    registers_of,
    shopper_values,
)

__all__ = [
    "PAYMENT_INDICES",
    "SHOPPER_INDICES",
    "WINDOWS",
    "Counted",
    "Found",
    "Limits",
    "LogReference",
    "MarketRules",
    "Room",
    "Rules",
    "SourceReference",
    "day_counts",
    "day_end_ms",
    "day_orders",
    "day_values",
    "live_counts",
    "live_values",
    "local_day",
    "registers_of",
    "shopper_values",
    "to_ms",
    "unknown_labels",
]
