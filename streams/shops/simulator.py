"""A seeded shop floor: the events of any stretch of time, as a pure function of seed and time.

Time is cut into blocks. The orders of a block are drawn by cohorts. A cohort holds the orders that share
one fate: kept, cancelled after 3 h, delivered after 54 h and so on. Today's event of an order placed two
days ago is found by drawing that one small cohort again. So a simulation keeps no state and can begin at
any time.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter

from streams.shops.simulate_draw import PAYMENT_MAX_MS, REPEATED_MAX_MS
from streams.shops.simulate_market import Blocks, MarketShop, cohorts_of
from streams.shops.simulate_options import SECOND_MS, ShopOptions
from streams.shops.simulate_profile import Profile
from streams.sources.outgoing import Outgoing

BLOCK_EVENTS = 4_000
BLOCK_MS_MIN, BLOCK_MS_MAX = 250, 64_000
"""Limits for the length of a block. It holds about BLOCK_EVENTS events: few enough to be drawn between
two sends, enough for numpy to draw many orders at once."""
_timestamp = attrgetter("timestamp_ms")


def block_length_ms(rate_per_s: float) -> int:
    """Length of a block: BLOCK_MS_MIN times a power of two."""
    length = BLOCK_MS_MIN
    while length < BLOCK_MS_MAX and length * rate_per_s < BLOCK_EVENTS * SECOND_MS:
        length *= 2
    return length


class Shopfloor:
    """Events of all markets. It does no IO and reads no clock.

    ``opened_ms``: orders placed earlier do not exist. ``logged_ms``: orders placed earlier have payments
    only, because a cancel would refer to an order that is in no log. The options hold shifts and
    outages, at absolute times.
    """

    def __init__(
        self,
        profile: Profile,
        options: ShopOptions,
        opened_ms: int,
        logged_ms: int | None = None,
    ) -> None:
        self.options = options.checked(profile)
        self.block_ms = block_length_ms(options.rate_per_s)
        self._opened_ms = opened_ms
        # The longest time from the end of a block until one of its events is sent.
        self._spill_ms = PAYMENT_MAX_MS + REPEATED_MAX_MS
        self._spill_ms += round(options.out_of_order_max_s * SECOND_MS)
        cohorts = cohorts_of(profile, options.lag_scale, self.block_ms)
        blocks = Blocks(self.block_ms, opened_ms, logged_ms or opened_ms)
        self._markets = [
            MarketShop(profile, code, self.options, cohorts, blocks)
            for code in self.options.markets
        ]
        self._due: dict[int, list[Outgoing]] = {}
        self._first_complete = 0
        self._next_block = 0
        self._sorted_until = 0
        self._restart(opened_ms)

    def events_between(self, start_ms: int, end_ms: int) -> list[Outgoing]:
        """Every record sent in [start, end), by its timestamp.

        The records do not depend on how an interval is cut into calls. Successive intervals draw nothing
        twice. A call for an earlier time draws again from there.
        """
        if end_ms <= start_ms:
            return []
        self.draw(start_ms, end_ms)
        first, last = start_ms // self.block_ms, (end_ms - 1) // self.block_ms
        found: list[Outgoing] = []
        for block in range(first, last + 1):
            events = self._due.get(block, [])
            if block >= self._sorted_until:
                # The sort is stable and blocks are always filled in one order, so ties are decided too.
                events.sort(key=_timestamp)
                self._sorted_until = block + 1
            low = bisect_left(events, start_ms, key=_timestamp)
            found += events[low : bisect_left(events, end_ms, key=_timestamp)]
        for block in range(self._first_complete, first):
            self._due.pop(block, None)
        self._first_complete = max(self._first_complete, first)
        return found

    def draw(self, start_ms: int, end_ms: int) -> None:
        """Draw the records of [start, end) in advance; ``events_between`` then has them ready."""
        if not self._first_complete <= start_ms // self.block_ms <= self._next_block:
            self._restart(start_ms)
        while self._next_block <= (end_ms - 1) // self.block_ms:
            self._fill(self._next_block)

    def _restart(self, start_ms: int) -> None:
        self._due.clear()
        opened = self._opened_ms // self.block_ms
        self._next_block = max(opened, (start_ms - self._spill_ms) // self.block_ms)
        self._first_complete = start_ms // self.block_ms
        self._sorted_until = self._first_complete

    def _fill(self, block: int) -> None:
        for market in self._markets:
            for event in market.events_of(block):
                due = event.timestamp_ms // self.block_ms
                if due >= self._first_complete:
                    self._due.setdefault(due, []).append(event)
        self._next_block = block + 1
