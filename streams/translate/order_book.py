"""What is kept of all orders of one partition, bounded in age and number.

It is held as the bytes that the state's topic has: of millions of orders few are looked at. An order is
as old as its last news, by the records' own times, which never go back here and never pass the clock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import NamedTuple

import msgspec
from xxhash import xxh3_128_digest

from streams.index.formats import msgpack_reader
from streams.sources.outgoing import Outgoing
from streams.translate.order_state import OrderState, advance
from streams.translate.refused_records import RefusedRecordError
from streams.translate.whole_orders import Reported, kept_by

DAY_MS = 86_400_000
AGE, ROOM, WAITING = ("age", "room", "waiting")
"""Why an order was forgotten: it was old, or one too many; waiting: so it was, and something waited."""


class BookLimits(NamedTuple):
    """How much is kept: for how long, how many orders, and of how many something may wait."""

    kept_ms: int
    orders_max: int
    waiting_max: int


class KeptOrder(msgspec.Struct, array_like=True, gc=False):
    """One order in the state's topic. ``waits``: refunds and captures that wait for it."""

    heard_ms: int
    waits: int
    state: OrderState


class _KeptHead(msgspec.Struct, array_like=True, gc=False):
    heard_ms: int
    waits: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgpack_reader(KeptOrder)
_decode_head = msgpack_reader(_KeptHead)


def order_key(reported: Reported) -> bytes:
    """Return the key under which is kept what was stated of an order, or of a payment without one.

    It is a hash, and no text of the source.
    """
    return xxh3_128_digest(kept_by(reported).encode())


class OrderBook:
    """What was stated of the orders of one partition. Taken records count once ``settle`` was called."""

    def __init__(self, source: str, limits: BookLimits) -> None:
        self._source = source
        self._limits = limits
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        """By last news, the oldest first."""
        self._waits: dict[bytes, int] = {}
        self._open: dict[bytes, KeptOrder] = {}
        self.clock_ms = 0
        self.forgotten: Counter[str] = Counter()

    @property
    def orders(self) -> int:
        """How many orders are kept."""
        return len(self._kept)

    @property
    def waiting(self) -> int:
        """How many refunds and captures wait for their orders."""
        return sum(self._waits.values())

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one record of the state's topic; they come in the order in which they were written."""
        self._kept.pop(key, None)
        self._waits.pop(key, None)
        if value is not None:
            self._kept[key] = value
            head = _decode_head(value)
            self.clock_ms = max(self.clock_ms, head.heard_ms)
            if head.waits:
                self._waits[key] = head.waits

    def take_reported(self, reported: Reported, digest: int, at_ms: int) -> list[Outgoing]:
        """Return the events that follow from one record. Raises RefusedRecordError."""
        key = order_key(reported)
        before = self._open.get(key)
        if before is None and (kept := self._kept.get(key)) is not None:
            before = _decode(kept)
        known = None if before is None else before.state
        advanced = advance(self._source, known, reported, digest)
        state = advanced.state
        if state is known:
            return []
        waits = len(state.waiting_refunds) + len(state.waiting_captures)
        if waits and key not in self._waits:
            if len(self._waits) >= self._limits.waiting_max:
                expected = (
                    f"at most {self._limits.waiting_max} orders (sources.waiting_max) that wait"
                )
                raise RefusedRecordError("$", expected, "more")
            self._waits[key] = waits
        self.clock_ms = max(self.clock_ms, at_ms)
        self._open[key] = KeptOrder(self.clock_ms, waits, state)
        return advanced.events

    def settle(self) -> dict[bytes, bytes | None]:
        """Return what the state's topic must get for all that was taken. None: forgotten."""
        changed: dict[bytes, bytes | None] = {}
        for key, order in self._open.items():
            changed[key] = self._kept[key] = _encode(order)
            self._kept.move_to_end(key)
            if order.waits:
                self._waits[key] = order.waits
            else:
                self._waits.pop(key, None)
        self._open.clear()
        self._forget(changed)
        return changed

    def _forget(self, changed: dict[bytes, bytes | None]) -> None:
        oldest_ms = self.clock_ms - self._limits.kept_ms
        while self._kept:
            key, value = next(iter(self._kept.items()))
            is_old = _decode_head(value).heard_ms < oldest_ms
            if not is_old and len(self._kept) <= self._limits.orders_max:
                return
            del self._kept[key]
            waited = self._waits.pop(key, 0)
            self.forgotten[WAITING if waited else AGE if is_old else ROOM] += 1
            changed[key] = None
