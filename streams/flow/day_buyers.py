"""Who bought on a local day that has ended, as it was published: counts and an estimate, no sketch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from streams.index.indices import Entry, shopper_entries


class DayBuyers(msgspec.Struct, omit_defaults=True):
    """Table record: an ended day as it was published last, and how often each value was revised."""

    applied: int
    orders: int
    known: int
    new: int
    shoppers: int
    revisions: dict[str, int] = {}

    def entries(self) -> Iterator[Entry]:
        """Values of the day."""
        return shopper_entries(self.orders, self.known, self.new, self.shoppers)


encode_day_buyers = msgspec.msgpack.Encoder().encode
decode_day_buyers = msgspec.msgpack.Decoder(DayBuyers).decode


class DayOfBuyers(NamedTuple):
    """What a publication shows of a day that has ended, to be stored with it."""

    day: int
    shown: DayBuyers
